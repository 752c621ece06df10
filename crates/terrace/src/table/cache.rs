//! The block cache: one byte budget over the slots of all open tables.
//!
//! A hit never comes here: a reader loads the pointer in the table's slot (see `slot`). A miss, and what it
//! pushes out, goes through one lock. New blocks wait in a short probation queue; those touched while they
//! wait, and those that come back soon after they were pushed out, move to the main queue, a clock with
//! second chances. So a scan passes through probation and leaves the main queue alone.
//!
//! Index and filter memory is counted as *pinned* and is not evicted here; it lives as long as its table.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::block::Block;
use super::counters::Counters;
use super::slot::{Slot, collect};

/// The share of the capacity that probation keeps when the cache is full: one part in this many.
const PROBATION_PART: u64 = 10;

/// A block larger than the capacity divided by this is not cached: it would push out too much for one hit.
const LARGEST_PART: u64 = 4;

/// Entries of closed tables that the queues may hold before they are swept.
const STALE_SLACK: usize = 64;

const HITS: usize = 0;
const MISSES: usize = 1;

/// A budgeted cache of decoded blocks.
#[derive(Debug)]
pub(crate) struct Cache {
    capacity_bytes: AtomicU64,
    used_bytes: AtomicU64,
    pinned_bytes: AtomicU64,
    evictions: AtomicU64,
    /// Queue entries whose table was closed.
    stale: AtomicUsize,
    counters: Counters,
    queues: Mutex<Queues>,
}

/// What the cache has done so far and holds now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct CacheStats {
    /// The budget for blocks.
    pub(crate) capacity_bytes: u64,
    /// Blocks held.
    pub(crate) used_bytes: u64,
    /// Indexes and filters of the tables in use, on top of the blocks.
    pub(crate) pinned_bytes: u64,
    /// Block lookups answered from memory.
    pub(crate) hits: u64,
    /// Block lookups that read the file.
    pub(crate) misses: u64,
    /// Blocks pushed out.
    pub(crate) evictions: u64,
}

/// The block slots of one open table.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Box<[Slot<Block>]>,
    cache: Arc<Cache>,
}

impl Deref for Slots {
    type Target = [Slot<Block>];

    #[inline]
    fn deref(&self) -> &[Slot<Block>] {
        &self.slots
    }
}

#[derive(Debug)]
struct Entry {
    slots: Weak<Slots>,
    slot: u32,
    bytes: u64,
}

#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<Entry>,
    bytes: u64,
}

#[derive(Debug, Default)]
struct Queues {
    probation: Queue,
    main: Queue,
    /// Counts evictions; a slot's stamp is this at its own. Skips 0, which stands for never.
    clock: u32,
}

impl Queue {
    fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes;
        self.entries.push_back(entry);
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.bytes;
        Some(entry)
    }

    fn sweep(&mut self) {
        self.entries.retain(|entry| entry.slots.strong_count() > 0);
        self.bytes = self.entries.iter().map(|entry| entry.bytes).sum();
    }
}

impl Queues {
    fn len(&self) -> usize {
        self.probation.entries.len() + self.main.entries.len()
    }

    /// Whether a slot with this stamp was emptied so recently that a cache of twice the size would hold it.
    fn remembers(&self, stamp: u32) -> bool {
        stamp != 0 && self.clock.wrapping_sub(stamp) as usize <= self.len()
    }

    fn next_victim(&mut self, capacity_bytes: u64) -> Option<Entry> {
        if self.probation.bytes > capacity_bytes / PROBATION_PART {
            self.probation.pop().or_else(|| self.main.pop())
        } else {
            self.main.pop().or_else(|| self.probation.pop())
        }
    }
}

impl Cache {
    /// A cache of at most this many bytes of blocks.
    pub(crate) fn new(capacity_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            capacity_bytes: AtomicU64::new(capacity_bytes),
            used_bytes: AtomicU64::new(0),
            pinned_bytes: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
            stale: AtomicUsize::new(0),
            counters: Counters::default(),
            queues: Mutex::default(),
        })
    }

    /// Changes the budget; what is over it goes at once.
    pub(crate) fn set_capacity(&self, capacity_bytes: u64) {
        self.capacity_bytes.store(capacity_bytes, Ordering::Relaxed);
        self.shrink(&mut self.queues.lock());
        collect();
    }

    /// Bytes of the blocks held.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of the indexes and filters of the tables in use.
    pub(crate) fn pinned_bytes(&self) -> u64 {
        self.pinned_bytes.load(Ordering::Relaxed)
    }

    /// Everything at once.
    pub(crate) fn stats(&self) -> CacheStats {
        CacheStats {
            capacity_bytes: self.capacity_bytes.load(Ordering::Relaxed),
            used_bytes: self.used_bytes(),
            pinned_bytes: self.pinned_bytes(),
            hits: self.counters.sum(HITS),
            misses: self.counters.sum(MISSES),
            evictions: self.evictions.load(Ordering::Relaxed),
        }
    }

    #[inline]
    pub(super) fn count_hit(&self) {
        self.counters.bump(HITS);
    }

    pub(super) fn count_miss(&self) {
        self.counters.bump(MISSES);
    }

    pub(super) fn pin_bytes(&self, bytes: u64) {
        self.pinned_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn unpin_bytes(&self, bytes: u64) {
        self.pinned_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Pushes blocks out until the budget holds.
    fn shrink(&self, queues: &mut Queues) {
        let capacity_bytes = self.capacity_bytes.load(Ordering::Relaxed);
        // Readers may touch faster than the clock turns; two rounds, then the next insertion goes on.
        let mut steps = 2 * queues.len();
        while self.used_bytes() > capacity_bytes && steps > 0 {
            steps -= 1;
            let Some(entry) = queues.next_victim(capacity_bytes) else {
                return;
            };
            let Some(slots) = entry.slots.upgrade() else {
                self.stale.fetch_sub(1, Ordering::Relaxed);
                continue;
            };
            let slot = &slots[entry.slot as usize];
            if slot.take_touched() {
                queues.main.push(entry);
            } else if slot.evict() {
                queues.clock = queues.clock.wrapping_add(1).max(1);
                slot.set_stamp(queues.clock);
                self.used_bytes.fetch_sub(entry.bytes, Ordering::Relaxed);
                self.evictions.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Forgets the entries of closed tables once they are many.
    fn sweep(&self, queues: &mut Queues) {
        let stale = self.stale.load(Ordering::Relaxed);
        if stale <= STALE_SLACK + queues.len() / 2 {
            return;
        }
        let before = queues.len();
        queues.probation.sweep();
        queues.main.sweep();
        self.stale.fetch_sub(before - queues.len(), Ordering::Relaxed);
    }
}

impl Slots {
    /// Empty slots for a table of this many blocks.
    pub(super) fn new(blocks: usize, cache: Arc<Cache>) -> Self {
        Self { slots: (0..blocks).map(|_| Slot::empty()).collect(), cache }
    }

    /// Offers a block just read. It stays out if it is too large or somebody else brought it first.
    pub(super) fn offer(self: &Arc<Self>, index: usize, block: &Arc<Block>) {
        let cache = &*self.cache;
        let bytes = block.memory_bytes();
        if bytes > cache.capacity_bytes.load(Ordering::Relaxed) / LARGEST_PART {
            return;
        }
        let mut queues = cache.queues.lock();
        let slot = &self.slots[index];
        if !slot.publish(Arc::clone(block)) {
            return;
        }
        cache.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        let entry = Entry { slots: Arc::downgrade(self), slot: index as u32, bytes };
        if queues.remembers(slot.stamp()) {
            queues.main.push(entry);
        } else {
            queues.probation.push(entry);
        }
        let evictions = cache.evictions.load(Ordering::Relaxed);
        cache.sweep(&mut queues);
        cache.shrink(&mut queues);
        drop(queues);
        if cache.evictions.load(Ordering::Relaxed) != evictions {
            collect();
        }
    }
}

impl Drop for Slots {
    /// May run under the queues' lock (in `shrink`, when the table is closed just then), so it takes none.
    fn drop(&mut self) {
        let blocks = self.slots.iter_mut().filter_map(Slot::take);
        let (count, bytes) = blocks.fold((0, 0), |(n, bytes), block| (n + 1, bytes + block.memory_bytes()));
        self.cache.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.cache.stale.fetch_add(count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::block::BlockBuilder;
    use super::super::slot::pin;
    use super::*;
    use crate::base::EntryMeta;

    fn block() -> Arc<Block> {
        let mut builder = BlockBuilder::default();
        builder.add(b"key", 0, EntryMeta::PUT, &[1; 800]);
        let mut bytes = Vec::new();
        builder.finish(&mut bytes);
        bytes.shrink_to_fit();
        Arc::new(Block::decode(bytes).unwrap())
    }

    /// Looks a block up as a table would; says whether it was there.
    fn visit(slots: &Arc<Slots>, index: usize) -> bool {
        let hit = slots[index].read(&pin()).is_some();
        if !hit {
            slots.offer(index, &block());
        }
        hit
    }

    fn filled(slots: &Slots) -> usize {
        slots.iter().filter(|slot| slot.read(&pin()).is_some()).count()
    }

    #[test]
    fn the_budget_holds_and_shrinks() {
        let bytes = block().memory_bytes();
        let cache = Cache::new(bytes * 20);
        let slots = Arc::new(Slots::new(100, Arc::clone(&cache)));
        for i in 0..100 {
            visit(&slots, i);
            assert!(cache.used_bytes() <= bytes * 20);
        }
        assert_eq!(cache.used_bytes(), bytes * 20);
        assert_eq!((filled(&slots), cache.stats().evictions), (20, 80));
        cache.set_capacity(bytes * 5);
        assert_eq!(filled(&slots), 5);
        cache.set_capacity(0);
        assert_eq!((filled(&slots), cache.used_bytes()), (0, 0));
    }

    #[test]
    #[cfg_attr(miri, ignore = "a policy, no memory of its own")]
    fn a_scan_leaves_the_working_set_alone() {
        let bytes = block().memory_bytes();
        let cache = Cache::new(bytes * 100);
        let slots = Arc::new(Slots::new(1000, cache));
        for _ in 0..4 {
            (0..80).for_each(|i| _ = visit(&slots, i));
        }
        (100..1000).for_each(|i| _ = visit(&slots, i));
        let kept = (0..80).filter(|i| visit(&slots, *i)).count();
        assert!(kept >= 75, "{kept} of 80 survived");
    }

    #[test]
    #[cfg_attr(miri, ignore = "a policy, no memory of its own")]
    fn a_block_that_returns_soon_is_kept_longer() {
        let bytes = block().memory_bytes();
        let cache = Cache::new(bytes * 50);
        let slots = Arc::new(Slots::new(1000, cache));
        (0..60).for_each(|i| _ = visit(&slots, i));
        assert!(!visit(&slots, 0), "pushed out, and back again");
        (100..400).for_each(|i| _ = visit(&slots, i));
        assert!(visit(&slots, 0), "it came back soon, so the scan could not push it out");
    }

    #[test]
    fn closing_a_table_gives_its_bytes_back() {
        let bytes = block().memory_bytes();
        let cache = Cache::new(bytes * 1000);
        let (tables, blocks) = if cfg!(miri) { (3, 10) } else { (50, 100) };
        for _ in 0..tables {
            let slots = Arc::new(Slots::new(blocks, Arc::clone(&cache)));
            (0..blocks).for_each(|i| _ = visit(&slots, i));
            drop(slots);
            assert_eq!(cache.used_bytes(), 0);
        }
        assert!(cache.queues.lock().len() < 500, "entries of closed tables are swept");
    }

    #[test]
    fn a_block_beyond_its_share_is_not_kept() {
        let cache = Cache::new(block().memory_bytes() * 3);
        let slots = Arc::new(Slots::new(1, cache));
        visit(&slots, 0);
        assert_eq!(filled(&slots), 0);
    }
}
