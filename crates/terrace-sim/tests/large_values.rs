//! Large values in blob files: every way to read them gives what was written, their garbage is bounded and goes, and a
//! damaged value costs that value alone and is named.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use terrace::{
    Append, CrashPolicy, Db, Env, Error, ManualClock, Options, SeededRng, SimFs, StoreFiles, WriteOptions,
};

const STORE: &str = "/store";

fn env(sim: &SimFs, clock: &Arc<ManualClock>) -> Env {
    Env::inline(Arc::new(sim.clone()), Arc::clone(clock) as _, Arc::new(SeededRng::new(5)))
}

fn options() -> Options {
    let options = Options::new().memory_budget(4 << 20).write_buffer(256 << 10).shards(2);
    options.table_bytes(64 << 10).merge_operator(Append).blob_from(1000)
}

fn open(sim: &SimFs) -> Db {
    options().env(env(sim, &Arc::default())).open(STORE).unwrap()
}

/// A value that is half compressible and follows from `n`.
fn value(n: u64, len: usize) -> Vec<u8> {
    let rng = SeededRng::new(n);
    (0..len).map(|at| if at % 2 == 0 { n as u8 } else { rng.below(256) as u8 }).collect()
}

fn key(n: u64) -> String {
    format!("key{n:04}")
}

fn blob_files(sim: &SimFs) -> Vec<PathBuf> {
    let blobs = sim.paths().into_iter().filter(|path| path.extension().is_some_and(|end| end == "blob"));
    blobs.filter(|path| path.starts_with(STORE)).collect()
}

fn disk_bytes(sim: &SimFs) -> u64 {
    let counts = |path: &PathBuf| path.extension().is_none_or(|end| end != "wal" && end != "spare");
    sim.paths().iter().filter(|path| counts(path)).map(|path| sim.read_all(path).unwrap().len() as u64).sum()
}

#[test]
fn every_way_to_read_gives_the_value_its_tag_and_its_expiry() {
    let (sim, clock) = (SimFs::new(), Arc::new(ManualClock::default()));
    let db = options().env(env(&sim, &clock)).open(STORE).unwrap();
    let large = value(1, 5000);
    db.put("small", "s").unwrap();
    db.put_with("tagged", &large, WriteOptions::new().tag(7)).unwrap();
    db.put_with("passing", &large, WriteOptions::new().tag(3).ttl(Duration::from_secs(60))).unwrap();
    db.put("merged", value(2, 2000)).unwrap();
    db.put("gone", value(3, 2000)).unwrap();
    db.put("z-range", value(4, 2000)).unwrap();
    db.flush().unwrap();
    assert_eq!(blob_files(&sim).len(), 1);
    let before = db.snapshot();
    db.merge("merged", "+tail").unwrap();
    db.delete("gone").unwrap();
    db.delete_range("z".."zz").unwrap();
    let merged = [&value(2, 2000)[..], b"+tail"].concat();
    let expected: Vec<(&[u8], &[u8])> =
        vec![(b"merged", &merged), (b"passing", &large), (b"small", b"s"), (b"tagged", &large)];
    for round in ["memtable", "flushed", "compacted"] {
        let owned = |entry: terrace::Result<(terrace::Slice, terrace::Slice)>| {
            entry.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()
        };
        let wanted: Vec<_> = expected.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
        assert_eq!(db.iter().map(owned).collect::<Vec<_>>(), wanted, "{round}");
        let backwards: Vec<_> = db.iter().rev().map(owned).collect();
        assert_eq!(backwards.into_iter().rev().collect::<Vec<_>>(), wanted, "{round}");
        let mut ends = db.iter();
        assert_eq!(owned(ends.next().unwrap()), wanted[0]);
        assert_eq!(owned(ends.next_back().unwrap()), wanted[3]);
        assert_eq!(ends.map(owned).collect::<Vec<_>>(), wanted[1..3], "{round}");
        let (mut scan, mut borrowed) = (db.iter(), Vec::new());
        while let Some(entry) = scan.next_ref() {
            borrowed.push(entry.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap());
        }
        assert_eq!(borrowed, wanted, "{round}");
        let found = db.multi_get(["tagged", "small", "gone", "merged"]).unwrap();
        let found: Vec<_> = found.iter().map(Option::as_deref).collect();
        assert_eq!(found, [Some(&large[..]), Some(&b"s"[..]), None, Some(&merged[..])], "{round}");
        let entry = db.get_entry("tagged").unwrap().unwrap();
        assert_eq!((&entry.value[..], entry.tag, entry.expires_at_ms), (&large[..], 7, None));
        let entry = db.get_entry("passing").unwrap().unwrap();
        assert_eq!((&entry.value[..], entry.tag, entry.expires_at_ms.is_some()), (&large[..], 3, true));
        assert_eq!(before.get("gone").unwrap().as_deref(), Some(&value(3, 2000)[..]), "{round}");
        assert_eq!(before.get("z-range").unwrap().as_deref(), Some(&value(4, 2000)[..]), "{round}");
        assert_eq!(before.get("merged").unwrap().as_deref(), Some(&value(2, 2000)[..]), "{round}");
        let seen = db.transaction(|tx| tx.get("tagged")).unwrap();
        assert_eq!(seen.as_deref(), Some(&large[..]), "{round}");
        match round {
            "memtable" => db.flush().unwrap(),
            _ => db.compact_all().unwrap(),
        }
    }
    db.verify().unwrap();
    drop(before);
    clock.advance(Duration::from_secs(61));
    assert_eq!(db.get("passing").unwrap(), None);
    assert_eq!(db.iter().count(), 3);
    db.close().unwrap();
    let db = options().env(env(&sim, &clock)).open(STORE).unwrap();
    assert_eq!(db.get("merged").unwrap().as_deref(), Some(&merged[..]));
    db.close().unwrap();
}

#[test]
fn overwriting_leaves_a_bounded_share_of_garbage_and_deleting_everything_leaves_none() {
    let sim = SimFs::new();
    let db = open(&sim);
    let rng = SeededRng::new(9);
    for n in 0..400 {
        db.put(key(n), value(n, 3000)).unwrap();
    }
    db.flush().unwrap();
    db.wait_idle().unwrap();
    let fresh = disk_bytes(&sim);
    let loaded = db.stats();
    assert!(loaded.write_amplification < 1.2, "{}", loaded.write_amplification);
    let mut model: Vec<u64> = (0..400).collect();
    for round in 1..=4000 {
        let n = rng.below(400);
        model[n as usize] = n + 1000 * round;
        db.put(key(n), value(n + 1000 * round, 3000)).unwrap();
    }
    db.flush().unwrap();
    db.wait_idle().unwrap();
    let (stats, bytes) = (db.stats(), disk_bytes(&sim));
    assert!(bytes <= fresh * 13 / 10, "{bytes} bytes on disk, {fresh} freshly written, {:?}", stats.blobs);
    assert!(stats.space_amplification < 1.3, "{}", stats.space_amplification);
    for (n, of) in model.iter().enumerate() {
        assert_eq!(db.get(key(n as u64)).unwrap().as_deref(), Some(&value(*of, 3000)[..]));
    }
    db.verify().unwrap();
    // An iterator keeps the files that it reads.
    let mut early = db.iter();
    early.next().unwrap().unwrap();
    db.delete_range::<&str>(..).unwrap();
    db.compact_all().unwrap();
    assert_eq!(db.stats().blobs.files, 0);
    assert_eq!(early.by_ref().map(Result::unwrap).count(), 399);
    drop(early);
    assert_eq!(blob_files(&sim), Vec::<PathBuf>::new(), "they go with their last reader");
    db.close().unwrap();
}

#[test]
fn a_dropped_keyspace_takes_its_blob_files_with_it_and_orphans_go_at_the_next_opening() {
    let sim = SimFs::new();
    let db = open(&sim);
    let space = db.keyspace("space").unwrap();
    for n in 0..50 {
        space.put(key(n), value(n, 3000)).unwrap();
    }
    db.put("stays", value(7, 3000)).unwrap();
    db.flush().unwrap();
    db.drop_keyspace("space").unwrap();
    db.compact_all().unwrap();
    assert_eq!(db.stats().blobs.records, 1, "{:?}", db.stats().blobs);
    db.close().unwrap();
    let [file] = &blob_files(&sim)[..] else { panic!("{:?}", blob_files(&sim)) };
    let orphan = PathBuf::from(STORE).join("009999.blob");
    sim.overwrite(&orphan, &sim.read_all(file).unwrap()).unwrap();
    let db = open(&sim);
    assert_eq!(&blob_files(&sim)[..], std::slice::from_ref(file));
    assert_eq!(db.get("stays").unwrap().as_deref(), Some(&value(7, 3000)[..]));
    db.close().unwrap();
}

#[test]
fn a_store_that_is_only_read_keeps_the_values_that_its_writer_collects() {
    let dir = tempfile::tempdir().unwrap();
    let db = options().open(dir.path()).unwrap();
    let fill = |db: &Db, round: u64| {
        for n in 0..100 {
            db.put(key(n), value(n + round, 3000)).unwrap();
        }
        db.flush().unwrap();
    };
    fill(&db, 0);
    let view = Db::open_read_only(dir.path()).unwrap();
    (1..6).for_each(|round| fill(&db, round));
    db.compact_all().unwrap();
    assert!(db.stats().blobs.files > 0);
    for n in 0..100 {
        assert_eq!(view.get(key(n)).unwrap().as_deref(), Some(&value(n, 3000)[..]));
        assert_eq!(db.get(key(n)).unwrap().as_deref(), Some(&value(n + 5, 3000)[..]));
    }
    // A verification of the view looked for the files by their names, and failed at the first that had gone.
    view.verify().unwrap();
    db.close().unwrap();
}

#[test]
fn the_option_may_change_and_what_is_there_stays_readable() {
    let sim = SimFs::new();
    let at = |from| options().blob_from(from).env(env(&sim, &Arc::default())).open(STORE).unwrap();
    for (round, from) in [0, 32, 0, 100_000, 500].into_iter().enumerate() {
        let db = at(from);
        for n in 0..30 {
            if n % 5 == round as u64 {
                db.put(key(n), value(n, 900 + round)).unwrap();
            }
        }
        db.flush().unwrap();
        db.close().unwrap();
    }
    let db = at(0);
    let whole = |db: &Db| {
        for n in 0..30 {
            assert_eq!(db.get(key(n)).unwrap().as_deref(), Some(&value(n, 900 + n as usize % 5)[..]));
        }
    };
    whole(&db);
    assert_eq!(db.stats().blobs.records, 12);
    db.close().unwrap();
    let db = at(32);
    db.compact_all().unwrap();
    whole(&db);
    db.close().unwrap();
}

#[test]
fn a_damaged_value_is_refused_alone_and_a_repair_names_its_key() {
    let sim = SimFs::new();
    let db = open(&sim);
    for n in 0..20 {
        db.put(key(n), value(n, 2000)).unwrap();
    }
    db.close().unwrap();
    let [file] = &blob_files(&sim)[..] else { panic!("one flush, one file") };
    let mut bytes = sim.read_all(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    let damaged = sim.crash(CrashPolicy::ProcessDeath, 0);
    damaged.overwrite(file, &bytes).unwrap();
    let db = open(&damaged);
    let lost: Vec<u64> = (0..20).filter(|n| db.get(key(*n)).is_err()).collect();
    let [lost] = lost[..] else { panic!("{lost:?}") };
    assert!(matches!(db.get(key(lost)), Err(Error::Corruption { path, .. }) if path == *file));
    let scanned = db.iter().try_fold(0, |n, entry| {
        if entry.is_ok() { ControlFlow::Continue(n + 1) } else { ControlFlow::Break(n) }
    });
    assert_eq!(scanned, ControlFlow::Break(lost), "a scan ends at it");
    assert!(db.verify().is_err());
    db.close().unwrap();
    let files = StoreFiles::new(STORE).env(env(&damaged, &Arc::default()));
    let verified = files.verify(|_| ()).unwrap();
    let [finding] = &verified.findings[..] else { panic!("{:?}", verified.findings) };
    assert_eq!((&finding.path, &finding.keys.as_ref().unwrap().first.key[..]), (file, key(lost).as_bytes()));
    let salvage = files.repair("/new", |_| ()).unwrap();
    assert_eq!((salvage.lost.len(), &salvage.lost[0].path), (1, file));
    assert_eq!(salvage.lost[0].keys.as_ref().unwrap().first.key, key(lost).into_bytes());
    let mended = options().env(env(&damaged, &Arc::default())).open("/new").unwrap();
    for n in 0..20 {
        let expected = (n != lost).then(|| value(n, 2000));
        assert_eq!(mended.get(key(n)).unwrap().as_deref(), expected.as_deref());
    }
    mended.close().unwrap();
    assert!(StoreFiles::new("/new").env(env(&damaged, &Arc::default())).verify(|_| ()).unwrap().is_sound());
    let inspected = files.inspect().unwrap();
    assert_eq!((inspected.blobs.len(), inspected.blobs[0].records), (1, 20));
}

/// Deletes point to nothing, so they were taken to hide nothing: 190 of 200 values stayed on disk until level 0 had
/// enough runs to be compacted for another reason.
#[test]
fn deleted_values_go_without_further_writes() {
    let sim = SimFs::new();
    let db = open(&sim);
    (0..200).for_each(|n| db.put(key(n), value(n, 3000)).unwrap());
    db.compact_all().unwrap();
    (0..190).for_each(|n| db.delete(key(n)).unwrap());
    db.flush().unwrap();
    db.wait_idle().unwrap();
    let left = db.stats().blobs.records;
    assert!((10..=20).contains(&left), "{left} records");
    (190..200).for_each(|n| assert_eq!(db.get(key(n)).unwrap().as_deref(), Some(&value(n, 3000)[..])));
    db.close().unwrap();
}

#[test]
fn a_keyspace_may_have_a_threshold_of_its_own() {
    let (sim, clock) = (SimFs::new(), Arc::default());
    let open = || {
        let own = options().blob_from_in("small", 100).blob_from_in("inline", 0);
        own.env(env(&sim, &clock)).open(STORE).unwrap()
    };
    let records = |db: &Db| db.stats().blobs.records;
    let db = open();
    let put = |keyspace: &str, len: usize| db.keyspace(keyspace).unwrap().put("k", value(1, len)).unwrap();
    put("default", 999);
    put("inline", 50_000);
    put("small", 99);
    db.flush().unwrap();
    assert_eq!(records(&db), 0, "all of them are too small, where they are");
    put("default", 1000);
    put("small", 100);
    db.flush().unwrap();
    assert_eq!(records(&db), 2);
    // A new number is noticed, and so is a reopening.
    db.find_keyspace("small").unwrap().clear().unwrap();
    let before = records(&db);
    put("small", 200);
    db.close().unwrap();
    let db = open();
    assert_eq!(records(&db), before + 1);
    db.compact_all().unwrap();
    assert_eq!(db.find_keyspace("small").unwrap().get("k").unwrap().as_deref(), Some(&value(1, 200)[..]));
    assert_eq!(db.find_keyspace("inline").unwrap().get("k").unwrap().as_deref(), Some(&value(1, 50_000)[..]));
    db.close().unwrap();
    assert!(matches!(Options::new().blob_from_in("x", 31).open("/nowhere"), Err(Error::InvalidInput(_))));
}
