//! `Batch`: writes that are applied together or not at all, and the limits on what is written.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use super::handle::Handle;
use super::keyspace::Keyspace;
use super::keyspaces::KeyspaceState;
use super::options::Durability;
use super::range_delete::{check_bounds, internal_range, prefix_bounds};
use super::types::{Stamp, WriteOptions};
use super::write::Commit;
use crate::base::entry::take_entry;
use crate::base::key::{MAX_KEY_BYTES, MAX_VALUE_BYTES, prefix_successor, push_prefix, split};
use crate::base::{EntryMeta, EntryRef, Error, KeyspaceId, Kind, Result};

/// The most entries in one batch.
pub const MAX_BATCH_ENTRIES: u32 = 1 << 20;
/// The most bytes in one batch, as laid out in the log: 1 GiB.
pub const MAX_BATCH_BYTES: usize = 1 << 30;

/// Writes that are applied together or not at all.
///
/// Collect writes, then [`Batch::commit`]. A mistake in any of them (an empty key, say) is reported by the
/// commit, which then changes nothing.
///
/// ```
/// # fn main() -> terrace::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let db = terrace::Db::open(dir.path())?;
/// let mut batch = db.batch();
/// batch.put("from", "90").put("to", "110");
/// batch.commit()?;
/// # db.close()
/// # }
/// ```
#[must_use = "a batch does nothing until it is committed"]
pub struct Batch {
    handle: Arc<Handle>,
    body: Vec<u8>,
    count: u32,
    has_ranges: bool,
    reads: Vec<(Vec<u8>, Stamp)>,
    /// The keyspaces of all keys, with the numbers under which they are encoded.
    keyspaces: Vec<(Arc<KeyspaceState>, KeyspaceId)>,
    durability: Option<Durability>,
    waits: bool,
    error: Option<Error>,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("len", &self.count)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl Batch {
    pub(super) fn new(handle: &Arc<Handle>) -> Self {
        let handle = Arc::clone(handle);
        let (body, reads, keyspaces) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            handle,
            body,
            count: 0,
            has_ranges: false,
            reads,
            keyspaces,
            durability: None,
            waits: true,
            error: None,
        }
    }

    /// Adds a put to the default keyspace.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> &mut Self {
        let keyspace = self.handle.default_keyspace();
        self.put_in(&keyspace, key, value, WriteOptions::new())
    }

    /// Adds a delete to the default keyspace.
    pub fn delete(&mut self, key: impl AsRef<[u8]>) -> &mut Self {
        let keyspace = self.handle.default_keyspace();
        self.delete_in(&keyspace, key)
    }

    /// Adds a merge to the default keyspace; see [`Keyspace::merge`].
    pub fn merge(&mut self, key: impl AsRef<[u8]>, operand: impl AsRef<[u8]>) -> &mut Self {
        let keyspace = self.handle.default_keyspace();
        self.merge_in(&keyspace, key, operand)
    }

    /// Adds a merge to a keyspace.
    pub fn merge_in(
        &mut self,
        keyspace: &Keyspace,
        key: impl AsRef<[u8]>,
        operand: impl AsRef<[u8]>,
    ) -> &mut Self {
        let operand = operand.as_ref();
        let meta = self.handle.core.check_operand(operand).map(|()| EntryMeta::MERGE);
        self.add(keyspace, key.as_ref(), meta, operand)
    }

    /// Adds a put to a keyspace, with expiry and tag. A durability raises that of the whole batch.
    pub fn put_in(
        &mut self,
        keyspace: &Keyspace,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: WriteOptions,
    ) -> &mut Self {
        let value = value.as_ref();
        let meta = check_value(value).and_then(|()| self.handle.entry_meta(&options));
        if let Some(raised) = options.durability {
            let now = self.durability.map_or(0, Durability::rank);
            self.durability = if raised.rank() > now { Some(raised) } else { self.durability };
        }
        self.add(keyspace, key.as_ref(), meta, value)
    }

    /// Adds a delete to a keyspace.
    pub fn delete_in(&mut self, keyspace: &Keyspace, key: impl AsRef<[u8]>) -> &mut Self {
        self.add(keyspace, key.as_ref(), Ok(EntryMeta::DELETE), &[])
    }

    /// Adds the deletion of every key in `range` of the default keyspace; see [`Keyspace::delete_range`]. It
    /// comes after the writes that were added before it, and before those added later.
    pub fn delete_range<K: AsRef<[u8]>>(&mut self, range: impl RangeBounds<K>) -> &mut Self {
        let keyspace = self.handle.default_keyspace();
        self.delete_range_in(&keyspace, range)
    }

    /// Adds the deletion of every key of the default keyspace that starts with `prefix`.
    pub fn delete_prefix(&mut self, prefix: impl AsRef<[u8]>) -> &mut Self {
        let keyspace = self.handle.default_keyspace();
        self.delete_prefix_in(&keyspace, prefix)
    }

    /// Adds the deletion of every key in `range` of a keyspace.
    pub fn delete_range_in<K: AsRef<[u8]>>(
        &mut self,
        keyspace: &Keyspace,
        range: impl RangeBounds<K>,
    ) -> &mut Self {
        let bounds = (range.start_bound().map(AsRef::as_ref), range.end_bound().map(AsRef::as_ref));
        self.add_range(keyspace, bounds)
    }

    /// Adds the deletion of every key of a keyspace that starts with `prefix`.
    pub fn delete_prefix_in(&mut self, keyspace: &Keyspace, prefix: impl AsRef<[u8]>) -> &mut Self {
        let mut end = None;
        let bounds = prefix_bounds(prefix.as_ref(), &mut end);
        self.add_range(keyspace, bounds)
    }

    fn add_range(&mut self, keyspace: &Keyspace, bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> &mut Self {
        if self.error.is_some() {
            return self;
        }
        let range = self
            .check_keyspace(keyspace)
            .and_then(|()| check_bounds(bounds))
            .and_then(|()| internal_range(&keyspace.state, bounds));
        let range = range.and_then(|(start, end)| {
            let end = end.unwrap_or_default();
            self.check_room(&start, &end).map(|()| (start, end))
        });
        match range {
            Ok((start, end)) if start < end => {
                EntryRef { key: &start, meta: EntryMeta::RANGE_DELETE, value: &end }.encode(&mut self.body);
                self.count += 1;
                self.has_ranges = true;
                if let Some((id, _)) = split(&start) {
                    self.note(keyspace, id);
                }
            }
            Ok(_) => {} // No key is in it.
            Err(error) => self.error = Some(error),
        }
        self
    }

    fn add(&mut self, keyspace: &Keyspace, key: &[u8], meta: Result<EntryMeta>, value: &[u8]) -> &mut Self {
        if self.error.is_some() {
            return self;
        }
        let added = self
            .check_keyspace(keyspace)
            .and(meta)
            .and_then(|meta| self.check_room(key, value).map(|()| meta))
            .and_then(|meta| keyspace.push_entry(&mut self.body, key, meta, value));
        match added {
            Ok(id) => {
                self.count += 1;
                self.note(keyspace, id);
            }
            Err(error) => self.error = Some(error),
        }
        self
    }

    /// Remembers that a key of this keyspace is encoded under this number.
    fn note(&mut self, keyspace: &Keyspace, id: KeyspaceId) {
        let known = |(state, noted): &(Arc<KeyspaceState>, KeyspaceId)| {
            *noted == id && Arc::ptr_eq(state, &keyspace.state)
        };
        // The last one first: batches stay in a keyspace for a while.
        if !self.keyspaces.iter().rev().any(known) {
            self.keyspaces.push((Arc::clone(&keyspace.state), id));
        }
    }

    /// Encodes the writes again, under the numbers that their keyspaces have now.
    fn renumber(&mut self) -> Result<()> {
        let (mut body, mut key, mut end) = (Vec::with_capacity(self.body.len()), Vec::new(), Vec::new());
        let mut input = &self.body[..];
        while let Some(entry) = take_entry(&mut input) {
            let Some((old, user_key)) = split(entry.key) else { continue };
            let new = match self.keyspaces.iter().find(|(_, id)| *id == old) {
                Some((state, _)) => state.id()?,
                None => old,
            };
            key.clear();
            push_prefix(&mut key, new);
            key.extend_from_slice(user_key);
            let mut value = entry.value;
            if entry.meta.kind == Kind::RangeDelete {
                end.clear();
                push_prefix(&mut end, new);
                match split(value).filter(|(id, _)| *id == old) {
                    Some((_, user_key)) => end.extend_from_slice(user_key),
                    // To the end of the keyspace.
                    None => end = prefix_successor(&end).unwrap_or_default(),
                }
                value = &end;
            }
            EntryRef { key: &key, value, ..entry }.encode(&mut body);
        }
        self.body = body;
        for (state, id) in &mut self.keyspaces {
            *id = state.id()?;
        }
        Ok(())
    }

    fn check_keyspace(&self, keyspace: &Keyspace) -> Result<()> {
        if Arc::ptr_eq(&self.handle.core, &keyspace.handle.core) {
            return Ok(());
        }
        Err(Error::invalid(format!("keyspace {:?} belongs to another store than the batch", keyspace.name())))
    }

    fn check_room(&self, key: &[u8], value: &[u8]) -> Result<()> {
        if self.count >= MAX_BATCH_ENTRIES {
            return Err(Error::invalid(format!("a batch takes {MAX_BATCH_ENTRIES} entries at most")));
        }
        if self.body.len() + key.len() + value.len() + 32 > MAX_BATCH_BYTES {
            return Err(Error::invalid(format!("a batch takes {MAX_BATCH_BYTES} bytes at most")));
        }
        Ok(())
    }

    /// Makes the commit depend on `key` not having changed since [`Keyspace::read`] gave this stamp;
    /// otherwise it fails with [`Error::Conflict`] and changes nothing.
    pub fn expect_in(&mut self, keyspace: &Keyspace, key: impl AsRef<[u8]>, stamp: Stamp) -> &mut Self {
        match self.check_keyspace(keyspace).and_then(|()| keyspace.internal_key(key.as_ref())) {
            Ok(key) => {
                self.reads.push((key, stamp));
                // As it was when the key was read: if that has changed, so may have the key.
                self.note(keyspace, stamp.keyspace);
            }
            Err(error) => self.error = self.error.take().or(Some(error)),
        }
        self
    }

    /// Has the commit never wait for back-pressure, for threads that must go on: they ask [`crate::Db::write_delay`]
    /// first and come back after that time. The write is counted against the pace like any other, so what comes
    /// after it waits the longer. Whoever does not ask can fill the memory beyond its limits.
    pub fn without_delay(&mut self) -> &mut Self {
        self.waits = false;
        self
    }

    /// The number of writes.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The size of the writes in bytes, as laid out in the log.
    pub fn bytes(&self) -> usize {
        self.body.len()
    }

    /// Applies all of it, or nothing; returns the sequence number of the last write (for
    /// [`crate::Db::when_durable`]).
    pub fn commit(mut self) -> Result<u64> {
        if let Some(error) = self.error {
            return Err(error);
        }
        loop {
            let outcome = self.handle.core.write_batch(&Commit {
                body: &self.body,
                count: self.count,
                has_ranges: self.has_ranges,
                reads: &self.reads,
                scans: &[],
                pinned: None,
                keyspaces: &self.keyspaces,
                durability: self.handle.raised(self.durability),
                waits: self.waits,
            });
            match outcome {
                // A keyspace was cleared meanwhile, which is no business of a batch that depends on nothing.
                Err(Error::Conflict) if self.reads.is_empty() => self.renumber()?,
                outcome => return outcome,
            }
        }
    }

    /// As [`Batch::commit`]; the whole of it survives at least what `durability` says.
    pub fn commit_with(mut self, durability: Durability) -> Result<u64> {
        if durability.rank() > self.durability.map_or(0, Durability::rank) {
            self.durability = Some(durability);
        }
        self.commit()
    }
}

/// Checks a user key against its limits.
#[inline]
pub(super) fn check_key(key: &[u8]) -> Result<()> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(bad_key(key.len()));
    }
    Ok(())
}

#[cold]
fn bad_key(found: usize) -> Error {
    Error::invalid(format!("a key takes 1 to {MAX_KEY_BYTES} bytes; this one has {found}"))
}

/// Checks a value against its limit.
#[inline]
pub(super) fn check_value(value: &[u8]) -> Result<()> {
    if value.len() > MAX_VALUE_BYTES {
        let found = value.len();
        return Err(Error::invalid(format!(
            "a value takes {MAX_VALUE_BYTES} bytes at most; this one has {found}"
        )));
    }
    Ok(())
}
