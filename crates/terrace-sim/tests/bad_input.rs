//! Wrong arguments, wrong directories and foreign versions get an error that says so, and change nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use terrace::{Action, Db, Durability, Error, MAX_BATCH_ENTRIES, Options, WriteOptions};

/// Every file below `dir` with its content.
fn listing(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

fn small_store(dir: &Path) {
    let db = Db::open(dir).unwrap();
    db.put("key", "value").unwrap();
    db.close().unwrap();
}

/// CRC-32C, bit by bit: an implementation that shares nothing with the store's.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82F6_3B78 } else { crc >> 1 };
        }
    }
    !crc
}

fn is_invalid<T>(outcome: Result<T, Error>) -> bool {
    matches!(outcome, Err(error @ Error::InvalidInput(_)) if error.action() == Action::FixInput)
}

#[test]
fn the_checksum_here_is_the_published_one() {
    assert_eq!(crc32c(b"123456789"), 0xE306_9283);
}

#[test]
fn a_directory_that_is_no_store_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("photo.jpg"), "not a store").unwrap();
    let before = listing(dir.path());
    for create in [true, false] {
        let refused = Options::new().create_if_missing(create).open(dir.path()).unwrap_err();
        assert!(matches!(&refused, Error::NotAStore { path, .. } if path == dir.path()), "{refused}");
        assert!(refused.to_string().contains("photo.jpg"), "{refused}");
        assert_eq!(listing(dir.path()), before);
    }
}

#[test]
fn a_missing_directory_is_made_only_on_request() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("deeper/store");
    let refused = Options::new().create_if_missing(false).open(&dir).unwrap_err();
    assert!(matches!(refused, Error::NotAStore { .. }), "{refused}");
    assert!(!parent.path().join("deeper").exists());
    fs::create_dir_all(&dir).unwrap();
    let refused = Options::new().create_if_missing(false).open(&dir).unwrap_err();
    assert!(matches!(refused, Error::NotAStore { .. }), "an empty directory: {refused}");
    assert!(listing(&dir).is_empty());
    Db::open(&dir).unwrap().close().unwrap();
    Options::new().create_if_missing(false).open(&dir).unwrap().close().unwrap();
}

#[test]
fn a_file_in_the_place_of_the_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "hello").unwrap();
    let refused = Db::open(&file).unwrap_err();
    assert!(matches!(refused, Error::Io { .. } | Error::NotAStore { .. }), "{refused:?}");
    assert_eq!(fs::read(&file).unwrap(), b"hello");
}

#[test]
fn a_store_is_opened_once_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    db.put("key", "value").unwrap();
    match Db::open(dir.path()) {
        Err(error @ Error::Locked { pid: Some(pid), .. }) if pid == std::process::id() => {
            assert_eq!(error.action(), Action::Wait);
            assert!(error.to_string().contains(&pid.to_string()), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(db.get("key").unwrap().as_deref(), Some(&b"value"[..]));
    db.close().unwrap();
    assert!(matches!(db.put("key", "late"), Err(Error::Closed)));
    db.close().unwrap();
    assert_eq!(Db::open(dir.path()).unwrap().get("key").unwrap().as_deref(), Some(&b"value"[..]));
}

#[test]
fn keys_values_and_options_outside_their_limits_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    let longest = vec![b'k'; 65_535];
    let too_long = vec![b'k'; 65_536];
    db.put(&longest, "v").unwrap();
    assert_eq!(db.get(&longest).unwrap().as_deref(), Some(&b"v"[..]));
    for key in [&b""[..], &too_long] {
        assert!(is_invalid(db.put(key, "v")) && is_invalid(db.delete(key)));
        assert!(is_invalid(db.get(key)) && is_invalid(db.read(key)) && is_invalid(db.multi_get([key])));
        assert!(is_invalid(db.update(key, |_| None)) && is_invalid(db.increment(key, 1)));
    }
    let put = |options| db.put_with("k", "v", options);
    assert!(is_invalid(put(WriteOptions::new().ttl(Duration::ZERO))));
    assert!(is_invalid(put(WriteOptions::new().ttl(Duration::from_micros(999)))));
    assert!(is_invalid(put(WriteOptions::new().expires_at_ms(0))));
    assert!(is_invalid(put(WriteOptions::new().tag(16))));
    put(WriteOptions::new().ttl(Duration::MAX).tag(15)).unwrap();
    assert_eq!(db.get("k").unwrap().as_deref(), Some(&b"v"[..]), "the longest life does not overflow");
    assert!(is_invalid(Options::new().shards(3).open(dir.path().join("other"))));
    assert!(!dir.path().join("other").exists());
    db.put("text", "seven").unwrap();
    assert!(matches!(db.increment("text", 1), Err(Error::NotAnInteger(_))));
    assert_eq!(db.iter().count(), 3);
}

#[test]
fn a_mistake_in_a_batch_refuses_all_of_it() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (db, other) = (Db::open(dir.path()).unwrap(), Db::open(other_dir.path()).unwrap());
    let foreign = other.keyspace("foreign").unwrap();
    let mut batch = db.batch();
    batch.put("good", "1").put("", "2").put("good too", "3");
    assert!(is_invalid(batch.commit()));
    let mut batch = db.batch();
    batch.put("good", "1").put_in(&foreign, "k", "v", WriteOptions::new());
    assert!(is_invalid(batch.commit()));
    let (_, stamp) = foreign.read("k").unwrap();
    let mut batch = db.batch();
    batch.put("good", "1").expect_in(&foreign, "k", stamp);
    assert!(is_invalid(batch.commit()));
    assert_eq!(db.iter().count() + other.iter().count() + foreign.iter().count(), 0);
    db.batch().commit().unwrap();
}

#[test]
fn a_batch_holds_so_many_entries_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().durability(Durability::Memory).open(dir.path()).unwrap();
    let mut batch = db.batch();
    for _ in 0..MAX_BATCH_ENTRIES {
        batch.delete("k");
    }
    assert_eq!(batch.len(), MAX_BATCH_ENTRIES as usize);
    batch.put("k", "one too many");
    assert!(is_invalid(batch.commit()));
    assert_eq!(db.stats().last_seqno, 0);
}

#[test]
fn keyspaces_are_named_and_known() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path()).unwrap();
    assert!(is_invalid(db.keyspace("")) && is_invalid(db.keyspace(&"n".repeat(256))));
    db.keyspace(&"n".repeat(255)).unwrap().put("k", "v").unwrap();
    assert!(db.find_keyspace("unknown").is_none());
    match db.drop_keyspace("unknown") {
        Err(Error::UnknownKeyspace { name }) => assert_eq!(name, "unknown"),
        other => panic!("{other:?}"),
    }
    assert!(is_invalid(db.drop_keyspace("default")));
    let gone = db.keyspace("gone").unwrap();
    db.drop_keyspace("gone").unwrap();
    assert!(matches!(gone.put("k", "v"), Err(Error::UnknownKeyspace { .. })));
    assert!(matches!(gone.get("k"), Err(Error::UnknownKeyspace { .. })));
    assert!(matches!(gone.clear(), Err(Error::UnknownKeyspace { .. })));
    assert!(matches!(gone.iter().next(), Some(Err(Error::UnknownKeyspace { .. }))));
}

/// The checksum of `data` as the store binds it to a file and an offset.
fn bound(file: u64, offset: u64, data: &[u8]) -> u32 {
    let mut seed = Vec::new();
    seed.extend_from_slice(&file.to_le_bytes());
    seed.extend_from_slice(&offset.to_le_bytes());
    seed.extend_from_slice(&crc32c(data).to_le_bytes());
    crc32c(&seed).max(1)
}

/// Changes the bytes of the only file in `dir` whose name contains `part`.
fn patch(dir: &Path, part: &str, change: impl FnOnce(&str, &mut [u8])) {
    let files: Vec<_> = listing(dir).into_iter().filter(|(name, _)| name.contains(part)).collect();
    let [(name, bytes)] = &files[..] else { panic!("{part} is ambiguous: {:?}", listing(dir).keys()) };
    let mut bytes = bytes.clone();
    change(name, &mut bytes);
    fs::write(dir.join(name), &bytes).unwrap();
}

fn names_version<T>(outcome: Result<T, Error>, file: &str, version: u32) {
    match outcome.err() {
        Some(error @ Error::UnsupportedVersion { found, .. }) if found == version => {
            let text = error.to_string();
            assert!(text.contains(file) && text.contains(&format!("version {version}")), "{text}");
            assert_eq!(error.action(), Action::FixInput);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_manifest_of_another_version_is_named_and_nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    small_store(dir.path());
    patch(dir.path(), "MANIFEST-", |name, bytes| {
        // The header record: checksum, length and payload checksum of 4 bytes each, then the payload.
        assert_eq!(bytes[12..21], *b"\x01TERRACE\0");
        bytes[21..25].copy_from_slice(&9u32.to_le_bytes());
        let length = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
        let payload = crc32c(&bytes[12..12 + length]);
        bytes[8..12].copy_from_slice(&payload.to_le_bytes());
        let file = name["MANIFEST-".len()..].parse().unwrap();
        let sum = bound(file, 0, &bytes[4..12]);
        bytes[..4].copy_from_slice(&sum.to_le_bytes());
    });
    let before = listing(dir.path());
    names_version(Db::open(dir.path()), "MANIFEST-", 9);
    let mut after = listing(dir.path());
    after.insert("LOCK".to_string(), before["LOCK"].clone());
    assert_eq!(after, before);
}

#[test]
fn a_log_of_another_version_is_named_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let db = Options::new().write_buffer(256 << 10).open(dir.path()).unwrap();
    db.put("key", "value").unwrap();
    for (name, bytes) in listing(dir.path()) {
        fs::write(copy.path().join(name), bytes).unwrap();
    }
    db.close().unwrap();
    let mut logs: Vec<_> = listing(copy.path()).into_keys().filter(|name| name.contains(".wal")).collect();
    logs.sort();
    let set_version = |version: u32| {
        patch(copy.path(), &logs[0], |_, bytes| {
            assert_eq!(bytes[4..12], *b"TERRAWAL");
            bytes[12..16].copy_from_slice(&version.to_le_bytes());
        });
    };
    set_version(9);
    names_version(Db::open(copy.path()), &logs[0], 9);
    set_version(1);
    let db = Db::open(copy.path()).unwrap();
    assert_eq!(db.get("key").unwrap().as_deref(), Some(&b"value"[..]));
}

#[test]
fn a_table_of_another_version_is_named_by_whoever_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    small_store(dir.path());
    patch(dir.path(), ".tbl", |_, bytes| {
        let at = bytes.len() - 12;
        assert_eq!(bytes[at + 4..], *b"TERRATBL");
        bytes[at..at + 4].copy_from_slice(&9u32.to_le_bytes());
    });
    let db = Db::open(dir.path()).unwrap();
    names_version(db.get("key"), ".tbl", 9);
    names_version(db.iter().next().unwrap(), ".tbl", 9);
}
