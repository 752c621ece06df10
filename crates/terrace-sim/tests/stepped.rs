//! Reads that keep stepping over what is dead.

use terrace::{Db, Snapshot};

const DEAD: u32 = 20_000;
const LIVE: u32 = 30_000;

fn table_entries(db: &Db) -> u64 {
    db.stats().levels.iter().map(|level| level.entries).sum()
}

/// A store whose tables hold the versions and the tombstones of many deleted keys, and more keys that live: too
/// few tombstones to be compacted for their number. The snapshot that had kept them is gone.
fn store_with_tombstones() -> (tempfile::TempDir, Db) {
    let (dir, db, snapshot) = store_with_tombstones_in_use();
    drop(snapshot);
    db.wait_idle().unwrap();
    assert_eq!(table_entries(&db), u64::from(2 * DEAD + LIVE), "nothing else is due");
    (dir, db)
}

/// The same with the snapshot.
fn store_with_tombstones_in_use() -> (tempfile::TempDir, Db, Snapshot) {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    for n in 0..DEAD + LIVE {
        db.put(n.to_be_bytes(), "value").unwrap();
    }
    let snapshot = db.snapshot();
    for n in 0..DEAD {
        db.delete(n.to_be_bytes()).unwrap();
    }
    db.compact_all().unwrap();
    (dir, db, snapshot)
}

#[test]
fn a_scan_over_tombstones_has_them_compacted_away() {
    let (_dir, db) = store_with_tombstones();
    let (key, _) = db.iter().next().unwrap().unwrap();
    assert_eq!(&key[..], DEAD.to_be_bytes());
    db.wait_idle().unwrap();
    assert_eq!(table_entries(&db), u64::from(LIVE));
    assert_eq!(db.iter().count(), LIVE as usize);
}

#[test]
fn a_scan_backward_over_tombstones_has_them_compacted_away() {
    let (_dir, db) = store_with_tombstones();
    assert!(db.range(..DEAD.to_be_bytes()).next_back().is_none());
    db.wait_idle().unwrap();
    assert_eq!(table_entries(&db), u64::from(LIVE));
}

#[test]
fn a_snapshot_that_needs_the_versions_beneath_keeps_them_until_it_goes() {
    let (_dir, db, snapshot) = store_with_tombstones_in_use();
    assert_eq!(db.iter().count(), LIVE as usize);
    db.wait_idle().unwrap();
    assert_eq!(table_entries(&db), u64::from(2 * DEAD + LIVE));
    assert_eq!(snapshot.iter().count(), (DEAD + LIVE) as usize);
    drop(snapshot);
    db.wait_idle().unwrap();
    assert_eq!(table_entries(&db), u64::from(LIVE));
}

/// Their way down is short without help, and a hint would only have the picker look in vain.
#[test]
fn tombstones_in_level_zero_are_left_to_its_own_compaction() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    for n in 0..DEAD {
        db.put(n.to_be_bytes(), "value").unwrap();
    }
    db.compact_all().unwrap();
    for n in 0..DEAD {
        db.delete(n.to_be_bytes()).unwrap();
    }
    db.flush().unwrap();
    assert!(db.iter().next().is_none());
    db.wait_idle().unwrap();
    assert_eq!(table_entries(&db), u64::from(2 * DEAD));
}
