//! `Transaction`: reads at a snapshot, own writes on top, and a commit that is refused if what was read has
//! changed.
//!
//! Nothing is locked before the commit. The commit is a conditional one: under the locks of the keys that were
//! read or written (of all shards, if ranges were read) every key and range of the read set is unchanged since the
//! snapshot. So the transaction takes place as a whole at its commit: it is serializable. One that only reads
//! takes place at its snapshot and needs no check. Keys that were only written cause no conflict.
//!
//! An entry that expires meanwhile is no change: nothing was written.

mod iter;
mod overlay;
mod reads;

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::batch::check_value;
use super::handle::Handle;
use super::keyspace::Keyspace;
use super::keyspaces::KeyspaceState;
use super::options::Durability;
use super::range_delete::{check_bounds, internal_range, prefix_bounds};
use super::snapshot::Snapshot;
use super::types::{Entry, Stamp, WriteOptions};
use super::write::{Commit, check_keyspaces};
use crate::base::key::split;
use crate::base::{EntryMeta, Error, KeyspaceId, Result, Slice};
pub use iter::TransactionIter;
use overlay::{Overlay, Own};
pub use reads::MAX_TRANSACTION_READS;
use reads::ReadSet;
pub(super) use reads::Scan;

/// Gives each savepoint a number of its own, so that one of another transaction is not taken for it.
static SAVEPOINTS: AtomicU64 = AtomicU64::new(1);

/// A place in a transaction to which its writes can be taken back; see [`Transaction::savepoint`].
#[derive(Clone, Debug)]
pub struct Savepoint {
    serial: u64,
}

/// Reads and writes that take effect together, as if nothing else had happened meanwhile, or not at all.
///
/// Made by [`crate::Db::begin`]; see there. Dropping it without a commit changes nothing. It holds a snapshot, so
/// it should not live for long. It writes at most [`crate::MAX_BATCH_ENTRIES`] entries and
/// [`crate::MAX_BATCH_BYTES`], and reads at most [`MAX_TRANSACTION_READS`] keys and ranges.
#[must_use = "a transaction does nothing until it is committed"]
pub struct Transaction {
    handle: Arc<Handle>,
    snapshot: Snapshot,
    own: Overlay,
    reads: Mutex<ReadSet>,
    /// The keyspaces that were used, with the numbers that they had.
    keyspaces: Mutex<Vec<(Arc<KeyspaceState>, KeyspaceId)>>,
    durability: Option<Durability>,
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction")
            .field("snapshot", &self.snapshot.seqno())
            .field("writes", &self.own.count())
            .finish_non_exhaustive()
    }
}

impl Transaction {
    pub(super) fn new(handle: &Arc<Handle>) -> Self {
        Self {
            handle: Arc::clone(handle),
            snapshot: Snapshot::new(handle),
            own: Overlay::default(),
            reads: Mutex::default(),
            keyspaces: Mutex::default(),
            durability: None,
        }
    }

    /// Remembers that keys of this keyspace carry this number: it must have it still at the commit.
    fn note(&self, keyspace: &Keyspace, internal: &[u8]) -> Result<()> {
        if !Arc::ptr_eq(&self.handle.core, &keyspace.handle.core) {
            let name = keyspace.name();
            return Err(Error::invalid(format!(
                "keyspace {name:?} belongs to another store than the transaction"
            )));
        }
        let Some((id, _)) = split(internal) else { return Ok(()) };
        let mut keyspaces = self.keyspaces.lock();
        let known = |(state, noted): &(Arc<KeyspaceState>, KeyspaceId)| {
            *noted == id && Arc::ptr_eq(state, &keyspace.state)
        };
        if !keyspaces.iter().any(known) {
            keyspaces.push((Arc::clone(&keyspace.state), id));
        }
        Ok(())
    }

    /// The value of `key` in the default keyspace, as the transaction sees it.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Slice>> {
        Ok(self.get_in(&self.handle.default_keyspace(), key)?.map(|entry| entry.value))
    }

    /// The entry of `key` in a keyspace, as the transaction sees it.
    pub fn get_in(&self, keyspace: &Keyspace, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        let internal = keyspace.internal_key(key.as_ref())?;
        self.note(keyspace, &internal)?;
        if let Some(own) = self.own.get(&internal) {
            if own.base.is_none() && !self.own.is_range_deleted(&internal) {
                self.reads.lock().key(&internal)?;
            }
            return self.own_entry(&internal, own);
        }
        if self.own.hides(&internal) {
            return Ok(None);
        }
        self.reads.lock().key(&internal)?;
        self.handle.core.get_at(&internal, self.snapshot.seqno())
    }

    /// What the transaction's own writes make of a key, of which the read set must know if it is read for that.
    fn own_entry(&self, internal: &[u8], own: &Own) -> Result<Option<Entry>> {
        let core = &self.handle.core;
        let base = match &own.base {
            Some((meta, value)) => core.live_entry(*meta, || value.clone()),
            None if self.own.is_range_deleted(internal) => None,
            None => core.get_at(internal, self.snapshot.seqno())?,
        };
        if own.operands.is_empty() {
            return Ok(base);
        }
        let operands: Vec<&[u8]> = own.operands.iter().map(|operand| &operand[..]).collect();
        core.fold_onto(internal, base.as_ref(), &operands).map(Some)
    }

    /// The entries of the default keyspace whose keys lie in `range`, as the transaction sees them.
    pub fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> TransactionIter<'_> {
        self.range_in(&self.handle.default_keyspace(), range)
    }

    /// The entries of a keyspace whose keys lie in `range`.
    pub fn range_in<K: AsRef<[u8]>>(
        &self,
        keyspace: &Keyspace,
        range: impl RangeBounds<K>,
    ) -> TransactionIter<'_> {
        let bounds = (range.start_bound().map(AsRef::as_ref), range.end_bound().map(AsRef::as_ref));
        self.scan(keyspace, bounds)
    }

    /// The entries of the default keyspace whose keys start with `prefix`.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> TransactionIter<'_> {
        self.prefix_in(&self.handle.default_keyspace(), prefix)
    }

    /// The entries of a keyspace whose keys start with `prefix`.
    pub fn prefix_in(&self, keyspace: &Keyspace, prefix: impl AsRef<[u8]>) -> TransactionIter<'_> {
        let mut end = None;
        self.scan(keyspace, prefix_bounds(prefix.as_ref(), &mut end))
    }

    fn scan(&self, keyspace: &Keyspace, bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> TransactionIter<'_> {
        let range = internal_range(&keyspace.state, bounds).and_then(|(low, high)| {
            self.note(keyspace, &low)?;
            let user_key_bytes = split(&low).map_or(0, |(_, user_key)| user_key.len());
            let prefix = low[..low.len() - user_key_bytes].to_vec();
            Ok((prefix, Scan { low, high }))
        });
        TransactionIter::new(self, self.snapshot.range_in::<&[u8]>(keyspace, bounds), range)
    }

    /// Sets `key` to `value` in the default keyspace.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        let keyspace = self.handle.default_keyspace();
        self.put_in(&keyspace, key, value, WriteOptions::new())
    }

    /// Sets `key` to `value` in a keyspace, with expiry and tag. A durability raises that of the whole commit.
    pub fn put_in(
        &mut self,
        keyspace: &Keyspace,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: WriteOptions,
    ) -> Result<()> {
        check_value(value.as_ref())?;
        let meta = self.handle.entry_meta(&options)?;
        self.write(keyspace, key.as_ref(), meta, value.as_ref())?;
        let now = self.durability.map_or(0, Durability::rank);
        self.durability = options.durability.filter(|raised| raised.rank() > now).or(self.durability);
        Ok(())
    }

    /// Merges `operand` into the value of `key` in the default keyspace; see [`Keyspace::merge`]. Reads nothing, so it
    /// causes no conflict.
    pub fn merge(&mut self, key: impl AsRef<[u8]>, operand: impl AsRef<[u8]>) -> Result<()> {
        let keyspace = self.handle.default_keyspace();
        self.merge_in(&keyspace, key, operand)
    }

    /// Merges `operand` into the value of `key` in a keyspace.
    pub fn merge_in(
        &mut self,
        keyspace: &Keyspace,
        key: impl AsRef<[u8]>,
        operand: impl AsRef<[u8]>,
    ) -> Result<()> {
        let (core, operand) = (&self.handle.core, operand.as_ref());
        core.check_operand(operand)?;
        let internal = keyspace.internal_key(key.as_ref())?;
        self.note(keyspace, &internal)?;
        self.own.merge(&internal, operand, |operands| core.merging.combine(&internal, operands))
    }

    /// Removes `key` from the default keyspace.
    pub fn delete(&mut self, key: impl AsRef<[u8]>) -> Result<()> {
        let keyspace = self.handle.default_keyspace();
        self.delete_in(&keyspace, key)
    }

    /// Removes `key` from a keyspace.
    pub fn delete_in(&mut self, keyspace: &Keyspace, key: impl AsRef<[u8]>) -> Result<()> {
        self.write(keyspace, key.as_ref(), EntryMeta::DELETE, &[])
    }

    fn write(&mut self, keyspace: &Keyspace, key: &[u8], meta: EntryMeta, value: &[u8]) -> Result<()> {
        let internal = keyspace.internal_key(key)?;
        self.note(keyspace, &internal)?;
        self.own.write(&internal, meta, value)
    }

    /// Removes every key in `range` from the default keyspace, by one marker; see [`Keyspace::delete_range`].
    pub fn delete_range<K: AsRef<[u8]>>(&mut self, range: impl RangeBounds<K>) -> Result<()> {
        let keyspace = self.handle.default_keyspace();
        self.delete_range_in(&keyspace, range)
    }

    /// Removes every key in `range` from a keyspace.
    pub fn delete_range_in<K: AsRef<[u8]>>(
        &mut self,
        keyspace: &Keyspace,
        range: impl RangeBounds<K>,
    ) -> Result<()> {
        let bounds = (range.start_bound().map(AsRef::as_ref), range.end_bound().map(AsRef::as_ref));
        check_bounds(bounds)?;
        let (start, end) = internal_range(&keyspace.state, bounds)?;
        self.note(keyspace, &start)?;
        self.own.delete_range(start, end.unwrap_or_default())
    }

    /// A place to which [`Transaction::rollback_to`] takes the writes back. What was read in between stays read.
    pub fn savepoint(&mut self) -> Savepoint {
        let serial = SAVEPOINTS.fetch_add(1, Ordering::Relaxed);
        self.own.savepoint(serial);
        Savepoint { serial }
    }

    /// Takes back every write since the savepoint, which may be gone back to again; those made after it are void.
    pub fn rollback_to(&mut self, savepoint: &Savepoint) -> Result<()> {
        if self.own.rollback_to(savepoint.serial) {
            return Ok(());
        }
        Err(Error::invalid(
            "the savepoint is of another transaction, or was made after one that was gone back to",
        ))
    }

    /// The number of keys and ranges to be written.
    pub fn len(&self) -> usize {
        self.own.count()
    }

    /// Whether there is nothing to be written.
    pub fn is_empty(&self) -> bool {
        self.own.is_empty()
    }

    /// Applies all of it, or nothing: fails with [`Error::Conflict`] if anything that was read has changed since
    /// the beginning; then all of it is to be done anew. Returns the sequence number of the last write (for
    /// [`crate::Db::when_durable`]), or that of the snapshot if nothing was written.
    ///
    /// Takes time for each key and range that was read. Ranges are checked against everything in the range that
    /// was written since the beginning: before the locks are taken, and under them once more for what came
    /// meanwhile.
    pub fn commit(self) -> Result<u64> {
        let Self { handle, snapshot, own, reads, keyspaces, durability } = self;
        let keyspaces = keyspaces.into_inner();
        if own.is_empty() {
            // A keyspace that was cleared in the middle is gone from the snapshot, too.
            check_keyspaces(&keyspaces)?;
            return Ok(snapshot.seqno());
        }
        let (reads, seqno) = (reads.into_inner(), snapshot.seqno());
        let stamp = |key: Vec<u8>| {
            let keyspace = split(&key).map_or(KeyspaceId(0), |(id, _)| id);
            (key, Stamp { seqno, keyspace })
        };
        let stamped: Vec<_> = reads.keys.into_iter().map(stamp).collect();
        let scans: Vec<_> = reads.scans.into_iter().filter(|scan| !scan.is_empty()).collect();
        handle.core.write_batch(&Commit {
            body: &own.encode(),
            count: own.count() as u32,
            has_ranges: own.has_ranges(),
            reads: &stamped,
            scans: &scans,
            pinned: Some(seqno),
            keyspaces: &keyspaces,
            durability: handle.raised(durability),
            waits: true,
        })
    }
}
