//! Deterministic simulation: a random workload on a machine that fails, and a model that says what must be left.
//!
//! One seed is one run, byte for byte: options, operations, faults, crashes, time and background work all follow
//! from it, in one thread. In most runs the seed also says which piece of background work is done between which two
//! operations (a flush, a compaction, a sync, the next memtable), and what comes in between the blocks of a
//! compaction; in the others the writes do it as soon as it is due. Now and then a call of the file system fails, the disk is full, or the machine goes
//! down (in an operation, between two, or while it recovers); then the store is opened again, and must hold the
//! outcome of some prefix of the writes that is as long as its durability has promised.
//!
//! What a step does follows from the seed and its number, not from the steps before it, so a failing run can be
//! made smaller by leaving steps out ([`shrink`]).

mod shrink;
mod steps;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use terrace::BackgroundStep;
use terrace::{CrashPolicy, Durability, Env, Fault, FaultFs, FaultOp, FaultRule, ManualClock, PowerLoss};
use terrace::{Rng, SeededRng, SimFs};

pub use self::shrink::shrink;
pub use self::steps::Steps;

use crate::tally::Tally;
use crate::workload::outage::Promised;
use crate::workload::{Trouble, Workload};

/// Steps of a run, unless told otherwise.
pub const STEPS: u64 = 1500;

/// What a run did.
#[derive(Debug, Default)]
pub struct Run {
    /// Counters, and at most one violation.
    pub tally: Tally,
    /// Depends on every operation of the file system, in order, and on every byte that is left at the end. 0
    /// unless asked for.
    pub digest: u64,
}

/// Runs these steps of a seed. A digest takes time, so it is made only on request.
pub fn run(seed: u64, steps: &Steps, digest: bool) -> Run {
    run_on(SimFs::new(), seed, steps, digest)
}

/// The same on a disk that may have faults of its own.
pub fn run_on(disk: SimFs, seed: u64, steps: &Steps, digest: bool) -> Run {
    let mut simulation = match Simulation::new(disk, seed, digest) {
        Ok(simulation) => simulation,
        Err(detail) => return failed(seed, 0, &detail, Tally::default()),
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| simulation.run(steps)));
    let outcome = outcome.unwrap_or_else(|panic| Err(format!("panicked: {}", crate::panic_text(&*panic))));
    let digest = simulation.trace.digest(&simulation.disk);
    let tally = std::mem::take(&mut simulation.tally);
    // What the store does when it is dropped is of no interest any more.
    simulation.disk.stop_at(0);
    match outcome {
        Ok(()) => Run { tally, digest },
        Err(detail) => failed(seed, simulation.step, &detail, tally),
    }
}

fn failed(seed: u64, step: u64, detail: &str, mut tally: Tally) -> Run {
    tally.violation(format!("seed {seed}, step {step}: {detail}"));
    Run { tally, digest: 0 }
}

/// The operations of the file system, in order.
#[derive(Clone)]
struct Trace(Option<Arc<Mutex<DefaultHasher>>>);

impl Trace {
    fn follow(&self, disk: &SimFs) {
        let Some(hasher) = self.0.clone() else { return };
        disk.watch(move |moment| moment.what().hash(&mut *hasher.lock()));
    }

    fn digest(&self, disk: &SimFs) -> u64 {
        let Some(hasher) = &self.0 else { return 0 };
        let mut hasher = hasher.lock().clone();
        for path in disk.paths() {
            (&path, disk.read_all(&path).unwrap_or_default()).hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// A call that may be made to fail, and how.
const FAULTS: [(FaultOp, Fault); 14] = [
    (FaultOp::Create, Fault::Eio),
    (FaultOp::Create, Fault::Enospc),
    (FaultOp::OpenRead, Fault::Eio),
    (FaultOp::Read, Fault::Eio),
    (FaultOp::Write, Fault::Eio),
    (FaultOp::Write, Fault::Enospc),
    (FaultOp::Write, Fault::ShortWrite(7)),
    (FaultOp::OpenRegion, Fault::Enospc),
    (FaultOp::RegionWrite, Fault::Eio),
    (FaultOp::Sync, Fault::FailedSync),
    (FaultOp::RegionSync, Fault::FailedSync),
    (FaultOp::SyncDir, Fault::Eio),
    (FaultOp::Rename, Fault::Eio),
    (FaultOp::Remove, Fault::Eio),
];

/// What may go wrong with the machine at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Danger {
    None,
    /// The machine stops at some operation.
    Stop,
    /// A call fails.
    Fault,
    /// There is little room on the disk.
    Full,
}

struct Simulation {
    seed: u64,
    rng: SeededRng,
    workload: Workload,
    disk: SimFs,
    faults: FaultFs,
    danger: Danger,
    promised: Promised,
    trace: Trace,
    tally: Tally,
    step: u64,
    /// Of 1,000 steps so many end in danger: each seed has its own.
    dangers_per_mille: u64,
    /// How often background work comes between two steps, in percent; 0 if writes do it themselves, as it is due.
    eagerness: u64,
}

impl Simulation {
    fn new(disk: SimFs, seed: u64, digest: bool) -> Result<Self, String> {
        let rng = SeededRng::new(!seed);
        let trace = Trace(digest.then(Arc::default));
        trace.follow(&disk);
        let faults = FaultFs::over_sim(&disk);
        let env = Env::inline(
            Arc::new(faults.clone()),
            Arc::new(ManualClock::default()),
            Arc::new(SeededRng::new(seed)),
        );
        let workload = Workload::new(env, PathBuf::from("/data/store"), seed)?;
        let dangers_per_mille = [0, 5, 20, 60][rng.below(4) as usize];
        let eagerness = [0, 2, 10, 40][rng.below(4) as usize];
        let mut workload = workload;
        if eagerness > 0 {
            workload.hold_background_work();
        }
        let (promised, tally) = (Promised::new(), Tally::default());
        let danger = Danger::None;
        let step = 0;
        Ok(Self {
            seed,
            rng,
            workload,
            disk,
            faults,
            danger,
            promised,
            trace,
            tally,
            step,
            dangers_per_mille,
            eagerness,
        })
    }

    fn run(&mut self, steps: &Steps) -> Result<(), String> {
        for number in steps.iter() {
            self.step = number;
            self.rng = SeededRng::new(SeededRng::new(!self.seed ^ (number << 32)).next_u64());
            if self.danger == Danger::None && self.rng.below(1000) < self.dangers_per_mille {
                self.endanger();
            }
            let outcome = self.background().and_then(|()| self.workload.step(number));
            self.tally.add("operations", 1);
            match outcome {
                Ok(()) if !self.disk.is_stopped() => self.promised.note(&mut self.workload),
                // The machine stopped, and the step did not even notice.
                Ok(()) => self.recover()?,
                Err(Trouble::Store(_)) if self.danger != Danger::None => self.recover()?,
                Err(trouble) => return Err(trouble.to_string()),
            }
            if self.rng.below(4000) < self.dangers_per_mille {
                // Between two steps.
                self.disk.stop_at(0);
                self.danger = Danger::Stop;
                self.recover()?;
            }
        }
        self.calm_down();
        if self.workload.finish().is_err() {
            // A store that has met a fault before need not close well, but it opens again.
            self.danger = Danger::Fault;
            self.recover()?;
            self.workload.finish()?;
        }
        Ok(())
    }

    /// What threads would do before the next operation: any steps, in an order and a number that the seed chooses.
    fn background(&mut self) -> Result<(), Trouble> {
        const STEPS: [BackgroundStep; 4] =
            [BackgroundStep::Flush, BackgroundStep::Compact, BackgroundStep::Prepare, BackgroundStep::Sync];
        while self.rng.chance(self.eagerness) {
            self.workload.background(STEPS[self.rng.below(4) as usize])?;
            self.tally.add("background_steps", 1);
        }
        Ok(())
    }

    fn endanger(&mut self) {
        match self.rng.below(10) {
            0..=3 => {
                self.danger = Danger::Stop;
                self.disk.stop_at(self.disk.operations() + self.rng.below(80));
            }
            4..=8 => {
                self.danger = Danger::Fault;
                let (op, fault) = FAULTS[self.rng.below(FAULTS.len() as u64) as usize];
                let rule = FaultRule::new(op, fault);
                let nth = 1 + self.rng.below(12);
                self.faults.add(if self.rng.chance(30) { rule.from_nth(nth) } else { rule.nth(nth) });
            }
            _ => {
                self.danger = Danger::Full;
                self.disk.set_capacity(self.disk.total_bytes() + self.rng.below(200 << 10));
            }
        }
    }

    fn calm_down(&mut self) {
        self.danger = Danger::None;
        self.faults.clear();
        self.disk.set_capacity(u64::MAX);
    }

    /// Whether everything acknowledged survives the death of the process.
    fn outlives_the_process(&self) -> bool {
        self.workload.options_durability() != Durability::Memory
    }

    /// Opens the store again after whatever has happened, and checks what it holds.
    fn recover(&mut self) -> Result<(), String> {
        // What the step was at when it failed. Whole writes before that were acknowledged.
        let attempt = self.workload.take_attempt();
        self.promised.note(&mut self.workload);
        let mut keeps_all = self.outlives_the_process();
        let mut stopped = self.disk.is_stopped();
        if !stopped && self.rng.chance(50) {
            self.disk.stop_at(0);
            stopped = true;
        }
        for turn in 0.. {
            self.workload.let_go();
            if stopped {
                let policy = CrashPolicy::ALL[self.rng.below(CrashPolicy::ALL.len() as u64) as usize];
                keeps_all &= policy == CrashPolicy::ProcessDeath;
                self.crash(policy);
            } else {
                self.tally.add("reopenings_after_faults", 1);
            }
            self.calm_down();
            if turn < 3 && self.rng.chance(25) {
                self.disk.stop_at(self.disk.operations() + self.rng.below(40));
            }
            let opened = self.workload.open_on(Arc::new(self.faults.clone()));
            stopped = self.disk.is_stopped();
            match opened {
                _ if stopped => self.tally.add("crashes_in_recovery", 1),
                Err(error) => return Err(format!("does not open: {error}")),
                Ok(db) => {
                    self.disk.stop_at(u64::MAX);
                    let now_ms = self.workload.now_ms();
                    let found = self.promised.find(&db, now_ms, attempt, keeps_all);
                    let model = found.map_err(|detail| format!("after an outage: {detail}"))?;
                    self.workload.go_on(db, model);
                    break;
                }
            }
        }
        self.tally.add("recoveries", 1);
        Ok(())
    }

    fn crash(&mut self, policy: CrashPolicy) {
        let name = match policy {
            CrashPolicy::ProcessDeath => "process_deaths",
            CrashPolicy::PowerLoss(PowerLoss::LoseUnsynced) => "losses_of_all_unsynced",
            _ => "other_power_losses",
        };
        self.tally.add(name, 1);
        let left = self.disk.crash(policy, self.rng.next_u64());
        self.disk.stop_at(0);
        self.trace.follow(&left);
        self.faults = FaultFs::over_sim(&left);
        self.disk = left;
    }
}
