//! Records on the real file system: round trips, cuts at every byte, flipped bits.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;

use super::{RECORD_HEADER_BYTES, RecordReader, RecordWriter};
use crate::base::{Error, FileId, Result};
use crate::io::Fs;
use crate::io::os::OsFs;

const ID: FileId = FileId(7);

struct Log {
    dir: tempfile::TempDir,
}

impl Log {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn write(&self, payloads: &[Vec<u8>]) -> Vec<u8> {
        let _ = fs::remove_file(self.path());
        let file = OsFs::default().create(&self.path()).unwrap();
        let mut writer = RecordWriter::new(file, &self.path(), ID, 0);
        for payload in payloads {
            writer.append(payload).unwrap();
        }
        writer.sync().unwrap();
        let bytes = fs::read(self.path()).unwrap();
        assert_eq!(bytes.len() as u64, writer.offset());
        bytes
    }

    fn read(&self, bytes: &[u8], id: FileId, durable_bytes: u64) -> Result<(Vec<Vec<u8>>, u64, u64)> {
        fs::write(self.path(), bytes).unwrap();
        let file = OsFs::default().open(&self.path()).unwrap();
        let mut reader = RecordReader::new(file, &self.path(), id, durable_bytes)?;
        let mut payloads = Vec::new();
        while let Some(payload) = reader.next()? {
            payloads.push(payload);
        }
        assert!(reader.next()?.is_none(), "an ended log stays ended");
        Ok((payloads, reader.end(), reader.torn_bytes()))
    }
}

fn samples() -> Vec<Vec<u8>> {
    vec![b"first".to_vec(), vec![], vec![0; 40], b"the last one".to_vec()]
}

/// The offset at which each record ends.
fn ends(payloads: &[Vec<u8>]) -> Vec<usize> {
    let sum = |end: &mut usize, p: &Vec<u8>| {
        *end += RECORD_HEADER_BYTES + p.len();
        Some(*end)
    };
    payloads.iter().scan(0, sum).collect()
}

#[test]
fn a_cut_at_every_byte_keeps_exactly_the_whole_records() {
    let log = Log::new();
    let payloads = samples();
    let bytes = log.write(&payloads);
    let ends = ends(&payloads);
    for cut in 0..=bytes.len() {
        let whole = ends.iter().filter(|end| **end <= cut).count();
        let (found, end, torn) = log.read(&bytes[..cut], ID, 0).unwrap();
        assert_eq!(found, payloads[..whole], "cut at {cut}");
        assert_eq!(end + torn, cut as u64);
    }
}

#[test]
fn every_flipped_bit_is_a_torn_tail_in_the_last_record_and_damage_before_it() {
    let log = Log::new();
    let payloads = samples();
    let bytes = log.write(&payloads);
    let last_start = ends(&payloads)[payloads.len() - 2];
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let result = log.read(&damaged, ID, 0);
        if bit / 8 >= last_start {
            let (found, end, torn) = result.unwrap();
            assert_eq!(found, payloads[..payloads.len() - 1], "bit {bit}");
            assert_eq!((end, torn), (last_start as u64, (bytes.len() - last_start) as u64));
        } else {
            assert!(matches!(result, Err(Error::Corruption { .. })), "bit {bit}: {result:?}");
        }
    }
}

#[test]
fn damage_in_the_durable_part_is_never_a_torn_tail() {
    let log = Log::new();
    let mut bytes = log.write(&samples());
    let durable = bytes.len() as u64;
    let cut = log.read(&bytes[..bytes.len() - 1], ID, durable);
    assert!(matches!(cut, Err(Error::Corruption { .. })), "{cut:?}");
    *bytes.last_mut().unwrap() ^= 1;
    let flipped = log.read(&bytes, ID, durable);
    assert!(matches!(flipped, Err(Error::Corruption { .. })), "{flipped:?}");
    let missing = log.read(&[], ID, 1);
    assert!(matches!(missing, Err(Error::Corruption { .. })), "{missing:?}");
}

#[test]
fn records_of_another_file_or_another_place_are_not_valid() {
    let log = Log::new();
    let bytes = log.write(&samples());
    assert_eq!(log.read(&bytes, FileId(8), 0).unwrap().0, Vec::<Vec<u8>>::new());
    assert_eq!(log.read(&bytes[ends(&samples())[0]..], ID, 0).unwrap().0, Vec::<Vec<u8>>::new());
}

#[test]
fn a_preallocated_zero_tail_ends_the_log() {
    let log = Log::new();
    let mut bytes = log.write(&samples());
    bytes.extend_from_slice(&[0; 300]);
    let (found, _, torn) = log.read(&bytes, ID, 0).unwrap();
    assert_eq!((found, torn), (samples(), 300));
}

#[test]
fn a_writer_goes_on_where_the_reader_stopped_and_a_torn_tail_does_not_swallow_the_next_record() {
    let log = Log::new();
    let bytes = log.write(&samples());
    let torn = &bytes[..bytes.len() - 3];
    let (found, end, _) = log.read(torn, ID, 0).unwrap();
    assert_eq!(found.len(), 3);
    let file: Arc<dyn crate::io::File> = open_for_writing(&log.path());
    let mut writer = RecordWriter::new(file, &log.path(), ID, end);
    writer.append(b"next").unwrap();
    writer.sync().unwrap();
    let bytes = fs::read(log.path()).unwrap();
    let (found, _, _) = log.read(&bytes, ID, 0).unwrap();
    assert_eq!(found.last().unwrap(), b"next");
    assert_eq!(found.len(), 4);
}

/// `Fs` opens existing files for reading only; a new file with the old content stands in for them.
fn open_for_writing(path: &Path) -> Arc<dyn crate::io::File> {
    let bytes = fs::read(path).unwrap();
    fs::remove_file(path).unwrap();
    let file = OsFs::default().create(path).unwrap();
    file.write_all_at(&bytes, 0).unwrap();
    file
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_payloads_come_back(payloads: Vec<Vec<u8>>) {
        let log = Log::new();
        let bytes = log.write(&payloads);
        let (found, end, torn) = log.read(&bytes, ID, bytes.len() as u64).unwrap();
        prop_assert_eq!((found, end, torn), (payloads, bytes.len() as u64, 0));
    }

    #[test]
    fn random_bytes_never_panic_and_hold_no_record(bytes: Vec<u8>) {
        let log = Log::new();
        prop_assert_eq!(log.read(&bytes, ID, 0).unwrap().0, Vec::<Vec<u8>>::new());
    }
}
