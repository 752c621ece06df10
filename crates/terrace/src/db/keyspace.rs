//! `Keyspace`: a handle to one named set of keys, and the operations on single keys.

use std::ops::RangeBounds;
use std::sync::Arc;

use super::batch::{Batch, check_key, check_value};
use super::handle::Handle;
use super::iter::Iter;
use super::keyspaces::KeyspaceState;
use super::multi_get::KeyList;
use super::types::{Entry, Stamp, WriteOptions};
use crate::base::key::{push_prefix, split};
use crate::base::{EntryMeta, EntryRef, Error, KeyspaceId, Kind, Result, Slice};

/// A named set of keys in a store, with an order and a life of its own.
///
/// Keyspaces share the store's log, memtable and files: a thousand cost nothing, and an idle one holds
/// nothing back. Handles are cheap to clone and safe to share; once the keyspace is dropped they fail with
/// [`Error::UnknownKeyspace`].
#[derive(Clone)]
pub struct Keyspace {
    pub(super) handle: Arc<Handle>,
    pub(super) state: Arc<KeyspaceState>,
}

impl std::fmt::Debug for Keyspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyspace").field("name", &self.state.name).finish_non_exhaustive()
    }
}

impl Keyspace {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// Sets `key` to `value`.
    ///
    /// Takes a hash, one lock, an append to the log and an insert into the memtable; no system call, unless
    /// the durability asks for a sync.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.put_with(key, value, WriteOptions::new())
    }

    /// Sets `key` to `value`, with an expiry, a tag or a durability of its own.
    pub fn put_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: WriteOptions,
    ) -> Result<()> {
        let (key, value) = (key.as_ref(), value.as_ref());
        check_value(value)?;
        let meta = self.handle.entry_meta(&options)?;
        self.write(key, meta, value, options)
    }

    /// Removes `key`, whether it exists or not.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<()> {
        self.delete_with(key, WriteOptions::new())
    }

    /// Removes `key` with a durability of its own; expiry and tag are ignored.
    pub fn delete_with(&self, key: impl AsRef<[u8]>, options: WriteOptions) -> Result<()> {
        self.write(key.as_ref(), EntryMeta::DELETE, &[], options)
    }

    pub(super) fn write(
        &self,
        key: &[u8],
        meta: EntryMeta,
        value: &[u8],
        options: WriteOptions,
    ) -> Result<()> {
        let core = &self.handle.core;
        let durability = self.handle.raised(options.durability);
        self.with_internal(key, |internal| {
            core.write_one(EntryRef { key: internal, meta, value }, durability).map(|_| ())
        })
    }

    /// The current value of `key`.
    ///
    /// Looks into the active memtable, the sealed ones, then one table per level at most, each behind a
    /// filter: in a warm store one or two cache misses.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Slice>> {
        Ok(self.get_entry(key)?.map(|entry| entry.value))
    }

    /// The current value of `key` with its tag and expiry.
    pub fn get_entry(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        self.with_internal(key.as_ref(), |internal| self.handle.core.get(internal))
    }

    /// As [`Keyspace::get_entry`], with the stamp that [`Batch::expect_in`] checks.
    pub fn read(&self, key: impl AsRef<[u8]>) -> Result<(Option<Entry>, Stamp)> {
        self.with_internal(key.as_ref(), |internal| self.handle.core.get_stamped(internal))
    }

    /// The newest entry of `key` if it has expired and is still there to be removed, with its stamp, for a
    /// conditional delete that only one of several can win. `None` if the key has a value, was deleted, or a flush or
    /// compaction has already dropped what had expired.
    pub fn read_expired(&self, key: impl AsRef<[u8]>) -> Result<Option<(Entry, Stamp)>> {
        self.with_internal(key.as_ref(), |internal| self.handle.core.get_expired(internal))
    }

    /// Whether `key` has a value.
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.get_entry(key)?.is_some())
    }

    /// The values of several keys, in the order of the keys; a key may occur more than once. All are read as of one
    /// moment: batches are seen whole or not at all.
    ///
    /// Faster than one by one: the memtables are asked for all keys together, then the tables, run by run in the
    /// order of the keys. A block is looked up once for all its keys, and the cache misses overlap. So do reads from the
    /// device (unless tables are mapped): the system is asked for all blocks, and then for all large values, before the
    /// first is waited for. No threads are used. Fails with the
    /// first error met, which hides what the other keys hold.
    pub fn multi_get<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Result<Vec<Option<Slice>>> {
        let entries = self.multi_get_entries(keys)?;
        Ok(entries.into_iter().map(|found| found.map(|entry| entry.value)).collect())
    }

    /// As [`Keyspace::multi_get`], with tags and expiries.
    pub fn multi_get_entries<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Entry>>> {
        let keys = KeyList::of(self, keys)?;
        self.handle.core.multi_get(&keys)
    }

    /// All entries, in key order from both ends, as they are now.
    pub fn iter(&self) -> Iter {
        self.range::<&[u8]>(..)
    }

    /// The entries whose keys lie in `range`.
    pub fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Iter {
        let bounds = (range.start_bound().map(AsRef::as_ref), range.end_bound().map(AsRef::as_ref));
        Iter::open(&self.handle, &self.state, bounds, None)
    }

    /// The entries whose keys start with `prefix`.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Iter {
        Iter::open_prefix(&self.handle, &self.state, prefix.as_ref(), None)
    }

    /// Reads, computes and writes in one atomic step; returns the new value.
    ///
    /// `change` gets the current value and returns the new one, or `None` to delete. It runs without any lock
    /// and again whenever another write came between, so it should have no effects of its own. The entry
    /// keeps its tag and expiry.
    pub fn update<F>(&self, key: impl AsRef<[u8]>, mut change: F) -> Result<Option<Slice>>
    where
        F: FnMut(Option<&[u8]>) -> Option<Vec<u8>>,
    {
        self.try_update(key.as_ref(), |old| Ok(change(old)))
    }

    /// Adds `delta` to the decimal integer at `key` (0 if there is none) and returns the sum. Tag and expiry
    /// stay. Fails with [`Error::NotAnInteger`] and changes nothing if the value is not an integer of 64 bits
    /// or the sum would overflow.
    pub fn increment(&self, key: impl AsRef<[u8]>, delta: i64) -> Result<i64> {
        let mut sum = 0;
        self.try_update(key.as_ref(), |old| {
            let old = old.map_or(Ok(0), parse_integer)?;
            let overflow = || Error::NotAnInteger(format!("{old} + {delta} leaves the range of 64 bits"));
            sum = old.checked_add(delta).ok_or_else(overflow)?;
            Ok(Some(sum.to_string().into_bytes()))
        })?;
        Ok(sum)
    }

    fn try_update(
        &self,
        key: &[u8],
        mut change: impl FnMut(Option<&[u8]>) -> Result<Option<Vec<u8>>>,
    ) -> Result<Option<Slice>> {
        loop {
            let (old, stamp) = self.read(key)?;
            let new = change(old.as_ref().map(|entry| &*entry.value))?;
            let mut batch = Batch::new(&self.handle);
            batch.expect_in(self, key, stamp);
            match &new {
                Some(value) => {
                    let kept = old.as_ref().map_or(WriteOptions::new(), |entry| WriteOptions {
                        tag: entry.tag,
                        expires_at_ms: entry.expires_at_ms,
                        ..WriteOptions::new()
                    });
                    batch.put_in(self, key, value, kept);
                }
                None => {
                    batch.delete_in(self, key);
                }
            }
            match batch.commit() {
                Err(Error::Conflict) => {}
                outcome => return outcome.map(|_| new.map(Slice::from)),
            }
        }
    }

    /// Removes everything in the keyspace, at once, whatever its size. Space returns with the next
    /// compactions.
    pub fn clear(&self) -> Result<()> {
        self.handle.core.clear_keyspace(&self.state.name)
    }

    /// An estimate of the number of keys, in time proportional to the number of tables: old versions and
    /// tombstones that await compaction make it too high or too low by their share.
    pub fn approximate_len(&self) -> u64 {
        self.state.id().map_or(0, |id| self.handle.core.approximate_len(id))
    }

    /// Builds the internal key on the stack or heap and passes it on.
    #[inline]
    fn with_internal<T>(&self, key: &[u8], body: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
        const STACK_BYTES: usize = 128;
        check_key(key)?;
        let id = self.state.id()?;
        if id.0 < 240 && key.len() < STACK_BYTES {
            let mut buffer = [0u8; STACK_BYTES];
            buffer[0] = id.0 as u8;
            buffer[1..=key.len()].copy_from_slice(key);
            return body(&buffer[..=key.len()]);
        }
        body(&self.internal_key(key)?)
    }

    pub(super) fn internal_key(&self, key: &[u8]) -> Result<Vec<u8>> {
        let mut internal = Vec::with_capacity(key.len() + 1);
        self.push_internal_key(&mut internal, key)?;
        Ok(internal)
    }

    /// Appends the internal key of `key`.
    pub(super) fn push_internal_key(&self, out: &mut Vec<u8>, key: &[u8]) -> Result<()> {
        check_key(key)?;
        push_prefix(out, self.state.id()?);
        out.extend_from_slice(key);
        Ok(())
    }

    /// Appends an entry to the body of a batch; the number that the keyspace has in it.
    pub(super) fn push_entry(
        &self,
        body: &mut Vec<u8>,
        key: &[u8],
        meta: EntryMeta,
        value: &[u8],
    ) -> Result<KeyspaceId> {
        debug_assert!(meta.kind != Kind::Delete || value.is_empty());
        self.with_internal(key, |internal| {
            EntryRef { key: internal, meta, value }.encode(body);
            Ok(split(internal).map_or(KeyspaceId(0), |(id, _)| id))
        })
    }
}

impl IntoIterator for &Keyspace {
    type Item = Result<(Slice, Slice)>;
    type IntoIter = Iter;

    fn into_iter(self) -> Iter {
        self.iter()
    }
}

fn parse_integer(bytes: &[u8]) -> Result<i64> {
    let text = std::str::from_utf8(bytes).ok();
    text.and_then(|t| t.parse().ok()).ok_or_else(|| {
        let shown = bytes[..bytes.len().min(40)].escape_ascii();
        Error::NotAnInteger(format!("the value \"{shown}\" is not a decimal integer of 64 bits"))
    })
}
