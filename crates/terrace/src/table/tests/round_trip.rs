//! What was written is what is read, by every way of reading.

use super::*;
use proptest::prelude::*;

fn any_rows() -> impl Strategy<Value = Rows> {
    let seqno = prop_oneof![Just(0u64), 1u64..20, 0..=MAX_SEQNO];
    let value = prop_oneof![
        Just(Vec::new()),
        Just(vec![7; 5]),
        prop::collection::vec(any::<u8>(), 0..100),
        (0usize..3000, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ];
    let row = (any_key(), seqno, any_meta(), value);
    prop::collection::vec(row, 1..150).prop_map(|rows| {
        let row = |(key, seqno, meta, value): (Vec<u8>, u64, EntryMeta, Vec<u8>)| {
            let value = if meta.kind == Kind::Delete { Vec::new() } else { value };
            ((key, Reverse(seqno)), (meta, value))
        };
        rows.into_iter().map(row).collect()
    })
}

fn any_options() -> impl Strategy<Value = TableOptions> {
    let block_bytes = prop_oneof![Just(0usize), 1usize..2000, Just(DEFAULT_BLOCK_BYTES)];
    let filter = prop_oneof![Just(0u8), Just(10), 1u8..30];
    (block_bytes, any_compression(), filter).prop_map(|(block_bytes, compression, filter_bits_per_key)| {
        TableOptions { block_bytes, compression, filter_bits_per_key, origin: 77 }
    })
}

fn check_meta(rows: &Rows, meta: &TableMeta) {
    let expiries = || rows.values().map(|(meta, _)| meta.expires_at_ms);
    let expected = TableMeta {
        id: meta.id,
        file_bytes: meta.file_bytes,
        entries: rows.len() as u64,
        tombstones: rows.values().filter(|(meta, _)| meta.kind == Kind::Delete).count() as u64,
        smallest: rows.keys().next().unwrap().0.clone(),
        largest: rows.keys().next_back().unwrap().0.clone(),
        min_seqno: rows.keys().map(|(_, seqno)| seqno.0).min().unwrap(),
        max_seqno: rows.keys().map(|(_, seqno)| seqno.0).max().unwrap(),
        raw_bytes: rows.iter().map(|((key, _), (_, value))| (key.len() + value.len()) as u64).sum(),
        max_expires_at_ms: if expiries().any(|e| e == 0) { 0 } else { expiries().max().unwrap() },
        min_expires_at_ms: expiries().filter(|e| *e != 0).min().unwrap_or(0),
        cleared_seqno: 0,
        blobs: Vec::new(),
        shares: meta.shares.clone(),
    };
    assert_eq!(*meta, expected);
}

/// Seeks everywhere and compares with the list.
fn check_cursor(table: &Arc<Table>, rows: &Rows, probes: &[Vec<u8>], fill_cache: bool) {
    let list: Vec<_> = rows.iter().map(|(key, row)| (key.clone(), row.clone())).collect();
    let mut cursor = table.cursor(fill_cache);
    assert!(!cursor.valid());
    let mut forward = Vec::new();
    cursor.seek_to_first().unwrap();
    while cursor.valid() {
        forward.push(row_at(&cursor));
        cursor.next().unwrap();
    }
    assert_eq!(forward, list);
    let mut backward = Vec::new();
    cursor.seek_to_last().unwrap();
    while cursor.valid() {
        backward.push(row_at(&cursor));
        cursor.prev().unwrap();
    }
    backward.reverse();
    assert_eq!(backward, list);
    let standing = |cursor: &TableCursor| cursor.valid().then(|| row_at(cursor));
    for key in probes {
        let at = list.partition_point(|((k, _), _)| k < key);
        cursor.seek(key).unwrap();
        assert_eq!(standing(&cursor), list.get(at).cloned(), "seek {key:?}");
        if cursor.valid() {
            cursor.prev().unwrap();
            assert_eq!(standing(&cursor), at.checked_sub(1).map(|i| list[i].clone()), "prev of {key:?}");
        }
        cursor.seek_before(key).unwrap();
        assert_eq!(standing(&cursor), at.checked_sub(1).map(|i| list[i].clone()), "before {key:?}");
        if cursor.valid() {
            cursor.next().unwrap();
            assert_eq!(standing(&cursor), list.get(at).cloned(), "next of the one before {key:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn every_way_of_reading_agrees_with_the_model(
        rows in any_rows(), options in any_options(), absent in prop::collection::vec(any_key(), 30),
        snapshot in 0u64..25, cache_bytes in prop_oneof![Just(0u64), Just(20_000), Just(1 << 20)],
    ) {
        let dir = tempfile::tempdir().unwrap();
        let meta = write(&dir, 1, options, &rows);
        check_meta(&rows, &meta);
        prop_assert_eq!(Table::read_meta(&*os(), dir.path(), meta.id).unwrap(), meta.clone());
        let table = open(&dir, &meta, cache_bytes);
        let mut probes = absent;
        probes.extend(rows.keys().map(|(key, _)| key.clone()));
        for at in [snapshot, 0, MAX_SEQNO] {
            for key in &probes {
                prop_assert_eq!(get(&table, key, at).unwrap(), model_get(&rows, key, at), "{:?} at {}", key, at);
            }
        }
        check_cursor(&table, &rows, &probes, cache_bytes > 0);
        table.verify().unwrap();
    }
}

#[test]
fn opening_does_no_io_and_the_first_use_names_the_missing_file() {
    let dir = tempfile::tempdir().unwrap();
    let meta = write(&dir, 3, TableOptions::default(), &plain_rows(10, 10));
    std::fs::remove_file(table_path(dir.path(), meta.id)).unwrap();
    let table = open(&dir, &meta, 1 << 20);
    table.prefetch_filter(1);
    let message = get(&table, b"x", MAX_SEQNO).unwrap_err().to_string();
    assert!(message.contains("000003.tbl"), "{message}");
}

#[test]
fn versions_of_one_key_stay_in_one_block() {
    let dir = tempfile::tempdir().unwrap();
    let version =
        |key: &str, seqno: u64| ((key.as_bytes().to_vec(), Reverse(seqno)), (EntryMeta::PUT, vec![1; 100]));
    let rows: Rows = (1..=200).flat_map(|i| [version("a", i), version("b", i), version("c", i)]).collect();
    let options = TableOptions { block_bytes: 1000, ..TableOptions::default() };
    let meta = write(&dir, 1, options, &rows);
    let table = open(&dir, &meta, 1 << 20);
    assert_eq!(table.loaded().unwrap().index.blocks(), 3);
    for at in 0..=201 {
        assert_eq!(get(&table, b"b", at).unwrap().map(|f| f.seqno), (at > 0).then(|| at.min(200)));
    }
}

#[test]
fn a_huge_value_makes_a_big_block_and_is_not_copied() {
    let dir = tempfile::tempdir().unwrap();
    let mut rows = plain_rows(100, 100);
    rows.insert((b"user:00000050x".to_vec(), Reverse(1)), (EntryMeta::PUT, vec![9; 3 << 20]));
    for &compression in COMPRESSIONS {
        let options = TableOptions { compression, ..TableOptions::default() };
        let meta = write(&dir, compression as u64, options, &rows);
        let table = open(&dir, &meta, 64 << 20);
        let found = get(&table, b"user:00000050x", MAX_SEQNO).unwrap().unwrap();
        assert_eq!(found.value.len(), 3 << 20);
        assert!(found.value.iter().all(|b| *b == 9));
        drop(table);
        assert_eq!(found.value[0], 9, "the slice outlives its table");
    }
}

#[test]
fn split_keys_cut_a_table_into_similar_parts() {
    let dir = tempfile::tempdir().unwrap();
    let rows = plain_rows(5000, 100);
    let meta = write(&dir, 1, TableOptions::default(), &rows);
    let table = open(&dir, &meta, 1 << 20);
    let keys = table.split_keys(4).unwrap();
    assert_eq!(keys.len(), 4);
    let mut bounds: Vec<usize> =
        keys.iter().map(|key| rows.keys().filter(|(k, _)| k < key).count()).collect();
    bounds.insert(0, 0);
    bounds.push(rows.len());
    assert!(bounds.windows(2).all(|pair| (800..1200).contains(&(pair[1] - pair[0]))), "{bounds:?}");
    let small = write(&dir, 2, TableOptions::default(), &plain_rows(3, 10));
    assert_eq!(open(&dir, &small, 0).split_keys(4).unwrap(), Vec::<Vec<u8>>::new());
}

#[test]
fn the_writer_estimates_its_file_and_knows_block_starts() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = TableWriter::create(&os(), dir.path(), FileId(1), TableOptions::default()).unwrap();
    assert!(writer.at_block_start());
    let mut starts = 0;
    for ((key, seqno), (meta, value)) in &plain_rows(5000, 100) {
        starts += u64::from(writer.at_block_start());
        writer.add(key, seqno.0, *meta, value).unwrap();
    }
    let estimate = writer.file_bytes();
    assert_eq!(writer.entries(), 5000);
    let meta = writer.finish().unwrap();
    assert!(estimate.abs_diff(meta.file_bytes) < meta.file_bytes / 20, "{estimate} {}", meta.file_bytes);
    assert_eq!(open(&dir, &meta, 0).loaded().unwrap().index.blocks() as u64, starts);
}

#[test]
#[should_panic(expected = "entries come in order")]
fn entries_out_of_order_are_a_programmer_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = TableWriter::create(&os(), dir.path(), FileId(1), TableOptions::default()).unwrap();
    writer.add(b"b", 1, EntryMeta::PUT, b"").unwrap();
    writer.add(b"b", 1, EntryMeta::PUT, b"").unwrap();
}

#[test]
fn abandoned_and_obsolete_tables_leave_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = TableWriter::create(&os(), dir.path(), FileId(1), TableOptions::default()).unwrap();
    writer.add(b"a", 1, EntryMeta::PUT, b"").unwrap();
    let path = table_path(dir.path(), FileId(1));
    assert!(path.exists());
    writer.abandon();
    assert!(!path.exists());
    let rows = plain_rows(100, 100);
    let meta = write(&dir, 1, TableOptions::default(), &rows);
    drop(open(&dir, &meta, 0));
    assert!(path.exists(), "not obsolete");
    let table = open(&dir, &meta, 0);
    let mut cursor = table.cursor(true);
    table.delete_on_drop();
    drop(table);
    assert!(path.exists(), "the cursor still reads it");
    cursor.seek_to_last().unwrap();
    assert_eq!(cursor.key(), b"user:00000099");
    drop(cursor);
    assert!(!path.exists());
}

#[test]
fn filter_statistics_tell_the_three_cases_apart() {
    let dir = tempfile::tempdir().unwrap();
    let meta = write(&dir, 1, TableOptions::default(), &plain_rows(1000, 10));
    let table = open(&dir, &meta, 1 << 20);
    for i in 0..2000 {
        get(&table, format!("user:{i:08}").as_bytes(), MAX_SEQNO).unwrap();
    }
    let stats = table.filter_stats();
    assert_eq!(stats.found, 1000);
    assert_eq!(stats.rejected + stats.false_positives, 1000);
    assert!(stats.false_positives < 40, "{stats:?}");
}
