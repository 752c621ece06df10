//! Blocks that stay where they lie in a mapped file.

use super::*;

/// A table of large values, read whole through the cache, and what the cache then holds.
fn cached_bytes(compression: Compression, mapped: bool) -> (u64, u64) {
    let (dir, rows) = (tempfile::tempdir().unwrap(), plain_rows(2_000, 200));
    let options = TableOptions { block_bytes: 4096, compression, filter_bits_per_key: 10, origin: 0 };
    let meta = write(&dir, 1, options, &rows);
    let table = open_as(&dir, &meta, 64 << 20, mapped);
    for (key, seqno) in rows.keys() {
        assert_eq!(get(&table, key, seqno.0).unwrap(), model_get(&rows, key, seqno.0));
    }
    (table.cache.used_bytes(), meta.file_bytes)
}

#[test]
fn uncompressed_blocks_of_a_mapped_table_take_no_memory_but_for_their_description() {
    let (in_place, file_bytes) = cached_bytes(Compression::None, true);
    assert!(in_place < file_bytes / 8, "{in_place} of {file_bytes}");
    for (compression, mapped) in [(Compression::None, false), (Compression::Lz4, true)] {
        let (copied, _) = cached_bytes(compression, mapped);
        assert!(copied > 2_000 * 200, "{copied} for {compression:?}, mapped: {mapped}");
    }
}

#[test]
fn a_value_outlives_its_table_and_its_file() {
    let (dir, rows) = (tempfile::tempdir().unwrap(), plain_rows(100, 500));
    let options = TableOptions {
        block_bytes: 4096,
        compression: Compression::None,
        filter_bits_per_key: 10,
        origin: 0,
    };
    let meta = write(&dir, 1, options, &rows);
    let table = open_as(&dir, &meta, 1 << 20, true);
    let (key, seqno) = rows.keys().next().unwrap();
    let found = get(&table, key, seqno.0).unwrap();
    table.delete_on_drop();
    drop(table);
    assert!(!table_path(dir.path(), meta.id).exists());
    assert_eq!(found, model_get(&rows, key, seqno.0));
}
