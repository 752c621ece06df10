//! The cache under pressure, seen through tables.

use super::*;

#[test]
fn threads_read_right_answers_while_blocks_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let rows = plain_rows(4000, 150);
    let options = TableOptions { block_bytes: 1000, ..TableOptions::default() };
    let meta = write(&dir, 1, options, &rows);
    let cache = Cache::new(40_000);
    let table = Arc::new(Table::open(os(), dir.path(), meta, Arc::clone(&cache)));
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (table, rows) = (&table, &rows);
            scope.spawn(move || {
                let mut kept = Vec::new();
                for i in 0..5000u64 {
                    let pick = filter_hash(&(i * 4 + thread).to_le_bytes()) % 4000;
                    let key = format!("user:{pick:08}").into_bytes();
                    let found = get(table, &key, MAX_SEQNO).unwrap();
                    assert_eq!(found, model_get(rows, &key, MAX_SEQNO));
                    kept.extend((i % 50 == 0).then_some((key, found)));
                }
                for (key, found) in kept {
                    assert_eq!(
                        found,
                        model_get(rows, &key, MAX_SEQNO),
                        "a slice outlives the eviction of its block"
                    );
                }
            });
        }
    });
    let stats = cache.stats();
    assert!(stats.evictions > 1000 && stats.used_bytes <= 40_000, "{stats:?}");
    assert_eq!(stats.hits + stats.misses, 20_000 - table.filter_stats().rejected);
}

#[test]
fn a_cursor_that_does_not_fill_the_cache_leaves_it_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let meta = write(&dir, 1, TableOptions::default(), &plain_rows(1000, 100));
    let cache = Cache::new(1 << 20);
    let table = Arc::new(Table::open(os(), dir.path(), meta, Arc::clone(&cache)));
    let scan = |fill_cache| {
        let mut cursor = table.cursor(fill_cache);
        cursor.seek_to_first().unwrap();
        while cursor.valid() {
            cursor.next().unwrap();
        }
    };
    scan(false);
    assert_eq!(cache.used_bytes(), 0);
    scan(true);
    assert!(cache.used_bytes() > 100_000);
    let misses = cache.stats().misses;
    scan(false);
    assert_eq!(cache.stats().misses, misses, "it uses what is there");
}

#[test]
fn a_closed_table_gives_all_its_memory_back() {
    let dir = tempfile::tempdir().unwrap();
    let meta = write(&dir, 1, TableOptions::default(), &plain_rows(1000, 100));
    let cache = Cache::new(1 << 20);
    let table = Table::open(os(), dir.path(), meta, Arc::clone(&cache));
    assert_eq!(cache.pinned_bytes(), 0, "nothing before first use");
    get(&table, b"user:00000500", MAX_SEQNO).unwrap();
    assert!(cache.pinned_bytes() > 1000 * 10 / 8 && cache.used_bytes() > 0);
    drop(table);
    assert_eq!((cache.pinned_bytes(), cache.used_bytes()), (0, 0));
}
