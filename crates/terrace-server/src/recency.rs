//! When keys were last used, for `OBJECT IDLETIME`.
//!
//! The store does not write down that a key was read, so this is kept in memory, in a table of fixed size: a slot, chosen
//! by the hash of a key's name, has the second in which any of its keys was last used. So the answer is exact for all
//! keys that share their slot with none that is in use, and otherwise too short; it is never too long. What was not
//! used since the start counts as used then, as in Redis after it has loaded its data. Databases share the table, so
//! that `SWAPDB` and `MOVE` need not care.
//!
//! A use costs a hash of the name and one load; a store only if the second is another one.

use std::sync::atomic::{AtomicU32, Ordering};

use xxhash_rust::xxh3::xxh3_64;

/// Slots; 4 MiB, of which only the pages that are used cost memory.
const SLOTS: usize = 1 << 20;

/// The seconds in which keys were last used.
pub(crate) struct Recency {
    /// Seconds since the epoch; 0 for not since the start.
    slots: Box<[AtomicU32]>,
    started_s: u32,
}

/// The second of a time; a time after the year 2106 is that of the last second that fits.
fn second(now_ms: u64) -> u32 {
    u32::try_from(now_ms / 1000).unwrap_or(u32::MAX)
}

impl Recency {
    /// With nothing used since `now_ms`.
    pub(crate) fn new(now_ms: u64) -> Self {
        Self { slots: (0..SLOTS).map(|_| AtomicU32::new(0)).collect(), started_s: second(now_ms) }
    }

    fn slot(&self, key: &[u8]) -> &AtomicU32 {
        &self.slots[xxh3_64(key) as usize % SLOTS]
    }

    /// Notes that a key is used.
    pub(crate) fn touch(&self, key: &[u8], now_ms: u64) {
        let (slot, now_s) = (self.slot(key), second(now_ms));
        if slot.load(Ordering::Relaxed) != now_s {
            slot.store(now_s, Ordering::Relaxed);
        }
    }

    /// Notes that a key was last used so many seconds ago.
    pub(crate) fn set_idle(&self, key: &[u8], seconds: u64, now_ms: u64) {
        let ago = u32::try_from(seconds).unwrap_or(u32::MAX);
        self.slot(key).store(second(now_ms).saturating_sub(ago).max(1), Ordering::Relaxed);
    }

    /// The second in which a key was last used, since the epoch.
    pub(crate) fn last_used_s(&self, key: &[u8]) -> u32 {
        match self.slot(key).load(Ordering::Relaxed) {
            0 => self.started_s,
            second => second,
        }
    }

    /// For how many seconds a key has not been used, at least.
    pub(crate) fn idle_s(&self, key: &[u8], now_ms: u64) -> u32 {
        second(now_ms).saturating_sub(self.last_used_s(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_idle_since_its_last_use_or_since_the_start() {
        let recency = Recency::new(1_000_000);
        assert_eq!(recency.idle_s(b"a", 1_009_999), 9);
        recency.touch(b"a", 1_005_000);
        assert_eq!((recency.idle_s(b"a", 1_009_999), recency.idle_s(b"b", 1_009_999)), (4, 9));
        // The clock went back.
        assert_eq!(recency.idle_s(b"a", 1_000), 0);
        recency.set_idle(b"b", 500, 1_009_999);
        assert_eq!(recency.idle_s(b"b", 1_010_000), 501);
        recency.set_idle(b"b", u64::MAX, 1_009_999);
        assert_eq!(recency.idle_s(b"b", 1_010_000), 1_009);
        recency.touch(b"b", 1_010_000);
        assert_eq!(recency.idle_s(b"b", 1_010_000), 0);
    }
}
