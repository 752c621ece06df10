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
        let cursors = split.into_iter().map(VecCursor::new);
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
