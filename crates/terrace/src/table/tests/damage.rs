//! A damaged byte is reported, never returned as data.

use super::*;
use crate::base::Error;
use std::os::unix::fs::FileExt;

/// Reads everything in every way; each answer must be right or an error. Gives back the first error.
fn check_answers(table: &Arc<Table>, rows: &Rows) -> Option<Error> {
    let mut first_error = None;
    let mut note = |error: Error| first_error = first_error.take().or(Some(error));
    for (key, seqno) in rows.keys() {
        match get(table, key, seqno.0) {
            Ok(found) => assert_eq!(found, model_get(rows, key, seqno.0)),
            Err(error) => note(error),
        }
    }
    let mut cursor = table.cursor(false);
    let mut list = Vec::new();
    let mut result = cursor.seek_to_first();
    while result.is_ok() && cursor.valid() {
        list.push(row_at(&cursor));
        result = cursor.next();
    }
    let expected: Vec<_> = rows.iter().map(|(key, row)| (key.clone(), row.clone())).collect();
    assert_eq!(list[..], expected[..list.len()]);
    match result {
        Ok(()) => assert_eq!(list.len(), expected.len()),
        Err(error) => {
            assert!(!cursor.valid(), "not valid after an error");
            note(error);
        }
    }
    if let Err(error) = table.verify() {
        note(error);
    }
    first_error
}

fn every_flip_is_noticed(compression: Compression, mapped: bool) {
    let open = |dir: &TempDir, meta: &TableMeta, bytes| open_as(dir, meta, bytes, mapped);
    let dir = tempfile::tempdir().unwrap();
    let rows: Rows = (0..14u64)
        .map(|i| {
            let meta =
                if i % 5 == 0 { EntryMeta::DELETE } else { EntryMeta { expires_at_ms: i, ..EntryMeta::PUT } };
            let value = if i % 5 == 0 { Vec::new() } else { vec![i as u8; 6 * i as usize] };
            ((format!("key{}", i / 2 * 7).into_bytes(), Reverse(i)), (meta, value))
        })
        .collect();
    let options = TableOptions { block_bytes: 300, compression, filter_bits_per_key: 10, origin: 77 };
    let meta = write(&dir, 1, options, &rows);
    assert!(check_answers(&open(&dir, &meta, 1 << 20), &rows).is_none());
    let path = table_path(dir.path(), meta.id);
    let sound = std::fs::read(&path).unwrap();
    let table = open(&dir, &meta, 0);
    let last = table.loaded().unwrap().index.handle(1);
    assert_eq!(sound[last.end().unwrap() as usize - 5], compression as u8, "the block is stored as intended");
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    for bit in 0..sound.len() * 8 {
        let at = bit / 8;
        file.write_all_at(&[sound[at] ^ (1 << (bit % 8))], at as u64).unwrap();
        let error = check_answers(&open(&dir, &meta, 1 << 20), &rows);
        let error = error.unwrap_or_else(|| panic!("bit {bit} of {} went unnoticed", sound.len() * 8));
        let named = matches!(&error, Error::Corruption { path: p, .. } | Error::UnsupportedVersion { path: p, .. } if *p == path);
        assert!(named, "{error}");
        file.write_all_at(&sound[at..=at], at as u64).unwrap();
    }
}

#[test]
fn every_flipped_bit_gives_a_right_answer_or_an_error() {
    every_flip_is_noticed(Compression::None, false);
    every_flip_is_noticed(Compression::None, true);
}

#[test]
fn every_flipped_bit_of_a_compressed_table_gives_a_right_answer_or_an_error() {
    every_flip_is_noticed(Compression::Lz4, false);
    #[cfg(feature = "zstd")]
    every_flip_is_noticed(Compression::Zstd, false);
}

#[test]
fn every_truncation_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let rows = plain_rows(30, 20);
    let meta = write(&dir, 1, TableOptions { block_bytes: 200, ..TableOptions::default() }, &rows);
    let file = std::fs::OpenOptions::new().write(true).open(table_path(dir.path(), meta.id)).unwrap();
    for len in (0..meta.file_bytes).rev() {
        file.set_len(len).unwrap();
        for mapped in [false, true] {
            let table = open_as(&dir, &meta, 1 << 20, mapped);
            assert!(get(&table, b"user:00000001", MAX_SEQNO).is_err(), "{len}");
        }
        assert!(Table::read_meta(&*os(), dir.path(), meta.id).is_err(), "{len}");
    }
}

#[test]
fn a_table_under_another_number_or_with_swapped_blocks_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let rows = plain_rows(200, 20);
    let meta = write(&dir, 1, TableOptions { block_bytes: 500, ..TableOptions::default() }, &rows);
    let path = table_path(dir.path(), meta.id);
    let other = TableMeta { id: FileId(2), ..meta.clone() };
    std::fs::copy(&path, table_path(dir.path(), other.id)).unwrap();
    assert!(get(&open(&dir, &other, 0), b"user:00000001", MAX_SEQNO).is_err());

    let table = open(&dir, &meta, 0);
    let (first, second) = (table.loaded().unwrap().index.handle(0), table.loaded().unwrap().index.handle(1));
    assert_eq!(first.len, second.len, "so that the blocks can change places");
    let mut bytes = std::fs::read(&path).unwrap();
    let (a, b) = bytes.split_at_mut(second.offset as usize);
    a[first.offset as usize..].swap_with_slice(&mut b[..first.len as usize]);
    std::fs::write(&path, bytes).unwrap();
    let message = get(&open(&dir, &meta, 0), b"user:00000001", MAX_SEQNO).unwrap_err().to_string();
    assert!(message.contains("checksum"), "{message}");
}

#[test]
fn verify_compares_with_what_the_manifest_says() {
    let dir = tempfile::tempdir().unwrap();
    let meta = write(&dir, 1, TableOptions::default(), &plain_rows(50, 20));
    open(&dir, &meta, 0).verify().unwrap();
    let wrong = TableMeta { entries: 51, ..meta.clone() };
    assert!(open(&dir, &wrong, 0).verify().is_err());
    let wrong = TableMeta { smallest: b"user:".to_vec(), ..meta };
    assert!(open(&dir, &wrong, 0).verify().is_err());
}
