//! A small histogram with logarithmic buckets, written by one thread and read by any.
//!
//! Sixteen buckets per power of two keep the error of a percentile below 6.25 %. A write is two plain loads
//! and stores: no lock, no locked instruction, because nobody else writes.

use std::sync::atomic::{AtomicU64, Ordering};

const SUB_BITS: u32 = 4;
const SUB_BUCKETS: usize = 1 << SUB_BITS;
/// Enough for every value up to 2^40, which is 18 minutes in nanoseconds; larger ones fall into the last.
const BUCKETS: usize = (40 - SUB_BITS as usize + 1) * SUB_BUCKETS;

/// A counter with one writer.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`; only the owning thread may.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// The value.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Back to zero; only the owning thread may.
    pub(crate) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// The histogram of one thread.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: Box<[Counter]>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| Counter::default()).collect() }
    }
}

impl Histogram {
    /// Counts `value` `times` times; only the owning thread may.
    #[inline]
    pub(crate) fn record(&self, value: u64, times: u64) {
        self.buckets[bucket_of(value)].add(times);
    }

    /// Forgets everything; only the owning thread may.
    pub(crate) fn reset(&self) {
        self.buckets.iter().for_each(Counter::reset);
    }
}

/// The sum of several threads' histograms.
#[derive(Clone, Debug)]
pub(crate) struct Merged {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Merged {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0 }
    }
}

impl Merged {
    /// Adds a thread's histogram.
    pub(crate) fn add(&mut self, histogram: &Histogram) {
        for (sum, bucket) in self.counts.iter_mut().zip(&histogram.buckets) {
            let count = bucket.get();
            *sum += count;
            self.total += count;
        }
    }

    /// The value that this share of all values (0 to 1) does not exceed; 0 if there are none.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        let rank = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper_bound(bucket);
            }
        }
        0
    }

    /// How many values are at most `bound`, to the precision of the buckets.
    pub(crate) fn at_most(&self, bound: u64) -> u64 {
        self.counts.iter().take(bucket_of(bound) + 1).sum()
    }

    /// How many values there are.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}

fn bucket_of(value: u64) -> usize {
    if value < SUB_BUCKETS as u64 {
        return value as usize;
    }
    let shift = value.ilog2() - SUB_BITS;
    let bucket = (shift as usize + 1) * SUB_BUCKETS + ((value >> shift) as usize - SUB_BUCKETS);
    bucket.min(BUCKETS - 1)
}

/// The largest value of a bucket.
fn upper_bound(bucket: usize) -> u64 {
    if bucket < SUB_BUCKETS {
        return bucket as u64;
    }
    let shift = bucket / SUB_BUCKETS - 1;
    let start = ((bucket % SUB_BUCKETS + SUB_BUCKETS) as u64) << shift;
    start + (1 << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantiles_of_a_known_series() {
        let histogram = Histogram::default();
        (1..=1000).for_each(|value| histogram.record(value, 1));
        let mut merged = Merged::default();
        merged.add(&histogram);
        merged.add(&histogram);
        assert_eq!(merged.total(), 2000);
        for (share, expected) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0)] {
            let found = merged.quantile(share) as f64;
            assert!(found >= expected && found <= expected * 1.0625, "{share}: {found}");
        }
        assert_eq!(Merged::default().quantile(0.5), 0);
    }

    proptest! {
        #[test]
        fn a_bucket_bounds_its_values(value in 0u64..1 << 40) {
            let bound = upper_bound(bucket_of(value));
            prop_assert!(bound >= value && bound as f64 <= value as f64 * 1.0625 + 1.0, "{value} {bound}");
            prop_assert!(bucket_of(value) == 0 || upper_bound(bucket_of(value) - 1) < value);
        }

        #[test]
        fn huge_values_are_counted(value: u64) {
            Histogram::default().record(value, 1);
        }
    }
}
