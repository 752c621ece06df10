//! The faults that were found by running the five stores that Terrace descends from. Each that could happen here has
//! a test of its own name, with what the user of that store saw.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use terrace::{
    Compression, CrashPolicy, Db, Durability, Env, Error, FaultOp, ManualClock, Options, PowerLoss,
};
use terrace::{Rng, SeededRng, SimFs, WriteOptions};
use terrace_sim::hooks::{Gate, is_table, small_options, watched_fs};

fn small() -> Options {
    Options::new().memory_budget(4 << 20).write_buffer(256 << 10).table_bytes(64 << 10).l0_runs(2)
}

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn on(disk: &SimFs, clock: &Arc<ManualClock>, options: Options) -> Result<Db, Error> {
    let rng = Arc::new(SeededRng::new(1));
    let clock = Arc::clone(clock);
    options.env(Env::inline(Arc::new(disk.clone()), clock, rng)).open(Path::new("/store"))
}

fn text(db: &Db, key: &str) -> Option<String> {
    db.get(key).unwrap().map(|value| String::from_utf8_lossy(&value).into_owned())
}

/// Overlapping files below level 0 were searched oldest first: a key overwritten six times gave its second value.
#[test]
fn a_key_overwritten_through_many_compactions_has_its_newest_value() {
    let dir = temporary();
    let db = small().background_compaction(false).open(dir.path()).unwrap();
    for version in 1..=9 {
        for n in 0..50 {
            db.put(format!("key{n:02}"), format!("{version}")).unwrap();
        }
        db.flush().unwrap();
        if version % 3 == 0 {
            db.compact("key10".."key40").unwrap();
        }
    }
    for n in 0..50 {
        assert_eq!(text(&db, &format!("key{n:02}")).as_deref(), Some("9"), "{n}");
    }
}

/// Compaction dropped tombstones at every level: put, flush, compact, delete, flush, compact gave the old value.
#[test]
fn a_deleted_key_stays_deleted_after_compactions_and_reopening() {
    let dir = temporary();
    let db = small().open(dir.path()).unwrap();
    db.put("key", "old").unwrap();
    db.compact_all().unwrap();
    db.delete("key").unwrap();
    db.flush().unwrap();
    db.compact("a".."z").unwrap();
    assert_eq!(text(&db, "key"), None);
    db.close().unwrap();
    let db = small().open(dir.path()).unwrap();
    assert_eq!((text(&db, "key"), db.iter().count()), (None, 0));
}

/// Two flushes of one key: get gave the new value, a range the old one. The same entry in three tables made the
/// range end with an error.
#[test]
fn a_range_agrees_with_get_when_tables_share_keys() {
    let dir = temporary();
    let db = small().background_compaction(false).open(dir.path()).unwrap();
    for value in ["old", "same", "same", "same"] {
        db.put("key", value).unwrap();
        db.flush().unwrap();
    }
    let found: Vec<_> = db.range("a".."z").map(|entry| entry.unwrap().1.to_vec()).collect();
    assert_eq!(found, [b"same"]);
    db.put("key", "new").unwrap();
    db.flush().unwrap();
    let found: Vec<_> = db.range("a".."z").rev().map(|entry| entry.unwrap().1.to_vec()).collect();
    assert_eq!(found, [b"new"]);
}

/// Level 0 was emptied after a compaction, with what had been flushed meanwhile: of 40,000 acknowledged keys 88
/// were missing.
#[test]
fn what_is_flushed_during_a_compaction_stays() {
    let dir = temporary();
    let db = small().open(dir.path()).unwrap();
    let done = AtomicBool::new(false);
    let write = |writer: u64| {
        for n in 0..3000 {
            db.put(format!("{writer}/{n:05}"), [writer as u8; 100]).unwrap();
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                db.compact_all().unwrap();
            }
        });
        let write = &write;
        let writers: Vec<_> = (0..4).map(|writer| scope.spawn(move || write(writer))).collect();
        let outcomes: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        assert!(outcomes.iter().all(Result::is_ok));
    });
    assert_eq!(db.iter().count(), 12_000);
}

/// A log cut by ten bytes swallowed the writes of the *next* run, synced ones too.
#[test]
fn a_torn_log_tail_takes_no_later_write_with_it() {
    let (clock, disk) = (Arc::new(ManualClock::default()), SimFs::new());
    let options = || small().durability(Durability::Process);
    let db = on(&disk, &clock, options()).unwrap();
    (0..40).for_each(|n| db.put(format!("old{n}"), [7; 300]).unwrap());
    for seed in 0..30 {
        let torn = disk.crash(CrashPolicy::PowerLoss(PowerLoss::RandomSectors), seed);
        let db = on(&torn, &clock, options()).unwrap();
        let sync = WriteOptions::new().durability(Durability::Sync);
        (0..5).for_each(|n| db.put_with(format!("new{n}"), "kept", sync).unwrap());
        let again = torn.crash(CrashPolicy::PowerLoss(PowerLoss::LoseUnsynced), seed);
        let db = on(&again, &clock, options()).unwrap();
        (0..5)
            .for_each(|n| assert_eq!(text(&db, &format!("new{n}")).as_deref(), Some("kept"), "seed {seed}"));
    }
}

/// The manifest was rewritten in place, without sync or rename; cut in half, the store did not open.
#[test]
fn a_crash_while_the_manifest_is_replaced_leaves_a_store_that_opens() {
    let (clock, disk) = (Arc::new(ManualClock::default()), SimFs::new());
    let db = on(&disk, &clock, small()).unwrap();
    (0..30).for_each(|n| db.put(format!("key{n}"), "value").unwrap());
    db.close().unwrap();
    let left: Arc<Mutex<Vec<SimFs>>> = Arc::default();
    let taken = Arc::clone(&left);
    disk.watch(move |moment| {
        for policy in CrashPolicy::ALL {
            taken.lock().push(moment.crash(policy, moment.number()));
        }
    });
    drop(on(&disk, &clock, small()).unwrap());
    let left = std::mem::take(&mut *left.lock());
    assert!(left.len() > 30, "{} crashes", left.len());
    for disk in left {
        assert_eq!(on(&disk, &clock, small()).unwrap().iter().count(), 30);
    }
}

/// Tables were not synced before the log was cut.
#[test]
fn tables_are_durable_before_their_log_goes() {
    let (clock, disk) = (Arc::new(ManualClock::default()), SimFs::new());
    let db = on(&disk, &clock, small().durability(Durability::Process)).unwrap();
    (0..30).for_each(|n| db.put(format!("key{n}"), "value").unwrap());
    db.flush().unwrap();
    let left = disk.crash(CrashPolicy::PowerLoss(PowerLoss::LoseUnsynced), 0);
    assert_eq!(on(&left, &clock, small()).unwrap().iter().count(), 30);
}

/// A value equal to the text of the tombstone read as deleted, an integer's least value deleted its key, and
/// nobody could tell a missing key from the value "(nil)".
#[test]
fn no_value_means_anything_but_itself() {
    let dir = temporary();
    let values: [&[u8]; 8] = [
        b"",
        b"__TOMBSTONE__",
        b"TOMBSTONE",
        b"(nil)",
        b"\0",
        b"x\nDEL victim",
        &i64::MIN.to_le_bytes(),
        &[0xff; 8],
    ];
    let db = small().open(dir.path()).unwrap();
    db.put("victim", "alive").unwrap();
    for (n, value) in values.iter().enumerate() {
        db.put(format!("key{n}"), value).unwrap();
    }
    for _ in 0..2 {
        for (n, value) in values.iter().enumerate() {
            assert_eq!(db.get(format!("key{n}")).unwrap().as_deref(), Some(*value), "{n}");
        }
        db.compact_all().unwrap();
    }
    db.close().unwrap();
    let db = small().open(dir.path()).unwrap();
    assert_eq!((text(&db, "victim").as_deref(), db.iter().count()), (Some("alive"), 9));
    assert_eq!(db.get("missing").unwrap(), None);
}

/// The filter had a fixed size: 46 % false positives at 5,000 keys, 100 % at 40,000.
#[test]
fn a_filter_grows_with_its_table() {
    let dir = temporary();
    let db = Options::new().memory_budget(64 << 20).open(dir.path()).unwrap();
    (0..40_000).for_each(|n| db.put(format!("key{n:06}"), "v").unwrap());
    db.compact_all().unwrap();
    (0..40_000).for_each(|n| assert!(!db.contains(format!("key{n:06}x")).unwrap()));
    let filters = db.stats().filter;
    let asked = filters.rejected + filters.false_positives;
    assert!(asked >= 39_000 && filters.false_positives < asked / 25, "{filters:?}");
}

/// The flush never emptied the memtable; behind 32,768 entries every new key was refused, and put said OK.
#[test]
fn more_keys_than_fit_the_buffer_are_all_kept() {
    let dir = temporary();
    let db = small().open(dir.path()).unwrap();
    (0..100_000).for_each(|n| db.put(format!("key{n:06}"), "v").unwrap());
    assert_eq!(db.iter().count(), 100_000);
    drop(db);
    assert_eq!(small().open(dir.path()).unwrap().iter().count(), 100_000);
}

/// The defaults wrote blocks that failed their own checksum; nothing could be read after a reopening.
#[test]
fn every_compression_reopens() {
    for compression in [Compression::None, Compression::Lz4] {
        for entries in [1, 30, 30_000] {
            let dir = temporary();
            let options = || small().compression(compression).compression_from_level(0);
            let db = options().open(dir.path()).unwrap();
            (0..entries).for_each(|n| db.put(format!("key{n:06}"), format!("value {}", n % 7)).unwrap());
            db.close().unwrap();
            let db = options().open(dir.path()).unwrap();
            assert_eq!(db.iter().map(Result::unwrap).count(), entries, "{compression:?}");
        }
    }
}

/// Runs were searched oldest first after a reopening: sessions that wrote 100, 200 and 300 read 100; deleted keys
/// returned; and what was not flushed was lost on a clean stop.
#[test]
fn the_newest_session_wins_and_a_clean_stop_loses_nothing() {
    let dir = temporary();
    for value in ["100", "200", "300"] {
        let db = small().open(dir.path()).unwrap();
        db.put("key", value).unwrap();
        (0..1000).for_each(|n| db.put(format!("many{n}"), value).unwrap());
        drop(db);
    }
    let db = small().open(dir.path()).unwrap();
    assert_eq!((text(&db, "key").as_deref(), db.iter().count()), (Some("300"), 1001));
    assert!(db.prefix("many").all(|entry| &entry.unwrap().1[..] == b"300"));
    db.delete("key").unwrap();
    db.close().unwrap();
    assert_eq!(text(&small().open(dir.path()).unwrap(), "key"), None);
}

/// The cache was global and its key did not name the tree: reads through it were wrong after recovery.
#[test]
fn two_stores_of_one_process_share_nothing() {
    let (dir, other) = (temporary(), temporary());
    let [one, two] = [(&dir, "one"), (&other, "two")].map(|(dir, value)| {
        let db = small().open(dir.path()).unwrap();
        (0..500).for_each(|n| db.put(format!("key{n:03}"), value).unwrap());
        db.compact_all().unwrap();
        db
    });
    for n in 0..500 {
        let key = format!("key{n:03}");
        assert_eq!((text(&one, &key).as_deref(), text(&two, &key).as_deref()), (Some("one"), Some("two")));
    }
}

/// Writes were acknowledged before anything was applied: reading one's own write failed 197 of 200 times.
#[test]
fn an_acknowledged_write_can_be_read_at_once_from_any_thread() {
    let dir = temporary();
    let db = small().open(dir.path()).unwrap();
    for n in 0..2000 {
        db.put("key", format!("{n}")).unwrap();
        let other = db.clone();
        if n % 50 == 0 {
            assert_eq!(thread::spawn(move || text(&other, "key")).join().unwrap(), Some(format!("{n}")));
        }
        assert_eq!(text(&db, "key"), Some(format!("{n}")));
    }
}

/// A kill right after the last OK cost all 1,500 writes.
#[test]
fn acknowledged_writes_survive_the_death_of_the_process() {
    let (clock, disk) = (Arc::new(ManualClock::default()), SimFs::new());
    let db = on(&disk, &clock, small().durability(Durability::Process)).unwrap();
    (0..1500).for_each(|n| db.put(format!("key{n}"), "value").unwrap());
    let left = disk.crash(CrashPolicy::ProcessDeath, 0);
    assert_eq!(on(&left, &clock, small()).unwrap().iter().count(), 1500);
}

/// Compaction dropped TTLs, so entries became permanent, and a restart began each TTL anew.
#[test]
fn a_ttl_survives_compaction_and_restart_unchanged() {
    let (clock, disk) = (Arc::new(ManualClock::default()), SimFs::new());
    let db = on(&disk, &clock, small()).unwrap();
    db.put_with("key", "value", WriteOptions::new().ttl(Duration::from_secs(60))).unwrap();
    db.compact_all().unwrap();
    clock.advance(Duration::from_secs(40));
    db.close().unwrap();
    let db = on(&disk, &clock, small()).unwrap();
    assert_eq!(text(&db, "key").as_deref(), Some("value"));
    db.compact_all().unwrap();
    clock.advance(Duration::from_secs(21));
    assert_eq!((text(&db, "key"), db.iter().count()), (None, 0));
}

/// Conflict detection was off: sixteen writers with 500 increments each, all acknowledged, counted to 652.
#[test]
fn counters_lose_no_update() {
    let dir = temporary();
    let db = small().open(dir.path()).unwrap();
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..500 {
                    db.increment("counter", 1).unwrap();
                }
            });
        }
    });
    assert_eq!(text(&db, "counter").as_deref(), Some("8000"));
}

/// An increment of the text "41" made a binary 1 of it, without an error.
#[test]
fn an_increment_counts_on_from_text_and_refuses_what_is_none() {
    let dir = temporary();
    let db = small().open(dir.path()).unwrap();
    db.put("text", "41").unwrap();
    assert_eq!(db.increment("text", 1).unwrap(), 42);
    assert_eq!(text(&db, "text").as_deref(), Some("42"));
    db.put("word", "many").unwrap();
    assert!(matches!(db.increment("word", 1), Err(Error::NotAnInteger(_))));
    assert_eq!(text(&db, "word").as_deref(), Some("many"));
}

/// A batch over several shards was one batch for each of them, though it was called atomic.
#[test]
fn a_batch_over_all_shards_is_seen_whole() {
    let dir = temporary();
    let db = small().shards(16).open(dir.path()).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..400 {
                let mut batch = db.batch();
                for n in 0..64 {
                    batch.put(format!("key{n:02}"), format!("{round}"));
                }
                batch.commit().unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            let snapshot = db.snapshot();
            let seen: Vec<_> = snapshot.prefix("key").map(|entry| entry.unwrap().1.to_vec()).collect();
            assert!(seen.windows(2).all(|pair| pair[0] == pair[1]) && [0, 64].contains(&seen.len()));
        }
    });
}

/// Tables were taken from the queue before they were written: acknowledged keys vanished until the flush ended.
#[test]
fn a_key_can_be_read_while_its_memtable_is_being_flushed() {
    let (dir, fs) = (temporary(), watched_fs());
    let db = small_options(&fs).open(dir.path()).unwrap();
    (0..100).for_each(|n| db.put(format!("key{n:02}"), "value").unwrap());
    let gate = Gate::closed();
    let held = Arc::clone(&gate);
    fs.watch(move |op, path| {
        if op == FaultOp::Sync && is_table(path) {
            held.pass();
        }
        None
    });
    let flusher = db.clone();
    let flush = thread::spawn(move || flusher.flush());
    gate.await_arrival();
    for n in 0..100 {
        assert_eq!(text(&db, &format!("key{n:02}")).as_deref(), Some("value"), "{n}");
    }
    assert_eq!(db.iter().count(), 100);
    gate.open();
    flush.join().unwrap().unwrap();
    assert_eq!(db.iter().count(), 100);
}

/// A write that was refused was in the log all the same, and appeared after a restart.
#[test]
fn a_refused_write_does_not_appear_later() {
    let dir = temporary();
    let db = small().open(dir.path()).unwrap();
    let mut batch = db.batch();
    batch.put("half", "1").put("", "an empty key");
    assert!(matches!(batch.commit(), Err(Error::InvalidInput(_))));
    let (_, stamp) = db.read("key").unwrap();
    db.put("key", "changed").unwrap();
    let mut batch = db.batch();
    batch.expect_in(&db, "key", stamp).put("conditional", "1");
    assert!(matches!(batch.commit(), Err(Error::Conflict)));
    drop(db);
    let db = small().open(dir.path()).unwrap();
    assert_eq!((text(&db, "half"), text(&db, "conditional"), db.iter().count()), (None, None, 1));
}

/// put failed for good after some thousand distinct keys at the default size.
#[test]
fn thousands_of_distinct_keys_fit_the_smallest_store() {
    let dir = temporary();
    let db = small().shards(1).open(dir.path()).unwrap();
    let rng = SeededRng::new(1);
    (0..20_000).for_each(|_| db.put(rng.next_u64().to_be_bytes(), "").unwrap());
    assert_eq!(db.iter().count(), 20_000);
}

/// There was no lock on the directory: two stores opened it, and one key was lost.
#[test]
fn a_second_opener_is_refused() {
    let dir = temporary();
    let db = small().open(dir.path()).unwrap();
    assert!(matches!(small().open(dir.path()), Err(Error::Locked { .. })));
    db.close().unwrap();
    small().open(dir.path()).unwrap();
}

/// `compact()` raised an error when everything was deleted.
#[test]
fn a_compaction_of_nothing_but_deletes_leaves_an_empty_store() {
    let dir = temporary();
    let db = small().open(dir.path()).unwrap();
    (0..100).for_each(|n| db.put(format!("key{n}"), "value").unwrap());
    db.flush().unwrap();
    (0..100).for_each(|n| db.delete(format!("key{n}")).unwrap());
    db.compact_all().unwrap();
    assert_eq!((db.iter().count(), db.stats().levels.iter().map(|level| level.tables).sum::<u64>()), (0, 0));
}

/// A collection named "../x" was made outside of the data directory.
#[test]
fn the_name_of_a_keyspace_is_no_path() {
    let dir = temporary();
    let db = small().open(dir.path().join("store")).unwrap();
    for name in ["../x", "/tmp/x", "a/b", "."] {
        if let Ok(keyspace) = db.keyspace(name) {
            keyspace.put("key", "value").unwrap();
        }
    }
    db.close().unwrap();
    let names: Vec<_> = dir.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["store"]);
}
