//! The workloads: what each does with the store.

mod fill;
mod read;
mod settle;

use std::thread;

use anyhow::{Context as _, Result};

use crate::config::Workload;
use crate::latency;
use crate::run::{Outcome, Session};

/// What must be done before a workload and is no part of its figures.
pub(crate) fn prepare(session: &Session, workload: Workload) -> Result<()> {
    if workload == Workload::ReadWarm { read::warm_up(session) } else { Ok(()) }
}

/// Does one workload.
pub(crate) fn perform(session: &Session, workload: Workload) -> Result<Outcome> {
    match workload {
        Workload::FillRandom => fill::random(session, session.config.seed),
        Workload::Overwrite => fill::random(session, session.config.seed.wrapping_add(session.round)),
        Workload::FillSeq => fill::sequential(session),
        Workload::Settle => settle::settle(session),
        Workload::ReadWarm => read::warm(session),
        Workload::ReadRandom => read::random(session),
        Workload::ReadMissing => read::missing(session),
        Workload::MultiGet => read::multi(session),
        Workload::Scan100 => read::scan(session),
        Workload::FullScan => read::full_scan(session),
    }
}

/// Runs `work(thread, operations of that thread)` on every thread and puts the outcomes together.
fn on_threads(
    threads: usize,
    operations: u64,
    work: impl Fn(u64, std::ops::Range<u64>) -> Result<Outcome> + Sync,
) -> Result<Outcome> {
    if threads == 1 {
        return work(0, 0..operations);
    }
    let total = threads as u64;
    let share = |thread: u64| u128::from(operations) * u128::from(thread) / u128::from(total);
    let outcomes: Vec<Result<Outcome>> = thread::scope(|scope| {
        let spawned: Vec<_> = (0..total)
            .map(|thread| {
                let part = share(thread) as u64..share(thread + 1) as u64;
                let work = &work;
                scope.spawn(move || work(thread, part))
            })
            .collect();
        spawned.into_iter().map(|t| t.join().ok().context("a thread panicked").and_then(|r| r)).collect()
    });
    let mut sum = Outcome { operations: 0, found: 0, latencies: latency::empty() };
    for outcome in outcomes {
        let outcome = outcome?;
        sum.operations += outcome.operations;
        sum.found += outcome.found;
        sum.latencies.add(outcome.latencies).context("adding histograms of the same bounds")?;
    }
    Ok(sum)
}
