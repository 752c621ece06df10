//! The merge cursor against a sorted vector, in both directions.

use proptest::prelude::*;

use super::*;
use crate::compaction::testing::{Row, VecCursor, sort};

fn row(cursor: &impl Cursor) -> Row {
    let (key, value) = (cursor.key().to_vec(), cursor.value().to_vec());
    Row { key, seqno: cursor.seqno(), meta: cursor.meta(), value }
}

#[derive(Clone, Debug)]
enum Step {
    First,
    Last,
    Seek(String),
    SeekBefore(String),
    Next,
    Prev,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::First),
        1 => Just(Step::Last),
        1 => key().prop_map(Step::Seek),
        1 => key().prop_map(Step::SeekBefore),
        6 => Just(Step::Next),
        6 => Just(Step::Prev),
    ]
}

/// Keys around the eight bytes of a head: shorter, equal in the head, longer.
fn key() -> impl Strategy<Value = String> {
    "(pp|pq)(x{0,7})[ab]{0,2}"
}

proptest! {
    #[test]
    fn reads_as_one_sorted_sequence_in_both_directions(
        keys in prop::collection::vec((key(), 0usize..9), 0..60),
        sources in 0usize..10,
        steps in prop::collection::vec(step(), 1..80),
        shared_bytes in 0usize..2,
    ) {
        let mut split = vec![Vec::new(); sources];
        let mut all = Vec::new();
        for (i, (key, source)) in keys.iter().enumerate().filter(|_| sources > 0) {
            let row = Row::put(key, i as u64 + 1);
            split[source % sources].push(row.clone());
            all.push(row);
        }
        sort(&mut all);
        let cursors = split.into_iter().map(VecCursor::new).collect();
        let mut merged = MergeCursor::with_shared_prefix(cursors, shared_bytes);
        let mut model = VecCursor::new(all);
        for step in steps {
            match &step {
                Step::First => { merged.seek_to_first().unwrap(); model.seek_to_first().unwrap(); }
                Step::Last => { merged.seek_to_last().unwrap(); model.seek_to_last().unwrap(); }
                Step::Seek(key) => {
                    merged.seek(key.as_bytes()).unwrap();
                    model.seek(key.as_bytes()).unwrap();
                }
                Step::SeekBefore(key) => {
                    merged.seek_before(key.as_bytes()).unwrap();
                    model.seek_before(key.as_bytes()).unwrap();
                }
                Step::Next if model.valid() => { merged.next().unwrap(); model.next().unwrap(); }
                Step::Prev if model.valid() => { merged.prev().unwrap(); model.prev().unwrap(); }
                Step::Next | Step::Prev => {}
            }
            prop_assert_eq!(merged.valid(), model.valid(), "{:?}", step);
            if model.valid() {
                prop_assert_eq!(row(&merged), row(&model), "{:?}", step);
            }
        }
    }
}

#[test]
fn equal_entries_come_out_in_source_order_both_ways() {
    let twin = |value: &str| {
        let mut row = Row::put("k", 0);
        row.value = value.as_bytes().to_vec();
        VecCursor::new(vec![row])
    };
    let mut merged = MergeCursor::new(vec![twin("newer"), twin("older")]);
    merged.seek_to_first().unwrap();
    assert_eq!(merged.value(), b"newer");
    merged.next().unwrap();
    assert_eq!(merged.value(), b"older");
    merged.prev().unwrap();
    assert_eq!(merged.value(), b"newer");
    merged.seek_to_last().unwrap();
    assert_eq!(merged.value(), b"older");
}

#[test]
fn an_error_in_a_source_leaves_the_cursor_invalid() {
    let mut bad = VecCursor::new(vec![Row::put("a", 1), Row::put("c", 2)]);
    bad.fail_at = Some(1);
    let mut merged = MergeCursor::new(vec![VecCursor::new(vec![Row::put("b", 3)]), bad]);
    merged.seek_to_first().unwrap();
    assert!(merged.next().is_err());
    assert!(!merged.valid());
    merged.seek(b"d").unwrap();
    assert!(!merged.valid());
}

/// Sixteen-byte keys side by side, as in a block: what a source costs is next to nothing.
struct FlatCursor {
    keys: Vec<[u8; 16]>,
    at: usize,
}

impl Cursor for FlatCursor {
    fn valid(&self) -> bool {
        self.at < self.keys.len()
    }
    fn key(&self) -> &[u8] {
        &self.keys[self.at]
    }
    fn seqno(&self) -> Seqno {
        self.at as u64
    }
    fn meta(&self) -> EntryMeta {
        EntryMeta::PUT
    }
    fn value(&self) -> &[u8] {
        &[]
    }
    fn seek_to_first(&mut self) -> Result<()> {
        self.at = 0;
        Ok(())
    }
    fn seek_to_last(&mut self) -> Result<()> {
        self.at = self.keys.len().wrapping_sub(1);
        Ok(())
    }
    fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.at = self.keys.partition_point(|k| k.as_slice() < key);
        Ok(())
    }
    fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        self.at = self.keys.partition_point(|k| k.as_slice() < key).wrapping_sub(1);
        Ok(())
    }
    fn next(&mut self) -> Result<()> {
        self.at += 1;
        Ok(())
    }
    fn prev(&mut self) -> Result<()> {
        self.at = self.at.wrapping_sub(1);
        Ok(())
    }
}

/// Not a check but a figure: time per entry with 4 and 8 sources in random order. Run by hand, in release.
#[test]
#[ignore = "prints a figure; run by hand in release"]
fn time_per_entry() {
    for (sources, shared_bytes) in [(1usize, 0), (4, 0), (4, 5), (8, 0), (8, 5)] {
        let mut split = vec![Vec::new(); sources];
        for i in 0..1_000_000u64 {
            let mix = i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let mut key = *b"user:00000000000";
            key[5..13].copy_from_slice(&mix.to_be_bytes());
            split[(mix.wrapping_mul(0xD6E8_FEB8_6659_FD93) >> 32) as usize % sources].push(key);
        }
        let boxed = |mut keys: Vec<[u8; 16]>| {
            keys.sort_unstable();
            Box::new(FlatCursor { keys, at: 0 }) as Box<dyn Cursor>
        };
        let cursors = split.into_iter().map(boxed).collect();
        let mut merged = MergeCursor::with_shared_prefix(cursors, shared_bytes);
        let clock = crate::io::Env::default().clock;
        let mut best = u64::MAX;
        for _ in 0..5 {
            let (mut seen, mut sum) = (0u64, 0u64);
            let start = clock.monotonic_ns();
            merged.seek_to_first().unwrap();
            while merged.valid() {
                seen += 1;
                sum = sum.wrapping_add(merged.key().len() as u64 + merged.seqno());
                merged.next().unwrap();
            }
            best = best.min((clock.monotonic_ns() - start) * 10 / seen);
            assert!(sum > seen);
        }
        println!("{sources} sources, {shared_bytes} shared bytes: {}.{} ns/entry", best / 10, best % 10);
    }
}
