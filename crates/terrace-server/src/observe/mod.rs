//! What operators may see of the commands that run: slow ones, latency events, and all of them as they come.
//!
//! Loops look at a few atomic numbers for each command; locks are taken only for a command that is slow, or while
//! somebody watches.

mod latency;
mod monitor;
mod redact;
mod slow;

pub(crate) use latency::{Event, Latency};
pub(crate) use monitor::{Monitors, Watcher, line as monitor_line};
pub(crate) use slow::{SlowEntry, SlowLog, cut};

/// The places where things are noted.
#[derive(Debug, Default)]
pub(crate) struct Observation {
    /// Slow commands.
    pub(crate) slow: SlowLog,
    /// Latency events.
    pub(crate) latency: Latency,
    /// Connections that watch.
    pub(crate) monitors: Monitors,
}
