//! Waits until the store has nothing left to do in the background.
//!
//! The engine does not say directly that it is idle, so three signs must stay for a while: no sealed memtable,
//! no change in any level, and a process that uses almost no CPU time. The while is not counted.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use terrace::{Db, LevelStats};

use crate::latency;
use crate::resources::cpu_seconds;
use crate::run::{Outcome, Session};

const POLL: Duration = Duration::from_millis(50);
/// Consecutive quiet polls that count as the end.
const QUIET_POLLS: u32 = 20;
/// A poll is quiet below this share of one core.
const QUIET_CPU_SHARE: f64 = 0.05;

/// Flushes what is in memory, then waits.
pub(super) fn settle(session: &Session) -> Result<Outcome> {
    session.db.flush()?;
    let idle_seconds = wait(&session.db)?;
    Ok(Outcome { operations: 1, found: 0, latencies: latency::empty(), idle_seconds })
}

/// Returns the seconds that were spent making sure.
fn wait(db: &Db) -> Result<f64> {
    let mut quiet_polls = 0;
    let mut quiet_since = Instant::now();
    let mut levels = signs(db)?;
    while quiet_polls < QUIET_POLLS {
        let (wall, cpu) = (Instant::now(), cpu_seconds());
        thread::sleep(POLL);
        let now = signs(db)?;
        let busy = (cpu_seconds() - cpu) / wall.elapsed().as_secs_f64() > QUIET_CPU_SHARE;
        if busy || now != levels || now.0 > 0 {
            quiet_polls = 0;
            quiet_since = Instant::now();
        } else {
            quiet_polls += 1;
        }
        levels = now;
    }
    Ok(quiet_since.elapsed().as_secs_f64())
}

/// Sealed memtables and the levels; background trouble ends the wait.
fn signs(db: &Db) -> Result<(u64, Vec<LevelStats>)> {
    let stats = db.stats();
    if let Some(error) = stats.background_error {
        bail!("background work fails: {error}");
    }
    Ok((stats.memtable.sealed, stats.levels))
}
