//! `Snapshot`: the store as it was at one moment.

use std::ops::RangeBounds;
use std::sync::Arc;

use super::handle::Handle;
use super::iter::Iter;
use super::keyspace::Keyspace;
use super::multi_get::KeyList;
use super::snapshots::PinnedSeqno;
use super::types::Entry;
use crate::base::{Result, Slice};

/// A consistent view of the store: every write acknowledged before it was taken, none that came later, and
/// batches whole.
///
/// While it lives, old versions of overwritten keys are kept. Entries still disappear from it when they
/// expire, and a keyspace that is dropped or cleared is gone from it too.
#[derive(Clone)]
pub struct Snapshot {
    handle: Arc<Handle>,
    pinned: Arc<PinnedSeqno>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("seqno", &self.pinned.seqno()).finish_non_exhaustive()
    }
}

impl Snapshot {
    pub(super) fn new(handle: &Arc<Handle>) -> Self {
        Self { handle: Arc::clone(handle), pinned: Arc::new(handle.core.pin_newest()) }
    }

    /// The sequence number of the last write that it sees.
    pub fn seqno(&self) -> u64 {
        self.pinned.seqno()
    }

    /// The value of `key` in the default keyspace.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Slice>> {
        Ok(self.get_in(&self.handle.default_keyspace(), key)?.map(|entry| entry.value))
    }

    /// The entry of `key` in a keyspace.
    pub fn get_in(&self, keyspace: &Keyspace, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        let internal = keyspace.internal_key(key.as_ref())?;
        self.handle.core.get_at(&internal, self.pinned.seqno())
    }

    /// The values of several keys of the default keyspace, in the order of the keys; see [`Keyspace::multi_get`].
    pub fn multi_get<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) -> Result<Vec<Option<Slice>>> {
        let entries = self.multi_get_in(&self.handle.default_keyspace(), keys)?;
        Ok(entries.into_iter().map(|found| found.map(|entry| entry.value)).collect())
    }

    /// The entries of several keys of a keyspace, in the order of the keys.
    pub fn multi_get_in<K: AsRef<[u8]>>(
        &self,
        keyspace: &Keyspace,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Entry>>> {
        let keys = KeyList::of(keyspace, keys)?;
        self.handle.core.multi_get_at(&keys, self.pinned.seqno())
    }

    /// All entries of the default keyspace.
    pub fn iter(&self) -> Iter {
        self.range::<&[u8]>(..)
    }

    /// The entries of the default keyspace whose keys lie in `range`.
    pub fn range<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Iter {
        self.range_in(&self.handle.default_keyspace(), range)
    }

    /// The entries of a keyspace whose keys lie in `range`.
    pub fn range_in<K: AsRef<[u8]>>(&self, keyspace: &Keyspace, range: impl RangeBounds<K>) -> Iter {
        let bounds = (range.start_bound().map(AsRef::as_ref), range.end_bound().map(AsRef::as_ref));
        Iter::open(&self.handle, &keyspace.state, bounds, Some(&self.pinned))
    }

    /// The entries of the default keyspace whose keys start with `prefix`.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Iter {
        let keyspace = self.handle.default_keyspace();
        Iter::open_prefix(&self.handle, &keyspace.state, prefix.as_ref(), Some(&self.pinned))
    }

    /// The entries of a keyspace whose keys start with `prefix`.
    pub fn prefix_in(&self, keyspace: &Keyspace, prefix: impl AsRef<[u8]>) -> Iter {
        Iter::open_prefix(&self.handle, &keyspace.state, prefix.as_ref(), Some(&self.pinned))
    }
}

impl IntoIterator for &Snapshot {
    type Item = Result<(Slice, Slice)>;
    type IntoIter = Iter;

    fn into_iter(self) -> Iter {
        self.iter()
    }
}
