//! Damaged files: whatever bit flips and wherever a file is cut, the store answers rightly or with an error
//! that names the file, and never with wrong data, a panic or a silent loss.
//!
//! The short version of a sweep: `TERRACE_DAMAGE_STRIDE=1` flips every bit and cuts at every byte.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use terrace::StoreFiles;
use terrace::{CrashPolicy, Db, Durability, Env, Error, ManualClock, Options, PowerLoss, SeededRng, SimFs};

const DIR: &str = "/store";

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn env(sim: &SimFs) -> Env {
    Env::inline(Arc::new(sim.clone()), Arc::new(ManualClock::default()), Arc::new(SeededRng::new(5)))
}

fn options(sim: &SimFs) -> Options {
    let options = Options::new().memory_budget(4 << 20).write_buffer(256 << 10).shards(2);
    options.table_bytes(64 << 10).block_bytes(512).env(env(sim))
}

fn open(sim: &SimFs) -> Result<Db, Error> {
    options(sim).open(Path::new(DIR))
}

fn value(n: u32) -> Vec<u8> {
    (0..40 + n % 90).flat_map(|i| (n.wrapping_mul(2_654_435_761) ^ i).to_le_bytes()).take(60).collect()
}

fn put(db: &Db, model: &mut Model, keys: std::ops::Range<u32>) {
    for n in keys {
        let key = format!("key{:03}", n * 7 % 100).into_bytes();
        db.put(&key, value(n)).unwrap();
        model.insert(key, value(n));
    }
}

fn delete_range(db: &Db, model: &mut Model, low: &str, high: &str) {
    db.delete_range(low..high).unwrap();
    model.retain(|key, _| key.as_slice() < low.as_bytes() || key.as_slice() >= high.as_bytes());
}

/// A store with tables in two levels that was closed.
fn closed_store() -> (SimFs, Model) {
    let (sim, mut model) = (SimFs::new(), Model::new());
    let db = open(&sim).unwrap();
    db.keyspace("other").unwrap().put("here", "too").unwrap();
    put(&db, &mut model, 0..60);
    db.compact_all().unwrap();
    put(&db, &mut model, 60..100);
    db.delete("key000").unwrap();
    model.remove(&b"key000"[..]);
    // The manifest keeps this one: it hides entries of a table.
    delete_range(&db, &mut model, "key010", "key015");
    db.close().unwrap();
    (sim, model)
}

/// A store with a table and a log that holds the rest; everything was synced.
fn live_store() -> (SimFs, Model) {
    let (sim, mut model) = (SimFs::new(), Model::new());
    let db = open(&sim).unwrap();
    db.keyspace("other").unwrap().put("here", "too").unwrap();
    put(&db, &mut model, 0..30);
    db.flush().unwrap();
    put(&db, &mut model, 30..60);
    let mut batch = db.batch();
    batch.put("key000", "batched").put("key001", "batched");
    batch.commit().unwrap();
    model.insert(b"key000".to_vec(), b"batched".to_vec());
    model.insert(b"key001".to_vec(), b"batched".to_vec());
    delete_range(&db, &mut model, "key020", "key024");
    db.sync().unwrap();
    // The second sync makes durable what the first one has achieved.
    put(&db, &mut model, 60..61);
    db.sync().unwrap();
    let left = sim.crash(CrashPolicy::ProcessDeath, 0);
    sim.stop_at(0);
    (left, model)
}

/// What came of a damaged store.
#[derive(PartialEq, Eq, Debug)]
enum Outcome {
    /// All answers are right.
    Right,
    /// An error that names a file.
    Reported,
}

fn is_named(error: &Error) -> bool {
    match error {
        Error::Corruption { path, .. }
        | Error::UnsupportedVersion { path, .. }
        | Error::NotAStore { path, .. }
        | Error::Io { path, .. } => path.starts_with(DIR),
        _ => false,
    }
}

/// Reads all there is. `Err` is a wrong answer; errors of the store are fine if they say where.
fn read_all(sim: &SimFs, model: &Model) -> Result<Outcome, String> {
    let named =
        |error: Error| if is_named(&error) { Ok(Outcome::Reported) } else { Err(format!("{error:?}")) };
    let db = match open(sim) {
        Ok(db) => db,
        Err(error) => return named(error),
    };
    let mut outcome = Outcome::Right;
    let Some(other) = db.find_keyspace("other") else { return Err("a keyspace is lost".to_string()) };
    match other.get("here") {
        Ok(found) if found.as_deref() == Some(b"too") => {}
        Ok(found) => return Err(format!("the other keyspace has {found:?}")),
        Err(error) => outcome = named(error)?,
    }
    for n in 0..100 {
        let key = format!("key{n:03}").into_bytes();
        match db.get(&key) {
            Ok(found) if found.as_deref() == model.get(&key).map(|v| &v[..]) => {}
            Ok(found) => return Err(format!("get of key{n:03} finds {found:?}")),
            Err(error) => outcome = named(error)?,
        }
    }
    let keys: Vec<Vec<u8>> = (0..100).rev().map(|n| format!("key{n:03}").into_bytes()).collect();
    match db.multi_get(&keys) {
        Ok(found)
            if keys.iter().zip(&found).all(|(key, f)| f.as_deref() == model.get(key).map(|v| &v[..])) => {}
        Ok(_) => return Err("a multi_get finds other values".to_string()),
        Err(error) => outcome = named(error)?,
    }
    let entries: Result<Model, Error> =
        db.iter().map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect();
    match entries {
        Ok(found) if found == *model => {}
        Ok(found) => return Err(format!("a scan finds {} of {} entries", found.len(), model.len())),
        Err(error) => outcome = named(error)?,
    }
    drop(other);
    sim.stop_at(0);
    Ok(outcome)
}

/// Damages one file of a copy of the store and reads everything.
fn try_damage(sim: &SimFs, model: &Model, path: &Path, bytes: &[u8], what: &str) -> Outcome {
    let copy = sim.crash(CrashPolicy::ProcessDeath, 0);
    copy.overwrite(path, bytes).unwrap();
    let outcome = catch_unwind(AssertUnwindSafe(|| read_all(&copy, model)));
    let outcome = outcome.unwrap_or_else(|_| Err("panicked".to_string()));
    outcome.unwrap_or_else(|detail| panic!("{what} of {}: {detail}", path.display()))
}

/// The part of a file that was ever written; the rest of a preallocated one is zeros.
fn used_len(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1)
}

fn is_called(path: &Path, start: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start))
}

/// The files whose content counts: all but the lock and log segments that are kept for reuse.
fn files(sim: &SimFs) -> Vec<PathBuf> {
    let counts =
        |path: &PathBuf| !is_called(path, "LOCK") && path.extension().is_none_or(|end| end != "spare");
    sim.paths().into_iter().filter(counts).collect()
}

fn stride(default: usize) -> usize {
    std::env::var("TERRACE_DAMAGE_STRIDE").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// Flips bits of every file; how many flips were reported and how many made no difference.
fn flip_bits(sim: &SimFs, model: &Model, stride: usize) -> (usize, usize) {
    let mut sums = (0, 0);
    for path in files(sim) {
        let bytes = sim.read_all(&path).unwrap();
        // Most of a log are zeros that nobody has written; those next to something else are enough.
        let near =
            |at: usize| bytes[at.saturating_sub(8)..bytes.len().min(at + 9)].iter().any(|byte| *byte != 0);
        let written = (0..bytes.len()).filter(|at| near(*at)).flat_map(|at| at * 8..at * 8 + 8);
        let (mut reported, mut harmless) = (0, 0);
        for bit in written.step_by(stride) {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            match try_damage(sim, model, &path, &damaged, &format!("bit {bit}")) {
                Outcome::Reported => reported += 1,
                Outcome::Right => harmless += 1,
            }
        }
        println!("{}: {reported} flipped bits reported, {harmless} without effect", path.display());
        sums = (sums.0 + reported, sums.1 + harmless);
    }
    sums
}

#[test]
fn a_flipped_bit_in_a_closed_store_is_reported_or_makes_no_difference() {
    let (sim, model) = closed_store();
    assert_eq!(read_all(&sim.crash(CrashPolicy::ProcessDeath, 0), &model), Ok(Outcome::Right));
    let (reported, harmless) = flip_bits(&sim, &model, stride(7));
    assert!(reported > 10 * harmless, "{reported} reported, {harmless} without effect");
}

#[test]
fn a_flipped_bit_in_a_synced_log_is_reported_or_makes_no_difference() {
    let (sim, model) = live_store();
    assert_eq!(read_all(&sim.crash(CrashPolicy::ProcessDeath, 0), &model), Ok(Outcome::Right));
    let (reported, harmless) = flip_bits(&sim, &model, stride(7));
    assert!(reported > 10 * harmless, "{reported} reported, {harmless} without effect");
    let restarted = sim.crash(CrashPolicy::PowerLoss(PowerLoss::KeepAll), 0);
    let (reported, harmless) = flip_bits(&restarted, &model, stride(7));
    assert!(reported > 10 * harmless, "{reported} reported, {harmless} without effect");
}

#[test]
fn a_file_cut_short_is_reported_or_makes_no_difference() {
    for (sim, model) in [closed_store(), live_store()] {
        let mut reported = 0;
        for path in files(&sim) {
            let bytes = sim.read_all(&path).unwrap();
            let step = stride(11) * (1 + used_len(&bytes) / 20_000);
            for len in (0..used_len(&bytes)).step_by(step) {
                let outcome =
                    try_damage(&sim, &model, &path, &bytes[..len], &format!("the first {len} bytes"));
                reported += usize::from(outcome == Outcome::Reported);
            }
        }
        println!("{reported} cuts reported");
        assert!(reported > 20, "{reported}");
    }
}

/// A manifest that ends behind one of its records once was a sound manifest of an earlier state.
#[test]
fn a_manifest_cut_behind_a_record_is_reported_and_nothing_is_deleted() {
    for (sim, _) in [closed_store(), live_store()] {
        let path = files(&sim).into_iter().find(|path| is_called(path, "MANIFEST-")).unwrap();
        let bytes = sim.read_all(&path).unwrap();
        for len in 42..=used_len(&bytes) {
            let copy = sim.crash(CrashPolicy::ProcessDeath, 0);
            copy.overwrite(&path, &bytes[..len]).unwrap();
            let before = copy.paths();
            let error = open(&copy).unwrap_err();
            assert!(matches!(&error, Error::Corruption { path: named, .. } if *named == path), "{error}");
            assert!(error.to_string().contains("terrace repair"), "{error}");
            assert_eq!(copy.paths(), before, "cut at {len}");
            if len % 16 == 0 {
                let files = StoreFiles::new(DIR).env(env(&copy));
                assert!(!files.verify(|_| ()).unwrap().is_sound(), "cut at {len}");
            }
        }
    }
}

/// A closed store has no log. Without the record that says so, the one that is before it misses the log.
#[test]
fn a_closed_store_whose_last_record_was_overwritten_with_zeros_is_reported() {
    let (sim, _) = closed_store();
    let path = files(&sim).into_iter().find(|path| is_called(path, "MANIFEST-")).unwrap();
    let bytes = sim.read_all(&path).unwrap();
    for lost in 2..60 {
        let copy = sim.crash(CrashPolicy::ProcessDeath, 0);
        let mut zeroed = bytes.clone();
        zeroed[used_len(&bytes) - lost..].fill(0);
        copy.overwrite(&path, &zeroed).unwrap();
        let before = copy.paths();
        match open(&copy) {
            // Of the last edit only its own mark is gone, or nothing.
            Ok(db) => {
                assert!(lost < 26, "{lost} bytes");
                drop(db);
            }
            Err(error) => {
                assert!(error.to_string().contains("the log begins with this segment"), "{error}");
                assert_eq!(copy.paths(), before, "{lost} bytes");
            }
        }
    }
}

#[test]
fn a_missing_file_is_reported() {
    for (sim, model) in [closed_store(), live_store()] {
        // The segment that is kept ready for later has nothing in it yet.
        let log = |path: &&PathBuf| path.extension().is_some_and(|end| end == "wal");
        let ready = files(&sim).iter().rfind(log).cloned();
        for path in files(&sim) {
            let copy = sim.crash(CrashPolicy::ProcessDeath, 0);
            copy.remove_durably(&path).unwrap();
            let before = files(&copy);
            let outcome = read_all(&copy, &model);
            if outcome == Ok(Outcome::Right) {
                assert!(Some(&path) == ready.as_ref(), "without {}", path.display());
                continue;
            }
            assert_eq!(outcome, Ok(Outcome::Reported), "without {}", path.display());
            // Tables are missed when they are read; everything else before anything is changed.
            let unchanged = files(&copy) == before || path.extension().is_some_and(|end| end == "tbl");
            assert!(unchanged, "without {}: {:?}", path.display(), files(&copy));
        }
    }
}

#[test]
fn a_damaged_store_is_not_changed_by_trying_to_open_it() {
    let (sim, _) = live_store();
    let log = files(&sim).into_iter().find(|path| path.extension().is_some_and(|e| e == "wal")).unwrap();
    let mut bytes = sim.read_all(&log).unwrap();
    bytes[40] ^= 1;
    sim.overwrite(&log, &bytes).unwrap();
    let tables = |sim: &SimFs| -> Vec<_> {
        let kept = |path: &&PathBuf| path.extension().is_some();
        let files = sim.paths();
        files.iter().filter(kept).map(|path| (path.clone(), sim.read_all(path).unwrap())).collect()
    };
    let before = tables(&sim);
    assert!(matches!(open(&sim), Err(Error::Corruption { .. })));
    assert_eq!(tables(&sim), before);
    // With the bit put right, everything is there again.
    bytes[40] ^= 1;
    sim.overwrite(&log, &bytes).unwrap();
    let db = open(&sim).unwrap();
    assert_eq!(db.get("key000").unwrap().as_deref(), Some(&b"batched"[..]));
    let raised = terrace::WriteOptions::new().durability(Durability::Sync);
    db.put_with("key000", "again", raised).unwrap();
}
