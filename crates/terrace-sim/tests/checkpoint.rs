//! Checkpoints: a copy holds the store of one moment, whatever is written meanwhile; and whenever the machine
//! stops while one is made, there is a whole copy under its name or none, and the store is unharmed.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use terrace::{
    CrashPolicy, Db, Env, Error, Fault, FaultFs, FaultOp, FaultRule, Fs, ManualClock, Options, SeededRng,
    SimFs,
};

const STORE: &str = "/data/store";
const COPY: &str = "/copies/copy";
const KEYS: u32 = 300;

fn options(fs: Arc<dyn Fs>) -> Options {
    let env = Env::inline(fs, Arc::new(ManualClock::default()), Arc::new(SeededRng::new(5)));
    Options::new().memory_budget(4 << 20).write_buffer(256 << 10).shards(2).table_bytes(64 << 10).env(env)
}

fn open(sim: &SimFs, dir: &str) -> Result<Db, Error> {
    options(Arc::new(sim.clone())).create_if_missing(false).open(dir)
}

/// A store with tables in two levels, a second keyspace and a log.
fn filled(fs: Arc<dyn Fs>) -> Db {
    let db = options(fs).open(STORE).unwrap();
    db.keyspace("other").unwrap().put("here", "too").unwrap();
    for n in 0..KEYS {
        db.put(format!("key{n:04}"), vec![n as u8; 400]).unwrap();
        if n == KEYS / 3 {
            db.compact_all().unwrap();
        }
        if n == KEYS / 2 {
            db.flush().unwrap();
        }
    }
    db.delete("key0007").unwrap();
    db
}

fn check(db: &Db, what: &str) {
    db.verify().unwrap();
    assert_eq!(
        db.find_keyspace("other").unwrap().get("here").unwrap().as_deref(),
        Some(&b"too"[..]),
        "{what}"
    );
    let found: Vec<_> = db.iter().map(Result::unwrap).collect();
    assert_eq!(found.len() as u32, KEYS - 1, "{what}");
    for (key, value) in found {
        let n: u32 = std::str::from_utf8(&key[3..]).unwrap().parse().unwrap();
        assert_eq!(value, vec![n as u8; 400], "{what}");
    }
}

#[test]
fn a_copy_is_a_store_of_its_own() {
    let sim = SimFs::new();
    let db = filled(Arc::new(sim.clone()));
    db.checkpoint(COPY).unwrap();
    db.put("key0000", "changed").unwrap();
    db.compact_all().unwrap();
    let copy = open(&sim, COPY).unwrap();
    check(&copy, "the copy");
    copy.put("mine", "alone").unwrap();
    copy.compact_all().unwrap();
    assert_eq!(db.get("mine").unwrap(), None);
    assert_eq!(db.get("key0000").unwrap().as_deref(), Some(&b"changed"[..]));
    db.verify().unwrap();
    let again = db.checkpoint(COPY).unwrap_err();
    assert!(matches!(&again, Error::InvalidInput(detail) if detail.contains(COPY)), "{again}");
}

#[test]
fn where_files_cannot_be_linked_they_are_copied() {
    let sim = SimFs::new();
    let faulty = FaultFs::over_sim(&sim);
    faulty.add(FaultRule::new(FaultOp::Link, Fault::Eio).from_nth(2));
    let db = filled(Arc::new(faulty.clone()));
    db.checkpoint(COPY).unwrap();
    assert!(faulty.calls(FaultOp::Link) > 2, "one link and copies");
    check(&open(&sim, COPY).unwrap(), "the copy");
}

#[test]
fn a_machine_that_stops_leaves_a_whole_copy_or_none() {
    let reference = SimFs::new();
    let db = filled(Arc::new(reference.clone()));
    let before = reference.operations();
    db.checkpoint(COPY).unwrap();
    let after = reference.operations();
    let mut whole = 0;
    for at in before..=after {
        let sim = SimFs::new();
        let db = filled(Arc::new(sim.clone()));
        sim.stop_at(at);
        let outcome = db.checkpoint(COPY);
        for (turn, policy) in CrashPolicy::ALL.into_iter().enumerate() {
            let what = format!("stopped at {at}, {policy:?}");
            let left = sim.crash(policy, at + turn as u64);
            match open(&left, COPY) {
                Ok(copy) => {
                    whole += 1;
                    check(&copy, &what);
                }
                Err(Error::NotAStore { .. }) => assert!(outcome.is_err(), "{what}: a copy was lost"),
                Err(error) => panic!("{what}: {error}"),
            }
            // What is left of the first attempt is not in the way of the second.
            let left = sim.crash(policy, at + turn as u64);
            if left.exists(Path::new(STORE)).unwrap() && !left.exists(Path::new(COPY)).unwrap() {
                let db = open(&left, STORE).unwrap();
                match db.checkpoint(COPY) {
                    Ok(()) => drop(open(&left, COPY).unwrap()),
                    // Only a copy that was whole but for its name is not taken away.
                    Err(error) => match open(&left, &format!("{COPY}.partial")) {
                        Ok(copy) => check(&copy, &what),
                        Err(why) => panic!("{what}: {error}, {why}"),
                    },
                }
            }
        }
    }
    println!("{} points, {whole} whole copies", after - before + 1);
    assert!(whole > 0);
}

#[test]
fn a_directory_of_somebody_else_is_not_cleared() {
    let sim = SimFs::new();
    let db = filled(Arc::new(sim.clone()));
    let mine = options(Arc::new(sim.clone())).open(format!("{COPY}.partial")).unwrap();
    mine.put("precious", "data").unwrap();
    mine.close().unwrap();
    let error = db.checkpoint(COPY).unwrap_err();
    assert!(error.to_string().contains("move it away"), "{error}");
    let mine = open(&sim, &format!("{COPY}.partial")).unwrap();
    assert_eq!(mine.get("precious").unwrap().as_deref(), Some(&b"data"[..]));
}

/// Four threads take turns to write the next number. A copy must hold all numbers up to some moment between its
/// beginning and its end, and no hole: whoever saw one write in it may rely on those before.
#[test]
fn a_copy_made_under_load_is_a_prefix_of_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let small = || Options::new().memory_budget(8 << 20).write_buffer(512 << 10).table_bytes(256 << 10);
    let db = small().open(dir.path().join("store")).unwrap();
    let (stop, turn, done) = (AtomicBool::new(false), Mutex::new(()), AtomicU64::new(0));
    let writer = || {
        while !stop.load(Ordering::SeqCst) {
            let _in_turn = turn.lock().unwrap();
            let n = done.load(Ordering::SeqCst) + 1;
            db.put(format!("n{n:010}"), vec![n as u8; 300]).unwrap();
            done.store(n, Ordering::SeqCst);
        }
    };
    std::thread::scope(|scope| {
        (0..4).for_each(|_| drop(scope.spawn(writer)));
        for round in 0..8 {
            let before = done.load(Ordering::SeqCst);
            while done.load(Ordering::SeqCst) < before + 3_000 {
                std::thread::yield_now();
            }
            let acknowledged = done.load(Ordering::SeqCst);
            let path = dir.path().join(format!("copy{round}"));
            db.checkpoint(&path).unwrap();
            let begun = done.load(Ordering::SeqCst) + 1;
            let copy = small().open(&path).unwrap();
            let keys: Vec<_> = copy.iter().map(|entry| entry.unwrap().0).collect();
            let count = keys.len() as u64;
            assert!((acknowledged..=begun).contains(&count), "{acknowledged} {count} {begun}");
            for (at, key) in keys.iter().enumerate() {
                assert_eq!(
                    *key,
                    *format!("n{:010}", at + 1).as_bytes(),
                    "round {round}: no write is skipped"
                );
            }
        }
        stop.store(true, Ordering::SeqCst);
    });
}
