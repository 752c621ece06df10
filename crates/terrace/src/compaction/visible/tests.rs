//! The retention rule against a reader at every snapshot.

use proptest::prelude::*;

use super::*;
use crate::base::{KeyspaceId, RangeDelete};
use crate::compaction::testing::{Row, sort};

fn key_in(keyspace: u32, name: &str) -> String {
    let mut bytes = Vec::new();
    key::push_prefix(&mut bytes, KeyspaceId(keyspace));
    bytes.extend_from_slice(name.as_bytes());
    String::from_utf8(bytes).expect("a small id is one ASCII byte")
}

fn keep_all() -> LiveKeyspaces {
    LiveKeyspaces::default()
}

fn run(rows: &[Row], mut rule: Retention) -> (Vec<Row>, Counts) {
    let mut out = Vec::new();
    for row in rows {
        if let Verdict::Keep(seqno, meta) = rule.judge(&row.key, row.seqno, row.meta) {
            let value = if meta.kind == Kind::Delete { Vec::new() } else { row.value.clone() };
            out.push(Row { key: row.key.clone(), seqno, meta, value });
        }
    }
    (out, rule.counts())
}

fn expiring(key: &str, seqno: Seqno, expires_at_ms: u64) -> Row {
    let mut row = Row::put(key, seqno);
    row.meta.expires_at_ms = expires_at_ms;
    row
}

/// What a reader at `snapshot` sees for a key in entries sorted newest first.
fn read(rows: &[Row], key: &[u8], snapshot: Seqno, now_ms: u64) -> Option<Vec<u8>> {
    let found = rows.iter().find(|r| r.key == key && r.seqno <= snapshot)?;
    found.meta.is_live(now_ms).then(|| found.value.clone())
}

#[test]
fn keeps_the_newest_version_of_each_stripe() {
    let rows: Vec<_> = [9, 8, 6, 5, 4, 1].map(|s| Row::put("k", s)).into();
    let (out, counts) = run(&rows, Retention::new(vec![5, 7], 0, keep_all(), Below::Unknown));
    let kept: Vec<_> = out.iter().map(|r| r.seqno).collect();
    assert_eq!(kept, [9, 6, 5]);
    assert_eq!((counts.read, counts.kept, counts.shadowed), (6, 3, 3));
}

#[test]
fn a_tombstone_stays_until_nothing_is_below_it() {
    let rows = [Row::delete("k", 7), Row::put("k", 3)];
    let (out, _) = run(&rows, Retention::new(vec![], 0, keep_all(), Below::Unknown));
    assert_eq!(out, [Row::delete("k", 7)], "above the bottom it still hides what is below");
    let (out, counts) = run(&rows, Retention::new(vec![], 0, keep_all(), Below::Nothing));
    assert_eq!(out, []);
    assert_eq!((counts.tombstones, counts.shadowed), (1, 1));
    let (out, _) = run(&rows, Retention::new(vec![5], 0, keep_all(), Below::Nothing));
    assert_eq!(out.len(), 2, "a snapshot between the two needs both");
    assert_eq!(out[1].seqno, 0);
    let check = Below::Check(Box::new(|key| key == b"k"));
    let (out, _) = run(&rows, Retention::new(vec![], 0, keep_all(), check));
    assert_eq!(out.len(), 1);
}

#[test]
fn an_expired_put_above_the_bottom_becomes_a_tombstone() {
    let rows = [expiring("k", 7, 100), Row::put("k", 3)];
    let (out, _) = run(&rows, Retention::new(vec![], 99, keep_all(), Below::Unknown));
    assert_eq!(out, rows[..1], "not expired yet");
    let (out, _) = run(&rows, Retention::new(vec![], 100, keep_all(), Below::Unknown));
    assert_eq!(out, [Row::delete("k", 7)]);
    let (out, counts) = run(&rows, Retention::new(vec![], 100, keep_all(), Below::Nothing));
    assert_eq!((out.len(), counts.expired, counts.shadowed), (0, 1, 1));
}

#[test]
fn entries_of_a_dropped_keyspace_go_and_unknown_ones_stay() {
    let keyspaces = LiveKeyspaces::new(vec![KeyspaceId(2), KeyspaceId(0)], 3);
    let rows: Vec<_> = (0..4).map(|id| Row::put(&key_in(id, "k"), 5)).collect();
    let (out, counts) = run(&rows, Retention::new(vec![9], 0, keyspaces, Below::Unknown));
    assert_eq!(out, [rows[0].clone(), rows[2].clone(), rows[3].clone()]);
    assert_eq!(counts.keyspace, 1);
}

#[test]
fn the_seqno_becomes_zero_only_at_the_bottom_and_below_every_snapshot() {
    let rows = [Row::put("k", 7)];
    let seqno = |snapshots, below| run(&rows, Retention::new(snapshots, 0, keep_all(), below)).0[0].seqno;
    assert_eq!(seqno(vec![], Below::Nothing), 0);
    assert_eq!(seqno(vec![7], Below::Nothing), 0);
    assert_eq!(seqno(vec![6], Below::Nothing), 7);
    assert_eq!(seqno(vec![], Below::Unknown), 7);
    assert_eq!(seqno(vec![], Below::Check(Box::new(|_| false))), 7);
}

/// Blocks under a range delete must be taken apart: in them are entries that are to go.
#[test]
fn a_span_under_a_range_delete_is_not_kept_whole() {
    let delete = RangeDelete { seqno: 5, start: b"\0d".to_vec(), end: b"\0f".to_vec() };
    let keyspaces = LiveKeyspaces::new(vec![KeyspaceId(0)], 1);
    let rule =
        Retention::new(vec![], 0, keyspaces, Below::Nothing).under(Arc::new(Fragments::new([&delete], &[])));
    let kept = [("a", "c"), ("f", "g"), ("a", "d"), ("e", "e"), ("e", "z")]
        .map(|(a, b)| rule.keeps_span(key_in(0, a).as_bytes(), key_in(0, b).as_bytes()));
    assert_eq!(kept, [true, true, false, false, false]);
}

proptest! {
    /// Every reader, at a live snapshot or at the newest state, sees the same before and after; also with the
    /// older entries that lie below, unless the rule was told that there are none.
    #[test]
    fn no_reader_sees_a_difference(
        writes in prop::collection::vec((0u8..4, 0u8..4, any::<bool>()), 1..40),
        snapshots in prop::collection::vec(0u64..45, 0..5),
        older in 0usize..20,
        bottom: bool,
    ) {
        let now_ms = 100;
        let rows: Vec<Row> = writes.iter().enumerate().map(|(i, (k, what, _))| {
            let (key, seqno) = (format!("k{k}"), i as u64 + 1);
            match what {
                0 => Row::delete(&key, seqno),
                1 => expiring(&key, seqno, 100),
                2 => expiring(&key, seqno, 101),
                _ => Row::put(&key, seqno),
            }
        }).collect();
        let split = if bottom { 0 } else { older.min(rows.len()) };
        let (mut lower, mut upper) = (rows[..split].to_vec(), rows[split..].to_vec());
        sort(&mut lower);
        sort(&mut upper);
        let below = if bottom { Below::Nothing } else {
            let keys: Vec<_> = lower.iter().map(|r| r.key.clone()).collect();
            Below::Check(Box::new(move |key| keys.iter().any(|k| k == key)))
        };
        let rule = Retention::new(snapshots.clone(), now_ms, keep_all(), below);
        let (mut after, counts) = run(&upper, rule);
        prop_assert_eq!(counts.read, counts.kept + counts.dropped());
        prop_assert_eq!(counts.kept, after.len() as u64);
        after.extend(lower.iter().cloned());
        let mut before = rows.clone();
        sort(&mut before);
        for snapshot in snapshots.into_iter().chain([u64::MAX]) {
            for key in 0..4 {
                let key = format!("k{key}").into_bytes();
                prop_assert_eq!(
                    read(&after, &key, snapshot, now_ms), read(&before, &key, snapshot, now_ms),
                    "{:?} at {}", key, snapshot
                );
            }
        }
    }
}
