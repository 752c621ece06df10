//! Latencies per operation: a histogram with three significant digits.

use std::time::Instant;

use hdrhistogram::Histogram;

/// The longest latency that is told apart, one hour.
const MAX_NS: u64 = 3_600_000_000_000;

/// Records how long each operation took.
///
/// One look at the clock serves as the end of one operation and the start of the next, so a measured operation
/// costs one look, and what the loop does between two operations counts as well.
pub(crate) struct Latency {
    histogram: Histogram<u64>,
    last: Instant,
}

impl Latency {
    /// Starts the clock.
    pub(crate) fn start() -> Self {
        Self { histogram: empty(), last: Instant::now() }
    }

    /// An operation has ended now; returns the time.
    #[inline]
    pub(crate) fn tick(&mut self) -> Instant {
        let now = Instant::now();
        let ns = now.duration_since(self.last).as_nanos() as u64;
        self.histogram.saturating_record(ns);
        self.last = now;
        now
    }

    /// What was recorded.
    pub(crate) fn into_histogram(self) -> Histogram<u64> {
        self.histogram
    }
}

/// A histogram without a record.
pub(crate) fn empty() -> Histogram<u64> {
    // The bounds are constants that the library accepts.
    Histogram::new_with_bounds(1, MAX_NS, 3).unwrap_or_else(|e| unreachable!("constant bounds: {e}"))
}

/// The share of operations that took longer than `ns`.
pub(crate) fn share_above(histogram: &Histogram<u64>, ns: u64) -> f64 {
    if histogram.is_empty() {
        return 0.0;
    }
    let above = histogram.len() - histogram.count_between(0, ns);
    above as f64 / histogram.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_above_a_bound_is_counted() {
        let mut histogram = empty();
        for ns in [1_000, 2_000, 6_000_000, 9_000_000] {
            histogram.record(ns).unwrap();
        }
        assert!((share_above(&histogram, 5_000_000) - 0.5).abs() < 1e-9);
        assert!(share_above(&empty(), 1).abs() < 1e-9);
    }

    #[test]
    fn each_tick_is_one_operation() {
        let mut latency = Latency::start();
        (0..5).for_each(|_| {
            latency.tick();
        });
        assert_eq!(latency.into_histogram().len(), 5);
    }
}
