//! Operations that fail: every kind of file-system call is made to fail in turn, at every point of a small
//! workload. Readers must not notice, writers must get the cause, and nothing that was acknowledged may be
//! lost.
//!
//! `TERRACE_FAULT_STRIDE=n` lets only every n-th call fail.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use terrace::{Action, CrashPolicy, Db, Durability, Env, Error, Fault, FaultFs, FaultOp, FaultRule, Fs};
use terrace::{ManualClock, Options, PowerLoss, SeededRng, SimFs};
use terrace_sim::errors::Errors;

const DIR: &str = "/store";

fn open(fs: &(impl Fs + Clone + 'static)) -> Result<Db, Error> {
    let (clock, rng) = (Arc::new(ManualClock::default()), Arc::new(SeededRng::new(3)));
    let options = Options::new().memory_budget(4 << 20).write_buffer(256 << 10).shards(2);
    let options = options.table_bytes(64 << 10).l0_runs(2).level_ratio(3);
    options.env(Env::inline(Arc::new(fs.clone()), clock, rng)).open(Path::new(DIR))
}

fn value(n: u64) -> Vec<u8> {
    let mut bytes = format!("value {n};").into_bytes();
    let mut word = n | 1;
    for _ in 0..700 {
        word = word.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31);
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes
}

type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

fn contents(db: &Db) -> Result<Contents, Error> {
    db.iter().map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect()
}

fn stride() -> usize {
    std::env::var("TERRACE_FAULT_STRIDE").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

#[test]
fn whatever_fails_nothing_acknowledged_is_lost() {
    fail_everything(Durability::Process);
}

#[test]
fn whatever_fails_nothing_acknowledged_as_durable_is_lost() {
    fail_everything(Durability::Sync);
}

fn fail_everything(durability: Durability) {
    let tally = Errors { seed: 0, durability, stride: stride() }.inject_all();
    println!("{durability:?}: {tally}");
    assert_eq!(tally.violations(), 0, "{tally}\n{}", tally.described().join("\n"));
    assert!(tally.count("reported") > tally.count("errors") / 3, "{tally}");
}

#[test]
fn a_full_disk_stops_writers_until_there_is_room() {
    let sim = SimFs::new();
    let db = open(&sim).unwrap();
    let mut expected = Contents::new();
    let mut put = |db: &Db, n: u64| {
        let key = format!("key{n:05}").into_bytes();
        let outcome = db.put(&key, value(n));
        if outcome.is_ok() {
            expected.insert(key, value(n));
        }
        outcome
    };
    (0..60).for_each(|n| put(&db, n).unwrap());
    for round in 1..4 {
        sim.set_capacity(sim.total_bytes() + (100 << 10));
        let refused = (0..10_000).find_map(|n| put(&db, round * 10_000 + n).err()).expect("the disk is full");
        assert!(matches!(refused, Error::Full { .. }), "{refused:?}");
        assert_eq!(refused.action(), Action::FreeSpace);
        assert!(db.get("key00007").unwrap().is_some());
        sim.set_capacity(u64::MAX);
        (5_000..5_100).for_each(|n| put(&db, round * 10_000 + n).unwrap());
        assert_eq!(db.stats().background_error, None);
    }
    assert!(expected.len() > 300, "{}", expected.len());
    let check = |found: Contents| {
        // The write that was refused may have got as far as the log.
        let surplus = found.keys().filter(|key| !expected.contains_key(*key)).count();
        assert!(surplus <= 3, "{surplus}");
        assert!(expected.iter().all(|(key, value)| found.get(key) == Some(value)));
    };
    check(contents(&db).unwrap());
    let died = sim.crash(CrashPolicy::ProcessDeath, 0);
    db.close().unwrap();
    for sim in [sim, died] {
        check(contents(&open(&sim).unwrap()).unwrap());
    }
}

#[test]
fn a_failed_sync_poisons_the_store_until_it_is_reopened() {
    let sim = SimFs::new();
    let fs = FaultFs::over_sim(&sim);
    let db = open(&fs).unwrap();
    db.put("safe", "1").unwrap();
    db.sync().unwrap();
    db.put("doubtful", "2").unwrap();
    fs.add(FaultRule::new(FaultOp::RegionSync, Fault::FailedSync));
    let failed = db.sync().unwrap_err();
    assert!(matches!(&failed, Error::Io { operation: "sync", .. }), "{failed:?}");
    for outcome in
        [db.put("late", "3"), db.sync(), db.flush(), db.delete("safe"), db.keyspace("k").map(|_| ())]
    {
        let error = outcome.unwrap_err();
        assert!(matches!(&error, Error::Poisoned { .. }), "{error:?}");
        assert_eq!(error.action(), Action::Reopen);
        assert!(error.to_string().contains("sync"), "{error}");
    }
    assert_eq!(db.get("safe").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(db.get("doubtful").unwrap().as_deref(), Some(&b"2"[..]));
    assert!(matches!(db.close(), Err(Error::Poisoned { .. })));
    let lost = sim.crash(CrashPolicy::PowerLoss(PowerLoss::LoseUnsynced), 0);
    for sim in [lost, sim] {
        let db = open(&sim).unwrap();
        assert_eq!(db.get("safe").unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(db.get("late").unwrap(), None);
        db.put("late", "4").unwrap();
    }
}

#[test]
fn a_second_opener_is_told_who_holds_the_store() {
    let sim = SimFs::new();
    let db = open(&sim).unwrap();
    match open(&sim) {
        Err(error @ Error::Locked { pid: Some(pid), .. }) if pid == std::process::id() => {
            assert_eq!(error.action(), Action::Wait);
        }
        other => panic!("{other:?}"),
    }
    db.put("key", "value").unwrap();
    drop(db);
    assert_eq!(open(&sim).unwrap().get("key").unwrap().as_deref(), Some(&b"value"[..]));
}
