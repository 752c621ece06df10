//! Flushes what is in memory and waits until the store has nothing left to do in the background.

use anyhow::Result;

use crate::latency;
use crate::run::{Outcome, Session};

/// One operation that takes as long as the background work that the workloads before it have left.
pub(super) fn settle(session: &Session) -> Result<Outcome> {
    session.db.flush()?;
    session.db.wait_idle()?;
    Ok(Outcome { operations: 1, found: 0, latencies: latency::empty() })
}
