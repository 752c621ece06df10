//! Which of `n` items comes next: all alike, or few much more often than the rest.

use serde::{Deserialize, Serialize};

use crate::keys::mix;

/// How keys are chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Distribution {
    /// Every key as often as every other.
    Uniform,
    /// The k-th most popular key in proportion to 1 ÷ k^0.99, as YCSB has it.
    Zipfian,
}

/// YCSB's exponent.
const THETA: f64 = 0.99;

/// Ranks `0..count` with Zipf's frequencies, from one random number each, by the formula of Gray and others ("Quickly
/// generating billion-record synthetic databases", 1994). Making it takes time in proportion to `count`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Zipf {
    count: u64,
    zeta: f64,
    eta: f64,
}

impl Zipf {
    /// Ranks below `count`, which is at least 1.
    pub(crate) fn new(count: u64) -> Self {
        let zeta_of = |n: u64| (1..=n).map(|k| (k as f64).powf(-THETA)).sum::<f64>();
        let zeta = zeta_of(count);
        let eta = (1.0 - (2.0 / count as f64).powf(1.0 - THETA)) / (1.0 - zeta_of(2) / zeta);
        Self { count, zeta, eta }
    }

    /// The rank that a random number chooses; 0 is the most frequent.
    pub(crate) fn rank(&self, random: u64) -> u64 {
        let unit = (random >> 11) as f64 / (1u64 << 53) as f64;
        let scaled = unit * self.zeta;
        if scaled < 1.0 {
            return 0;
        }
        if scaled < 1.0 + 0.5f64.powf(THETA) {
            return 1.min(self.count - 1);
        }
        let rank = self.count as f64 * (self.eta * (unit - 1.0) + 1.0).powf(1.0 / (1.0 - THETA));
        (rank as u64).min(self.count - 1)
    }
}

/// Chooses numbers below a count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chooser {
    count: u64,
    zipf: Option<Zipf>,
}

impl Chooser {
    /// Numbers below `count`.
    pub(crate) fn new(distribution: Distribution, count: u64) -> Self {
        let zipf = (distribution == Distribution::Zipfian).then(|| Zipf::new(count));
        Self { count, zipf }
    }

    /// The number that a random one chooses. Popular numbers lie scattered over the whole range.
    #[inline]
    pub(crate) fn choose(&self, random: u64) -> u64 {
        match &self.zipf {
            None => random % self.count,
            Some(zipf) => mix(zipf.rank(random)) % self.count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_follow_the_frequencies_of_zipf() {
        let (zipf, draws) = (Zipf::new(1000), 200_000);
        let mut counts = vec![0u64; 1000];
        let mut random = 1;
        for _ in 0..draws {
            random = mix(random);
            counts[zipf.rank(random) as usize] += 1;
        }
        // The formula is exact for the first two ranks and close for the others.
        for (rank, tolerance) in [(0u32, 0.03), (1, 0.05), (9, 0.25), (99, 0.35)] {
            let expected = f64::from(draws) * f64::from(rank + 1).powf(-THETA) / zipf.zeta;
            let found = counts[rank as usize] as f64;
            assert!((found / expected - 1.0).abs() < tolerance, "rank {rank}: {found}, expected {expected}");
        }
    }

    #[test]
    fn every_choice_is_in_range_even_of_one() {
        for distribution in [Distribution::Uniform, Distribution::Zipfian] {
            for count in [1, 2, 3, 100] {
                let chooser = Chooser::new(distribution, count);
                assert!((0..500).all(|seed| chooser.choose(mix(seed)) < count));
                assert!(chooser.choose(u64::MAX) < count);
            }
        }
    }
}
