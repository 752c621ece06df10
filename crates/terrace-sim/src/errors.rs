//! Failing operations: every call of every kind is made to fail in turn, at every point of a small workload.
//! Readers must not notice, writers must get the cause, and nothing that was acknowledged may be lost, neither in
//! the store that met the fault nor after opening it again nor after a power loss.
//!
//! A seed is one workload at one level of durability; see [`Errors`].

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use terrace::{CrashPolicy, Db, Durability, Env, Error, Fault, FaultFs, FaultOp, FaultRule, Fs};
use terrace::{ManualClock, Options, PowerLoss, SeededRng, SimFs, WriteOptions};

use crate::tally::Tally;

/// What to make fail.
#[derive(Clone, Copy, Debug)]
pub struct Errors {
    /// Of the workload.
    pub seed: u64,
    /// Of the store.
    pub durability: Durability,
    /// Only every so many-th call of a kind fails.
    pub stride: usize,
}

impl Errors {
    /// Runs the workload once for every fault. The counters are the faults that struck, by kind.
    pub fn inject_all(&self) -> Tally {
        let mut tally = Tally::default();
        let rules = match self.rules() {
            Ok(rules) => rules,
            Err(detail) => {
                tally.violation(format!("{self:?}, without a fault: {detail}"));
                return tally;
            }
        };
        for rule in rules {
            let mut runner = Runner::new(Some(rule.clone()), self);
            let outcome = catch_unwind(AssertUnwindSafe(|| runner.run()));
            let outcome =
                outcome.unwrap_or_else(|panic| Err(format!("panicked: {}", crate::panic_text(&*panic))));
            if let Err(detail) = outcome {
                tally.violation(format!("{self:?}, {rule:?}: {detail}"));
            }
            tally.add("errors", 1);
            tally.add(format!("errors_{}", name_of(rule.fault)), 1);
            tally.add(format!("calls_{:?}", rule.op), 1);
            tally.add("reported", u64::from(runner.failures > 0));
        }
        tally
    }

    /// Every rule to try: a fault at each call of each operation, once or, now and then, from there on.
    fn rules(&self) -> Result<Vec<FaultRule>, String> {
        let mut clean = Runner::new(None, self);
        clean.run()?;
        let mut rules = Vec::new();
        for op in OPS {
            let calls = clean.fs.calls(op);
            if calls == 0 {
                return Err(format!("{op:?} is no part of the workload"));
            }
            let faults: &[Fault] = match op {
                FaultOp::Write | FaultOp::RegionWrite => &[Fault::Eio, Fault::Enospc, Fault::ShortWrite(5)],
                FaultOp::Create | FaultOp::OpenRegion => &[Fault::Eio, Fault::Enospc],
                FaultOp::Sync | FaultOp::RegionSync => &[Fault::FailedSync],
                _ => &[Fault::Eio],
            };
            for (turn, nth) in (1..=calls).step_by(self.stride).enumerate() {
                for fault in faults {
                    let rule = FaultRule::new(op, *fault);
                    rules.push(rule.clone().nth(nth));
                    if turn % 3 == 0 {
                        rules.push(rule.from_nth(nth));
                    }
                }
            }
        }
        Ok(rules)
    }
}

fn name_of(fault: Fault) -> &'static str {
    match fault {
        Fault::Eio => "eio",
        Fault::Enospc => "enospc",
        Fault::ShortWrite(_) => "short_write",
        Fault::FailedSync => "failed_sync",
        _ => "other",
    }
}

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

fn options(fs: Arc<dyn Fs>) -> Options {
    let env = Env::inline(fs, Arc::new(ManualClock::default()), Arc::new(SeededRng::new(3)));
    let options = Options::new().memory_budget(4 << 20).write_buffer(256 << 10).shards(2);
    options.table_bytes(64 << 10).l0_runs(2).level_ratio(3).blob_from(1000).env(env)
}

fn open(fs: Arc<dyn Fs>) -> Result<Db, Error> {
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
    seed: u64,
    durability: Durability,
    fault: Fault,
    fs: FaultFs,
    sim: SimFs,
    history: History,
    poisoned: bool,
    failures: usize,
}

impl Runner {
    fn new(rule: Option<FaultRule>, errors: &Errors) -> Self {
        let Errors { seed, durability, .. } = *errors;
        let sim = SimFs::new();
        let fs = FaultFs::over_sim(&sim);
        let fault = rule.as_ref().map_or(Fault::Eio, |rule| rule.fault);
        if let Some(rule) = rule {
            fs.add(rule);
        }
        Self { seed, durability, fault, fs, sim, history: History::default(), poisoned: false, failures: 0 }
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
                if raised { batch.commit_with(Durability::Sync) } else { batch.commit() }.map(|_| ())
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
            let key = |n: u64| format!("key{:02}", (n * 7 + self.seed) % 40).into_bytes();
            let cells = match (n + self.seed) % 9 {
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
        options(Arc::new(self.fs.clone())).durability(self.durability)
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
        let found = open(Arc::new(lost))
            .and_then(|db| contents(&db))
            .map_err(|e| format!("after a power loss: {e}"))?;
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
