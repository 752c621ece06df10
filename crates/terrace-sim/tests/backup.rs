//! Backups: every generation restores to the store as it was, costs what was new, and survives whatever stops the
//! machine; a flipped bit is found and named, and never restored.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use terrace::{Backups, CrashPolicy, Db, Env, Error, ManualClock, Options, SeededRng, SimFs};

const STORE: &str = "/data/store";
const BACKUPS: &str = "/backups";

type Content = BTreeMap<Vec<u8>, Vec<u8>>;

fn env(sim: &SimFs) -> Env {
    // No two openings draw the same random numbers.
    let rng = SeededRng::new(sim.operations());
    Env::inline(Arc::new(sim.clone()), Arc::new(ManualClock::default()), Arc::new(rng))
}

fn open(sim: &SimFs, dir: &str) -> Db {
    let options =
        Options::new().memory_budget(4 << 20).write_buffer(256 << 10).shards(2).table_bytes(64 << 10);
    options.blob_from(200).env(env(sim)).open(dir).unwrap()
}

fn backups(sim: &SimFs) -> Backups {
    Backups::new(BACKUPS).env(env(sim))
}

fn content(db: &Db) -> Content {
    db.iter().map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect()
}

/// Writes `keys`, which spread over the whole key range, with values of `round`.
fn write(db: &Db, keys: std::ops::Range<u32>, round: u32) {
    for n in keys {
        let value: Vec<u8> =
            (0..20 + n % 60).flat_map(|i| (n ^ (round << 20)).wrapping_mul(i | 1).to_le_bytes()).collect();
        db.put(format!("key{:04}", n * 7919 % 10_000), value).unwrap();
    }
}

fn restored(sim: &SimFs, number: u64, dir: &str) -> Content {
    backups(sim).restore(Some(number), dir, |_| ()).unwrap();
    let db = open(sim, dir);
    db.verify().unwrap();
    content(&db)
}

#[test]
fn every_generation_is_the_store_as_it_was_and_costs_what_was_new() {
    let sim = SimFs::new();
    let db = open(&sim, STORE);
    db.keyspace("other").unwrap().put("here", "too").unwrap();
    let mut taken = Vec::new();
    for round in 0..8 {
        write(&db, round * 300..round * 300 + 400, round);
        if round == 5 {
            db.compact_all().unwrap();
        }
        let mut last = None;
        let generation = backups(&sim).create(&db, |progress| last = Some(progress)).unwrap();
        let last = last.unwrap();
        assert_eq!((last.files, last.bytes), (generation.new_files, generation.new_bytes));
        assert_eq!((last.files, last.bytes), (last.files_total, last.bytes_total));
        taken.push((generation, content(&db)));
    }
    let first = backups(&sim).create(&db, |_| ()).unwrap();
    assert_eq!((first.new_files, first.new_bytes), (0, 0), "nothing has changed");
    let listed = backups(&sim).list().unwrap();
    assert_eq!(listed.generations.len(), 9);
    assert!(listed.damaged.is_empty());
    assert!(backups(&sim).verify(None, |_| ()).unwrap().is_empty());
    for (generation, expected) in &taken {
        assert_eq!(*generation, listed.generations[generation.number as usize - 1]);
        let dir = format!("/restored/{}", generation.number);
        assert_eq!(restored(&sim, generation.number, &dir), *expected, "{generation:?}");
        assert_eq!(open(&sim, &dir).keyspaces(), ["default", "other"]);
    }
    // Old generations go, and what only they needed.
    let pruned = backups(&sim).prune(3).unwrap();
    assert_eq!(pruned.generations, [1, 2, 3, 4, 5, 6]);
    assert!(pruned.files > 0);
    assert_eq!(backups(&sim).prune(3).unwrap(), terrace::Pruned::default());
    assert!(backups(&sim).verify(None, |_| ()).unwrap().is_empty());
    assert_eq!(restored(&sim, 7, "/again"), taken[6].1);
    let gone = backups(&sim).restore(Some(2), "/no", |_| ()).unwrap_err();
    assert!(gone.to_string().contains("it has: 7, 8, 9"), "{gone}");
}

/// A restored store goes on with the file numbers of the one it comes from. Were the number all that tells tables
/// apart, the backup of one would take the other's tables for its own.
#[test]
fn two_stores_that_were_one_share_a_backup_without_mixing_up() {
    let sim = SimFs::new();
    let one = open(&sim, STORE);
    write(&one, 0..500, 0);
    backups(&sim).create(&one, |_| ()).unwrap();
    backups(&sim).restore(None, "/two", |_| ()).unwrap();
    let two = open(&sim, "/two");
    write(&one, 0..300, 1);
    write(&two, 0..300, 2);
    let of_one = backups(&sim).create(&one, |_| ()).unwrap();
    let of_two = backups(&sim).create(&two, |_| ()).unwrap();
    assert!(of_two.new_files < of_two.files, "what they have in common is shared");
    assert_eq!(restored(&sim, of_one.number, "/r1"), content(&one));
    assert_eq!(restored(&sim, of_two.number, "/r2"), content(&two));
}

#[test]
fn a_flipped_bit_is_found_named_and_never_restored() {
    let sim = SimFs::new();
    let db = open(&sim, STORE);
    write(&db, 0..600, 0);
    backups(&sim).create(&db, |_| ()).unwrap();
    let files: Vec<_> = sim.paths().into_iter().filter(|path| path.starts_with(BACKUPS)).collect();
    let mut found = 0;
    for path in files.iter().filter(|path| !path.ends_with("LOCK") && !path.ends_with("BACKUPS")) {
        let sound = sim.read_all(path).unwrap();
        for bit in (3..sound.len() * 8).step_by(sound.len() * 8 / 20) {
            let mut damaged = sound.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            sim.overwrite(path, &damaged).unwrap();
            let wrong = backups(&sim).verify(None, |_| ()).unwrap();
            let named = |error: &Error| matches!(error, Error::Corruption { path: at, .. } if at == path);
            assert!(wrong.len() == 1 && named(&wrong[0]), "bit {bit} of {}: {wrong:?}", path.display());
            let refused = backups(&sim).restore(None, "/restored", |_| ()).unwrap_err();
            assert!(named(&refused), "{refused}");
            assert!(
                !sim.paths().iter().any(|path| path.ends_with("CURRENT") && path.starts_with("/restored"))
            );
            found += 1;
        }
        sim.overwrite(path, &sound).unwrap();
    }
    println!("{found} flipped bits found");
    assert!(backups(&sim).verify(None, |_| ()).unwrap().is_empty());
    assert_eq!(restored(&sim, 1, "/restored"), content(&db));
}

/// A damaged table of the store is no backup of anything.
#[test]
fn a_damaged_table_is_not_taken_into_a_backup() {
    let sim = SimFs::new();
    let db = open(&sim, STORE);
    write(&db, 0..600, 0);
    db.flush().unwrap();
    let table =
        sim.paths().into_iter().find(|path| path.extension().is_some_and(|end| end == "tbl")).unwrap();
    let mut bytes = sim.read_all(&table).unwrap();
    bytes[700] ^= 4;
    sim.overwrite(&table, &bytes).unwrap();
    let refused = backups(&sim).create(&db, |_| ()).unwrap_err();
    assert!(matches!(&refused, Error::Corruption { path, .. } if *path == table), "{refused}");
    assert!(backups(&sim).list().unwrap().generations.is_empty());
}

#[test]
fn a_machine_that_stops_leaves_every_generation_whole_or_invisible() {
    let prepare = || {
        let sim = SimFs::new();
        let db = open(&sim, STORE);
        write(&db, 0..300, 0);
        backups(&sim).create(&db, |_| ()).unwrap();
        let first = content(&db);
        write(&db, 200..600, 1);
        let second = content(&db);
        (sim, db, first, second)
    };
    let run = |sim: &SimFs, db: &Db| -> Result<bool, Error> {
        backups(sim).create(db, |_| ())?;
        backups(sim).prune(1)?;
        Ok(true)
    };
    let (sim, db, ..) = prepare();
    let before = sim.operations();
    run(&sim, &db).unwrap();
    let after = sim.operations();
    let mut seen = [0, 0];
    for at in before..=after {
        let (sim, db, first, second) = prepare();
        sim.stop_at(at);
        let done = run(&sim, &db).unwrap_or(false);
        for policy in CrashPolicy::ALL {
            let what = format!("stopped at {at}, {policy:?}");
            let left = sim.crash(policy, at);
            let listed = backups(&left).list().unwrap();
            assert!(listed.damaged.is_empty(), "{what}: {:?}", listed.damaged);
            assert!(backups(&left).verify(None, |_| ()).unwrap().is_empty(), "{what}");
            let numbers: Vec<u64> = listed.generations.iter().map(|generation| generation.number).collect();
            assert!([&[1][..], &[1, 2], &[2]].contains(&&numbers[..]), "{what}: {numbers:?}");
            assert!(!done || numbers == [2], "{what}: {numbers:?}");
            for number in numbers {
                seen[number as usize - 1] += 1;
                let expected = if number == 1 { &first } else { &second };
                assert_eq!(restored(&left, number, &format!("/restored{number}")), *expected, "{what}");
            }
            // The next run goes on from there and leaves nothing unneeded behind.
            let db = open(&left, STORE);
            backups(&left).create(&db, |_| ()).unwrap();
            backups(&left).prune(1).unwrap();
            let data = |path: &std::path::PathBuf| {
                path.starts_with(BACKUPS) && path.extension().is_some_and(|end| end == "tbl" || end == "blob")
            };
            let files = left.paths().iter().filter(|path| data(path)).count() as u64;
            assert_eq!(files, backups(&left).list().unwrap().generations[0].files, "{what}");
        }
    }
    println!("{} points, generations found {seen:?}", after - before + 1);
    assert!(seen[0] > 0 && seen[1] > 0);
}

#[test]
fn only_a_directory_of_backups_is_written_to() {
    let sim = SimFs::new();
    let db = open(&sim, STORE);
    let into_store = Backups::new(STORE).env(env(&sim)).create(&db, |_| ()).unwrap_err();
    assert!(into_store.to_string().contains("no directory of backups"), "{into_store}");
    let missing = backups(&sim).restore(None, "/x", |_| ()).unwrap_err();
    assert!(missing.to_string().contains("no file BACKUPS"), "{missing}");
    backups(&sim).create(&db, |_| ()).unwrap();
    let full = backups(&sim).restore(None, STORE, |_| ()).unwrap_err();
    assert!(full.to_string().contains("not empty"), "{full}");
    assert!(matches!(backups(&sim).prune(0), Err(Error::InvalidInput(_))));
}

/// Four threads take turns to write the next number. A generation must hold all numbers up to some moment between
/// its beginning and its end, and no hole.
#[test]
fn a_backup_under_full_load_restores_to_a_prefix_of_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let small = || Options::new().memory_budget(8 << 20).write_buffer(512 << 10).table_bytes(256 << 10);
    let db = small().open(dir.path().join("store")).unwrap();
    let backups = Backups::new(dir.path().join("backups"));
    let (stop, turn, done) = (AtomicBool::new(false), Mutex::new(()), AtomicU64::new(0));
    let writer = || {
        while !stop.load(Ordering::SeqCst) {
            let _in_turn = turn.lock().unwrap();
            let n = done.load(Ordering::SeqCst) + 1;
            db.put(format!("n{n:010}"), vec![n as u8; 300]).unwrap();
            done.store(n, Ordering::SeqCst);
        }
    };
    let mut bounds = Vec::new();
    std::thread::scope(|scope| {
        (0..4).for_each(|_| drop(scope.spawn(writer)));
        for _ in 0..6 {
            let before = done.load(Ordering::SeqCst);
            while done.load(Ordering::SeqCst) < before + 3_000 {
                std::thread::yield_now();
            }
            let acknowledged = done.load(Ordering::SeqCst);
            let generation = backups.create(&db, |_| ()).unwrap();
            bounds.push((generation.number, acknowledged, done.load(Ordering::SeqCst) + 1));
        }
        stop.store(true, Ordering::SeqCst);
    });
    for (number, acknowledged, begun) in bounds {
        let path = dir.path().join(format!("restored{number}"));
        backups.restore(Some(number), &path, |_| ()).unwrap();
        let restored = small().open(&path).unwrap();
        let keys: Vec<_> = restored.iter().map(|entry| entry.unwrap().0).collect();
        assert!(
            (acknowledged..=begun).contains(&(keys.len() as u64)),
            "{acknowledged} {} {begun}",
            keys.len()
        );
        for (at, key) in keys.iter().enumerate() {
            assert_eq!(
                *key,
                *format!("n{:010}", at + 1).as_bytes(),
                "generation {number}: no write is skipped"
            );
        }
    }
}
