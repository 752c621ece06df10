//! The child: opens one store, does one workload, measures it, checks what it wrote.

use std::fs;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::fs::{Advice, fadvise};
use serde::{Deserialize, Serialize};

use super::case::{Base, Case, Task};
use super::record::Figures;
use super::team::Outcome;
use super::work::{self, Context};
use crate::keys::KEY_BYTES;
use crate::resources;
use crate::store::{Engine, INTERVAL_MS, Level, Store};

/// What a child is told to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// The store.
    pub engine: Engine,
    /// The directory, empty or with the store that the workload starts from.
    pub dir: PathBuf,
    /// What to do.
    pub case: Case,
}

/// Does one run in this process. Meant for a process of its own: memory, CPU time and disk traffic are those of the
/// whole process.
pub fn run_one(run: &Run) -> Result<Figures> {
    if run.case.setup.cold {
        drop_page_cache(&run.dir)?;
    }
    let started = Instant::now();
    let store = run.engine.open(&run.dir, &run.case.setup)?;
    let open_seconds = started.elapsed().as_secs_f64();
    let context = Context { engine: run.engine, store: &*store, case: &run.case };
    let figures = measure(&context, open_seconds)?;
    let figures = finish(&context, figures)?;
    store.close()?;
    Ok(Figures { disk_bytes: resources::disk_bytes(&run.dir)?, ..figures }.with_space(&run.case))
}

/// What is known when the work is over.
struct Measured {
    figures: Figures,
    outcome: Outcome,
}

fn measure(context: &Context<'_>, open_seconds: f64) -> Result<Measured> {
    let case = context.case;
    work::warm_up(context)?;
    resources::reset_peak();
    let (read_before, written_before) = resources::disk_traffic();
    let cpu_before = resources::cpu_seconds();
    let outcome = with_syncs(context, || work::perform(context))?;
    let settle_seconds = if case.task.writes() { Some(settle(context.store)?) } else { None };
    let (read, written) = resources::disk_traffic();
    let operations = outcome.operations.max(1) as f64;
    // Opening is the operation, and the first get belongs to it.
    let seconds = if case.task == Task::Open { open_seconds + outcome.seconds } else { outcome.seconds };
    let all_cpu = resources::cpu_seconds();
    let cpu = if case.task == Task::Open { all_cpu } else { all_cpu - cpu_before };
    let wrote = outcome.written_bytes > 0;
    let nothing_beside = outcome.beside == 0;
    let figures = Figures {
        operations: outcome.operations,
        wall_seconds: seconds,
        per_second: outcome.operations as f64 / seconds,
        beside_per_second: (!nothing_beside).then(|| outcome.beside as f64 / seconds),
        cpu_us_per_op: cpu * 1e6 / operations,
        p50_ns: outcome.latencies.value_at_quantile(0.5),
        p99_ns: outcome.latencies.value_at_quantile(0.99),
        p999_ns: outcome.latencies.value_at_quantile(0.999),
        max_ns: outcome.latencies.max(),
        longest_pause_ms: outcome.longest_pause_ms,
        settle_seconds,
        write_amplification: wrote
            .then(|| written.saturating_sub(written_before) as f64 / outcome.written_bytes as f64),
        device_read_bytes_per_op: read.saturating_sub(read_before) as f64 / operations,
        peak_rss_bytes: resources::resident_bytes().1,
        open_ms: open_seconds * 1e3,
        ..Figures::default()
    };
    Ok(Measured { figures, outcome })
}

/// Adds what the engine counted, and checks the sample.
fn finish(context: &Context<'_>, Measured { figures, outcome }: Measured) -> Result<Figures> {
    let counters = context.store.counters();
    let share =
        counters.filter_false_positives.zip(counters.filter_rejected).and_then(|(false_ones, rejected)| {
            let asked = false_ones + rejected;
            (asked > 0).then(|| false_ones as f64 / asked as f64)
        });
    let verified = work::verify(context, &outcome.samples).context("after the run")?;
    Ok(Figures {
        engine_write_amplification: counters.write_amplification.filter(|_| context.case.task.writes()),
        read_amplification: counters.read_amplification.filter(|tables| *tables > 0.0),
        filter_false_positive_share: share,
        verified,
        ..figures
    })
}

impl Figures {
    /// Adds how much larger the directory is than its entries, where their number is known.
    fn with_space(mut self, case: &Case) -> Self {
        let entries = match (case.task, case.task.base()) {
            (Task::Deleterandom | Task::YcsbD | Task::YcsbE, _) => return self,
            (_, Base::Fresh) => self.operations,
            (_, Base::Shared | Base::Copied) => case.entries,
        };
        let live = entries * (KEY_BYTES + case.value_bytes) as u64;
        self.space_amplification = (live > 0).then(|| self.disk_bytes as f64 / live as f64);
        self
    }
}

/// Does `work` while somebody syncs the store now and then, if the durability asks for that and the engine does not
/// do it by itself.
fn with_syncs(context: &Context<'_>, work: impl FnOnce() -> Result<Outcome>) -> Result<Outcome> {
    if context.case.setup.durability != Level::Interval || context.engine.syncs_itself() {
        return work();
    }
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let syncer = scope.spawn(|| -> Result<()> {
            while !over.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(INTERVAL_MS));
                context.store.sync()?;
            }
            Ok(())
        });
        let outcome = work();
        over.store(true, Ordering::Relaxed);
        syncer.join().ok().context("the syncing thread panicked")??;
        outcome
    })
}

/// At most so long does a run wait for background work.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
/// The process is quiet when it uses less than a twentieth of a core for this long.
const QUIET: Duration = Duration::from_millis(100);

/// Waits until the background work is over; returns the seconds that it took. Engines without a way to ask for it
/// are watched until they use no CPU time.
fn settle(store: &dyn Store) -> Result<f64> {
    let started = Instant::now();
    store.settle()?;
    let mut seconds = started.elapsed().as_secs_f64();
    while started.elapsed() < SETTLE_LIMIT {
        let cpu = resources::cpu_seconds();
        thread::sleep(QUIET);
        if resources::cpu_seconds() - cpu < QUIET.as_secs_f64() / 20.0 {
            break;
        }
        seconds = started.elapsed().as_secs_f64();
    }
    Ok(seconds)
}

/// Asks the kernel to forget what it has cached of the files of a directory.
fn drop_page_cache(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            drop_page_cache(&entry.path())?;
        } else {
            let file = fs::File::open(entry.path())?;
            // Only pages that are on disk can be forgotten.
            file.sync_all()?;
            fadvise(file.as_fd(), 0, None, Advice::DontNeed)?;
        }
    }
    Ok(())
}
