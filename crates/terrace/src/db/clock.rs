//! The store's time: the wall clock, but never before a time already seen or persisted.
//!
//! A wall clock that jumps back must not revive an expired entry, so the highest time seen is kept here, is
//! written to the manifest with each edit, and is the floor after a reopening.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::io::Clock;

/// Milliseconds since the epoch, monotonic within the life of a store.
#[derive(Debug)]
pub(crate) struct StoreClock {
    wall: Arc<dyn Clock>,
    high_water_ms: AtomicU64,
}

impl StoreClock {
    /// A clock that starts at `high_water_ms` or later.
    pub(super) fn new(wall: Arc<dyn Clock>, high_water_ms: u64) -> Self {
        Self { wall, high_water_ms: AtomicU64::new(high_water_ms) }
    }

    /// The time by which expiry is judged.
    pub(super) fn now_ms(&self) -> u64 {
        let wall = self.wall.now_ms();
        let seen = self.high_water_ms.load(Ordering::Relaxed);
        if wall <= seen {
            return seen;
        }
        self.high_water_ms.fetch_max(wall, Ordering::Relaxed).max(wall)
    }
}
