//! Keyspaces that are cleared or dropped between the parts of an operation.

use terrace::{Db, Error};

fn store() -> (tempfile::TempDir, Db) {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    (dir, db)
}

/// A batch kept the number that its keyspace had when the batch was filled. Committed after a clear, it was
/// acknowledged and written where nobody looks.
#[test]
fn a_batch_filled_before_a_clear_is_written_after_it() {
    let (_dir, db) = store();
    let space = db.keyspace("space").unwrap();
    let mut batch = db.batch();
    batch.put("key", "value").put_in(&space, "key", "value", terrace::WriteOptions::new());
    db.clear().unwrap();
    space.clear().unwrap();
    batch.put("late", "value");
    batch.commit().unwrap();
    assert_eq!(db.get("key").unwrap().as_deref(), Some(&b"value"[..]));
    assert_eq!(db.get("late").unwrap().as_deref(), Some(&b"value"[..]));
    assert_eq!(space.get("key").unwrap().as_deref(), Some(&b"value"[..]));
}

#[test]
fn a_batch_into_a_keyspace_that_was_dropped_changes_nothing() {
    let (_dir, db) = store();
    let space = db.keyspace("space").unwrap();
    let mut batch = db.batch();
    batch.put("key", "value").put_in(&space, "key", "value", terrace::WriteOptions::new());
    db.drop_keyspace("space").unwrap();
    let refused = batch.commit().unwrap_err();
    assert!(matches!(refused, Error::UnknownKeyspace { .. }), "{refused}");
    assert!(!db.contains("key").unwrap());
}

/// The check of a conditional commit looked at the keyspace's new number, found no entry and so no change: what
/// had been computed from a value survived the clear that removed the value.
#[test]
fn an_update_carries_nothing_across_a_clear() {
    let (_dir, db) = store();
    db.put("counter", "5").unwrap();
    let mut seen = Vec::new();
    let result = db.update("counter", |old| {
        seen.push(old.map(<[u8]>::to_vec));
        if seen.len() == 1 {
            db.clear().unwrap();
        }
        Some(old.map_or(b"new".to_vec(), |old| [old, b"+1"].concat()))
    });
    assert_eq!(result.unwrap().as_deref(), Some(&b"new"[..]));
    assert_eq!(seen, [Some(b"5".to_vec()), None]);
    assert_eq!(db.get("counter").unwrap().as_deref(), Some(&b"new"[..]));
}
