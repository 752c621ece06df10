//! Workloads that read.

use anyhow::{Result, ensure};
use terrace::Db;

use super::on_threads;
use crate::keys::{Shuffle, key, missing_key, mix};
use crate::latency::Latency;
use crate::run::{Outcome, Session};

/// Keys of one multi-get, entries of one scan.
const GROUP: u64 = 100;

/// The working set: neighbouring keys in the middle of the store. Returns the first and their number.
fn working_set(session: &Session) -> (u64, u64) {
    let set = session.config.working_set();
    ((session.config.entries - set) / 2, set)
}

/// Reads the working set once, in random order.
pub(super) fn warm_up(session: &Session) -> Result<()> {
    let (first, set) = working_set(session);
    let order = Shuffle::new(set, session.config.seed);
    for position in 0..set {
        session.db.get(key(first + order.at(position)))?;
    }
    Ok(())
}

/// Gets from the working set.
pub(super) fn warm(session: &Session) -> Result<Outcome> {
    let (first, set) = working_set(session);
    let outcome = gets(session, session.config.gets, |db, random| get_one(db, key(first + random % set)))?;
    ensure!(outcome.found == outcome.operations, "{} of {} keys found", outcome.found, outcome.operations);
    Ok(outcome)
}

/// Gets from everywhere.
pub(super) fn random(session: &Session) -> Result<Outcome> {
    let entries = session.config.entries;
    let outcome = gets(session, session.config.gets, |db, random| get_one(db, key(random % entries)))?;
    ensure!(outcome.found == outcome.operations, "{} of {} keys found", outcome.found, outcome.operations);
    Ok(outcome)
}

/// Gets keys that are not there.
pub(super) fn missing(session: &Session) -> Result<Outcome> {
    let entries = session.config.entries;
    let outcome =
        gets(session, session.config.gets, |db, random| get_one(db, missing_key(random % entries)))?;
    ensure!(outcome.found == 0, "{} keys found that were never put", outcome.found);
    Ok(outcome)
}

/// Gets a hundred keys at once; an operation is the whole group.
pub(super) fn multi(session: &Session) -> Result<Outcome> {
    let entries = session.config.entries;
    let groups = session.config.gets.div_ceil(GROUP);
    gets(session, groups, |db, random| {
        let keys = (0..GROUP).map(|i| key(mix(random.wrapping_add(i)) % entries));
        Ok(db.multi_get(keys)?.iter().flatten().count() as u64)
    })
}

/// Reads a hundred entries from a random key on; an operation is the whole scan.
pub(super) fn scan(session: &Session) -> Result<Outcome> {
    let entries = session.config.entries;
    let scans = session.config.gets.div_ceil(GROUP);
    gets(session, scans, |db, random| {
        let mut found = 0;
        for entry in db.range(key(random % entries)..).take(GROUP as usize) {
            entry?;
            found += 1;
        }
        Ok(found)
    })
}

/// Reads everything once; an operation is one entry.
pub(super) fn full_scan(session: &Session) -> Result<Outcome> {
    let mut latency = Latency::start();
    let mut found = 0;
    for entry in session.db.iter() {
        entry?;
        found += 1;
        latency.tick();
    }
    Ok(Outcome { operations: found, found, latencies: latency.into_histogram() })
}

fn get_one(db: &Db, key: impl AsRef<[u8]>) -> Result<u64> {
    Ok(u64::from(db.get(key)?.is_some()))
}

/// Calls `read` with the store and a random number, `operations` times over all threads; adds up what it found.
fn gets(
    session: &Session,
    operations: u64,
    read: impl Fn(&Db, u64) -> Result<u64> + Sync,
) -> Result<Outcome> {
    let config = &session.config;
    on_threads(config.threads, operations, |thread, part| {
        let operations = part.end - part.start;
        let mut random = mix(config.seed ^ (thread << 32) ^ 0x5ca1ab1e);
        let mut found = 0;
        let mut latency = Latency::start();
        for _ in part {
            random = mix(random);
            found += read(&session.db, random)?;
            latency.tick();
        }
        Ok(Outcome { operations, found, latencies: latency.into_histogram() })
    })
}
