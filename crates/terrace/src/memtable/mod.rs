//! The memtable: the newest writes of a store, in memory, in a power of two of shards.
//!
//! A key's hash picks its shard. Each shard is an append-only arena with a hash index over it
//! (`shard`, `arena`, `index`): an insert is a copy to the end of the arena and one store into the index, a
//! read is two dependent cache misses, and readers take no lock. Nothing is kept in order while it is written;
//! the first cursor sorts what has come since the last one (`order`, `sort`, `cursor`). The figures behind
//! that choice are in `docs/decisions.md`, entry 1.
//!
//! Who may write is a matter of ownership: `Memtable::new` hands out one `ShardWriter` per shard, and the
//! caller keeps each under the lock of that shard. A memtable does not know whether it is sealed: it is
//! when nobody writes to it any more. It does no I/O and never removes an entry; dropping it gives its
//! chunks back to the pool.

mod arena;
mod cursor;
mod index;
mod layout;
mod order;
mod pool;
mod prefetch;
mod published;
mod ranges;
mod shard;
mod sort;
mod witness;

#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(all(test, not(loom)))]
mod tests;

use std::sync::Arc;

pub(crate) use cursor::MemCursor;
use order::Order;
pub(crate) use pool::ChunkPool;
use ranges::Ranges;
use shard::Shard;
pub(crate) use shard::ShardWriter;

use crate::base::sync::{AtomicUsize, Ordering};
use crate::base::{EntryMeta, Fragments, RangeDelete, Seqno};

/// The most shards a memtable may have: the index leaves that many bits of the hash, and more, alone.
const MAX_SHARDS: usize = 256;

/// How a memtable is laid out.
#[derive(Clone, Debug)]
pub(crate) struct MemtableOptions {
    /// Number of shards: a power of two from 1 to 256.
    pub(crate) shards: usize,
    /// Size of an arena chunk; rounded up to a power of two from 1 KiB to 1 GiB.
    pub(crate) chunk_bytes: usize,
    /// What the whole memtable is expected to hold when it is sealed; sizes the indexes.
    pub(crate) expected_bytes: usize,
}

/// The newest writes. See the module's description.
pub(crate) struct Memtable {
    shards: Box<[Shard]>,
    order: Order,
    ranges: Ranges,
    bytes: AtomicUsize,
    pool: Arc<ChunkPool>,
}

/// A place in the order in which each shard was written.
pub(crate) struct Mark(Vec<u32>);

/// One version of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MemEntry<'a> {
    /// Its place in the order of writes.
    pub(crate) seqno: Seqno,
    /// Kind, tag, expiry.
    pub(crate) meta: EntryMeta,
    /// The value; empty for a delete.
    pub(crate) value: &'a [u8],
}

impl Memtable {
    /// An empty memtable and the writers of its shards, in order. Allocates and maps the first chunk and
    /// the index of every shard, so that switching to it later costs nothing.
    pub(crate) fn new(pool: &Arc<ChunkPool>, options: &MemtableOptions) -> (Arc<Self>, Vec<ShardWriter>) {
        let count = options.shards;
        assert!(count.is_power_of_two() && count <= MAX_SHARDS, "shards are a power of two, at most 256");
        let mut shards = Vec::with_capacity(count);
        let mut pens = Vec::with_capacity(count);
        let mut bytes = 0;
        for _ in 0..count {
            let (shard, pen, taken) = Shard::new(pool, options.chunk_bytes, options.expected_bytes / count);
            shards.push(shard);
            pens.push(pen);
            bytes += taken;
        }
        let memtable = Arc::new(Self {
            order: Order::new(count),
            ranges: Ranges::new(),
            shards: shards.into_boxed_slice(),
            bytes: AtomicUsize::new(bytes),
            pool: Arc::clone(pool),
        });
        let writer = |(shard, pen)| ShardWriter::new(Arc::clone(&memtable), shard, pen);
        let writers = pens.into_iter().enumerate().map(writer).collect();
        (memtable, writers)
    }

    /// The number of the shard that `hash` picks.
    #[inline]
    pub(crate) fn shard_of(&self, hash: u64) -> usize {
        hash as usize & (self.shards.len() - 1)
    }

    #[inline]
    fn shard(&self, hash: u64) -> &Shard {
        &self.shards[self.shard_of(hash)]
    }

    /// The newest version of `key` with a seqno of at most `at`; `hash` is the key's.
    #[inline]
    pub(crate) fn get(&self, hash: u64, key: &[u8], at: Seqno) -> Option<MemEntry<'_>> {
        self.shard(hash).get(hash, key, at)
    }

    /// All versions of `key` with a seqno of at most `at`, newest first.
    pub(crate) fn versions(&self, hash: u64, key: &[u8], at: Seqno) -> impl Iterator<Item = MemEntry<'_>> {
        self.shard(hash).versions(hash, key).skip_while(move |entry| entry.seqno > at)
    }

    /// The newest seqno that says anything about `key`, for conflict checks.
    #[inline]
    pub(crate) fn newest(&self, hash: u64, key: &[u8]) -> Option<Seqno> {
        let deleted = Some(self.range_deleted(key, Seqno::MAX)).filter(|seqno| *seqno != 0);
        self.shard(hash).newest(hash, key).map(|entry| entry.seqno).max(deleted)
    }

    /// Adds range deletes, which are visible to readers when this returns. Whoever adds them has every shard to
    /// itself, and has inserted the points of the same batch. `snapshots`: see `Fragments::new`.
    pub(crate) fn delete_ranges(&self, deletes: Vec<RangeDelete>, snapshots: &[Seqno]) {
        self.add_bytes(self.ranges.add(deletes, snapshots));
    }

    /// The newest range delete over `key` that a reader at `at` sees; 0 if there is none. To be asked before
    /// the key itself is looked for.
    #[inline]
    pub(crate) fn range_deleted(&self, key: &[u8], at: Seqno) -> Seqno {
        if self.ranges.count() == 0 { 0 } else { self.ranges.newest(key, at) }
    }

    /// Whether there is any range delete.
    pub(crate) fn has_range_deletes(&self) -> bool {
        self.ranges.count() != 0
    }

    /// The range deletes as lists of fragments.
    pub(crate) fn range_fragments(&self) -> Vec<Arc<Fragments>> {
        self.ranges.lists()
    }

    /// The range deletes that a reader can tell apart.
    pub(crate) fn range_deletes(&self) -> Vec<RangeDelete> {
        self.ranges.deletes()
    }

    /// Asks the processor for the cache line a `get` of `hash` needs first.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        self.shard(hash).prefetch(hash);
    }

    /// The second stage of a batched `get`: reads the line that `prefetch` asked for and asks for the entry.
    #[inline]
    pub(crate) fn prefetch_entry(&self, hash: u64) {
        self.shard(hash).prefetch_newest(hash);
    }

    /// A cursor over all shards in key order, showing every version with a seqno of at most `at` of what was
    /// inserted before this call. Sorts what no earlier cursor has sorted; writers are not held up.
    pub(crate) fn cursor(self: &Arc<Self>, at: Seqno) -> MemCursor {
        MemCursor::new(Arc::clone(self), self.order.current(self), at)
    }

    /// At most `ranges` − 1 ascending keys that cut the entries into ranges of about equal number: each range
    /// starts at such a key. All versions of a key fall into one range.
    pub(crate) fn split_keys(&self, ranges: usize) -> Vec<Vec<u8>> {
        self.order.current(self).split_keys(&self.shards, ranges)
    }

    /// A mark behind everything that is published now.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.shards.iter().map(Shard::end).collect())
    }

    /// Calls `visit` with the key of every point entry that was published since the mark, in no order.
    pub(crate) fn written_since(&self, mark: &Mark, mut visit: impl FnMut(&[u8])) {
        for (shard, start) in self.shards.iter().zip(&mark.0) {
            shard.walk(*start, shard.end(), |_, key| visit(key));
        }
    }

    /// The memory taken: chunks, indexes and sorted runs. Moves by whole chunks.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The number of entries, counting every version.
    pub(crate) fn entries(&self) -> usize {
        self.shards.iter().map(Shard::entries).sum()
    }

    /// Whether nothing has been inserted.
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.count() == 0 && self.shards.iter().all(|shard| shard.entries() == 0)
    }

    /// The smallest seqno in the memtable.
    #[cfg(test)]
    pub(crate) fn min_seqno(&self) -> Option<Seqno> {
        self.shards.iter().filter_map(Shard::seqno_range).map(|range| range.0).min()
    }

    /// The largest seqno of a point entry in the memtable.
    pub(crate) fn max_seqno(&self) -> Option<Seqno> {
        self.shards.iter().filter_map(Shard::seqno_range).map(|range| range.1).max()
    }

    fn add_bytes(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Memtable {
    fn drop(&mut self) {
        /// Below this the memory per entry is mostly the unused ends of chunks.
        const TELLING_ENTRIES: usize = 1 << 12;
        let entries = self.entries();
        if entries >= TELLING_ENTRIES {
            self.pool.note_entry_bytes(self.bytes() / entries);
        }
    }
}
