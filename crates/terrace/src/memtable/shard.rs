//! `Shard`: one part of a memtable, and `ShardWriter`, the only thing that may add to it.
//!
//! Invariants: seqnos of a shard increase; the versions of a key are linked newest first from its index
//! slot; an entry is complete before anything that leads to it is stored with release. Two words lead to
//! an entry: its index slot (for `get`) and the published end (for ordered views). Offsets never leave the
//! memtable, and none is ever used with another shard than its own.

use std::sync::Arc;

use super::arena::{Arena, Entry, Front, Offset};
use super::index::Index;
use super::pool::ChunkPool;
use super::{MemEntry, Memtable};
use crate::base::sync::{AtomicU64, Ordering};
use crate::base::{EntryMeta, Seqno};

/// The shared half of a shard. Aligned so that writers of neighbours do not share a cache line.
#[repr(align(128))]
pub(super) struct Shard {
    index: Index,
    arena: Arena,
    progress: Progress,
}

/// What the writer stores at every insert; apart from what readers load.
#[repr(align(128))]
struct Progress {
    /// The place after the last entry in the upper half, the number of entries in the lower.
    published: AtomicU64,
    first_seqno: AtomicU64,
    last_seqno: AtomicU64,
}

/// The writer's own half of a shard.
pub(super) struct Pen {
    front: Front,
    keys: usize,
    entries: u32,
    last_seqno: Seqno,
}

impl Shard {
    /// An empty shard that expects to hold `expected_bytes`, its writing half, and the memory it takes.
    pub(super) fn new(
        pool: &Arc<ChunkPool>,
        chunk_bytes: usize,
        expected_bytes: usize,
    ) -> (Self, Pen, usize) {
        let (arena, mut front) = Arena::new(pool, chunk_bytes, expected_bytes);
        let index = Index::new(expected_bytes / pool.entry_bytes());
        let bytes = std::mem::take(&mut front.grown_bytes) + index.table_bytes();
        let progress = Progress {
            published: AtomicU64::new(u64::from(Arena::START) << 32),
            first_seqno: AtomicU64::new(0),
            last_seqno: AtomicU64::new(0),
        };
        (Self { index, arena, progress }, Pen { front, keys: 0, entries: 0, last_seqno: 0 }, bytes)
    }

    /// The newest version of `key` that is not newer than `at`.
    #[inline]
    pub(super) fn get(&self, hash: u64, key: &[u8], at: Seqno) -> Option<MemEntry<'_>> {
        let mut entry = self.newest(hash, key)?;
        while entry.seqno > at {
            if entry.older == Offset::NONE {
                return None;
            }
            entry = self.entry(entry.older);
        }
        Some(MemEntry { seqno: entry.seqno, meta: entry.meta, value: entry.value })
    }

    /// All versions of `key`, newest first.
    pub(super) fn versions(&self, hash: u64, key: &[u8]) -> impl Iterator<Item = MemEntry<'_>> {
        let older = |entry: &Entry<'_>| (entry.older != Offset::NONE).then(|| self.entry(entry.older));
        std::iter::successors(self.newest(hash, key), older).map(|entry| MemEntry {
            seqno: entry.seqno,
            meta: entry.meta,
            value: entry.value,
        })
    }

    /// The newest version of `key`.
    #[inline]
    pub(super) fn newest(&self, hash: u64, key: &[u8]) -> Option<Entry<'_>> {
        self.index.find(hash, |offset| {
            // Both cache lines at once: the value is usually in the second.
            self.arena.prefetch(offset);
            Some(self.entry(offset)).filter(|entry| entry.key == key)
        })
    }

    /// Asks the processor for the index line of `hash`.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// Asks the processor for the entry that the index has for `hash`.
    #[inline]
    pub(super) fn prefetch_newest(&self, hash: u64) {
        self.index.find(hash, |offset| {
            self.arena.prefetch(offset);
            Some(())
        });
    }

    /// Asks the processor for the entry at `at`.
    #[inline]
    pub(super) fn prefetch_entry(&self, at: Offset) {
        self.arena.prefetch(at);
    }

    /// The entry at `at`, an offset of this shard.
    #[inline]
    #[allow(unsafe_code)]
    pub(super) fn entry(&self, at: Offset) -> Entry<'_> {
        // SAFETY: offsets of this shard come from its index slots, its version links and its walk, all read
        // after an acquire load of what the writer stored with release, or are the writer's own.
        unsafe { self.arena.entry(at) }
    }

    /// The key of the entry at `at`, an offset of this shard.
    #[inline]
    #[allow(unsafe_code)]
    pub(super) fn key(&self, at: Offset) -> &[u8] {
        // SAFETY: as for `entry`.
        unsafe { self.arena.key(at) }
    }

    /// The place after the last entry published so far.
    #[inline]
    pub(super) fn end(&self) -> u32 {
        (self.progress.published.load(Ordering::Acquire) >> 32) as u32
    }

    /// Where a walk over all entries starts.
    pub(super) const START: u32 = Arena::START;

    /// Calls `visit` for every entry from `start` (`START` or an earlier `end()`) to `end` (an `end()`).
    #[allow(unsafe_code)]
    pub(super) fn walk(&self, start: u32, end: u32, mut visit: impl FnMut(Offset, &[u8])) {
        let mut place = start;
        while place < end {
            // SAFETY: `place` started as a place between entries, `end` was loaded with acquire from what
            // the writer published, and `place` is before it.
            let (offset, after) = unsafe { self.arena.entry_after(place) };
            visit(offset, self.key(offset));
            place = after;
        }
    }

    /// The number of entries, counting every version.
    pub(super) fn entries(&self) -> usize {
        self.progress.published.load(Ordering::Relaxed) as u32 as usize
    }

    /// The smallest and the largest seqno.
    pub(super) fn seqno_range(&self) -> Option<(Seqno, Seqno)> {
        let last = self.progress.last_seqno.load(Ordering::Acquire);
        (last != 0).then(|| (self.progress.first_seqno.load(Ordering::Relaxed), last))
    }

    /// Adds an entry; returns the memory this took from the system or the pool.
    #[inline]
    #[allow(unsafe_code)]
    fn insert(&self, pen: &mut Pen, hash: u64, entry: &mut Entry<'_>) -> usize {
        assert!(entry.seqno > pen.last_seqno, "seqnos of a shard increase");
        // Before the slot is located, because growing moves slots.
        let grown_bytes = self.index.reserve(pen.keys);
        let place = self.index.locate(hash, |offset| self.key(offset) == entry.key);
        entry.older = place.newest;
        // SAFETY: a pen is made together with its shard, `ShardWriter` keeps the two together, and it can
        // neither be copied nor be used from two places at once.
        let offset = unsafe { self.arena.append(&mut pen.front, entry) };
        self.index.set(hash, &place, offset);
        if pen.entries == 0 {
            self.progress.first_seqno.store(entry.seqno, Ordering::Relaxed);
        }
        pen.last_seqno = entry.seqno;
        pen.entries += 1;
        pen.keys += usize::from(place.newest == Offset::NONE);
        let published = u64::from(self.arena.end(&pen.front)) << 32 | u64::from(pen.entries);
        self.progress.published.store(published, Ordering::Release);
        self.progress.last_seqno.store(entry.seqno, Ordering::Release);
        grown_bytes + std::mem::take(&mut pen.front.grown_bytes)
    }
}

/// The right to add entries to one shard of a memtable; there is exactly one per shard.
pub(crate) struct ShardWriter {
    memtable: Arc<Memtable>,
    shard: usize,
    pen: Pen,
}

impl ShardWriter {
    /// The writer of shard number `shard`, whose other half is `pen`.
    pub(super) fn new(memtable: Arc<Memtable>, shard: usize, pen: Pen) -> Self {
        Self { memtable, shard, pen }
    }

    /// Adds an entry, visible to readers when this returns. `hash` must pick this shard, and `seqno` must be
    /// above every earlier one of this shard. May allocate; never fails.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64, key: &[u8], seqno: Seqno, meta: EntryMeta, value: &[u8]) {
        debug_assert_eq!(self.memtable.shard_of(hash), self.shard, "the hash picks the shard");
        let mut entry = Entry { seqno, meta, older: Offset::NONE, key, value };
        let shard = &self.memtable.shards[self.shard];
        let grown_bytes = shard.insert(&mut self.pen, hash, &mut entry);
        if grown_bytes != 0 {
            self.memtable.add_bytes(grown_bytes);
        }
    }

    /// The memtable this writes to.
    pub(crate) fn memtable(&self) -> &Arc<Memtable> {
        &self.memtable
    }

    /// Whether an entry with `bytes` of key and value would need another chunk.
    #[cfg(all(test, loom))]
    pub(crate) fn needs_chunk(&self, bytes: usize) -> bool {
        self.memtable.shards[self.shard].arena.needs_chunk(&self.pen.front, bytes)
    }
}
