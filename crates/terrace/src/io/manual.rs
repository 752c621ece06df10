//! Time and randomness that a test owns: a clock that moves only when told, and a seeded generator.
//!
//! Both give the same answers in every run, so a failing seed is the whole bug report. Neither is meant for a
//! real store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Clock, Rng};

/// A clock that stands still until it is moved.
///
/// [`ManualClock::advance`] (and a sleep) moves wall and monotonic time together;
/// [`ManualClock::set_wall_ms`] makes the wall clock jump, back if need be, as a corrected system clock does.
#[derive(Debug)]
pub struct ManualClock {
    wall_ns: AtomicU64,
    monotonic_ns: AtomicU64,
}

const NS_PER_MS: u64 = 1_000_000;

impl Default for ManualClock {
    /// Starts in 2023, so that a mix-up of "never" (zero) and "now" shows.
    fn default() -> Self {
        Self::new(1_700_000_000_000)
    }
}

impl ManualClock {
    /// A clock whose wall time is `wall_ms` milliseconds after the Unix epoch.
    pub fn new(wall_ms: u64) -> Self {
        Self { wall_ns: AtomicU64::new(wall_ms.saturating_mul(NS_PER_MS)), monotonic_ns: AtomicU64::new(0) }
    }

    /// Moves both clocks forward.
    pub fn advance(&self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        for clock in [&self.wall_ns, &self.monotonic_ns] {
            // The closure always returns a value, so the update cannot fail.
            let _ =
                clock.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| Some(now.saturating_add(ns)));
        }
    }

    /// Makes the wall clock jump, in either direction; monotonic time does not notice.
    pub fn set_wall_ms(&self, wall_ms: u64) {
        self.wall_ns.store(wall_ms.saturating_mul(NS_PER_MS), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> u64 {
        self.wall_ns.load(Ordering::SeqCst) / NS_PER_MS
    }

    fn monotonic_ns(&self) -> u64 {
        self.monotonic_ns.load(Ordering::SeqCst)
    }

    fn sleep(&self, duration: Duration) {
        self.advance(duration);
    }
}

/// The splitmix64 generator: the same seed gives the same numbers.
#[derive(Debug)]
pub struct SeededRng {
    state: AtomicU64,
}

/// The odd constant nearest to 2^64 divided by the golden ratio, splitmix64's step.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

impl SeededRng {
    /// A generator that starts from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: AtomicU64::new(seed) }
    }

    /// A number below `bound`, or zero when `bound` is zero.
    pub fn below(&self, bound: u64) -> u64 {
        // The high half of a wide product: as good as a remainder for tests, and without its division.
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// `true` in `percent` of 100 calls.
    pub fn chance(&self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

impl Rng for SeededRng {
    fn next_u64(&self) -> u64 {
        let mut z = self.state.fetch_add(STEP, Ordering::SeqCst).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeping_moves_both_clocks_and_a_jump_only_the_wall_clock() {
        let clock = ManualClock::new(1000);
        clock.sleep(Duration::from_micros(1500));
        clock.advance(Duration::from_micros(500));
        assert_eq!((clock.now_ms(), clock.monotonic_ns()), (1002, 2_000_000));
        clock.set_wall_ms(5);
        assert_eq!((clock.now_ms(), clock.monotonic_ns()), (5, 2_000_000));
    }

    #[test]
    fn the_generator_follows_the_published_sequence() {
        let rng = SeededRng::new(1234567);
        let first: Vec<u64> = (0..3).map(|_| rng.next_u64()).collect();
        assert_eq!(first, [6457827717110365317, 3203168211198807973, 9817491932198370423]);
    }

    #[test]
    fn bounded_numbers_reach_every_value_below_the_bound() {
        let rng = SeededRng::new(7);
        let mut seen = [0; 5];
        for _ in 0..1000 {
            seen[rng.below(5) as usize] += 1;
        }
        assert!(seen.iter().all(|count| *count > 100), "{seen:?}");
        assert_eq!(rng.below(0), 0);
        assert!(!rng.chance(0) && rng.chance(100));
    }
}
