//! Whole blob files, written, read back and damaged.

use super::*;
use crate::base::Error;
use crate::base::compression::Compression;
use crate::io::Fs;
use crate::io::os::OsFs;
use proptest::prelude::*;
use std::sync::Arc;
use tempfile::TempDir;

fn os() -> Arc<dyn Fs> {
    Arc::new(OsFs::default())
}

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

fn write(dir: &TempDir, id: u64, compression: Compression, rows: &Rows) -> (BlobFile, Vec<Pointer>) {
    let mut writer = BlobWriter::create(&os(), dir.path(), FileId(id), compression, 77).unwrap();
    let pointers = rows.iter().map(|(key, value)| writer.add(key, value).unwrap()).collect();
    let expected = writer.file_bytes();
    let meta = writer.finish().unwrap();
    assert_eq!((meta.file_bytes, meta.records), (expected, rows.len() as u64));
    (BlobFile::open(os(), dir.path(), meta), pointers)
}

fn rows() -> Rows {
    let value =
        |i: u8| (0..200u32).map(|at| if at < 100 { i } else { (at * at + 7 * u32::from(i)) as u8 }).collect();
    (0..9u8).map(|i| (format!("key{i}").into_bytes(), value(i))).collect()
}

/// Sound records and places of damage.
fn scanned(dir: &TempDir, id: u64) -> (Vec<Vec<u8>>, usize, Option<BlobMeta>) {
    let (mut keys, mut damage) = (Vec::new(), 0);
    let meta = scan(&*os(), dir.path(), FileId(id), &mut |piece| {
        match piece {
            Piece::Record { key, .. } => keys.push(key.to_vec()),
            Piece::Damage(_) => damage += 1,
        }
        Ok(())
    });
    (keys, damage, meta.unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_written_is_read_and_found_by_a_scan(
        rows in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..40), 0usize..3000, any::<u8>()), 1..12),
        lz4: bool,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let rows: Rows = rows.into_iter().map(|(key, len, byte)| (key, vec![byte; len])).collect();
        let compression = if lz4 { Compression::Lz4 } else { Compression::None };
        let (file, pointers) = write(&dir, 3, compression, &rows);
        for ((key, value), pointer) in rows.iter().zip(&pointers) {
            let mut bytes = Vec::new();
            pointer.encode(&mut bytes);
            prop_assert_eq!(Pointer::decode(&bytes), Some(*pointer));
            prop_assert_eq!(&file.read(key, pointer).unwrap()[..], &value[..]);
            file.check_pointer(key, pointer).unwrap();
        }
        let used: u64 = pointers.iter().map(|pointer| pointer.record_bytes).sum();
        prop_assert_eq!(used, file.meta().data_bytes());
        let (keys, damage, meta) = scanned(&dir, 3);
        prop_assert_eq!(keys, rows.into_iter().map(|(key, _)| key).collect::<Vec<_>>());
        prop_assert_eq!((damage, meta), (0, Some(*file.meta())));
    }

    #[test]
    fn a_pointer_of_any_bytes_is_read_or_refused(bytes: Vec<u8>) {
        let _ = Pointer::decode(&bytes);
    }
}

#[test]
fn relocating_keeps_the_stored_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let rows = rows();
    let (file, pointers) = write(&dir, 1, Compression::Lz4, &rows);
    let mut writer = BlobWriter::create(&os(), dir.path(), FileId(2), Compression::None, 0).unwrap();
    let (key, value) = &rows[4];
    let stored = file.read_stored(key, &pointers[4]).unwrap();
    assert_eq!(stored.compression(), Compression::Lz4 as u8);
    let moved = writer.add_stored(key, &stored, pointers[4].value_bytes).unwrap();
    let copy = BlobFile::open(os(), dir.path(), writer.finish().unwrap());
    assert_eq!(&copy.read(key, &moved).unwrap()[..], &value[..]);
    assert_eq!(moved.record_bytes, pointers[4].record_bytes);
}

#[test]
fn a_pointer_to_a_wrong_place_or_of_another_key_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let rows = rows();
    let (file, pointers) = write(&dir, 1, Compression::None, &rows);
    let good = pointers[2];
    let refuse = |key: &[u8], pointer: Pointer| {
        assert!(matches!(file.read(key, &pointer), Err(Error::Corruption { .. })), "{pointer:?}");
        assert!(file.check_pointer(key, &pointer).is_err() || pointer.value_bytes != good.value_bytes);
    };
    refuse(b"key3", good);
    refuse(b"key2", pointers[3]);
    refuse(b"key2", Pointer { offset: good.offset + 1, ..good });
    refuse(b"key2", Pointer { offset: 0, ..good });
    refuse(b"key2", Pointer { offset: u64::MAX, ..good });
    refuse(b"key2", Pointer { record_bytes: good.record_bytes - 1, ..good });
    refuse(b"key2", Pointer { record_bytes: u64::MAX, ..good });
    refuse(b"key2", Pointer { value_bytes: good.value_bytes + 1, ..good });
}

#[test]
fn every_flipped_bit_is_found_and_costs_at_most_one_record() {
    let dir = tempfile::tempdir().unwrap();
    let rows = rows();
    let (file, pointers) = write(&dir, 1, Compression::Lz4, &rows);
    let bytes = std::fs::read(file.path()).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(file.path(), &damaged).unwrap();
        let (keys, damage, _) = scanned(&dir, 1);
        assert!(damage > 0, "bit {bit}");
        assert!(keys.len() + 1 >= rows.len(), "bit {bit}: {} records", keys.len());
        let again = BlobFile::open(os(), dir.path(), *file.meta());
        for ((key, value), pointer) in rows.iter().zip(&pointers) {
            let hit = (pointer.offset..pointer.offset + pointer.record_bytes).contains(&(bit as u64 / 8));
            match again.read(key, pointer) {
                Ok(found) => assert!(found == *value && !hit, "bit {bit}"),
                Err(error) => {
                    assert!(hit || bit / 8 < format::HEADER_BYTES, "bit {bit}: {error}");
                }
            }
        }
    }
}

#[test]
fn a_file_that_is_cut_missing_or_of_another_number_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let rows = rows();
    let (file, pointers) = write(&dir, 1, Compression::None, &rows);
    let read = |id| {
        BlobFile::open(os(), dir.path(), BlobMeta { id: FileId(id), ..*file.meta() })
            .read(b"key0", &pointers[0])
    };
    assert!(matches!(read(2), Err(Error::Io { .. })));
    let bytes = std::fs::read(file.path()).unwrap();
    std::fs::write(blob_path(dir.path(), FileId(2)), &bytes).unwrap();
    assert!(matches!(read(2), Err(Error::Corruption { .. })), "a copy under another number");
    std::fs::write(file.path(), &bytes[..bytes.len() - 1]).unwrap();
    assert!(matches!(read(1), Err(Error::Corruption { .. })));
    assert_eq!(file.origin().unwrap(), 77);
}
