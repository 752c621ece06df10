//! Range deletes: what they hide, from whom, and what becomes of the space.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use terrace::{
    CrashPolicy, Db, Env, Error, ManualClock, Options, SeededRng, SimFs, StoreFiles, WriteOptions,
};

fn store() -> (tempfile::TempDir, Db) {
    store_with(|options| options)
}

fn store_with(more: impl Fn(Options) -> Options) -> (tempfile::TempDir, Db) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().memory_budget(16 << 20).write_buffer(1 << 20).table_bytes(256 << 10);
    let db = more(options).open(dir.path()).unwrap();
    (dir, db)
}

fn fill(db: &Db, keys: std::ops::Range<u32>) {
    for n in keys {
        // Values that do not compress, so that there are several tables.
        let words = (0..12u64).map(|i| (u64::from(n) * 12 + i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        db.put(format!("key{n:06}"), words.flat_map(u64::to_le_bytes).collect::<Vec<_>>()).unwrap();
    }
}

fn keys(db: &Db) -> Vec<String> {
    db.iter().map(|entry| String::from_utf8(entry.unwrap().0.to_vec()).unwrap()).collect()
}

fn table_bytes(db: &Db) -> u64 {
    db.stats().levels.iter().map(|level| level.bytes).sum()
}

#[test]
fn every_kind_of_bound_means_what_it_says() {
    let (_dir, db) = store();
    let left = |delete: &dyn Fn(&Db)| {
        for key in ["a", "b", "b\0", "c", "d"] {
            db.put(key, "v").unwrap();
        }
        delete(&db);
        keys(&db).join(" ").replace('\0', "0")
    };
    assert_eq!(left(&|db| db.delete_range("b".."c").unwrap()), "a c d");
    assert_eq!(left(&|db| db.delete_range("b"..="c").unwrap()), "a d");
    let past_b = (Bound::Excluded("b"), Bound::Unbounded);
    assert_eq!(left(&|db| db.delete_range::<&str>(past_b).unwrap()), "a b");
    assert_eq!(left(&|db| db.delete_range(.."b").unwrap()), "b b0 c d");
    assert_eq!(left(&|db| db.delete_range::<&str>(..).unwrap()), "");
    assert_eq!(left(&|db| db.delete_range("c".."b").unwrap()), "a b b0 c d", "nothing is in it");
    assert_eq!(left(&|db| db.delete_prefix("b").unwrap()), "a c d");
    assert_eq!(left(&|db| db.delete_prefix("").unwrap()), "");
    let refused = db.delete_range(vec![b'k'; 65_536]..).unwrap_err();
    assert!(matches!(refused, Error::InvalidInput(_)), "{refused}");
}

#[test]
fn a_keyspace_ends_where_its_keys_end() {
    let (_dir, db) = store();
    let spaces: Vec<_> = (0..3).map(|n| db.keyspace(&format!("space{n}")).unwrap()).collect();
    for space in &spaces {
        space.put("k", "v").unwrap();
    }
    spaces[1].delete_range::<&str>(..).unwrap();
    assert_eq!(spaces.iter().map(|space| space.iter().count()).collect::<Vec<_>>(), [1, 0, 1]);
}

#[test]
fn a_batch_is_applied_in_its_order() {
    let (_dir, db) = store();
    fill(&db, 0..10);
    let mut batch = db.batch();
    batch.put("key000001", "before").delete_prefix("key").put("key000002", "after");
    batch.commit().unwrap();
    assert_eq!(keys(&db), ["key000002"]);
    db.flush().unwrap();
    assert_eq!(keys(&db), ["key000002"]);
    assert_eq!(db.stats().range_deletes, 0, "no table has anything that the marker hides");
}

/// The keys of a batch carry the number of their keyspace, and so does the end of a range.
#[test]
fn a_range_in_a_batch_filled_before_a_clear_is_deleted_after_it() {
    let (_dir, db) = store();
    let space = db.keyspace("space").unwrap();
    let mut batch = db.batch();
    batch.delete_range_in::<&str>(&space, ..).delete_range_in(&space, "b".."c");
    space.clear().unwrap();
    for key in ["a", "b", "c"] {
        space.put(key, "v").unwrap();
    }
    batch.put_in(&space, "d", "v", WriteOptions::new());
    batch.commit().unwrap();
    assert_eq!(space.iter().map(|e| e.unwrap().0.to_vec()).collect::<Vec<_>>(), [b"d"]);
}

#[test]
fn snapshots_from_before_see_everything_until_they_go() {
    let (_dir, db) = store();
    fill(&db, 0..20_000);
    let before = db.snapshot();
    db.delete_range("key005".."key015").unwrap();
    let after = db.snapshot();
    fill(&db, 7_000..7_010);
    for _ in 0..2 {
        assert_eq!(
            (before.iter().count(), after.iter().count(), db.iter().count()),
            (20_000, 10_000, 10_010)
        );
        assert_eq!(before.range("key".."key01").rev().count(), 10_000);
        assert_eq!(after.range("key".."key01").rev().count(), 5_000);
        assert!(before.get("key006000").unwrap().is_some() && after.get("key006000").unwrap().is_none());
        assert!(db.get("key007005").unwrap().is_some() && after.get("key007005").unwrap().is_none());
        db.compact_all().unwrap();
    }
    assert_eq!(db.stats().range_deletes, 1, "the older snapshot needs it");
    drop((before, after));
    db.compact_all().unwrap();
    assert_eq!(db.stats().range_deletes, 0);
    assert_eq!(db.stats().levels.iter().map(|level| level.entries).sum::<u64>(), 10_010);
}

#[test]
fn tables_under_a_range_go_unread_and_the_marker_with_them() {
    let (dir, db) = store();
    fill(&db, 0..60_000);
    db.compact_all().unwrap();
    let (before, read) = (table_bytes(&db), read_bytes(&db));
    db.delete_range("key001".."key058").unwrap();
    assert_eq!(db.iter().count(), 3_000);
    // It has freed more than a memtable holds, so it is flushed without being asked for.
    while db.stats().range_deletes == 0 && table_bytes(&db) > before / 5 {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    db.wait_idle().unwrap();
    assert!(table_bytes(&db) < before / 5, "{} of {before} left", table_bytes(&db));
    assert!(read_bytes(&db) - read < before / 5, "tables that go are not read");
    db.compact_all().unwrap();
    assert_eq!(db.stats().range_deletes, 0);
    assert_eq!(db.iter().rev().count(), 3_000);
    db.close().unwrap();
    assert_eq!(Db::open(dir.path()).unwrap().iter().count(), 3_000);
}

fn read_bytes(db: &Db) -> u64 {
    db.stats().levels.iter().map(|level| level.read_bytes).sum()
}

/// An entry at the bottom that no snapshot needs loses its number. Under a range delete which is older than the
/// entry, and still around for the sake of another table, it must not.
#[test]
fn an_entry_newer_than_a_marker_stays_newer_at_the_bottom() {
    let (_dir, db) = store_with(|options| options.background_compaction(false));
    fill(&db, 0..20_000);
    db.compact_all().unwrap();
    db.delete_range("key000100".."key010000").unwrap();
    fill(&db, 150..160);
    db.flush().unwrap();
    db.compact("key0001".."key0002").unwrap();
    assert_eq!(db.stats().range_deletes, 1, "the table around key010000 needs it");
    assert_eq!(db.range("key000100".."key000200").count(), 10);
    assert!(db.get("key000155").unwrap().is_some());
    db.compact_all().unwrap();
    assert_eq!(db.range("key000100".."key000200").rev().count(), 10);
    assert_eq!(db.iter().count(), 10_110);
}

/// From a table under a marker an iterator went on at the end of the marker's range, and so passed over whole
/// tables of the same run that had newer entries in that range.
#[test]
fn newer_entries_in_other_tables_under_the_marker_are_not_passed_over() {
    let (_dir, db) = store();
    fill(&db, 0..20_000);
    db.compact_all().unwrap();
    let needs_the_tables = db.snapshot();
    db.delete_prefix("key").unwrap();
    fill(&db, 9_000..9_010);
    fill(&db, 14_000..14_010);
    db.compact_all().unwrap();
    assert!(db.stats().levels.iter().map(|level| level.tables).sum::<u64>() > 3);
    assert_eq!((db.iter().count(), db.iter().rev().count()), (20, 20));
    assert_eq!((needs_the_tables.iter().count(), needs_the_tables.iter().rev().count()), (20_000, 20_000));
}

#[test]
fn a_range_delete_is_a_change_of_every_key_in_it() {
    let (_dir, db) = store();
    db.put("key", "1").unwrap();
    let space = db.keyspace("default").unwrap();
    for deleted in ["key", "absent"] {
        let (_, stamp) = db.read(deleted).unwrap();
        db.delete_prefix(&deleted[..1]).unwrap();
        let mut batch = db.batch();
        batch.expect_in(&space, deleted, stamp).put("other", "2");
        assert!(matches!(batch.commit(), Err(Error::Conflict)));
        let (entry, stamp) = db.read(deleted).unwrap();
        assert_eq!(entry, None);
        let mut batch = db.batch();
        batch.expect_in(&space, deleted, stamp).put("other", "2");
        batch.commit().unwrap();
    }
}

#[test]
fn a_queue_that_deletes_its_head_keeps_few_markers() {
    let (dir, db) = store();
    for n in 0..3_000u32 {
        db.put(format!("key{n:06}"), vec![0; 1_000]).unwrap();
        db.delete_range("key"..&*format!("key{:06}", n.saturating_sub(20))).unwrap();
    }
    assert_eq!(db.iter().count(), 21);
    db.flush().unwrap();
    assert!(db.stats().range_deletes <= 2, "{}", db.stats().range_deletes);
    db.close().unwrap();
    let db = Db::open(dir.path()).unwrap();
    assert_eq!(db.iter().rev().count(), 21);
}

/// A batch that deletes a range and writes into it: nobody sees the key missing in between.
#[test]
fn a_key_that_is_deleted_and_written_in_one_batch_is_never_missing() {
    let (_dir, db) = store();
    db.put("key1", "0").unwrap();
    let (stop, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                assert!(db.get("key1").unwrap().is_some());
                assert_eq!(
                    db.multi_get(["key1", "key2"]).unwrap()[1],
                    None,
                    "it is in no state of the store"
                );
                assert_eq!(db.prefix("key").count(), 1);
                reads.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut batches = 0;
        while !reader.is_finished() && (batches < 2_000 || reads.load(Ordering::Relaxed) < 500) {
            let mut batch = db.batch();
            batch.put("key2", "brief").delete_prefix("key").put("key1", batches.to_string());
            batch.commit().unwrap();
            batches += 1;
        }
        stop.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
}

/// Salvage took the marker in a log for a point entry, and left the markers of the manifest out.
#[test]
fn repair_applies_the_markers_of_the_manifest_and_of_the_log() {
    let sim = SimFs::new();
    let env = |sim: &SimFs| {
        let (clock, rng) = (Arc::new(ManualClock::default()), Arc::new(SeededRng::new(5)));
        Env::inline(Arc::new(sim.clone()), clock, rng)
    };
    let open = |sim: &SimFs, dir| Options::new().memory_budget(4 << 20).env(env(sim)).open(dir).unwrap();
    let db = open(&sim, "/store");
    fill(&db, 0..100);
    db.compact_all().unwrap();
    db.delete_range("key000010".."key000020").unwrap();
    fill(&db, 15..16);
    db.flush().unwrap();
    assert_eq!(db.stats().range_deletes, 1);
    db.delete_range("key000090"..).unwrap();
    fill(&db, 95..96);
    db.sync().unwrap();
    let expected = keys(&db);
    assert_eq!(expected.len(), 100 - 20 + 2);
    let left = sim.crash(CrashPolicy::ProcessDeath, 0);
    sim.stop_at(0);
    StoreFiles::new("/store").env(env(&left)).repair("/new", |_| ()).unwrap();
    assert_eq!(keys(&open(&left, "/new")), expected);
}
