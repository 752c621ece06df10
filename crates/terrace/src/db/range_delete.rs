//! Range deletes: what they look like in a batch, how they are applied, and who is told.
//!
//! In the log a range delete is an entry whose key is the first key of the range and whose value is the key after
//! its last. A range has keys of all shards, so a batch with one holds every shard's lock: snapshots see all of
//! it or nothing. The marker is published after the points of the batch; points which the batch itself deletes
//! later on are not inserted at all, because no reader may see them even for a moment.

use std::ops::{Bound, RangeBounds};

use super::batch::Batch;
use super::core::{Core, Shard};
use super::keyspace::Keyspace;
use super::keyspaces::KeyspaceState;
use super::shards::LockedShards;
use super::work::PREPARE;
use crate::base::entry::take_entry;
use crate::base::key::{MAX_KEY_BYTES, MAX_PREFIX_BYTES, prefix_successor, push_prefix, split};
use crate::base::{Error, Kind, RangeDelete, Result, Seqno};

/// The internal keys of a range in a keyspace: the first, and the one after the last.
pub(super) fn internal_range(
    keyspace: &KeyspaceState,
    bounds: (Bound<&[u8]>, Bound<&[u8]>),
) -> Result<(Vec<u8>, Option<Vec<u8>>)> {
    let id = keyspace.id()?;
    let with_prefix = |key: &[u8], past: bool| {
        let mut internal = Vec::with_capacity(MAX_PREFIX_BYTES + key.len() + 1);
        push_prefix(&mut internal, id);
        internal.extend_from_slice(key);
        if past {
            internal.push(0); // The very next key.
        }
        internal
    };
    let low = match bounds.0 {
        Bound::Included(key) => with_prefix(key, false),
        Bound::Excluded(key) => with_prefix(key, true),
        Bound::Unbounded => with_prefix(&[], false),
    };
    let high = match bounds.1 {
        Bound::Included(key) => Some(with_prefix(key, true)),
        Bound::Excluded(key) => Some(with_prefix(key, false)),
        Bound::Unbounded => {
            let user_key_bytes = split(&low).map_or(0, |(_, user_key)| user_key.len());
            prefix_successor(&low[..low.len() - user_key_bytes])
        }
    };
    Ok((low, high))
}

/// The bounds of the keys that start with `prefix`; the second is made of `end`.
pub(super) fn prefix_bounds<'a>(
    prefix: &'a [u8],
    end: &'a mut Option<Vec<u8>>,
) -> (Bound<&'a [u8]>, Bound<&'a [u8]>) {
    *end = prefix_successor(prefix);
    (Bound::Included(prefix), end.as_deref().map_or(Bound::Unbounded, Bound::Excluded))
}

/// Checks the bounds of a range delete.
pub(super) fn check_bounds(bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> Result<()> {
    for bound in [bounds.0, bounds.1] {
        if let Bound::Included(key) | Bound::Excluded(key) = bound
            && key.len() > MAX_KEY_BYTES
        {
            let found = key.len();
            return Err(Error::invalid(format!(
                "a bound of a range takes {MAX_KEY_BYTES} bytes at most; this one has {found}"
            )));
        }
    }
    Ok(())
}

impl Keyspace {
    /// Removes every key in `range`, however many there are, by writing one marker. Takes the time of one write
    /// that locks every shard; space returns with the next compactions, and whole tables go unread.
    ///
    /// Reads pass over the range without looking at what is in it. Each marker takes memory (its two keys and
    /// about a hundred bytes) until compaction has applied it, so for single keys [`Keyspace::delete`] is cheaper.
    pub fn delete_range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<()> {
        let mut batch = Batch::new(&self.handle);
        batch.delete_range_in(self, range);
        batch.commit().map(|_| ())
    }

    /// As [`Keyspace::delete_range`], for every key that starts with `prefix`; with an empty one, for all keys.
    pub fn delete_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<()> {
        let mut batch = Batch::new(&self.handle);
        batch.delete_prefix_in(self, prefix);
        batch.commit().map(|_| ())
    }
}

impl Core {
    /// Inserts a batch that has range deletes. Every shard is locked.
    pub(super) fn insert_with_ranges(
        &self,
        locked: &mut LockedShards<'_, Shard>,
        first: Seqno,
        body: &[u8],
        hashes: &[u64],
    ) {
        let mut input = body;
        let entries: Vec<_> = (first..).zip(std::iter::from_fn(|| take_entry(&mut input))).collect();
        let deletes: Vec<_> =
            entries.iter().filter_map(|(seqno, entry)| RangeDelete::from_entry(entry, *seqno)).collect();
        for ((seqno, entry), hash) in entries.iter().zip(hashes) {
            let is_point = entry.meta.kind != Kind::RangeDelete;
            let later = &deletes[deletes.partition_point(|delete| delete.seqno < *seqno)..];
            if is_point && !later.iter().any(|delete| delete.hides(entry.key, *seqno)) {
                let shard = locked.get(self.shards.of(*hash));
                shard.writer.insert(*hash, entry.key, *seqno, entry.meta, entry.value);
            }
        }
        let active = locked.get(0).writer.memtable();
        active.delete_ranges(deletes, &self.shards.snapshots().seqnos());
    }

    /// After a batch with range deletes: if they have freed much in the tables, the memtable is flushed soon,
    /// because no table goes before the marker is durable in the manifest.
    pub(super) fn hasten_range_deletes(&self, body: &[u8]) {
        let state = self.shards.state_full();
        let mut input = body;
        let mut freed_bytes = 0;
        while let Some(entry) = take_entry(&mut input) {
            let Some(delete) = RangeDelete::from_entry(&entry, 0) else { continue };
            for run in state.version.runs() {
                freed_bytes += run.bytes_of(run.overlapping(&delete.start, &delete.end));
            }
        }
        if freed_bytes < self.write_buffer_bytes || !state.active.has_range_deletes() {
            return;
        }
        if let Err(error) = self.seal(&state.active, 0) {
            // The write itself is safe; a later one will try again.
            self.work.note_error(PREPARE, &error);
        }
    }
}
