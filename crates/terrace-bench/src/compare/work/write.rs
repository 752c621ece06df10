//! Workloads that write.

use anyhow::Result;

use super::{Context, order, put, share};
use crate::compare::team::{Expected, Outcome, team};
use crate::keys::{KEY_BYTES, key};
use crate::store::Key;
use crate::values;

/// Entries of a batch while loading.
const LOAD_BATCH: usize = 1000;

/// Puts keys once: in a random order of `shuffled` keys, or in key order; each thread its own part.
pub(super) fn fill(context: &Context<'_>, shuffled: Option<u64>) -> Result<Outcome> {
    let case = context.case;
    let count = shuffled.unwrap_or(case.entries);
    let order = order(context, count, 0);
    team(case.threads, case.seconds, case.seed, |worker| {
        let mut value = vec![0; case.value_bytes];
        for position in share(context, worker.index, count) {
            let number = if shuffled.is_some() { order.at(position) } else { position };
            put(context, worker, &mut value, number, 0)?;
            if !worker.did(1) {
                break;
            }
        }
        Ok(())
    })
}

/// Puts loaded keys again, pass after pass, each thread its own part of every pass.
pub(super) fn overwrite(context: &Context<'_>) -> Result<Outcome> {
    let case = context.case;
    team(case.threads, case.seconds, case.seed, |worker| {
        let mut value = vec![0; case.value_bytes];
        for pass in 1.. {
            let order = order(context, case.entries, pass);
            for position in share(context, worker.index, case.entries) {
                // The same value in every pass: threads are not in the same pass all the time, and which of two
                // puts was the last one would be unknown.
                put(context, worker, &mut value, order.at(position), 1)?;
                if !worker.did(1) {
                    return Ok(());
                }
            }
        }
        Ok(())
    })
}

/// Puts every key once in batches; an operation is one entry.
pub(super) fn batches(context: &Context<'_>, size: usize) -> Result<Outcome> {
    fill_in_batches(context, size, context.case.seconds)
}

/// Puts every key once, whatever time it takes.
pub(super) fn load(context: &Context<'_>) -> Result<Outcome> {
    fill_in_batches(context, LOAD_BATCH, 3600.0)
}

fn fill_in_batches(context: &Context<'_>, size: usize, seconds: f64) -> Result<Outcome> {
    let case = context.case;
    let order = order(context, case.entries, 0);
    team(case.threads, seconds, case.seed, |worker| {
        let mut block = vec![0; size * case.value_bytes];
        let part = share(context, worker.index, case.entries);
        for first in part.clone().step_by(size) {
            let numbers = (first..part.end.min(first + size as u64)).map(|position| order.at(position));
            let mut entries: Vec<(Key, &[u8])> = Vec::with_capacity(size);
            for (number, value) in numbers.zip(block.chunks_mut(case.value_bytes)) {
                values::fill(value, number, 0);
                worker.wrote(number, Expected::Round(0), KEY_BYTES + value.len());
                entries.push((key(number), value));
            }
            context.store.batch(&entries)?;
            if !worker.did(entries.len() as u64) {
                break;
            }
        }
        Ok(())
    })
}

/// Deletes loaded keys, each once.
pub(super) fn delete(context: &Context<'_>) -> Result<Outcome> {
    let case = context.case;
    let order = order(context, case.entries, 1);
    team(case.threads, case.seconds, case.seed, |worker| {
        for position in share(context, worker.index, case.entries) {
            let number = order.at(position);
            context.store.delete(&key(number))?;
            worker.wrote(number, Expected::Absent, KEY_BYTES);
            if !worker.did(1) {
                break;
            }
        }
        Ok(())
    })
}
