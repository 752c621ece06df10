//! Back-pressure: how writers are slowed so that memory and level 0 never run full all at once.
//!
//! Debt is the largest of three shares: write-buffer memory, level-0 runs, bytes that await compaction. Below
//! 60 % nothing happens. From there on a token bucket admits bytes at a rate that falls smoothly from one and
//! a half times the measured drain rate to half of it, and a writer waits at most a millisecond at a time.
//! Only at 100 % do writers stop. The equilibrium lies where admission equals draining, at 80 %.
//!
//! The computation is pure (`debt`, `admitted_rate`); `Stall` holds the clockwork.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::io::Clock;

const SOFT: f64 = 0.6;
/// One writer waits at most this long at a time, unless the store is full.
const MAX_DELAY_NS: u64 = 1_000_000;
/// The bucket runs at most this far ahead, so that one huge write, or many waiting writers, do not weigh on those
/// that come long after them.
const MAX_OWED_NS: u64 = 100_000_000;
/// Shorter debts are not worth a sleep: the system's timers are about this coarse.
const MIN_DELAY_NS: u64 = 100_000;
/// The drain rate assumed before anything was measured, in bytes per second.
const INITIAL_RATE: f64 = 64e6;
/// The slowest admission, so that a stuck measurement cannot stop writers for good.
const MIN_RATE: f64 = 1e6;
/// Time constant of the drain-rate filter: several flushes, a few compactions.
const RATE_WINDOW_SECONDS: f64 = 4.0;

/// What fills up, and how much of it there may be.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    /// Memory of the memtables.
    pub(super) memory_bytes: u64,
    /// Its limit.
    pub(super) memory_limit: u64,
    /// Runs in level 0.
    pub(super) l0_runs: u64,
    /// Their limit.
    pub(super) l0_limit: u64,
    /// Bytes that compaction still has to move.
    pub(super) pending_bytes: u64,
    /// Their limit.
    pub(super) pending_limit: u64,
}

/// The debt, 0 and up (1 is full), and whether memory is what causes it.
pub(super) fn debt(load: &Load) -> (f64, bool) {
    let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
    let memory = share(load.memory_bytes, load.memory_limit);
    let tree = share(load.l0_runs, load.l0_limit).max(share(load.pending_bytes, load.pending_limit));
    (memory.max(tree), memory >= tree)
}

/// The bytes per second that writers may bring in, or `None` below the soft limit.
pub(super) fn admitted_rate(debt: f64, drain_rate: f64) -> Option<f64> {
    if debt < SOFT {
        return None;
    }
    let position = ((debt - SOFT) / (1.0 - SOFT)).min(1.0);
    Some((drain_rate * (1.5 - position)).max(MIN_RATE))
}

/// An exponentially filtered rate of bytes drained.
#[derive(Debug, Default)]
struct DrainRate {
    weight_bytes: f64,
    updated_ns: u64,
    started_ns: u64,
}

impl DrainRate {
    fn add(&mut self, bytes: u64, now_ns: u64) {
        if self.updated_ns == 0 {
            self.started_ns = now_ns;
        }
        self.weight_bytes = self.weight_bytes * self.decay(now_ns) + bytes as f64;
        self.updated_ns = now_ns;
    }

    fn decay(&self, now_ns: u64) -> f64 {
        (-(now_ns.saturating_sub(self.updated_ns) as f64) / 1e9 / RATE_WINDOW_SECONDS).exp()
    }

    /// Bytes per second; the assumed rate until a whole window was seen.
    fn get(&self, now_ns: u64) -> f64 {
        let seen = now_ns.saturating_sub(self.started_ns) as f64 / 1e9;
        if self.updated_ns == 0 || seen < RATE_WINDOW_SECONDS {
            return INITIAL_RATE;
        }
        self.weight_bytes * self.decay(now_ns) / RATE_WINDOW_SECONDS
    }
}

#[derive(Debug, Default)]
struct Rates {
    flush: DrainRate,
    level0: DrainRate,
}

/// What a writer has to do before it may write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Admission {
    /// Go ahead (perhaps after a delay that has been served).
    Go,
    /// The store is full; wait for `Stall::wait_for_room`.
    Full,
}

/// The back-pressure of one store.
#[derive(Debug, Default)]
pub(super) struct Stall {
    /// The debt in thousandths; 0 below the soft limit, so that the fast path is one load and one test.
    pressure: AtomicU32,
    /// Admitted bytes per second while there is pressure.
    rate: AtomicU64,
    /// When the token bucket is level again, on the monotonic clock.
    level_at_ns: AtomicU64,
    rates: Mutex<Rates>,
    room: Mutex<()>,
    room_made: Condvar,
    count: AtomicU64,
    total_ns: AtomicU64,
    max_ns: AtomicU64,
}

impl Stall {
    /// Takes note of the state of the tree after a seal, a flush or a compaction.
    pub(super) fn update(&self, load: &Load, clock: &dyn Clock) {
        let now_ns = clock.monotonic_ns();
        let (debt, by_memory) = debt(load);
        let rates = self.rates.lock();
        let drain = if by_memory { rates.flush.get(now_ns) } else { rates.level0.get(now_ns) };
        drop(rates);
        match admitted_rate(debt, drain) {
            None => self.pressure.store(0, Ordering::Relaxed),
            Some(rate) => {
                self.rate.store(rate as u64, Ordering::Relaxed);
                self.pressure.store(((debt * 1000.0) as u32).max(1), Ordering::Relaxed);
            }
        }
        if debt < 1.0 {
            let _room = self.room.lock();
            self.room_made.notify_all();
        }
    }

    /// A flush has written out this many bytes of memtables.
    pub(super) fn flushed(&self, bytes: u64, clock: &dyn Clock) {
        self.rates.lock().flush.add(bytes, clock.monotonic_ns());
    }

    /// A compaction has taken this many bytes out of level 0.
    pub(super) fn drained_level0(&self, bytes: u64, clock: &dyn Clock) {
        self.rates.lock().level0.add(bytes, clock.monotonic_ns());
    }

    /// Called before a write of `bytes`; serves the delay that is due, if any.
    #[inline]
    pub(super) fn admit(&self, bytes: u64, clock: &dyn Clock) -> Admission {
        let pressure = self.pressure.load(Ordering::Relaxed);
        if pressure == 0 {
            return Admission::Go;
        }
        if pressure >= 1000 {
            return Admission::Full;
        }
        self.charge(bytes, clock);
        Admission::Go
    }

    #[cold]
    fn charge(&self, bytes: u64, clock: &dyn Clock) {
        let now_ns = clock.monotonic_ns();
        let cost_ns = (bytes as f64 * 1e9 / self.rate.load(Ordering::Relaxed).max(1) as f64) as u64;
        let earliest_ns = now_ns.saturating_sub(MAX_DELAY_NS);
        let advance = |level: u64| Some((level.max(earliest_ns) + cost_ns).min(now_ns + MAX_OWED_NS));
        let before = self.level_at_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, advance);
        let level = before.ok().and_then(advance).unwrap_or(now_ns);
        let owed_ns = level.saturating_sub(now_ns);
        if owed_ns >= MIN_DELAY_NS {
            clock.sleep(Duration::from_nanos(owed_ns.min(MAX_DELAY_NS)));
            self.count(clock.monotonic_ns().saturating_sub(now_ns));
        }
    }

    /// Waits until there is room or `timeout` has passed; the caller looks at the state again either way.
    pub(super) fn wait_for_room(&self, timeout: Duration, clock: &dyn Clock) {
        let start_ns = clock.monotonic_ns();
        let mut room = self.room.lock();
        if self.pressure.load(Ordering::Relaxed) >= 1000 {
            self.room_made.wait_for(&mut room, timeout);
        }
        drop(room);
        self.count(clock.monotonic_ns().saturating_sub(start_ns));
    }

    fn count(&self, ns: u64) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.total_ns.fetch_add(ns, Ordering::Relaxed);
        self.max_ns.fetch_max(ns, Ordering::Relaxed);
    }

    /// Delays so far: count, total and longest in nanoseconds.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (load(&self.count), load(&self.total_ns), load(&self.max_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admission_falls_smoothly_and_meets_the_drain_rate_in_the_middle() {
        assert_eq!(admitted_rate(0.0, 1e8), None);
        assert_eq!(admitted_rate(0.59, 1e8), None);
        let rates: Vec<f64> = (60..=110).filter_map(|d| admitted_rate(f64::from(d) / 100.0, 1e8)).collect();
        assert!(rates.windows(2).all(|w| w[0] >= w[1] && w[0] - w[1] < 3e6), "no cliff");
        assert!((admitted_rate(0.8, 1e8).unwrap() - 1e8).abs() < 1.0);
        assert!(admitted_rate(1.0, 0.0).unwrap() >= MIN_RATE, "never stuck for good");
    }

    #[test]
    fn debt_is_the_largest_share() {
        let load = Load {
            memory_bytes: 1,
            memory_limit: 4,
            l0_runs: 3,
            l0_limit: 4,
            pending_bytes: 0,
            pending_limit: 9,
        };
        assert_eq!(debt(&load), (0.75, false));
        assert_eq!(debt(&Load { memory_bytes: 4, ..load }), (1.0, true));
    }

    #[test]
    fn the_drain_rate_follows_a_steady_flow() {
        let mut rate = DrainRate::default();
        for step in 1..=200u64 {
            rate.add(10_000_000, step * 100_000_000);
        }
        let measured = rate.get(200 * 100_000_000);
        assert!((0.9e8..1.1e8).contains(&measured), "{measured}");
    }
}
