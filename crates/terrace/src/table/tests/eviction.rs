//! The cache under pressure, seen through tables.

use super::*;

#[test]
fn threads_read_right_answers_while_blocks_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    // Miri sees each step, so that it needs few of them.
    let (entries, reads, budget_bytes) = if cfg!(miri) { (100, 20, 10_000) } else { (4000, 5000, 40_000) };
    let rows = plain_rows(entries, 150);
    let options = TableOptions { block_bytes: 1000, ..TableOptions::default() };
    let meta = write(&dir, 1, options, &rows);
    let cache = Cache::new(budget_bytes);
    let table = Arc::new(Table::open(os(), dir.path(), meta, Arc::clone(&cache)));
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (table, rows) = (&table, &rows);
            scope.spawn(move || {
                let mut kept = Vec::new();
                for i in 0..reads {
                    let pick = filter_hash(&(i * 4 + thread).to_le_bytes()) % entries;
                    let key = format!("user:{pick:08}").into_bytes();
                    let found = get(table, &key, MAX_SEQNO).unwrap();
                    assert_eq!(found, model_get(rows, &key, MAX_SEQNO));
                    kept.extend((i % (reads / 10).min(50) == 0).then_some((key, found)));
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
    assert!(stats.evictions > reads / 5 && stats.used_bytes <= budget_bytes, "{stats:?}");
    assert_eq!(stats.hits + stats.misses, 4 * reads - table.filter_stats().rejected);
}

#[test]
#[cfg_attr(miri, ignore = "needs a table of some size")]
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
#[cfg_attr(miri, ignore = "needs a table of some size")]
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
