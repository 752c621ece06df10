//! The crash explorer: a small workload, cut at every operation of the file system, under every kind of loss.
//!
//! One run on a simulated disk tells the number of operations. For each of them (or a choice) the run is
//! repeated with a machine that stops there, and the disk it leaves is crashed by every policy. Each time the
//! store must open and hold the outcome of some prefix of the writes: batches whole, nothing out of order, at
//! least what was promised and at most what was begun. See [`Exploration`].
//!
//! It knows the store by its public interface and by the names of its files. It does not look for wrong
//! answers while all is well (see `workload`), nor at damage and failing operations.

mod check;
mod run;
mod script;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use terrace::{CrashPolicy, Durability, Fs, PowerLoss, SimFs};

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
        self.points += other.points;
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
        let next = AtomicUsize::new(0);
        let worker = || {
            let mut report = Report::default();
            while let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                report.points += 1;
                self.explore_point(&script, *point, &log, &mut report);
            }
            report
        };
        let mut report = Report { operations: log.len(), ..Report::default() };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(worker)).collect();
            for worker in workers {
                report.add(worker.join().expect("a worker catches the panics of the store"));
            }
        });
        report
    }

    /// The operations of the whole run, in words.
    fn reference_run(&self, script: &Script) -> Vec<String> {
        let sim = SimFs::new();
        sim.log_operations(true);
        let progress = run(script, &sim, &(self.file_system)(&sim), self.durability);
        let progress = progress.unwrap_or_else(|detail| panic!("the script fails without a crash: {detail}"));
        assert_eq!(progress.acknowledged, script.writes.len(), "the script runs to its end");
        sim.operation_log()
    }

    /// The points to stop at, with a mark at those whose recovery is crashed too. The last one lies behind
    /// all operations.
    fn points(&self, log: &[String]) -> Vec<Point> {
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
        chosen.into_iter().enumerate().map(|(index, at)| Point { at, inner: marked(index) }).collect()
    }

    fn explore_point(&self, script: &Script, point: Point, log: &[String], report: &mut Report) {
        let sim = SimFs::new();
        sim.stop_at(point.at as u64);
        let before = log.get(point.at).map_or("the end", String::as_str);
        let progress = match run(script, &sim, &(self.file_system)(&sim), self.durability) {
            Ok(progress) => progress,
            Err(detail) => return report.violation(format!("before {before}: {detail}")),
        };
        for policy in CrashPolicy::ALL {
            let random = [PowerLoss::RandomSectors, PowerLoss::Reordered].map(CrashPolicy::PowerLoss);
            let dice = if random.contains(&policy) { self.dice } else { 1 };
            for die in 0..dice {
                let seed = point.at as u64 * dice + die;
                let crash = Crash { script, sim: &sim, progress, policy, seed };
                report.crashes += 1;
                if let Err(detail) = self.check_crash(&crash) {
                    report.violation(format!("before {before}, {policy:?}, seed {seed}: {detail}"));
                }
                if point.inner && die == 0 {
                    self.explore_recovery(&crash, before, report);
                }
            }
        }
    }

    fn check_crash(&self, crash: &Crash<'_>) -> Result<(), String> {
        let left = crash.disk();
        verify(crash.script, &left, self.durability, &self.promise(crash, crash.policy))
    }

    fn promise(&self, crash: &Crash<'_>, policy: CrashPolicy) -> Promise {
        Promise::new(&crash.progress, self.durability, policy)
    }

    /// Stops the recovery itself at each of its operations, crashes again, and recovers from that.
    fn explore_recovery(&self, crash: &Crash<'_>, before: &str, report: &mut Report) {
        let whole = crash.disk();
        // A failure here was reported by whoever checked the plain crash.
        let Ok(_db) = open(&whole, self.durability) else { return };
        let operations = whole.operations();
        whole.stop_at(0);
        // A start of its own for each recovery, so that a small number of them still meets every operation.
        let first = crash.seed as usize % self.inner_stride;
        for (turn, at) in (first..operations as usize).step_by(self.inner_stride).enumerate() {
            let left = crash.disk();
            left.stop_at(at as u64);
            // It may also open: what follows the stop can be upkeep whose failure is no failure to open.
            drop(open(&left, self.durability));
            let policy = CrashPolicy::ALL[(turn + crash.seed as usize) % CrashPolicy::ALL.len()];
            let promise = self.promise(crash, crash.policy).weaker(&self.promise(crash, policy));
            report.inner_crashes += 1;
            let again = left.crash(policy, at as u64);
            if let Err(detail) = verify(crash.script, &again, self.durability, &promise) {
                let first = format!("before {before}, {:?}, seed {}", crash.policy, crash.seed);
                let then = format!("recovery stopped before operation {at}, {policy:?}, seed {at}");
                report.violation(format!("{first}; {then}: {detail}"));
            }
        }
    }
}

/// Where the machine stops.
#[derive(Clone, Copy, Debug)]
struct Point {
    /// Before this operation of the run.
    at: usize,
    /// Whether its recoveries are crashed too.
    inner: bool,
}

/// A run that was stopped, and how it goes down.
struct Crash<'a> {
    script: &'a Script,
    sim: &'a SimFs,
    progress: Progress,
    policy: CrashPolicy,
    seed: u64,
}

impl Crash<'_> {
    /// What the next process finds: a sound disk, even if the run was on one with a planted bug.
    fn disk(&self) -> SimFs {
        let disk = self.sim.crash(self.policy, self.seed);
        disk.ignore_sync(false);
        disk.ignore_sync_dir(false);
        disk
    }
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
