//! The workloads: what each does with the store.

mod mixed;
mod read;
mod write;

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::case::{Case, Task};
use super::team::{Expected, Outcome, Worker};
use crate::keys::{KEY_BYTES, Shuffle, key, mix};
use crate::store::{Engine, Store};
use crate::values;

/// The longest that warming up may take.
const WARM_UP: Duration = Duration::from_millis(1500);
/// Entries that are read to warm up, at most.
const WARM_UP_ENTRIES: u64 = 300_000;

/// What a workload works with.
pub(super) struct Context<'a> {
    pub(super) engine: Engine,
    pub(super) store: &'a dyn Store,
    pub(super) case: &'a Case,
}

/// Does the workload of the case.
pub(super) fn perform(context: &Context<'_>) -> Result<Outcome> {
    match context.case.task {
        Task::Fillseq => write::fill(context, None),
        Task::Fillrandom => write::fill(context, Some(context.case.entries)),
        // New keys for as long as it takes; the entries of the case do not bound it.
        Task::Put64 => write::fill(context, Some(crate::keys::LIMIT / 2)),
        Task::Overwrite => write::overwrite(context),
        Task::Batch50 => write::batches(context, 50),
        Task::Batch1000 => write::batches(context, 1000),
        Task::Load => write::load(context),
        Task::Deleterandom => write::delete(context),
        Task::Readrandom => read::random(context),
        Task::Readmissing => read::missing(context),
        Task::Multiget100 => read::multi(context, 100),
        Task::Scan10 => read::scan(context, 10),
        Task::Scan100 => read::scan(context, 100),
        Task::Fullscan => read::full_scan(context),
        Task::Prefixscan => read::prefix(context),
        Task::Readwhilewriting => mixed::read_while_writing(context),
        Task::YcsbA => mixed::ycsb(context, mixed::A),
        Task::YcsbB => mixed::ycsb(context, mixed::B),
        Task::YcsbC => mixed::ycsb(context, mixed::C),
        Task::YcsbD => mixed::latest(context),
        Task::YcsbE => mixed::scans_and_inserts(context),
        Task::YcsbF => mixed::ycsb(context, mixed::F),
        Task::Open => read::first(context),
    }
}

/// Reads what the workload will read, so that caches hold what they can; not measured.
pub(super) fn warm_up(context: &Context<'_>) -> Result<()> {
    let task = context.case.task;
    if task.base() == super::case::Base::Fresh || task == Task::Open || context.case.setup.cold {
        return Ok(());
    }
    let until = Instant::now() + WARM_UP;
    let order = Shuffle::new(context.case.entries, context.case.seed);
    for position in 0..context.case.entries.min(WARM_UP_ENTRIES) {
        context.store.get(&key(order.at(position)), &mut |value| consume(value))?;
        if position % 1024 == 0 && Instant::now() > until {
            break;
        }
    }
    Ok(())
}

/// Looks up a sample of what was written. Returns how many entries were compared.
pub(super) fn verify(context: &Context<'_>, samples: &[(u64, Expected)]) -> Result<u64> {
    // The yardstick keeps nothing to look up.
    if context.engine == Engine::Raw {
        return Ok(0);
    }
    let mut expected_value = vec![0; context.case.value_bytes];
    for &(number, expected) in samples {
        let mut same = false;
        if let Expected::Round(round) = expected {
            values::fill(&mut expected_value, number, round);
        }
        let found = context.store.get(&key(number), &mut |value| same = value == expected_value)?;
        match expected {
            Expected::Absent => ensure!(!found, "key {number} was deleted and is still there"),
            Expected::Round(_) => {
                ensure!(found, "key {number} was put and is not there");
                ensure!(same, "key {number} has another value than the one that was put");
            }
        }
    }
    Ok(samples.len() as u64)
}

/// Touches a value, so that one that is only lent has to be in memory.
#[inline]
fn consume(value: &[u8]) {
    black_box((value.len(), value.first()));
}

/// Gets a key that must be there, and now and then compares its value with the one that was loaded.
#[inline]
fn get_loaded(context: &Context<'_>, worker: &mut Worker<'_>, number: u64, compare: bool) -> Result<()> {
    let mut same = true;
    let compare = compare && worker.random().is_multiple_of(1024);
    let found = context.store.get(&key(number), &mut |value| {
        consume(value);
        if compare {
            same = is_loaded(value, number);
        }
    })?;
    ensure!(found, "key {number} was loaded and is not there");
    ensure!(same, "key {number} has another value than the one that was loaded");
    Ok(())
}

fn is_loaded(value: &[u8], number: u64) -> bool {
    let mut expected = vec![0; value.len()];
    values::fill(&mut expected, number, 0);
    value == expected
}

/// Puts the value of a round.
#[inline]
fn put(
    context: &Context<'_>,
    worker: &mut Worker<'_>,
    value: &mut [u8],
    number: u64,
    round: u64,
) -> Result<()> {
    values::fill(value, number, round);
    context.store.put(&key(number), value)?;
    worker.wrote(number, Expected::Round(round), KEY_BYTES + value.len());
    Ok(())
}

/// The part of `0..total` that a thread works on.
fn share(context: &Context<'_>, index: u64, total: u64) -> std::ops::Range<u64> {
    let threads = context.case.threads as u128;
    let bound = |index: u64| (u128::from(total) * u128::from(index) / threads) as u64;
    bound(index)..bound(index + 1)
}

/// A random key that was loaded.
#[inline]
fn any(context: &Context<'_>, worker: &mut Worker<'_>) -> u64 {
    worker.random() % context.case.entries
}

/// The order in which keys are changed in a pass; every pass has another.
fn order(context: &Context<'_>, count: u64, pass: u64) -> Shuffle {
    Shuffle::new(count, mix(context.case.seed) ^ pass)
}
