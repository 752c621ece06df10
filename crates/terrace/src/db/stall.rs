//! Back-pressure: how writers are slowed so that memory and level 0 never run full all at once.
//!
//! Debt is the largest of three shares: write-buffer memory, level-0 runs, bytes that await compaction. Below
//! 60 % nothing happens. From there on a token bucket admits bytes at a rate that falls smoothly from one and
//! a half times the measured drain rate to next to nothing, and a writer waits at most two milliseconds at a
//! time.
//! Only at 100 % do writers stop. The equilibrium, where admission equals draining, lies at 83 %.
//!
//! Memory and level 0 shrink in lumps (a flush, a merge of many runs), and a store with one core to spare has
//! only one such job at a time. So that writers meet a slope and not a wall between two lumps, the debt counts
//! what the active memtable has taken at this moment, and admission goes to nothing before the limit does.
//!
//! The computation is pure (`Load::debt`, `admitted_rate`); `Stall` holds the clockwork.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::io::Clock;

const SOFT: f64 = 0.6;
/// One writer waits at most this long at a time, unless the store is full.
const MAX_DELAY_NS: u64 = 2_000_000;
/// The bucket runs at most this far ahead, so that one huge write, or many waiting writers, do not weigh on those
/// that come long after them.
const MAX_OWED_NS: u64 = 100_000_000;
/// Shorter debts are not worth a sleep: the system's timers are about this coarse.
const MIN_DELAY_NS: u64 = 1_000_000;
/// The drain rate assumed before anything was measured, in bytes per second.
const INITIAL_RATE: f64 = 64e6;
/// The slowest admission, so that a stuck measurement cannot stop writers for good.
const MIN_RATE: f64 = 1e6;
/// Time constant of the drain-rate filter: several flushes, a few compactions.
const RATE_WINDOW_SECONDS: f64 = 4.0;

/// What fills up, and how much of it there may be.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    /// Memory of the sealed memtables.
    pub(super) sealed_bytes: u64,
    /// The size at which a memtable is sealed, and how many of these sizes there may be.
    pub(super) write_buffer_bytes: u64,
    pub(super) write_buffers: u64,
    /// Runs in level 0, those included that the sealed memtables will become.
    pub(super) l0_runs: u64,
    /// Their limit.
    pub(super) l0_limit: u64,
    /// Bytes that compaction still has to move.
    pub(super) pending_bytes: u64,
    /// Their limit.
    pub(super) pending_limit: u64,
}

/// How full a store is: shares of what there may be, 0 and up; 1 is full.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Debt {
    memory: f64,
    tree: f64,
}

impl Load {
    /// The debt when the active memtable takes `active_bytes`.
    pub(super) fn debt(&self, active_bytes: u64) -> Debt {
        let share = |part: f64, whole: u64| part / whole.max(1) as f64;
        // No more than its size: one that is not sealed when it should be is no reason to wait for a flush.
        let active_bytes = active_bytes.min(self.write_buffer_bytes);
        let started = share(active_bytes as f64, self.write_buffer_bytes);
        let memory = (self.sealed_bytes + active_bytes) as f64;
        let l0 = share(self.l0_runs as f64 + started, self.l0_limit);
        Debt {
            memory: share(memory, self.write_buffer_bytes * self.write_buffers),
            tree: l0.max(share(self.pending_bytes as f64, self.pending_limit)),
        }
    }
}

impl Debt {
    fn is_full(self) -> bool {
        self.memory.max(self.tree) >= 1.0
    }

    fn is_light(self) -> bool {
        self.memory.max(self.tree) < SOFT
    }
}

/// The bytes per second that writers may bring in at a share of debt, or `None` below the soft limit.
pub(super) fn admitted_rate(debt: f64, drain_rate: f64) -> Option<f64> {
    if debt < SOFT {
        return None;
    }
    let position = ((debt - SOFT) / (1.0 - SOFT)).min(1.0);
    Some((drain_rate * 1.5 * (1.0 - position * position)).max(MIN_RATE))
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

/// What admission is computed from: the state at the last seal, flush or compaction.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    load: Load,
    flush_rate: f64,
    level0_rate: f64,
}

impl Pace {
    /// Admitted bytes per second, or `None` for as many as come.
    fn rate(&self, debt: Debt) -> Option<f64> {
        let by_memory = admitted_rate(debt.memory, self.flush_rate);
        let by_tree = admitted_rate(debt.tree, self.level0_rate);
        match (by_memory, by_tree) {
            (Some(memory), Some(tree)) => Some(memory.min(tree)),
            (one, other) => one.or(other),
        }
    }
}

/// How long a writer that must not wait leaves a full store alone before it asks again.
const FULL_PAUSE: Duration = Duration::from_millis(5);

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
    /// Whether the soft limit can be reached before the next update: the fast path is one load and one test.
    pressed: AtomicBool,
    pace: Mutex<Pace>,
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
        let rates = self.rates.lock();
        let pace =
            Pace { load: *load, flush_rate: rates.flush.get(now_ns), level0_rate: rates.level0.get(now_ns) };
        drop(rates);
        *self.pace.lock() = pace;
        self.pressed.store(!load.debt(load.write_buffer_bytes).is_light(), Ordering::Relaxed);
        let _room = self.room.lock();
        self.room_made.notify_all();
    }

    /// A flush has written out this many bytes of memtables.
    pub(super) fn flushed(&self, bytes: u64, clock: &dyn Clock) {
        self.rates.lock().flush.add(bytes, clock.monotonic_ns());
    }

    /// A compaction has taken this many bytes out of level 0.
    pub(super) fn drained_level0(&self, bytes: u64, clock: &dyn Clock) {
        self.rates.lock().level0.add(bytes, clock.monotonic_ns());
    }

    /// Whether a write has to ask `admit`.
    #[inline]
    pub(super) fn is_pressed(&self) -> bool {
        self.pressed.load(Ordering::Relaxed)
    }

    /// Called before a write of `bytes` while there is pressure, with the size of the active memtable. What is
    /// admitted is charged; the delay that is due is served if `waits`.
    #[cold]
    pub(super) fn admit(&self, bytes: u64, active_bytes: u64, waits: bool, clock: &dyn Clock) -> Admission {
        let pace = *self.pace.lock();
        let debt = pace.load.debt(active_bytes);
        if debt.is_full() {
            return Admission::Full;
        }
        if let Some(rate) = pace.rate(debt) {
            let owed_ns = self.charge((bytes as f64 * 1e9 / rate) as u64, clock);
            if waits && owed_ns >= MIN_DELAY_NS {
                let start_ns = clock.monotonic_ns();
                clock.sleep(Duration::from_nanos(owed_ns.min(MAX_DELAY_NS)));
                self.count(clock.monotonic_ns().saturating_sub(start_ns));
            }
        }
        Admission::Go
    }

    /// How long a writer that does not wait in `admit` should wait before its write, with the size of the active
    /// memtable; zero if not at all. Unlike one that waits there it waits for the whole of what is owed.
    #[cold]
    pub(super) fn delay(&self, active_bytes: u64, clock: &dyn Clock) -> Duration {
        let pace = *self.pace.lock();
        let debt = pace.load.debt(active_bytes);
        if debt.is_full() {
            return FULL_PAUSE;
        }
        if pace.rate(debt).is_none() {
            return Duration::ZERO;
        }
        let owed_ns = self.level_at_ns.load(Ordering::Relaxed).saturating_sub(clock.monotonic_ns());
        if owed_ns < MIN_DELAY_NS { Duration::ZERO } else { Duration::from_nanos(owed_ns) }
    }

    /// Puts a write of this cost into the token bucket; returns how long until that is level again.
    fn charge(&self, cost_ns: u64, clock: &dyn Clock) -> u64 {
        let now_ns = clock.monotonic_ns();
        let earliest_ns = now_ns.saturating_sub(MAX_DELAY_NS);
        let advance = |level: u64| Some((level.max(earliest_ns) + cost_ns).min(now_ns + MAX_OWED_NS));
        let before = self.level_at_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, advance);
        let level = before.ok().and_then(advance).unwrap_or(now_ns);
        level.saturating_sub(now_ns)
    }

    /// Whether writers stop, with the size of the active memtable.
    pub(super) fn is_full(&self, active_bytes: u64) -> bool {
        self.pace.lock().load.debt(active_bytes).is_full()
    }

    /// Waits until something has changed or `timeout` has passed; the caller looks at the state again either way.
    pub(super) fn wait_for_room(&self, active_bytes: u64, timeout: Duration, clock: &dyn Clock) {
        let start_ns = clock.monotonic_ns();
        let mut room = self.room.lock();
        if self.is_full(active_bytes) {
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
    use crate::io::manual::ManualClock;

    #[test]
    fn admission_falls_smoothly_to_nothing_and_meets_the_drain_rate_on_the_way() {
        assert_eq!(admitted_rate(0.0, 1e8), None);
        assert_eq!(admitted_rate(0.59, 1e8), None);
        let rates: Vec<f64> = (60..=110).filter_map(|d| admitted_rate(f64::from(d) / 100.0, 1e8)).collect();
        assert!(rates.windows(2).all(|w| w[0] >= w[1] && w[0] - w[1] < 8e6), "no cliff");
        assert!(admitted_rate(0.82, 1e8).unwrap() > 1e8 && admitted_rate(0.84, 1e8).unwrap() < 1e8);
        assert!(admitted_rate(0.99, 1e8).unwrap() < 1e7, "hardly anything before the wall");
        assert!(admitted_rate(1.0, 0.0).unwrap() >= MIN_RATE, "never stuck for good");
    }

    const LOAD: Load = Load {
        sealed_bytes: 200,
        write_buffer_bytes: 100,
        write_buffers: 4,
        l0_runs: 4,
        l0_limit: 10,
        pending_bytes: 0,
        pending_limit: 9,
    };

    #[test]
    fn debt_grows_with_the_active_memtable() {
        assert_eq!(LOAD.debt(0), Debt { memory: 0.5, tree: 0.4 });
        assert_eq!(LOAD.debt(50), Debt { memory: 0.625, tree: 0.45 });
        let three = Load { sealed_bytes: 300, ..LOAD };
        assert!(!three.debt(99).is_full() && three.debt(100).is_full());
    }

    /// A memtable that could not be sealed for want of a new one takes any size. Writers that waited for a
    /// flush then would wait for ever: there is nothing to flush.
    #[test]
    fn an_active_memtable_alone_never_fills_a_store() {
        let none_sealed = Load { sealed_bytes: 0, ..LOAD };
        assert!(none_sealed.debt(10_000).is_light());
    }

    #[test]
    fn the_slower_of_two_causes_decides() {
        let pace = Pace { load: LOAD, flush_rate: 1e8, level0_rate: 1e6 };
        assert_eq!(pace.rate(Debt { memory: 0.5, tree: 0.5 }), None);
        assert_eq!(pace.rate(Debt { memory: 0.7, tree: 0.1 }), admitted_rate(0.7, 1e8));
        assert_eq!(pace.rate(Debt { memory: 0.9, tree: 0.6 }), admitted_rate(0.6, 1e6));
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

    /// Level 0 shrinks by one long merge at a time. The admitted rate went down to half the drain rate at the
    /// limit, not to nothing, so a load of 20 million entries filled level 0 within the last merge and the
    /// writer stood for up to 1.07 seconds. Memory did the same between two flushes.
    #[test]
    fn a_steady_writer_meets_a_slope_and_no_wall() {
        const PUT: u64 = 1 << 10;
        const BUFFER: u64 = 32 << 20;
        const PUT_NS: u64 = 5_000; // 200 MB/s, four times what drains
        const FLUSH_NS: u64 = 200_000_000;
        const MERGE_NS_PER_RUN: u64 = 800_000_000;
        const MERGE_RUNS: u64 = 12;
        let (clock, stall) = (ManualClock::default(), Stall::default());
        let mut load = Load { write_buffer_bytes: BUFFER, write_buffers: 4, l0_limit: 32, ..LOAD };
        (load.sealed_bytes, load.l0_runs, load.pending_limit) = (0, 0, u64::MAX);
        let (mut active, mut flushed_at, mut merge, mut longest_ns) = (0, None, None, 0);
        for _ in 0..(3u64 << 30) / PUT {
            let start_ns = clock.monotonic_ns();
            if stall.is_pressed() {
                assert_eq!(stall.admit(PUT, active, true, &clock), Admission::Go, "{:?}", load.debt(active));
            }
            longest_ns = longest_ns.max(clock.monotonic_ns() - start_ns);
            clock.advance(Duration::from_nanos(PUT_NS));
            active += PUT;
            let mut changed = false;
            if active >= BUFFER {
                (active, load.sealed_bytes, load.l0_runs) = (0, load.sealed_bytes + BUFFER, load.l0_runs + 1);
                changed = true;
            }
            let now_ns = clock.monotonic_ns();
            if load.sealed_bytes > 0 && now_ns >= *flushed_at.get_or_insert(now_ns + FLUSH_NS) {
                (load.sealed_bytes, flushed_at, changed) = (load.sealed_bytes - BUFFER, None, true);
                stall.flushed(BUFFER, &clock);
            }
            if merge.is_none() && load.l0_runs >= MERGE_RUNS + load.sealed_bytes / BUFFER {
                merge = Some((load.l0_runs, now_ns + load.l0_runs * MERGE_NS_PER_RUN));
            }
            if let Some((runs, _)) = merge.filter(|(_, end_ns)| now_ns >= *end_ns) {
                (load.l0_runs, merge, changed) = (load.l0_runs - runs, None, true);
                stall.drained_level0(runs * BUFFER, &clock);
            }
            if changed {
                stall.update(&load, &clock);
            }
        }
        assert!(stall.counts().0 > 1000, "the writer was slowed down");
        assert!(longest_ns <= MAX_DELAY_NS, "{longest_ns}");
    }

    /// A writer that asks before it writes and then does not wait is held to the same rate as one that waits.
    #[test]
    fn who_asks_first_is_paced_like_who_waits() {
        let (clock, stall) = (ManualClock::default(), Stall::default());
        clock.advance(Duration::from_secs(1));
        stall.update(&Load { sealed_bytes: 280, write_buffers: 4, ..LOAD }, &clock);
        let rate = admitted_rate(0.7, INITIAL_RATE).unwrap();
        let (start_ns, mut written) = (clock.monotonic_ns(), 0.0);
        while written < rate / 2.0 {
            assert_eq!(stall.admit(64 << 10, 0, false, &clock), Admission::Go);
            written += f64::from(64 << 10);
            clock.advance(stall.delay(0, &clock));
        }
        let seconds = (clock.monotonic_ns() - start_ns) as f64 / 1e9;
        assert!((0.45..0.55).contains(&seconds), "{seconds}");
        assert_eq!(stall.counts().0, 0, "nobody slept");
        stall.update(&Load { sealed_bytes: 400, ..LOAD }, &clock);
        assert_eq!(stall.delay(0, &clock), FULL_PAUSE);
        stall.update(&Load { sealed_bytes: 0, ..LOAD }, &clock);
        assert_eq!(stall.delay(0, &clock), Duration::ZERO);
    }
}
