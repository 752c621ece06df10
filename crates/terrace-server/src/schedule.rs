//! The schedule of keys that will expire, soonest first.
//!
//! The store hides an expired entry by itself; the schedule is there to remove it soon, so that somebody can be
//! told. It has at most [`MAX_KEYS`] keys and [`MAX_BYTES`] of them. When it is full the latest make room, and
//! [`Schedule::horizon_ms`] says from when on keys may be missing: all that expire before it are here, if the
//! server has seen them being written. A scan fills it up again; see `expiry`.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::pubsub::Name;

/// The most keys.
pub(crate) const MAX_KEYS: usize = 1 << 18;
/// The most bytes of keys.
const MAX_BYTES: usize = 32 << 20;

/// Time, database, key.
pub(crate) type Due = (u64, u8, Name);

#[derive(Debug, Default)]
struct Queue {
    entries: BTreeSet<Due>,
    bytes: usize,
}

/// The schedule.
#[derive(Debug)]
pub(crate) struct Schedule {
    queue: Mutex<Queue>,
    len: AtomicUsize,
    horizon_ms: AtomicU64,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { queue: Mutex::default(), len: AtomicUsize::new(0), horizon_ms: AtomicU64::new(u64::MAX) }
    }
}

impl Schedule {
    /// Whether nothing is scheduled.
    pub(crate) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }

    /// Keys that expire at or after this time may be missing.
    pub(crate) fn horizon_ms(&self) -> u64 {
        self.horizon_ms.load(Ordering::Relaxed)
    }

    /// Says that no key is missing any more.
    pub(crate) fn is_complete_again(&self) {
        self.horizon_ms.store(u64::MAX, Ordering::Relaxed);
    }

    /// Adds a key, unless it expires so late that there is no room.
    pub(crate) fn add(&self, at_ms: u64, db: u8, key: &[u8]) {
        if at_ms >= self.horizon_ms() {
            return;
        }
        let mut queue = self.queue.lock();
        if queue.entries.insert((at_ms, db, key.into())) {
            queue.bytes += key.len();
        }
        while queue.entries.len() > MAX_KEYS || queue.bytes > MAX_BYTES {
            let Some((last_ms, _, key)) = queue.entries.pop_last() else { break };
            queue.bytes -= key.len();
            self.horizon_ms.fetch_min(last_ms, Ordering::Relaxed);
        }
        self.len.store(queue.entries.len(), Ordering::Relaxed);
    }

    /// Exchanges the keys of two databases.
    pub(crate) fn swap(&self, one: u8, two: u8) {
        let mut queue = self.queue.lock();
        let swapped = |db| match db {
            db if db == one => two,
            db if db == two => one,
            db => db,
        };
        let entries = std::mem::take(&mut queue.entries);
        queue.entries = entries.into_iter().map(|(at_ms, db, key)| (at_ms, swapped(db), key)).collect();
    }

    /// Takes up to `max` keys whose time has come.
    pub(crate) fn take_due(&self, now_ms: u64, max: usize) -> Vec<Due> {
        let mut due = Vec::new();
        if self.is_empty() {
            return due;
        }
        let mut queue = self.queue.lock();
        while due.len() < max && queue.entries.first().is_some_and(|(at, _, _)| *at <= now_ms) {
            let Some(entry) = queue.entries.pop_first() else { break };
            queue.bytes -= entry.2.len();
            due.push(entry);
        }
        self.len.store(queue.entries.len(), Ordering::Relaxed);
        due
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_out_when_they_are_due() {
        let schedule = Schedule::default();
        assert!(schedule.is_empty());
        schedule.add(30, 0, b"late");
        schedule.add(10, 1, b"soon");
        schedule.add(20, 0, b"then");
        let keys = |due: Vec<Due>| due.iter().map(|(_, _, k)| String::from_utf8_lossy(k).into()).collect();
        let taken: Vec<String> = keys(schedule.take_due(25, 10));
        assert_eq!(taken, ["soon", "then"]);
        assert_eq!(schedule.take_due(25, 10).len(), 0);
        assert_eq!((schedule.len(), schedule.horizon_ms()), (1, u64::MAX));
    }

    #[test]
    fn a_full_schedule_keeps_the_soonest_and_says_what_it_lacks() {
        let schedule = Schedule::default();
        for i in (0..MAX_KEYS as u64 + 100).rev() {
            schedule.add(1000 + i, 0, &i.to_be_bytes());
        }
        assert_eq!(schedule.len(), MAX_KEYS);
        assert_eq!(schedule.horizon_ms(), 1000 + MAX_KEYS as u64);
        schedule.add(u64::MAX - 1, 0, b"too late");
        assert_eq!(schedule.len(), MAX_KEYS);
        assert_eq!(schedule.take_due(1000, 10).len(), 1);
    }
}
