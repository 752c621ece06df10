//! Workloads that put every key once.

use anyhow::Result;

use super::on_threads;
use crate::keys::{Shuffle, key};
use crate::latency::Latency;
use crate::run::{Outcome, Session};
use crate::values;

/// Puts every key in the order that `seed` chooses.
pub(super) fn random(session: &Session, seed: u64) -> Result<Outcome> {
    let shuffle = Shuffle::new(session.config.entries, seed);
    fill(session, move |position| shuffle.at(position))
}

/// Puts every key in key order (each thread its own part of the keys).
pub(super) fn sequential(session: &Session) -> Result<Outcome> {
    fill(session, |position| position)
}

fn fill(session: &Session, number_at: impl Fn(u64) -> u64 + Sync) -> Result<Outcome> {
    let config = &session.config;
    on_threads(config.threads, config.entries, |_, positions| {
        let operations = positions.end - positions.start;
        let mut value = vec![0; config.value_bytes];
        let mut latency = Latency::start();
        for position in positions {
            let number = number_at(position);
            values::fill(&mut value, number, session.round);
            session.db.put(key(number), &value)?;
            latency.tick();
        }
        Ok(Outcome { operations, found: 0, latencies: latency.into_histogram() })
    })
}
