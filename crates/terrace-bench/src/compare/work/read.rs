//! Workloads that only read a loaded store.

use anyhow::{Result, ensure};

use super::{Context, any, consume, get_loaded, is_loaded};
use crate::compare::team::{Outcome, Worker, team};
use crate::keys::{KEY_BYTES, key, missing_key};
use crate::store::Key;

/// Digits of a key that entries of `prefixscan` share, and how many entries share them.
const PREFIX_DIGITS: usize = KEY_BYTES - 2;
const PREFIX_ENTRIES: u64 = 100;
/// Entries of a full scan between two looks at the clock, which would cost more than the entries themselves.
const ENTRIES_PER_TICK: u64 = 1000;

/// Calls `read`, which says how many operations it did, until the time is over.
fn repeat(context: &Context<'_>, read: impl Fn(&mut Worker<'_>) -> Result<u64> + Sync) -> Result<Outcome> {
    let case = context.case;
    team(case.threads, case.seconds, case.seed, |worker| {
        loop {
            let done = read(worker)?;
            if !worker.did(done) {
                return Ok(());
            }
        }
    })
}

/// Gets keys from everywhere.
pub(super) fn random(context: &Context<'_>) -> Result<Outcome> {
    repeat(context, |worker| {
        let number = any(context, worker);
        get_loaded(context, worker, number, true)?;
        Ok(1)
    })
}

/// Gets keys that are not there.
pub(super) fn missing(context: &Context<'_>) -> Result<Outcome> {
    repeat(context, |worker| {
        let number = any(context, worker);
        let found = context.store.get(&missing_key(number), &mut |_| ())?;
        ensure!(!found, "the key after {number} was never put and is there");
        Ok(1)
    })
}

/// Gets `size` random keys at a time.
pub(super) fn multi(context: &Context<'_>, size: u64) -> Result<Outcome> {
    repeat(context, |worker| {
        let keys: Vec<Key> = (0..size).map(|_| key(any(context, worker))).collect();
        let found = context.store.multi_get(&keys, &mut |value| consume(value))?;
        ensure!(found == size, "{found} of {size} keys found that were loaded");
        Ok(size)
    })
}

/// Reads `limit` entries from a random key on.
pub(super) fn scan(context: &Context<'_>, limit: u64) -> Result<Outcome> {
    repeat(context, |worker| {
        let first = any(context, worker);
        scan_loaded(context, first, limit)
    })
}

/// Reads entries from a loaded key on and checks that the first is that key, with its value, and how many there are.
pub(super) fn scan_loaded(context: &Context<'_>, first: u64, limit: u64) -> Result<u64> {
    let (mut position, mut right) = (0, true);
    let found = context.store.scan(&key(first), limit, &mut |found, value| {
        consume(value);
        if position == 0 {
            right = found == key(first);
        }
        position += 1;
    })?;
    let expected = limit.min(context.case.entries - first);
    ensure!(right, "a scan from the loaded key {first} starts with another");
    ensure!(found >= expected && found <= limit, "a scan from {first} found {found} of {expected} entries");
    Ok(found)
}

/// Reads everything, again and again until the time is over. Stops only between two passes.
pub(super) fn full_scan(context: &Context<'_>) -> Result<Outcome> {
    let case = context.case;
    team(case.threads, case.seconds, case.seed, |worker| {
        loop {
            let (mut number, mut wrong, mut more) = (0, None, true);
            let found = context.store.scan(&[], u64::MAX, &mut |found, value| {
                consume(value);
                if number % ENTRIES_PER_TICK == 0 {
                    if found != key(number) || !is_loaded(value, number) {
                        wrong = wrong.or(Some(number));
                    }
                    if number > 0 {
                        more = worker.did(ENTRIES_PER_TICK);
                    }
                }
                number += 1;
            })?;
            ensure!(
                wrong.is_none(),
                "entry {} of a full scan is not the one that was loaded",
                wrong.unwrap_or(0)
            );
            ensure!(found == case.entries, "a full scan found {found} of {} entries", case.entries);
            if !more {
                return Ok(());
            }
        }
    })
}

/// Reads the entries that share the first digits of a random key.
pub(super) fn prefix(context: &Context<'_>) -> Result<Outcome> {
    // Only prefixes all of whose entries were loaded.
    let prefixes = (context.case.entries / PREFIX_ENTRIES).max(1);
    let expected = context.case.entries.min(PREFIX_ENTRIES);
    repeat(context, |worker| {
        let number = worker.random() % prefixes * PREFIX_ENTRIES;
        let prefix = &key(number)[..PREFIX_DIGITS];
        let found = context.store.prefix(prefix, &mut |_, value| consume(value))?;
        ensure!(found == expected, "{found} of {expected} entries have the prefix of {number}");
        Ok(found)
    })
}

/// Gets one key of a store that was just opened; the opening itself is measured around this.
pub(super) fn first(context: &Context<'_>) -> Result<Outcome> {
    team(1, context.case.seconds, context.case.seed, |worker| {
        let number = any(context, worker);
        get_loaded(context, worker, number, true)?;
        worker.did(1);
        Ok(())
    })
}
