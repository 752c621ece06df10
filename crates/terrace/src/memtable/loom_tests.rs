//! Loom models: every order in which one writer's stores may reach one reader.

use std::sync::Arc;

use super::{ChunkPool, Memtable, MemtableOptions};
use crate::base::id::MAX_SEQNO;
use crate::base::{Cursor, EntryMeta};

/// Checks all interleavings with at most this many preemptions of a thread.
const PREEMPTIONS: usize = 3;

fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(check);
}

fn options() -> MemtableOptions {
    MemtableOptions { shards: 1, chunk_bytes: 1024, expected_bytes: 0 }
}

/// Distinct tags, so that growing moves the keys.
fn hash(key: u8) -> u64 {
    u64::from(key) << 61 | u64::from(key) << 33
}

#[test]
fn a_get_sees_the_old_or_the_new_version_whole() {
    model(|| {
        let (memtable, mut writers) = Memtable::new(&ChunkPool::new(0), &options());
        let mut writer = writers.remove(0);
        writer.insert(hash(1), &[1], 1, EntryMeta::PUT, &[1; 9]);
        let reader = Arc::clone(&memtable);
        let reader = loom::thread::spawn(move || {
            let first = reader.get(hash(1), &[1], MAX_SEQNO).expect("it was there before");
            assert!(first.value == [first.seqno as u8; 9] && first.seqno <= 2);
            let old = reader.get(hash(1), &[1], 1).expect("old versions stay");
            assert!(old.seqno == 1 && old.value == [1; 9]);
            // What has been seen once does not go away.
            assert!(reader.newest(hash(1), &[1]) >= Some(first.seqno));
        });
        writer.insert(hash(1), &[1], 2, EntryMeta::PUT, &[2; 9]);
        assert_eq!(memtable.newest(hash(1), &[1]), Some(2));
        reader.join().unwrap();
    });
}

#[test]
fn a_get_during_index_growth_misses_nothing_older() {
    model(|| {
        let (memtable, mut writers) = Memtable::new(&ChunkPool::new(0), &options());
        let mut writer = writers.remove(0);
        for key in 1..=5 {
            writer.insert(hash(key), &[key], key.into(), EntryMeta::PUT, &[key]);
        }
        let reader = Arc::clone(&memtable);
        let reader = loom::thread::spawn(move || {
            let new = reader.get(hash(6), &[6], MAX_SEQNO);
            assert!(new.is_none_or(|entry| entry.seqno == 6 && entry.value == [6]));
            let old = reader.get(hash(3), &[3], MAX_SEQNO).expect("growing loses nothing");
            assert_eq!((old.seqno, old.value), (3, &[3u8][..]));
        });
        // The sixth key does not fit into five eighths of eight slots.
        writer.insert(hash(6), &[6], 6, EntryMeta::PUT, &[6]);
        reader.join().unwrap();
    });
}

#[test]
fn a_get_follows_the_writer_into_a_new_chunk() {
    model(|| {
        let (memtable, mut writers) = Memtable::new(&ChunkPool::new(0), &options());
        let mut writer = writers.remove(0);
        for seqno in 1..=4 {
            writer.insert(hash(1), &[1], seqno, EntryMeta::PUT, &[seqno as u8; 220]);
        }
        assert!(writer.needs_chunk(200));
        let reader = Arc::clone(&memtable);
        let reader = loom::thread::spawn(move || {
            let seen = reader.get(hash(1), &[1], MAX_SEQNO).expect("it was there before");
            assert_eq!(seen.value, [seen.seqno as u8; 220]);
        });
        writer.insert(hash(1), &[1], 5, EntryMeta::PUT, &[5; 220]);
        reader.join().unwrap();
    });
}

#[test]
fn a_cursor_shows_whole_entries_and_a_prefix_of_the_writes() {
    model(|| {
        let (memtable, mut writers) = Memtable::new(&ChunkPool::new(0), &options());
        let mut writer = writers.remove(0);
        writer.insert(hash(1), &[1], 1, EntryMeta::PUT, &[1; 3]);
        let reader = Arc::clone(&memtable);
        let reader = loom::thread::spawn(move || {
            let mut cursor = reader.cursor(MAX_SEQNO);
            cursor.seek_to_first().unwrap();
            let mut seen = 0;
            while cursor.valid() {
                seen += 1;
                assert_eq!((cursor.seqno(), cursor.value()), (seen, &[seen as u8; 3][..]));
                cursor.next().unwrap();
            }
            assert!(seen >= 1);
        });
        for seqno in 2..=3 {
            writer.insert(hash(seqno as u8), &[seqno as u8], seqno, EntryMeta::PUT, &[seqno as u8; 3]);
        }
        reader.join().unwrap();
    });
}
