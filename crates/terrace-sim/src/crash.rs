//! The crash explorer: a small workload, cut at every operation of the file system, under every kind of loss.
//!
//! A run on a simulated disk is watched: just before each operation (or a choice of them) the disk is crashed by
//! every policy, as if the machine had stopped there. Each time the store must open and hold the outcome of some prefix of the writes: batches whole, nothing out of order, at
//! least what was promised and at most what was begun. See [`Exploration`].
//!
//! It knows the store by its public interface and by the names of its files. It does not look for wrong
//! answers while all is well (see `workload`), nor at damage and failing operations.

mod check;
mod run;
mod script;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use parking_lot::Mutex;

use terrace::{CrashPolicy, Durability, Fs, Moment, PowerLoss, SimFs};

pub use self::run::INTERVAL;

use self::check::{Promise, open, verify};
use self::run::{Progress, run};
use self::script::Script;

/// What to explore. Start from [`Exploration::new`] and change fields.
#[derive(Clone, Debug)]
pub struct Exploration {
    /// The durability of the store.
    pub durability: Durability,
    /// Seed of the script.
    pub seed: u64,
    /// Writes per chapter of the script; 60 fill several write buffers.
    pub length: u64,
    /// Of the operations that only add bytes to a log segment or a table every so many-th is a point to stop
    /// at; of all others each. 1 means every operation.
    pub stride: usize,
    /// Crashes per point and random policy.
    pub dice: u64,
    /// At so many points, spread evenly, recovery is crashed as well; `usize::MAX` means at all.
    pub inner_points: usize,
    /// There, every so many-th operation of the recovery.
    pub inner_stride: usize,
    /// What the store sees of the disk: the disk itself, or a file system over it with a planted bug.
    pub file_system: fn(&SimFs) -> Arc<dyn Fs>,
}

/// What an exploration has found.
#[derive(Clone, Default, Debug)]
pub struct Report {
    /// Operations of the whole run.
    pub operations: usize,
    /// Points at which the machine was stopped.
    pub points: usize,
    /// Crashes of the workload, each followed by a recovery and its checks.
    pub crashes: usize,
    /// Crashes inside a recovery, likewise.
    pub inner_crashes: usize,
    /// How many checks failed.
    pub violations: usize,
    /// The first of them, in words.
    pub examples: Vec<String>,
}

/// Violations that are described; the others are counted.
const EXAMPLES: usize = 12;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operations, points, crashes, inner_crashes, violations, .. } = self;
        write!(f, "{operations} operations, {points} points, {crashes} crashes, ")?;
        write!(f, "{inner_crashes} crashes inside recovery, {violations} violations")?;
        self.examples.iter().try_for_each(|example| write!(f, "\n  {example}"))
    }
}

impl Report {
    fn violation(&mut self, detail: String) {
        self.violations += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(detail);
        }
    }

    fn add(&mut self, other: Self) {
        self.crashes += other.crashes;
        self.inner_crashes += other.inner_crashes;
        let described = other.examples.len();
        other.examples.into_iter().for_each(|example| self.violation(example));
        self.violations += other.violations - described;
    }
}

impl Exploration {
    /// A thorough exploration of a store of this durability, on a sound file system.
    pub fn new(durability: Durability) -> Self {
        Self {
            durability,
            seed: 1,
            length: 60,
            stride: 1,
            dice: 3,
            inner_points: usize::MAX,
            inner_stride: 1,
            file_system: |sim| Arc::new(sim.clone()),
        }
    }

    /// Explores with this many threads.
    ///
    /// # Panics
    ///
    /// When the script fails without any crash: there is nothing to explore then.
    pub fn explore(&self, threads: usize) -> Report {
        let script = Script::new(self.seed, self.length);
        let log = self.reference_run(&script);
        let points = self.points(&log);
        let mut report = Report { operations: log.len(), points: points.len(), ..Report::default() };
        // One thread runs the script. The others check what it would have left, because the store keeps things
        // by thread and is not to be entered twice.
        let (sender, receiver) = sync_channel(QUEUE);
        let receiver = Mutex::new(receiver);
        let worker = || {
            let mut report = Report::default();
            loop {
                let Ok(crash) = receiver.lock().recv() else { return report };
                self.check_crash(&script, &crash, &mut report);
            }
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(worker)).collect();
            if let Err(detail) = self.run_and_crash(&script, &points, sender) {
                report.violation(detail);
            }
            for worker in workers {
                report.add(worker.join().expect("a worker catches the panics of the store"));
            }
        });
        report
    }

    /// Runs the script once and sends what a crash at each of the points leaves.
    fn run_and_crash(&self, script: &Script, points: &Points, to: SyncSender<Crash>) -> Result<(), String> {
        let progress = Arc::new(Mutex::new(Progress::default()));
        let sim = SimFs::new();
        let (watched, reached, exploration) = (points.clone(), Arc::clone(&progress), self.clone());
        let sender = to.clone();
        sim.watch(move |moment: &Moment<'_>| {
            if let Some(inner) = watched.get(&moment.number()) {
                let before = format!("{}: {}", moment.number(), moment.what());
                let crash = |policy, seed| moment.crash(policy, seed);
                let point = Point { at: moment.number(), before, inner: *inner, progress: *reached.lock() };
                exploration.crash_at(&point, &crash, &sender);
            }
        });
        let outcome = run(script, &(self.file_system)(&sim), self.durability, &progress);
        if let Some(inner) = points.get(&sim.operations()) {
            let (at, before) = (sim.operations(), "the end".to_string());
            let point = Point { at, before, inner: *inner, progress: *progress.lock() };
            self.crash_at(&point, &|policy, seed| sim.crash(policy, seed), &to);
        }
        // The workers end when nobody can send any more.
        drop(to);
        outcome
    }

    /// Crashes the disk by every policy.
    fn crash_at(&self, point: &Point, crash: &dyn Fn(CrashPolicy, u64) -> SimFs, to: &SyncSender<Crash>) {
        for policy in CrashPolicy::ALL {
            let random = [PowerLoss::RandomSectors, PowerLoss::Reordered].map(CrashPolicy::PowerLoss);
            let dice = if random.contains(&policy) { self.dice } else { 1 };
            for die in 0..dice {
                let seed = point.at * dice + die;
                let left = crash(policy, seed);
                // The next process finds a sound disk, even if the run was on one with a planted bug.
                left.ignore_sync(false);
                left.ignore_sync_dir(false);
                let words = format!("before {}, {policy:?}, seed {seed}", point.before);
                let promise = Promise::new(&point.progress, self.durability, policy);
                let inner = point.inner && die == 0;
                let crash = Crash { left, promise, progress: point.progress, inner, words, seed };
                to.send(crash).expect("the workers take everything");
            }
        }
    }

    fn check_crash(&self, script: &Script, crash: &Crash, report: &mut Report) {
        report.crashes += 1;
        if crash.inner {
            self.explore_recovery(script, crash, report);
        }
        if let Err(detail) = verify(script, &crash.left, self.durability, &crash.promise) {
            report.violation(format!("{}: {detail}", crash.words));
        }
    }

    /// Watches the recovery and crashes it again before each of its operations.
    fn explore_recovery(&self, script: &Script, crash: &Crash, report: &mut Report) {
        // Nothing is open on a disk that a crash has left, so the death of nobody is a plain copy.
        let disk = crash.left.crash(CrashPolicy::ProcessDeath, 0);
        let (seed, stride) = (crash.seed as usize, self.inner_stride as u64);
        // A start of its own for each recovery, so that a small number of them still meets every operation.
        let first = crash.seed % stride;
        let taken: Arc<Mutex<Vec<(u64, CrashPolicy, SimFs)>>> = Arc::default();
        let taking = Arc::clone(&taken);
        disk.watch(move |moment| {
            if moment.number() % stride == first {
                let turn = (moment.number() / stride) as usize;
                let policy = CrashPolicy::ALL[(turn + seed) % CrashPolicy::ALL.len()];
                taking.lock().push((moment.number(), policy, moment.crash(policy, moment.number())));
            }
        });
        // Whether it opens is the business of whoever checks the plain crash. It is closed, too.
        drop(open(&disk, self.durability));
        for (at, policy, again) in std::mem::take(&mut *taken.lock()) {
            let promise = Promise::new(&crash.progress, self.durability, policy).weaker(&crash.promise);
            report.inner_crashes += 1;
            if let Err(detail) = verify(script, &again, self.durability, &promise) {
                let then = format!("recovery stopped before operation {at}, {policy:?}, seed {at}");
                report.violation(format!("{}; {then}: {detail}", crash.words));
            }
        }
    }

    /// The operations of the whole run, in words.
    fn reference_run(&self, script: &Script) -> Vec<String> {
        let sim = SimFs::new();
        sim.log_operations(true);
        let progress = Mutex::new(Progress::default());
        let outcome = run(script, &(self.file_system)(&sim), self.durability, &progress);
        outcome.unwrap_or_else(|detail| panic!("the script fails without a crash: {detail}"));
        assert_eq!(progress.lock().acknowledged, script.writes.len(), "the script runs to its end");
        sim.operation_log()
    }

    /// The points to stop at, with a mark at those whose recovery is crashed too. The last one lies behind
    /// all operations.
    fn points(&self, log: &[String]) -> Points {
        let mut plain = 0;
        let mut chosen = Vec::new();
        for (at, line) in log.iter().enumerate() {
            let adds_bytes =
                line.contains(": store ") || (line.contains(": write ") && line.contains(".tbl "));
            plain += usize::from(adds_bytes);
            if !adds_bytes || plain % self.stride == 0 {
                chosen.push(at);
            }
        }
        chosen.push(log.len());
        let every = (chosen.len() / self.inner_points.max(1)).max(1);
        // From the middle of the first interval on, so that the marks do not fall on the boring ends.
        let marked = |index: usize| self.inner_points > 0 && index % every == every / 2;
        chosen.into_iter().enumerate().map(|(index, at)| (at as u64, marked(index))).collect()
    }
}

/// The numbers of the operations to stop before, and whether the recoveries from there are crashed too.
type Points = BTreeMap<u64, bool>;

/// Crashes that wait for a worker; each is a disk in memory.
const QUEUE: usize = 32;

/// Where the machine stops.
struct Point {
    at: u64,
    before: String,
    inner: bool,
    progress: Progress,
}

/// What a crash has left, and what must be found there.
struct Crash {
    left: SimFs,
    promise: Promise,
    progress: Progress,
    inner: bool,
    words: String,
    seed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An exploration of a run that never gets to the interesting places would prove little.
    #[test]
    fn the_run_gets_to_every_place_and_is_the_same_each_time() {
        let exploration = Exploration::new(Durability::Process);
        let script = Script::new(exploration.seed, exploration.length);
        let log = exploration.reference_run(&script);
        assert_eq!(log, exploration.reference_run(&script));
        let count = |parts: &[&str]| log.iter().filter(|line| parts.iter().all(|p| line.contains(p))).count();
        let recycled = |line: &&String| {
            let mut ids = line.split('/').filter_map(|part| part.get(..6)?.parse::<u64>().ok());
            line.contains(".spare to ") && ids.next() != ids.next()
        };
        assert!(log.iter().filter(recycled).count() >= 2, "segments are recycled");
        assert!(count(&["rename", ".wal to"]) >= 4, "segments are switched and retired");
        assert!(count(&["create", ".tbl"]) >= 12, "tables are made");
        assert!(count(&["remove", ".tbl"]) >= 6, "compactions remove tables");
        // One for each of the two openings; more means that it has outgrown its file.
        assert!(count(&["create", "MANIFEST-"]) >= 3, "the manifest is rewritten");
    }
}
