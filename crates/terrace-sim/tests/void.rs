//! Space of entries that are void, expired or of a dropped keyspace, comes back although other entries of their tables
//! stay, and damage to one file keeps no other from giving back its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use terrace::{
    CrashPolicy, Db, Env, Error, ManualClock, Options, SeededRng, SimFs, StoreFiles, WriteOptions,
};

const STORE: &str = "/store";

struct World {
    sim: SimFs,
    clock: Arc<ManualClock>,
}

impl World {
    fn new() -> Self {
        Self { sim: SimFs::new(), clock: Arc::default() }
    }

    fn env(&self) -> Env {
        Env::inline(Arc::new(self.sim.clone()), Arc::clone(&self.clock) as _, Arc::new(SeededRng::new(5)))
    }

    fn options(&self) -> Options {
        let options = Options::new().memory_budget(4 << 20).write_buffer(256 << 10).shards(2);
        options.table_bytes(64 << 10).blob_from(1000).env(self.env())
    }

    fn open(&self) -> Db {
        self.options().open(STORE).unwrap()
    }

    fn files(&self, end: &str) -> Vec<PathBuf> {
        let named = |path: &PathBuf| path.extension().is_some_and(|found| found == end);
        self.sim.paths().into_iter().filter(named).collect()
    }

    /// Bytes of tables and blob files.
    fn bytes(&self) -> usize {
        let files = self.files("tbl").into_iter().chain(self.files("blob"));
        files.map(|path| self.sim.read_all(path).unwrap().len()).sum()
    }

    /// The same world with one bit of a file flipped.
    fn flipped(&self, path: &PathBuf, at: usize) -> Self {
        let mut bytes = self.sim.read_all(path).unwrap();
        bytes[at] ^= 4;
        let sim = self.sim.crash(CrashPolicy::ProcessDeath, 0);
        sim.overwrite(path, &bytes).unwrap();
        Self { sim, clock: Arc::clone(&self.clock) }
    }
}

/// Incompressible, and follows from `n`.
fn value(n: u64, len: usize) -> Vec<u8> {
    let rng = SeededRng::new(n);
    (0..len).map(|_| rng.below(256) as u8).collect()
}

fn key(n: u64) -> String {
    format!("key{n:04}")
}

fn put(db: &Db, n: u64, len: usize, ttl_s: u64) {
    let options = WriteOptions::new();
    let options = if ttl_s == 0 { options } else { options.ttl(Duration::from_secs(ttl_s)) };
    db.put_with(key(n), value(n, len), options).unwrap();
}

/// Nothing ever rewrote a table of which only a part had expired: its values stayed on disk for good, and those in blob
/// files counted as alive. No test had mixed the two in one table.
#[test]
fn what_has_expired_beside_what_never_does_gives_back_its_space_without_writes() {
    for len in [600, 3000] {
        for settled in [true, false] {
            let world = World::new();
            let db = world.open();
            // Nine in ten expire, over an hour.
            (0..200).for_each(|n| put(&db, n, len, if n % 10 == 0 { 0 } else { 1 + n * 18 }));
            db.flush().unwrap();
            if settled {
                db.compact_all().unwrap();
            }
            let whole = world.bytes();
            world.clock.advance(Duration::from_secs(1000));
            db.wait_idle().unwrap();
            let before = world.bytes();
            assert!(before > whole / 2, "a quarter has expired: {before} of {whole}");
            world.clock.advance(Duration::from_secs(2700));
            db.wait_idle().unwrap();
            let (left, kept) = (world.bytes(), 20 * len);
            assert!(left < kept * 2 + 10_000, "{len}, {settled}: {left} bytes of {whole} for {kept}");
            (0..200).for_each(|n| {
                let expected = (n % 10 == 0).then(|| value(n, len));
                assert_eq!(db.get(key(n)).unwrap().as_deref(), expected.as_deref());
            });
            db.verify().unwrap();
            db.close().unwrap();
            let files = StoreFiles::new(STORE).env(world.env());
            assert!(files.verify(|_| ()).unwrap().is_sound());
        }
    }
}

/// By hand the least counts: one entry of many that has expired.
#[test]
fn a_compaction_by_hand_leaves_nothing_that_has_expired() {
    let world = World::new();
    let db = world.open();
    (0..50).for_each(|n| put(&db, n, 3000, if n == 7 { 60 } else { 0 }));
    db.compact_all().unwrap();
    world.clock.advance(Duration::from_secs(61));
    let snapshot = db.snapshot();
    db.wait_idle().unwrap();
    let entries = |db: &Db| db.stats().levels.iter().map(|level| level.entries).sum::<u64>();
    assert_eq!(entries(&db), 50, "it is not worth it in the background");
    db.compact_all().unwrap();
    assert_eq!(entries(&db), 49);
    assert_eq!(snapshot.iter().count(), 49);
    db.close().unwrap();
}

/// A snapshot keeps old versions, but no value that it would not show either.
#[test]
fn a_snapshot_does_not_keep_what_has_expired() {
    let world = World::new();
    let db = world.open();
    let before = db.snapshot();
    (0..100).for_each(|n| put(&db, n, 3000, if n % 10 == 0 { 0 } else { 60 }));
    db.compact_all().unwrap();
    let between = db.snapshot();
    (0..100).for_each(|n| put(&db, n, 2000, if n % 10 == 0 { 0 } else { 60 }));
    db.compact_all().unwrap();
    world.clock.advance(Duration::from_secs(61));
    db.wait_idle().unwrap();
    let kept = 10 * (2000 + 3000);
    assert!(world.bytes() < kept * 2 + 10_000, "{} bytes for {kept}", world.bytes());
    assert_eq!((before.iter().count(), between.iter().count(), db.iter().count()), (0, 10, 10));
    drop((before, between));
    db.close().unwrap();
}

/// Of a dropped keyspace whose table others shared 200 values of 201 stayed, even after `compact_all`: the deepest level
/// was only rewritten where range deletes asked for it.
#[test]
fn a_dropped_keyspace_leaves_nothing_in_the_tables_that_others_share() {
    for by_hand in [true, false] {
        let world = World::new();
        let db = world.open();
        let space = db.keyspace("space").unwrap();
        let last = db.keyspace("last").unwrap();
        db.put("stays", value(7, 3000)).unwrap();
        (0..200).for_each(|n| space.put(key(n), value(n, 3000)).unwrap());
        (0..200).for_each(|n| space.put(format!("small{n:04}"), value(n, 100)).unwrap());
        last.put("stays, too", "small").unwrap();
        db.compact_all().unwrap();
        let tables = world.files("tbl").len();
        let whole = world.bytes();
        let snapshot = db.snapshot();
        db.drop_keyspace("space").unwrap();
        if by_hand {
            db.compact_all().unwrap();
        } else {
            db.wait_idle().unwrap();
        }
        let stats = db.stats();
        let entries: u64 = stats.levels.iter().map(|level| level.entries).sum();
        assert_eq!(
            (stats.blobs.records, entries),
            (1, 2),
            "by hand: {by_hand}, {tables} tables of {whole} bytes"
        );
        assert!(world.bytes() < 10_000, "{} bytes of {whole}", world.bytes());
        assert_eq!(db.get("stays").unwrap().as_deref(), Some(&value(7, 3000)[..]));
        assert_eq!(last.get("stays, too").unwrap().as_deref(), Some(&b"small"[..]));
        drop(snapshot);
        db.close().unwrap();
        let files = StoreFiles::new(STORE).env(world.env());
        assert!(files.verify(|_| ()).unwrap().is_sound());
    }
}

/// A table of very many keyspaces does not know each of them, but that most of them are gone.
#[test]
fn most_of_very_many_keyspaces_can_go() {
    let world = World::new();
    let db = world.open();
    for n in 0..300 {
        db.keyspace(&format!("space{n}")).unwrap().put("k", value(n, 1500)).unwrap();
    }
    db.compact_all().unwrap();
    let whole = world.bytes();
    (0..300).filter(|n| n % 30 != 0).for_each(|n| db.drop_keyspace(&format!("space{n}")).unwrap());
    db.wait_idle().unwrap();
    assert!(world.bytes() < whole / 6, "{} bytes of {whole}", world.bytes());
    assert_eq!(db.keyspace("space60").unwrap().get("k").unwrap().as_deref(), Some(&value(60, 1500)[..]));
    db.close().unwrap();
}

/// One damaged value in a file that was to be emptied: the picker chose the same again and again, five times a second,
/// and no other garbage was ever collected. The user saw a store that grew, and an error that came and went.
#[test]
fn a_damaged_value_that_is_to_be_moved_is_set_aside_and_the_rest_goes_on() {
    let world = World::new();
    let db = world.options().background_compaction(false).open(STORE).unwrap();
    // Two blob files, each with three values in four overwritten later.
    for file in 0..2 {
        (0..40).for_each(|n| put(&db, file * 100 + n, 3000, 0));
        db.flush().unwrap();
    }
    db.compact_all().unwrap();
    db.close().unwrap();
    let [damaged, sound] = &world.files("blob")[..] else { panic!("{:?}", world.files("blob")) };
    // Value 1 of the first file, which stays.
    let world = world.flipped(damaged, 3000 + 500);
    let db = world.open();
    for file in 0..2 {
        (0..40).filter(|n| n % 4 != 1).for_each(|n| put(&db, file * 100 + n, 2000, 0));
    }
    db.flush().unwrap();
    assert!(db.stats().damage.is_empty());
    db.wait_idle().unwrap();
    let stats = db.stats();
    let [reason] = &stats.damage[..] else { panic!("{stats:?}") };
    assert!(reason.contains(damaged.to_str().unwrap()), "{reason}");
    assert_eq!(stats.background_error, None, "nothing is tried again");
    assert!(
        world.files("blob").contains(damaged) && !world.files("blob").contains(sound),
        "{:?}",
        world.files("blob")
    );
    assert!(matches!(db.get(key(1)), Err(Error::Corruption { path, .. }) if path == *damaged));
    for (n, len) in [(0, 2000), (5, 3000), (100, 2000), (101, 3000), (105, 3000)] {
        assert_eq!(db.get(key(n)).unwrap().as_deref(), Some(&value(n, len)[..]));
    }
    // Everything else goes on, and a view and a checkpoint show the same.
    db.put("new", "entry").unwrap();
    db.flush().unwrap();
    db.checkpoint("/copy").unwrap();
    let view = world.options().open_read_only(STORE).unwrap();
    let copy = world.options().open("/copy").unwrap();
    for seen in [&view, &copy] {
        assert!(seen.get(key(1)).is_err());
        assert_eq!(seen.get(key(5)).unwrap().as_deref(), Some(&value(5, 3000)[..]));
    }
    drop(view);
    copy.close().unwrap();
    // By hand it is tried again, and told of.
    assert!(matches!(db.compact_all(), Err(Error::Corruption { path, .. }) if path == *damaged));
    // The value may be overwritten; then nothing needs the damaged bytes.
    put(&db, 1, 3000, 0);
    db.compact_all().unwrap();
    assert_eq!(db.stats().damage, Vec::<String>::new());
    assert!(!world.files("blob").contains(damaged));
    db.verify().unwrap();
    db.close().unwrap();
}

/// The same of a table: one damaged block kept every table from being compacted.
#[test]
fn a_damaged_table_is_set_aside_and_others_are_compacted() {
    let world = World::new();
    let db = world.open();
    (0..400).for_each(|n| put(&db, n, 600, if n % 5 == 0 { 0 } else { 60 }));
    db.compact_all().unwrap();
    db.close().unwrap();
    let (tables, whole) = (world.files("tbl"), world.bytes());
    assert!(tables.len() > 3, "{tables:?}");
    let world = world.flipped(&tables[1], 1000);
    world.clock.advance(Duration::from_secs(61));
    let db = world.open();
    db.wait_idle().unwrap();
    let stats = db.stats();
    assert_eq!((stats.background_error, stats.damage.len()), (None, 1));
    assert!(stats.damage[0].contains(tables[1].to_str().unwrap()), "{:?}", stats.damage);
    assert!(world.files("tbl").contains(&tables[1]) && world.bytes() < whole / 2, "{:?}", world.files("tbl"));
    let lost = (0..400).filter(|n| db.get(key(*n)).is_err()).count();
    assert!((1..20).contains(&lost), "{lost}");
    assert!(matches!(db.compact_all(), Err(Error::Corruption { path, .. }) if path == tables[1]));
    db.put("new", "entry").unwrap();
    db.flush().unwrap();
    db.wait_idle().unwrap();
    db.close().unwrap();
}

/// A damaged table into which level 0 would have to go: when level 0 was full, writers that wait heard why it would not
/// become less. Those that ask how long to wait, as the event loops of the server do, heard "a little" for ever: the
/// clients' writes hung, and nobody saw an error.
#[test]
fn who_asks_how_long_to_wait_for_a_store_that_is_stuck_is_refused_at_once() {
    let world = World::new();
    let db = world.open();
    (0..90).for_each(|n| put(&db, n, 600, 0));
    db.compact_all().unwrap();
    db.close().unwrap();
    let world = world.flipped(&world.files("tbl")[0], 1000);
    let db = world.options().l0_runs(2).l0_limit(3).open(STORE).unwrap();
    // Each run is smaller than the one before it, so they are not merged with each other.
    for step in [1, 3, 10] {
        (0..90).step_by(step).for_each(|n| put(&db, n, 700, 0));
        db.flush().unwrap();
        db.wait_idle().unwrap();
    }
    assert_eq!(db.stats().damage.len(), 1);
    let refused = db.put(key(1), "value");
    assert!(matches!(refused, Err(Error::Corruption { .. })), "{refused:?}");
    assert_eq!(db.write_delay(), Duration::ZERO);
    let mut batch = db.batch();
    batch.without_delay().put(key(1), "value");
    assert!(matches!(batch.commit(), Err(Error::Corruption { .. })));
    // What makes it go on again is in a repair; reads are as before.
    assert_eq!(db.get(key(0)).unwrap().as_deref(), Some(&value(0, 700)[..]));
    db.close().unwrap();
}
