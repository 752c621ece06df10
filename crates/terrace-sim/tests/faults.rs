//! Operations that fail: every kind of file-system call is made to fail in turn, at every point of a small
//! workload. Readers must not notice, writers must get the cause, and nothing that was acknowledged may be
//! lost.
//!
//! `TERRACE_FAULT_STRIDE=n` lets only every n-th call fail.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use terrace::{Action, CrashPolicy, Db, Durability, Env, Error, Fault, FaultFs, FaultOp, FaultRule, Fs};
use terrace::{ManualClock, Options, PowerLoss, SeededRng, SimFs, WriteOptions};

const DIR: &str = "/store";

const OPS: [FaultOp; 12] = [
    FaultOp::Create,
    FaultOp::OpenRead,
    FaultOp::Read,
    FaultOp::Write,
    FaultOp::OpenRegion,
    FaultOp::RegionWrite,
    FaultOp::Sync,
    FaultOp::RegionSync,
    FaultOp::SyncDir,
    FaultOp::Rename,
    FaultOp::Remove,
    FaultOp::List,
];

fn options(fs: &dyn CloneFs) -> Options {
    let env = Env::inline(fs.shared(), Arc::new(ManualClock::default()), Arc::new(SeededRng::new(3)));
    let options = Options::new().memory_budget(4 << 20).write_buffer(256 << 10).shards(2);
    options.table_bytes(64 << 10).l0_runs(2).level_ratio(3).env(env)
}

/// Either of the two file systems here.
trait CloneFs {
    fn shared(&self) -> Arc<dyn Fs>;
}

impl CloneFs for SimFs {
    fn shared(&self) -> Arc<dyn Fs> {
        Arc::new(self.clone())
    }
}

impl CloneFs for FaultFs {
    fn shared(&self) -> Arc<dyn Fs> {
        Arc::new(self.clone())
    }
}

fn open(fs: &dyn CloneFs) -> Result<Db, Error> {
    options(fs).open(Path::new(DIR))
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

/// One write, as far as it got.
struct Write {
    cells: Vec<(Vec<u8>, Option<u64>)>,
    acknowledged: bool,
}

#[derive(Default)]
struct History {
    writes: Vec<Write>,
    /// So many of them were acknowledged to survive a power loss.
    durable: usize,
}

type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

fn contents(db: &Db) -> Result<Contents, Error> {
    db.iter().map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect()
}

impl History {
    /// Checks that the first `certain` writes are there if they were acknowledged; the others may be.
    fn check(&self, found: &Contents, certain: usize) -> Result<(), String> {
        let mut possible: BTreeMap<&[u8], BTreeSet<Option<u64>>> = BTreeMap::new();
        for (number, write) in self.writes.iter().enumerate() {
            for (key, id) in &write.cells {
                let ids = possible.entry(key).or_insert_with(|| BTreeSet::from([None]));
                if write.acknowledged && number < certain {
                    ids.clear();
                }
                ids.insert(*id);
            }
        }
        for (key, ids) in &possible {
            let found = found.get(*key);
            if !ids.iter().any(|id| id.map(value).as_ref() == found) {
                let found = found.map(|v| v[..v.len().min(12)].escape_ascii().to_string());
                return Err(format!("{} has {found:?}, expected one of {ids:?}", key.escape_ascii()));
            }
        }
        match found.keys().find(|key| !possible.contains_key(&key[..])) {
            Some(key) => Err(format!("{} was never written", key.escape_ascii())),
            None => Ok(()),
        }
    }

    fn check_all(&self, found: &Contents) -> Result<(), String> {
        self.check(found, self.writes.len())
    }
}

/// A workload that goes on whatever fails, and judges the failures.
struct Runner {
    durability: Durability,
    fault: Fault,
    fs: FaultFs,
    sim: SimFs,
    history: History,
    poisoned: bool,
    failures: usize,
}

impl Runner {
    fn new(rule: Option<FaultRule>, durability: Durability) -> Self {
        let sim = SimFs::new();
        let fs = FaultFs::over_sim(&sim);
        let fault = rule.as_ref().map_or(Fault::Eio, |rule| rule.fault);
        if let Some(rule) = rule {
            fs.add(rule);
        }
        Self { durability, fault, fs, sim, history: History::default(), poisoned: false, failures: 0 }
    }

    /// Whether an error is what a caller can expect when the injected fault strikes.
    fn judge<T>(&mut self, outcome: Result<T, Error>) -> Result<Option<T>, String> {
        let error = match outcome {
            Ok(_) if self.poisoned => return Err("a write succeeds in a poisoned store".to_string()),
            Ok(value) => return Ok(Some(value)),
            Err(error) => error,
        };
        self.failures += 1;
        let cause = match &error {
            Error::Poisoned { cause } => {
                self.poisoned = true;
                &**cause
            }
            _ if self.poisoned => return Err(format!("in a poisoned store: {error:?}")),
            other => other,
        };
        let sensible = match cause {
            Error::Full { .. } => self.fault == Fault::Enospc,
            Error::Io { path, .. } => path.starts_with(DIR) || Path::new(DIR).starts_with(path),
            _ => false,
        };
        if sensible { Ok(None) } else { Err(format!("not what happened: {error:?}")) }
    }

    fn write(&mut self, db: &Db, cells: Vec<(Vec<u8>, Option<u64>)>, raised: bool) -> Result<(), String> {
        let how = if raised { WriteOptions::new().durability(Durability::Sync) } else { WriteOptions::new() };
        let outcome = match &cells[..] {
            [(key, Some(id))] => db.put_with(key, value(*id), how),
            [(key, None)] => db.delete_with(key, how),
            _ => {
                let mut batch = db.batch();
                for (key, id) in &cells {
                    match id {
                        Some(id) => batch.put(key, value(*id)),
                        None => batch.delete(key),
                    };
                }
                batch.commit().map(|_| ())
            }
        };
        let acknowledged = self.judge(outcome)?.is_some();
        self.history.writes.push(Write { cells, acknowledged });
        if acknowledged && (raised || self.durability == Durability::Sync) {
            self.history.durable = self.history.writes.len();
        }
        Ok(())
    }

    fn writes(&mut self, db: &Db, numbers: std::ops::Range<u64>) -> Result<(), String> {
        for n in numbers {
            let key = |n: u64| format!("key{:02}", n * 7 % 40).into_bytes();
            let cells = match n % 9 {
                0 => vec![(key(n), None)],
                4 => vec![(key(n), Some(n)), (key(n + 1), Some(n)), (key(n + 2), None)],
                _ => vec![(key(n), Some(n))],
            };
            self.write(db, cells, n % 31 == 30)?;
        }
        Ok(())
    }

    /// A step that promises durability when it succeeds.
    fn settle(&mut self, outcome: Result<(), Error>) -> Result<(), String> {
        if self.judge(outcome)?.is_some() {
            self.history.durable = self.history.writes.len();
        }
        Ok(())
    }

    fn options(&self) -> Options {
        options(&self.fs).durability(self.durability)
    }

    /// Opens the store; a fault that prevents it must leave it as it was.
    fn open(&mut self) -> Result<Db, String> {
        self.poisoned = false;
        let outcome = self.options().open(Path::new(DIR));
        if let Some(db) = self.judge(outcome)? {
            return Ok(db);
        }
        self.fs.clear();
        self.options()
            .open(Path::new(DIR))
            .map_err(|error| format!("a failed opening prevents the next: {error}"))
    }

    fn run(&mut self) -> Result<(), String> {
        let db = self.open()?;
        self.writes(&db, 0..50)?;
        self.settle(db.sync())?;
        let outcome = db.keyspace("side").map(|_| ());
        self.judge(outcome)?;
        self.writes(&db, 50..70)?;
        self.settle(db.flush())?;
        self.writes(&db, 70..130)?;
        self.settle(db.compact_all())?;
        self.writes(&db, 130..150)?;
        // What would be found if power failed now, faults and all.
        let lost = self.sim.crash(CrashPolicy::PowerLoss(PowerLoss::LoseUnsynced), 0);
        let found =
            open(&lost).and_then(|db| contents(&db)).map_err(|e| format!("after a power loss: {e}"))?;
        self.history.check(&found, self.history.durable).map_err(|e| format!("after a power loss: {e}"))?;
        // The store itself still answers, once the disk does.
        self.fs.clear();
        let found = contents(&db).map_err(|error| format!("reads fail: {error}"))?;
        self.history.check_all(&found).map_err(|detail| format!("in the same handle: {detail}"))?;
        let failures = self.failures;
        self.write(&db, vec![(b"last".to_vec(), Some(1000))], false)?;
        if self.failures > failures && (!self.poisoned || failures == 0) {
            return Err("writes go on failing although the fault is gone".to_string());
        }
        let closed = db.close();
        if closed.is_ok() == self.poisoned {
            return Err(format!("poisoned: {}, the close says {closed:?}", self.poisoned));
        }
        drop(db);
        let db = self.open().map_err(|error| format!("reopening: {error}"))?;
        let found = contents(&db).map_err(|error| format!("after reopening: {error}"))?;
        self.history.check_all(&found).map_err(|detail| format!("after reopening: {detail}"))?;
        db.put("key00", value(1)).map_err(|error| format!("reopening does not clear the poison: {error}"))?;
        db.close().map_err(|error| format!("close: {error}"))
    }
}

fn stride() -> usize {
    std::env::var("TERRACE_FAULT_STRIDE").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

/// Every rule to try: a fault at each call of each operation, once or, now and then, from there on.
fn rules(durability: Durability) -> Vec<FaultRule> {
    let mut clean = Runner::new(None, durability);
    clean.run().unwrap();
    assert_eq!(clean.failures, 0);
    let mut rules = Vec::new();
    for op in OPS {
        let calls = clean.fs.calls(op);
        assert!(calls > 0, "{op:?} is part of the workload");
        let faults: &[Fault] = match op {
            FaultOp::Write | FaultOp::RegionWrite => &[Fault::Eio, Fault::Enospc, Fault::ShortWrite(5)],
            FaultOp::Create | FaultOp::OpenRegion => &[Fault::Eio, Fault::Enospc],
            FaultOp::Sync | FaultOp::RegionSync => &[Fault::FailedSync],
            _ => &[Fault::Eio],
        };
        for (turn, nth) in (1..=calls).step_by(stride()).enumerate() {
            for fault in faults {
                let rule = FaultRule::new(op, *fault);
                rules.push(rule.clone().nth(nth));
                if turn % 3 == 0 {
                    rules.push(rule.from_nth(nth));
                }
            }
        }
    }
    rules
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
    let rules = rules(durability);
    let next = AtomicUsize::new(0);
    let work = || {
        let (mut struck, mut wrong) = (0, Vec::new());
        while let Some(rule) = rules.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut runner = Runner::new(Some(rule.clone()), durability);
            let outcome = catch_unwind(AssertUnwindSafe(|| runner.run()));
            struck += usize::from(runner.failures > 0);
            match outcome {
                Ok(Ok(())) => {}
                Ok(Err(detail)) => wrong.push(format!("{rule:?}: {detail}")),
                Err(_) => wrong.push(format!("{rule:?}: panicked")),
            }
        }
        (struck, wrong)
    };
    let (struck, wrong) = std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let (struck, mut wrong) = work();
        let (more, others) = other.join().unwrap();
        wrong.extend(others);
        (struck + more, wrong)
    });
    println!("{} faults, {struck} of them reported to a caller", rules.len());
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        rules.len(),
        wrong[..wrong.len().min(15)].join("\n")
    );
    assert!(struck > rules.len() / 3, "{struck} of {}", rules.len());
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
