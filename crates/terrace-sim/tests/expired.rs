//! Removing what has expired: of several that find a key expired, one removes it.

use terrace::{Db, Error, WriteOptions};

#[test]
fn an_expired_key_is_removed_by_exactly_one() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let at = |ms| WriteOptions::new().expires_at_ms(ms);
    db.put_with("gone", "v", at(1)).unwrap();
    db.put_with("again", "v", at(1)).unwrap();
    db.put_with("later", "v", at(u64::MAX)).unwrap();
    db.put("plain", "v").unwrap();
    for key in ["later", "plain", "missing"] {
        assert!(db.read_expired(key).unwrap().is_none(), "{key}");
    }
    let remove = |key: &str, stamp| {
        let mut batch = db.batch();
        batch.expect_in(&db, key, stamp);
        batch.delete_in(&db, key);
        batch.commit()
    };
    let expired = |key: &str| db.read_expired(key).unwrap().unwrap();
    let ((entry, mine), (_, theirs)) = (expired("gone"), expired("gone"));
    assert_eq!((&entry.value[..], entry.expires_at_ms), (&b"v"[..], Some(1)));
    remove("gone", mine).unwrap();
    assert!(matches!(remove("gone", theirs), Err(Error::Conflict)));
    assert!(db.read_expired("gone").unwrap().is_none());
    let (_, stamp) = expired("again");
    db.put("again", "new").unwrap();
    assert!(matches!(remove("again", stamp), Err(Error::Conflict)));
    assert_eq!(db.get("again").unwrap().unwrap(), b"new"[..]);
}
