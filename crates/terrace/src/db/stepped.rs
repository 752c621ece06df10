//! Where reads keep stepping over dead entries: iterators say so, the picker is told.
//!
//! A hint is a range of internal keys in which an iterator found nothing but tombstones and expired entries. The
//! list of hints is short and forgetful: one that is lost comes back with the next iterator that is slow there.
//! A hint goes when no table below level 0 has tombstones in its range any more, so each is acted on a bounded
//! number of times.

use parking_lot::Mutex;

use super::core::Core;
use crate::compaction::picker::{SteppedRange, has_tombstones};
use crate::version::Version;

/// Dead entries in a row that an iterator passes before it gives a hint.
const PATIENCE: u32 = 256;
/// Hints that are kept; the oldest goes first.
const HINTS_MAX: usize = 16;

/// The hints that have not been settled, oldest first, disjoint.
#[derive(Default)]
pub(super) struct Hints(Mutex<Vec<SteppedRange>>);

impl Hints {
    /// Adds a range, joined with those it overlaps; `false` if it was known.
    fn add(&self, smallest: &[u8], largest: &[u8]) -> bool {
        let mut hints = self.0.lock();
        if hints.iter().any(|hint| &hint.smallest[..] <= smallest && largest <= &hint.largest[..]) {
            return false;
        }
        let mut joined = SteppedRange { smallest: smallest.to_vec(), largest: largest.to_vec() };
        hints.retain_mut(|hint| {
            let apart = hint.largest < joined.smallest || joined.largest < hint.smallest;
            if !apart {
                joined.smallest =
                    std::mem::take(&mut hint.smallest).min(std::mem::take(&mut joined.smallest));
                joined.largest = std::mem::take(&mut hint.largest).max(std::mem::take(&mut joined.largest));
            }
            apart
        });
        if hints.len() == HINTS_MAX {
            hints.remove(0);
        }
        hints.push(joined);
        true
    }

    /// Forgets the hints that nothing can be done about in `version`, now or later.
    pub(super) fn settle(&self, version: &Version) {
        self.0.lock().retain(|hint| has_tombstones(version, &hint.smallest, &hint.largest));
    }

    /// The hints as they are now.
    pub(super) fn list(&self) -> Vec<SteppedRange> {
        self.0.lock().clone()
    }
}

/// What one pass of an iterator has stepped over since it last stood on a live entry.
#[derive(Default)]
pub(super) struct DeadEntries {
    count: u32,
    /// The key of the first of them.
    first: Vec<u8>,
}

impl DeadEntries {
    /// Begins anew: the next entry is not in a row with those before.
    #[inline]
    pub(super) fn restart(&mut self) {
        self.count = 0;
    }

    /// Counts the dead entry at `key`, read from `version`. A pass backward counts its keys in descending order.
    #[inline]
    pub(super) fn pass(&mut self, key: &[u8], core: &Core, version: &Version) {
        if self.count == 0 {
            self.first.clear();
            self.first.extend_from_slice(key);
        }
        self.count += 1;
        if self.count > PATIENCE {
            self.hint(key, core, version);
        }
    }

    #[cold]
    fn hint(&mut self, key: &[u8], core: &Core, version: &Version) {
        let first = self.first.as_slice();
        core.stepped_over(version, first.min(key), first.max(key));
        // The next range shares this key, so that the list joins the two.
        self.first.clear();
        self.first.extend_from_slice(key);
        self.count = 1;
    }
}

impl Core {
    fn stepped_over(&self, version: &Version, smallest: &[u8], largest: &[u8]) {
        // Tombstones that are still in memory or in level 0 go down soon anyway: nobody is woken for them.
        if has_tombstones(version, smallest, largest) && self.compactions.hints.add(smallest, largest) {
            self.work.compacting();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(hints: &Hints) -> Vec<String> {
        let text = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
        hints.list().iter().map(|h| format!("{}-{}", text(&h.smallest), text(&h.largest))).collect()
    }

    #[test]
    fn ranges_that_overlap_or_touch_become_one() {
        let hints = Hints::default();
        assert!(hints.add(b"m", b"p") && hints.add(b"a", b"c") && hints.add(b"x", b"z"));
        assert!(!hints.add(b"n", b"p"), "it is known");
        assert!(hints.add(b"c", b"m"));
        assert_eq!(shown(&hints), ["x-z", "a-p"]);
    }

    #[test]
    fn the_oldest_hint_makes_room_and_one_without_tables_is_forgotten() {
        let hints = Hints::default();
        for n in 0..20u8 {
            assert!(hints.add(&[b'a' + n], &[b'a' + n]));
        }
        assert_eq!(shown(&hints).len(), HINTS_MAX);
        assert_eq!(shown(&hints)[0], "e-e");
        hints.settle(&Version::default());
        assert!(shown(&hints).is_empty());
    }
}
