//! Compactions by hand beside each other, beside writers and beside a level 0 with a narrow limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use terrace::{Db, FaultOp, Options, Rng, SeededRng};
use terrace_sim::hooks::{Gate, is_table, small_options, watched_fs, within};

/// Bytes that do not compress.
fn noise(seed: u64) -> Vec<u8> {
    let rng = SeededRng::new(seed);
    (0..64).flat_map(|_| rng.next_u64().to_le_bytes()).collect()
}

fn fill(db: &Db, round: u32) {
    for n in 0..100 {
        db.put(format!("key{n:03}"), format!("{round}")).unwrap();
    }
    db.flush().unwrap();
}

/// Two threads called `compact_all` at once. Both took the same tables; the edit of the second contradicted
/// the manifest, and that poisoned the store: every later write was refused until it was reopened.
#[test]
fn compactions_by_hand_take_turns() {
    let (dir, fs) = (tempfile::tempdir().unwrap(), watched_fs());
    let db = small_options(&fs).open(dir.path()).unwrap();
    fill(&db, 1);
    fill(&db, 2);
    let (gate, first) = (Gate::closed(), AtomicBool::new(true));
    let held = Arc::clone(&gate);
    fs.watch(move |op, path| {
        if op == FaultOp::Create && is_table(path) && first.swap(false, Ordering::Relaxed) {
            held.pass();
        }
        None
    });
    let compact = |db: &Db| {
        let db = db.clone();
        thread::spawn(move || db.compact_all())
    };
    let one = compact(&db);
    gate.await_arrival();
    let other = compact(&db);
    thread::sleep(Duration::from_millis(300));
    gate.open();
    one.join().unwrap().unwrap();
    other.join().unwrap().unwrap();
    db.put("key", "value").unwrap();
    assert_eq!(db.get("key007").unwrap().as_deref(), Some(&b"2"[..]));
    db.close().unwrap();
}

/// A compaction by hand began again from level 0 whenever a flush had put something there, so beside steady
/// writes it never ended, and kept all other compactions waiting.
#[test]
fn a_compaction_by_hand_ends_although_writes_go_on() {
    const ENOUGH: u64 = 60;
    let (dir, fs) = (tempfile::tempdir().unwrap(), watched_fs());
    let db = small_options(&fs).open(dir.path()).unwrap();
    fill(&db, 1);
    fill(&db, 2);
    let writer = Mutex::new(Some(db.clone()));
    let (busy, flushes) = (AtomicBool::new(false), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&flushes);
    // Each table of the compaction meets a flush.
    fs.watch(move |op, path| {
        let flush = op == FaultOp::Create && is_table(path) && !busy.swap(true, Ordering::Relaxed);
        if flush && counted.fetch_add(1, Ordering::Relaxed) < ENOUGH {
            let writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            fill(writer.as_ref().unwrap(), 3);
            busy.store(false, Ordering::Relaxed);
        }
        None
    });
    db.compact_all().unwrap();
    fs.watch(|_, _| None);
    assert!(flushes.load(Ordering::Relaxed) < ENOUGH, "the compaction ends while there are still flushes");
    assert_eq!(db.get("key007").unwrap().as_deref(), Some(&b"3"[..]));
    db.close().unwrap();
}

/// Small flushes over a large base level: the picker put the merge off until there would be three times
/// `l0_runs` runs, and writers stopped at `l0_limit` runs before that. Nothing was ever picked, and every write
/// waited for ever.
#[test]
fn a_low_limit_of_level_zero_never_stops_writers_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().memory_budget(4 << 20).shards(2).l0_runs(4).l0_limit(5);
    let db = options.open(dir.path()).unwrap();
    for n in 0..2000 {
        db.put(format!("key{n:04}"), noise(n)).unwrap();
    }
    db.compact_all().unwrap();
    within(30, "a write into a store with a full level 0", move || {
        for run in 0..12u64 {
            for n in 0..(12 - run) {
                db.put(format!("key{:04}", n * 160), noise(n)).unwrap();
            }
            db.flush().unwrap();
        }
        db.close().unwrap();
    });
}
