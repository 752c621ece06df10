//! Workloads that read and write at once. What they overwrite gets the value of round 1, so that it can be checked.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;

use super::read::scan_loaded;
use super::{Context, any, consume, get_loaded, order, put};
use crate::compare::team::{Outcome, team};
use crate::keys::key;
use crate::zipf::{Chooser, Zipf};

/// Percentages of what is not a plain get.
#[derive(Clone, Copy)]
pub(super) struct Mix {
    updates: u64,
    read_modify_writes: u64,
}

/// The mixes of YCSB with keys that are there.
pub(super) const A: Mix = Mix { updates: 50, read_modify_writes: 0 };
pub(super) const B: Mix = Mix { updates: 5, read_modify_writes: 0 };
pub(super) const C: Mix = Mix { updates: 0, read_modify_writes: 0 };
pub(super) const F: Mix = Mix { updates: 0, read_modify_writes: 50 };

/// One thread overwrites as fast as it can; the others get keys from everywhere.
pub(super) fn read_while_writing(context: &Context<'_>) -> Result<Outcome> {
    let case = context.case;
    team(case.threads, case.seconds, case.seed, |worker| {
        if worker.index > 0 {
            loop {
                let number = any(context, worker);
                get_loaded(context, worker, number, false)?;
                if !worker.did(1) {
                    return Ok(());
                }
            }
        }
        let mut value = vec![0; case.value_bytes];
        for pass in 1.. {
            let order = order(context, case.entries, pass);
            for position in 0..case.entries {
                put(context, worker, &mut value, order.at(position), 1)?;
                if !worker.did_beside() {
                    return Ok(());
                }
            }
        }
        Ok(())
    })
}

/// Gets, updates, and gets followed by a put.
pub(super) fn ycsb(context: &Context<'_>, mix: Mix) -> Result<Outcome> {
    let case = context.case;
    let chooser = Chooser::new(case.distribution, case.entries);
    team(case.threads, case.seconds, case.seed, |worker| {
        let mut value = vec![0; case.value_bytes];
        loop {
            let number = chooser.choose(worker.random());
            let dice = worker.random() % 100;
            if dice >= mix.updates {
                get_loaded(context, worker, number, false)?;
            }
            if dice < mix.updates + mix.read_modify_writes {
                put(context, worker, &mut value, number, 1)?;
            }
            if !worker.did(1) {
                return Ok(());
            }
        }
    })
}

/// Gets keys, those put last most often, and puts new ones.
pub(super) fn latest(context: &Context<'_>) -> Result<Outcome> {
    let case = context.case;
    let zipf = Zipf::new(case.entries);
    let next = AtomicU64::new(case.entries);
    team(case.threads, case.seconds, case.seed, |worker| {
        let mut value = vec![0; case.value_bytes];
        loop {
            if worker.random() % 100 < 5 {
                let number = next.fetch_add(1, Ordering::Relaxed);
                put(context, worker, &mut value, number, 0)?;
            } else {
                let newest = next.load(Ordering::Relaxed) - 1;
                let number = newest - zipf.rank(worker.random());
                // Another thread may have taken this number and not put it yet, so it need not be there.
                context.store.get(&key(number), &mut |value| consume(value))?;
            }
            if !worker.did(1) {
                return Ok(());
            }
        }
    })
}

/// Short scans from popular keys, and puts of new keys.
pub(super) fn scans_and_inserts(context: &Context<'_>) -> Result<Outcome> {
    let case = context.case;
    let chooser = Chooser::new(case.distribution, case.entries);
    let next = AtomicU64::new(case.entries);
    team(case.threads, case.seconds, case.seed, |worker| {
        let mut value = vec![0; case.value_bytes];
        loop {
            if worker.random() % 100 < 5 {
                let number = next.fetch_add(1, Ordering::Relaxed);
                put(context, worker, &mut value, number, 0)?;
            } else {
                let number = chooser.choose(worker.random());
                let limit = 1 + worker.random() % 100;
                scan_loaded(context, number, limit)?;
            }
            if !worker.did(1) {
                return Ok(());
            }
        }
    })
}
