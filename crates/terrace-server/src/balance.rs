//! How many event loops serve, as far as nobody has fixed the number.
//!
//! One loop that is kept busy does more with less than several that are woken for a request each; but it can be no
//! faster than a core. So the server begins with one loop, opens another when the busiest is at its limit and the
//! machine has a core to spare, and closes one when the others can carry its load and nobody gains by it: because there
//! is little to do, or because the loops, the store and the clients on the same machine fight for the cores.
//!
//! Every loop measures its processor time over windows; whoever ends a window first judges for all. `judge` is the
//! policy, a pure function; what connections do about it is in `event_loop/moving.rs`.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::system;

/// How long processor time is measured at a time.
pub(crate) const WINDOW_NS: u64 = 100_000_000;
/// Windows in a row that must ask for more loops, or for fewer.
const PATIENCE: [u32; 2] = [2, 3];
/// Windows after a change in which nothing changes; doubled with each change that takes back the one before, up to
/// the second number, so that a load between two numbers of loops does not go to and fro.
const REST: [u32; 2] = [5, 600];

/// A busiest loop above this share of a core, in thousandths, is at its limit.
const FULL: u32 = 850;
/// Another loop is worth opening when so much of a core is idle.
const SPARE: u32 = 250;
/// With less than this idle, threads fight for the cores.
const CONTENDED: u32 = 100;
/// Loops that would be used less than this, had they one fewer, are too many.
const LIGHT: u32 = 400;
/// In contention, loops that would be used less than this, had they one fewer, are too many.
const CARRIED: u32 = 950;

/// What is known of one window. Shares are thousandths of a core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Load {
    /// Loops that serve.
    active: usize,
    /// Loops that there are.
    all: usize,
    /// Processor time of the busiest.
    most: u32,
    /// Processor time of all together.
    sum: u32,
    /// What the whole machine did not use; `None` if that is not known yet.
    spare: Option<u32>,
}

impl Load {
    /// Loops that would be left if one were closed.
    fn remaining(&self) -> u32 {
        u32::try_from(self.active - 1).unwrap_or(u32::MAX)
    }

    /// Whether a loop more could be of use.
    fn is_full(&self) -> bool {
        self.active < self.all && self.most >= FULL
    }

    /// Whether the loops could do with one fewer, if it has to be.
    fn could_be_carried(&self) -> bool {
        self.sum < self.remaining().saturating_mul(CARRIED)
    }
}

/// What a window asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wish {
    More,
    Fewer,
}

fn judge(load: &Load) -> Option<Wish> {
    let spare = load.spare?;
    if load.is_full() && spare >= SPARE {
        return Some(Wish::More);
    }
    let contended = spare < CONTENDED && load.could_be_carried();
    (contended || load.sum < load.remaining().saturating_mul(LIGHT)).then_some(Wish::Fewer)
}

/// What the judging loop remembers.
#[derive(Debug, Default)]
struct Judge {
    /// When the last window ended.
    ended_at_ns: u64,
    /// How long the machine had been idle then, if that was asked.
    idle_ns: Option<u64>,
    wished: Option<Wish>,
    in_a_row: u32,
    /// Windows for which nothing changes.
    rests: u32,
    /// The last change, how long it was given, and the windows since.
    changed: Option<Wish>,
    rest: u32,
    since: u32,
}

/// What one loop has measured last.
#[derive(Debug, Default)]
struct Measured {
    share: AtomicU32,
    at_ns: AtomicU64,
}

/// How many loops serve.
#[derive(Debug)]
pub(crate) struct Balance {
    fixed: bool,
    loops: Vec<Measured>,
    active: AtomicUsize,
    /// Counts the changes.
    changes: AtomicU64,
    judge: Mutex<Judge>,
}

impl Balance {
    /// For `loops` loops, all of which serve always if that is `fixed`.
    pub(crate) fn new(loops: usize, fixed: bool) -> Self {
        Self {
            fixed,
            loops: (0..loops).map(|_| Measured::default()).collect(),
            active: AtomicUsize::new(if fixed { loops } else { 1 }),
            changes: AtomicU64::new(0),
            judge: Mutex::default(),
        }
    }

    /// Whether the number never changes.
    pub(crate) fn is_fixed(&self) -> bool {
        self.fixed || self.loops.len() == 1
    }

    /// The loops that serve are those with a smaller index than this.
    pub(crate) fn active(&self) -> usize {
        self.active.load(Ordering::Acquire)
    }

    /// How often the number has changed.
    #[inline]
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Takes the processor time of a loop since its last report, both in nanoseconds, and judges if it is time.
    pub(crate) fn report(&self, index: usize, cpu_ns: u64, passed_ns: u64, now_ns: u64) {
        let Some(own) = self.loops.get(index) else { return };
        own.share.store(share(cpu_ns, passed_ns), Ordering::Relaxed);
        own.at_ns.store(now_ns, Ordering::Relaxed);
        let Some(mut judge) = self.judge.try_lock() else { return };
        let passed_ns = now_ns.saturating_sub(judge.ended_at_ns);
        if passed_ns >= WINDOW_NS {
            judge.ended_at_ns = now_ns;
            self.end_window(&mut judge, passed_ns, now_ns);
        }
    }

    /// Has so many loops serve, whatever is judged.
    #[cfg(test)]
    pub(crate) fn force(&self, active: usize) {
        self.active.store(active, Ordering::Release);
        self.changes.fetch_add(1, Ordering::Release);
    }

    fn end_window(&self, judge: &mut Judge, passed_ns: u64, now_ns: u64) {
        // A loop that sleeps does not report.
        let fresh =
            |own: &&Measured| now_ns.saturating_sub(own.at_ns.load(Ordering::Relaxed)) < 2 * WINDOW_NS;
        let shares = || self.loops.iter().filter(fresh).map(|own| own.share.load(Ordering::Relaxed));
        let mut load = Load {
            active: self.active(),
            all: self.loops.len(),
            most: shares().max().unwrap_or(0),
            sum: shares().sum(),
            spare: None,
        };
        // The system is asked only where the answer matters: on a large machine it takes its time.
        let matters = load.is_full() || (load.active > 1 && load.could_be_carried());
        let idle_ns = matters.then(|| system::idle_ns().unwrap_or(now_ns));
        let before = std::mem::replace(&mut judge.idle_ns, idle_ns);
        let idled = idle_ns.zip(before).map(|(now, then)| now.saturating_sub(then));
        load.spare = idled.map(|idle_ns| share(idle_ns, passed_ns));
        if let Some(active) = judge.next(&load) {
            self.active.store(active, Ordering::Release);
            self.changes.fetch_add(1, Ordering::Release);
            tracing::debug!(active, ?load, "event loops");
        }
    }
}

impl Judge {
    /// The number of loops from now on, if it changes.
    fn next(&mut self, load: &Load) -> Option<usize> {
        let wish = judge(load);
        self.in_a_row = if wish == self.wished { self.in_a_row + 1 } else { 1 };
        self.wished = wish;
        self.rests = self.rests.saturating_sub(1);
        self.since = self.since.saturating_add(1);
        let wish = wish.filter(|wish| self.rests == 0 && self.in_a_row >= PATIENCE[*wish as usize])?;
        let takes_back = self.changed.is_some_and(|before| before != wish) && self.since < 4 * self.rest;
        self.rest = if takes_back { (2 * self.rest).min(REST[1]) } else { REST[0] };
        (self.in_a_row, self.rests, self.since, self.changed) = (0, self.rest, 0, Some(wish));
        Some(match wish {
            Wish::More => load.active + 1,
            Wish::Fewer => load.active - 1,
        })
    }
}

/// Thousandths.
fn share(part: u64, whole: u64) -> u32 {
    u32::try_from(part.saturating_mul(1000) / whole.max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Load = Load { active: 1, all: 2, most: 960, sum: 960, spare: Some(500) };

    #[test]
    fn a_full_loop_gets_another_only_where_a_core_is_free_for_it() {
        assert_eq!(judge(&ONE), Some(Wish::More));
        assert_eq!(judge(&Load { spare: None, ..ONE }), None);
        assert_eq!(judge(&Load { spare: Some(50), ..ONE }), None);
        assert_eq!(judge(&Load { most: 800, ..ONE }), None);
        assert_eq!(judge(&Load { all: 1, ..ONE }), None);
        assert_eq!(judge(&Load { active: 2, sum: 1900, ..ONE }), None);
    }

    #[test]
    fn loops_are_closed_when_the_others_can_carry_their_load() {
        let two = Load { active: 2, most: 450, sum: 850, spare: Some(20), ..ONE };
        assert_eq!(judge(&two), Some(Wish::Fewer), "they fight for the cores");
        assert_eq!(judge(&Load { spare: Some(800), ..two }), None, "nobody is in their way");
        assert_eq!(
            judge(&Load { spare: Some(800), sum: 300, ..two }),
            Some(Wish::Fewer),
            "there is little to do"
        );
        assert_eq!(judge(&Load { sum: 1500, ..two }), None, "one could not carry it");
        assert_eq!(judge(&Load { active: 1, sum: 0, ..two }), None, "one always serves");
    }

    #[test]
    fn a_wish_must_last_and_a_change_is_given_time() {
        let mut judge = Judge::default();
        assert_eq!(judge.next(&ONE), None);
        assert_eq!(judge.next(&ONE), Some(2));
        let two = Load { active: 2, sum: 100, most: 50, ..ONE };
        let changed = (1..100).find(|_| judge.next(&two).is_some());
        assert_eq!(changed, Some(5));
        let mut judge = Judge::default();
        for _ in 0..100 {
            assert_eq!(judge.next(&ONE), None);
            assert_eq!(judge.next(&Load { most: 100, ..ONE }), None, "every other window is no reason");
        }
    }

    #[test]
    fn a_load_between_two_numbers_does_not_go_to_and_fro_for_ever() {
        let (mut judge, mut load, mut changes) = (Judge::default(), ONE, 0);
        for _ in 0..10_000 {
            if let Some(active) = judge.next(&load) {
                changes += 1;
                load = match active {
                    1 => ONE,
                    _ => Load { active, most: 470, sum: 940, spare: Some(0), ..ONE },
                };
            }
        }
        assert!((10..40).contains(&changes), "{changes} in 1,000 seconds");
    }

    #[test]
    fn a_fixed_number_stays() {
        let balance = Balance::new(3, true);
        assert_eq!((balance.active(), balance.is_fixed()), (3, true));
        assert_eq!(Balance::new(3, false).active(), 1);
        assert!(Balance::new(1, false).is_fixed());
    }

    #[test]
    fn reports_of_a_full_loop_open_the_next() {
        let balance = Balance::new(2, false);
        for window in 1..100u64 {
            // Whether this machine has a core to spare, nobody knows; then only the count of windows matters.
            balance.report(0, WINDOW_NS, WINDOW_NS, window * WINDOW_NS);
            assert!((1..=2).contains(&balance.active()));
        }
        assert_eq!(balance.changes() > 0, balance.active() == 2);
    }
}
