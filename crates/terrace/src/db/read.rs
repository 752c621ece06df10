//! Point reads: active memtable, sealed memtables, tables, newest first.
//!
//! A read pins one super version and takes no lock. The newest version in a key's shard is the current value,
//! because sequence numbers are taken inside the shard lock; so a point read needs no snapshot. Only if what it
//! finds belongs to a batch that is still being inserted does it wait for the rest: or the next read, of another key
//! of the batch, could go back behind it.

use super::core::Core;
use super::super_version::SuperVersion;
use super::types::{Entry, Stamp};
use crate::base::hash::filter_hash;
use crate::base::id::MAX_SEQNO;
use crate::base::key::{prefix_successor, push_prefix, split};
use crate::base::{EntryMeta, KeyspaceId, Kind, Result, Seqno, Slice};
use crate::memtable::{MemEntry, Memtable};
use crate::table::{Found, TableMeta};

/// A version of a key, live or not.
pub(super) struct Version {
    pub(super) seqno: Seqno,
    pub(super) meta: EntryMeta,
    pub(super) value: Slice,
}

impl From<Found> for Version {
    fn from(found: Found) -> Self {
        Self { seqno: found.seqno, meta: found.meta, value: found.value }
    }
}

impl Version {
    /// The newest version of `key` at or below `at` in a memtable.
    #[inline]
    pub(super) fn in_memtable(memtable: &Memtable, hash: u64, key: &[u8], at: Seqno) -> Option<Self> {
        let deleted = memtable.range_deleted(key, at);
        match memtable.get(hash, key, at) {
            Some(found) if found.seqno > deleted => Some(Self::copy_from(&found)),
            _ if deleted != 0 => Some(Self::range_deleted(deleted)),
            _ => None,
        }
    }

    /// An entry of a memtable.
    #[inline]
    pub(super) fn copy_from(found: &MemEntry<'_>) -> Self {
        Self { seqno: found.seqno, meta: found.meta, value: Slice::copy_from(found.value) }
    }

    /// What a range delete is to the keys under it.
    #[cold]
    fn range_deleted(seqno: Seqno) -> Self {
        Self { seqno, meta: EntryMeta::DELETE, value: Slice::copy_from(&[]) }
    }
}

impl SuperVersion {
    /// The memtables, newest first.
    pub(super) fn memtables(&self) -> impl Iterator<Item = &Memtable> {
        std::iter::once(&*self.active).chain(self.sealed.iter().map(|sealed| &*sealed.memtable))
    }

    /// The newest version of `key` at or below `at`.
    pub(super) fn find(&self, hash: u64, key: &[u8], at: Seqno) -> Result<Option<Version>> {
        for memtable in self.memtables() {
            if let Some(found) = Version::in_memtable(memtable, hash, key, at) {
                return Ok(Some(found));
            }
        }
        let found = self.version.get(key, filter_hash(key), at)?;
        Ok(self.under_range_deletes(key, at, found))
    }

    /// What was found in the tables, unless a range delete hides it.
    #[inline]
    pub(super) fn under_range_deletes(&self, key: &[u8], at: Seqno, found: Option<Found>) -> Option<Version> {
        let deleted = self.version.range_deletes().newest(key, at);
        match found {
            // At the bottom an entry may have lost its number; it is older than no marker then.
            Some(found) if found.seqno >= deleted => Some(found.into()),
            _ if deleted != 0 => Some(Version::range_deleted(deleted)),
            _ => None,
        }
    }
}

impl Core {
    /// The newest version of an internal key. If it is of a batch, that is whole to whoever reads after this.
    #[inline]
    pub(super) fn find_newest(&self, state: &SuperVersion, key: &[u8]) -> Result<Option<Version>> {
        let hash = self.hash(key);
        let found = state.find(hash, key, MAX_SEQNO)?;
        if let Some(version) = &found {
            self.shards.await_whole(self.shards.of(hash), version.seqno);
        }
        Ok(found)
    }

    /// The current entry of an internal key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Entry>> {
        self.check_open()?;
        let state = self.current();
        match self.find_newest(&state, key)? {
            Some(version) => self.shown(&state, key, version),
            None => Ok(None),
        }
    }

    /// The entry of an internal key as of `at`, which the caller has pinned.
    pub(super) fn get_at(&self, key: &[u8], at: Seqno) -> Result<Option<Entry>> {
        self.check_open()?;
        let state = self.current();
        match state.find(self.hash(key), key, at)? {
            Some(version) => self.shown(&state, key, version),
            None => Ok(None),
        }
    }

    /// The current entry with its stamp: a bound below which no unseen write can be. That is the sequence
    /// number found, or the flush horizon of the pinned state if nothing newer was found.
    pub(super) fn get_stamped(&self, key: &[u8]) -> Result<(Option<Entry>, Stamp)> {
        self.check_open()?;
        let state = self.current();
        let found = self.find_newest(&state, key)?;
        let seqno = found.as_ref().map_or(0, |version| version.seqno);
        let keyspace = split(key).map_or(KeyspaceId(0), |(id, _)| id);
        let stamp = Stamp { seqno: seqno.max(state.flushed_seqno), keyspace };
        let entry = found.map(|version| self.shown(&state, key, version)).transpose()?.flatten();
        Ok((entry, stamp))
    }

    /// The newest entry of an internal key, if it has expired, and its stamp; `None` if it has a value or none at all.
    pub(super) fn get_expired(&self, key: &[u8]) -> Result<Option<(Entry, Stamp)>> {
        self.check_open()?;
        let state = self.current();
        let Some(found) = self.find_newest(&state, key)? else { return Ok(None) };
        let meta = found.meta;
        if !meta.has_value() || meta.expires_at_ms == 0 || meta.is_live(self.clock.now_ms()) {
            return Ok(None);
        }
        let keyspace = split(key).map_or(KeyspaceId(0), |(id, _)| id);
        let stamp = Stamp { seqno: found.seqno.max(state.flushed_seqno), keyspace };
        let value = match meta.kind {
            Kind::Pointer => state.version.blobs().read(key, &found.value)?,
            _ => found.value,
        };
        let entry = Entry { value, tag: meta.tag, expires_at_ms: Some(meta.expires_at_ms) };
        Ok(Some((entry, stamp)))
    }

    /// What a reader sees of a version now: nothing, if it is a tombstone or expired. The value of a pointer has still to
    /// be fetched.
    pub(super) fn live(&self, version: Version) -> Option<Entry> {
        self.live_entry(version.meta, || version.value)
    }

    /// The same for a meta and a value.
    #[inline]
    pub(super) fn live_entry(&self, meta: EntryMeta, value: impl FnOnce() -> Slice) -> Option<Entry> {
        let now_ms = if meta.expires_at_ms == 0 { 0 } else { self.clock.now_ms() };
        let expires_at_ms = (meta.expires_at_ms != 0).then_some(meta.expires_at_ms);
        meta.is_live(now_ms).then(|| Entry { value: value(), tag: meta.tag, expires_at_ms })
    }

    /// An estimate of the keys in a keyspace, from the counts of the tables and memtables.
    pub(super) fn approximate_len(&self, id: KeyspaceId) -> u64 {
        let state = self.current();
        let mut prefix = Vec::new();
        push_prefix(&mut prefix, id);
        let end = prefix_successor(&prefix);
        let inside = |table: &TableMeta| {
            table.largest[..] >= prefix[..] && end.as_ref().is_none_or(|end| table.smallest < *end)
        };
        let tables = state.version.tables().map(|(_, table)| table.meta()).filter(|meta| inside(meta));
        // A tombstone counts against the entry that it hides.
        let in_tables: u64 = tables.map(|meta| meta.entries.saturating_sub(2 * meta.tombstones)).sum();
        let in_memory: usize = state.sealed.iter().map(|s| s.memtable.entries()).sum();
        in_tables + (in_memory + state.active.entries()) as u64
    }
}
