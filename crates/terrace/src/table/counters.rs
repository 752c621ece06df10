//! Counters that many threads bump without meeting on a cache line.
//!
//! Each thread adds to one of a few lines; a sum reads them all. Sums are exact once the writers are quiet
//! and never go back.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Threads share lines beyond this many, which costs speed and no accuracy.
const LANES: usize = 8;

/// How many counters one value holds: a cache line's worth.
const COUNTERS: usize = 8;

#[repr(align(64))]
#[derive(Debug, Default)]
struct Lane([AtomicU64; COUNTERS]);

/// Up to eight counters, striped over the threads.
#[derive(Debug, Default)]
pub(super) struct Counters([Lane; LANES]);

static NEXT_LANE: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static LANE: usize = NEXT_LANE.fetch_add(1, Ordering::Relaxed) % LANES;
}

impl Counters {
    /// Adds one to counter `which`; gives back what this thread's line of it was before.
    #[inline]
    pub(super) fn bump(&self, which: usize) -> u64 {
        let lane = LANE.with(|lane| *lane);
        self.0[lane].0[which].fetch_add(1, Ordering::Relaxed)
    }

    /// The value of counter `which`.
    pub(super) fn sum(&self, which: usize) -> u64 {
        self.0.iter().map(|lane| lane.0[which].load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_threads() {
        let counters = Counters::default();
        std::thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| (0..100).for_each(|_| _ = counters.bump(3)));
            }
        });
        assert_eq!((counters.sum(3), counters.sum(2)), (1000, 0));
    }
}
