//! `Index`: an open-addressing hash table from keys to the newest entry of each.
//!
//! A slot is one word: the upper half of the key's hash (the tag), then the entry's offset; zero is
//! empty. A slot's home is the upper bits of its tag, so a larger table is filled without looking at a key,
//! in one pass, and almost in order. The lower half of the hash is left to the choice of the shard.
//!
//! One writer; readers take no lock. Slots are never emptied, so a reader meets the key or an empty slot.
//! A full table is copied to one twice as large, which is then published; a reader still in the
//! old one sees the moment of the copy. The index knows nothing of keys: callers compare them.

use super::arena::Offset;
use super::prefetch::prefetch_read;
use super::published::Published;
use crate::base::sync::{AtomicU64, Ordering};

const MIN_SLOTS: usize = 8;
/// At most 5 of 8 slots are used: a miss then looks at four slots on average, half a cache line.
const LOAD_NUMERATOR: usize = 5;
const LOAD_DENOMINATOR: usize = 8;

/// The hash table of one shard.
pub(super) struct Index {
    table: Published<Table>,
    /// Not zero from the first key on: most memtables that a reader asks are new and empty, and this word lies
    /// beside the pointer that it loads anyway, while a slot of the table is a cache miss.
    used: AtomicU64,
}

struct Table {
    /// 32 − log2(slots): moves a tag's upper bits down to a position.
    shift: u32,
    slots: Box<[AtomicU64]>,
}

/// Where the writer found a key, or where it may put it.
pub(super) struct Place {
    position: usize,
    /// The key's newest entry so far, or `Offset::NONE`.
    pub(super) newest: Offset,
}

/// The bits of a hash that the index uses.
#[inline]
fn tag_of(hash: u64) -> u64 {
    hash >> 32
}

impl Table {
    fn new(slots: usize) -> Self {
        let bits = slots.ilog2();
        assert!(slots.is_power_of_two() && (1..=32).contains(&bits), "the tag gives the position");
        // Written, not just reserved, so that the pages are mapped before the first insert.
        Self { shift: 32 - bits, slots: (0..slots).map(|_| AtomicU64::new(0)).collect() }
    }

    #[inline]
    fn home(&self, tag: u64) -> usize {
        (tag >> self.shift) as usize
    }

    #[inline]
    fn after(&self, position: usize) -> usize {
        (position + 1) & (self.slots.len() - 1)
    }

    /// Puts a word into the first empty slot from its home. For the writer, before publication.
    fn place(&self, word: u64) {
        let mut position = self.home(word >> 32);
        while self.slots[position].load(Ordering::Relaxed) != 0 {
            position = self.after(position);
        }
        self.slots[position].store(word, Ordering::Relaxed);
    }

    fn bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }
}

impl Index {
    /// An index with room for `keys` before it grows.
    pub(super) fn new(keys: usize) -> Self {
        let slots = (keys * LOAD_DENOMINATOR / LOAD_NUMERATOR).next_power_of_two().clamp(MIN_SLOTS, 1 << 31);
        Self { table: Published::new(Table::new(slots)), used: AtomicU64::new(0) }
    }

    /// The bytes of the newest table.
    pub(super) fn table_bytes(&self) -> usize {
        self.table.get().bytes()
    }

    /// The first result that `matches` gives for an entry whose tag is that of `hash`.
    #[inline]
    pub(super) fn find<R>(&self, hash: u64, mut matches: impl FnMut(Offset) -> Option<R>) -> Option<R> {
        if self.used.load(Ordering::Acquire) == 0 {
            return None;
        }
        let table = self.table.get();
        let tag = tag_of(hash);
        let mut position = table.home(tag);
        loop {
            let word = table.slots[position].load(Ordering::Acquire);
            if word == 0 {
                return None;
            }
            if word >> 32 == tag
                && let Some(found) = matches(Offset(word as u32))
            {
                return Some(found);
            }
            position = table.after(position);
        }
    }

    /// For the writer: the slot of the key that `is_same` recognises, or an empty one for it.
    #[inline]
    pub(super) fn locate(&self, hash: u64, mut is_same: impl FnMut(Offset) -> bool) -> Place {
        let table = self.table.get();
        let tag = tag_of(hash);
        let mut position = table.home(tag);
        loop {
            let word = table.slots[position].load(Ordering::Relaxed);
            if word == 0 {
                return Place { position, newest: Offset::NONE };
            }
            if word >> 32 == tag && is_same(Offset(word as u32)) {
                return Place { position, newest: Offset(word as u32) };
            }
            position = table.after(position);
        }
    }

    /// For the writer: publishes the newest entry of the key at `place`, which must come from the last
    /// `locate` with nothing set in between.
    #[inline]
    pub(super) fn set(&self, hash: u64, place: &Place, newest: Offset) {
        if self.used.load(Ordering::Relaxed) == 0 {
            self.used.store(1, Ordering::Release);
        }
        let word = tag_of(hash) << 32 | u64::from(newest.0);
        self.table.get().slots[place.position].store(word, Ordering::Release);
    }

    /// For the writer: makes room for one more key if `keys` fill the table; returns the bytes this took.
    #[inline]
    pub(super) fn reserve(&self, keys: usize) -> usize {
        let slots = self.table.get().slots.len();
        if keys < slots * LOAD_NUMERATOR / LOAD_DENOMINATOR { 0 } else { self.grow() }
    }

    #[cold]
    fn grow(&self) -> usize {
        let old = self.table.get();
        let new = Table::new(2 * old.slots.len());
        for slot in &old.slots {
            let word = slot.load(Ordering::Relaxed);
            if word != 0 {
                new.place(word);
            }
        }
        let bytes = new.bytes();
        self.table.publish(new);
        bytes
    }

    /// Asks the processor for the cache line where a search for `hash` starts.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        if self.used.load(Ordering::Relaxed) == 0 {
            return;
        }
        let table = self.table.get();
        prefetch_read((&raw const table.slots[table.home(tag_of(hash))]).cast());
    }
}
