//! Batched point reads: one super version, all keys, a place of the store at a time.
//!
//! The answers are those of one moment, in the order asked. The memtables go first, newest to oldest, and
//! only the keys that none of them has go on to the tables, in ascending order. At every stage the memory of
//! a group of keys is requested before the first of it is read; what must come from the device is requested for all
//! keys before the first of it is waited for.

use super::core::Core;
use super::keyspace::Keyspace;
use super::read::Version;
use super::super_version::SuperVersion;
use super::types::Entry;
use crate::base::hash::filter_hash;
use crate::base::{Kind, Result, Seqno};
use crate::memtable::Memtable;
use crate::table::Lookup;

/// Keys that a memtable is asked for together.
const GROUP: usize = 32;

/// Internal keys, one behind the other in one buffer.
pub(super) struct KeyList {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl KeyList {
    /// The internal keys of `keys` in `keyspace`.
    pub(super) fn of<K: AsRef<[u8]>>(keyspace: &Keyspace, keys: impl IntoIterator<Item = K>) -> Result<Self> {
        let keys = keys.into_iter();
        let mut list = Self { bytes: Vec::new(), ends: Vec::with_capacity(keys.size_hint().0) };
        for key in keys {
            keyspace.push_internal_key(&mut list.bytes, key.as_ref())?;
            list.ends.push(list.bytes.len());
        }
        Ok(list)
    }

    fn get(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.bytes[start..self.ends[i]]
    }
}

/// A key on its way through the memtables: its place in the list, and its hash.
struct Pending {
    place: usize,
    hash: u64,
}

impl Core {
    /// The current entries of several keys, in their order.
    pub(super) fn multi_get(&self, keys: &KeyList) -> Result<Vec<Option<Entry>>> {
        self.check_open()?;
        if let [_] = keys.ends[..] {
            return Ok(vec![self.get(keys.get(0))?]);
        }
        let present = self.present();
        self.multi_get_in(&present.state, keys, present.at)
    }

    /// The entries of several keys as of `at`, which the caller has pinned.
    pub(super) fn multi_get_at(&self, keys: &KeyList, at: Seqno) -> Result<Vec<Option<Entry>>> {
        self.check_open()?;
        self.multi_get_in(&self.current(), keys, at)
    }

    fn multi_get_in(&self, state: &SuperVersion, keys: &KeyList, at: Seqno) -> Result<Vec<Option<Entry>>> {
        let versions = state.find_all(keys, |key| self.hash(key), at)?;
        let blobs = state.version.blobs();
        let mut entries = Vec::with_capacity(versions.len());
        let mut awaited = Vec::new();
        for (place, version) in versions.into_iter().enumerate() {
            let key = keys.get(place);
            let is_pointer = version.as_ref().is_some_and(|version| version.meta.kind == Kind::Pointer);
            let mut entry = match version {
                Some(version) if is_pointer => self.live(version),
                Some(version) => self.shown(state, key, version)?,
                None => None,
            };
            if let Some(entry) = entry.as_mut().filter(|_| is_pointer) {
                match blobs.try_read(key, &entry.value)? {
                    Some(value) => entry.value = value,
                    None => awaited.push(place),
                }
            }
            entries.push(entry);
        }
        // What the device is waited for it has been told of by now, all of it.
        for place in awaited {
            if let Some(entry) = &mut entries[place] {
                entry.value = blobs.read(keys.get(place), &entry.value)?;
            }
        }
        Ok(entries)
    }
}

impl SuperVersion {
    /// The newest version of each key at or below `at`.
    fn find_all(
        &self,
        keys: &KeyList,
        hash: impl Fn(&[u8]) -> u64,
        at: Seqno,
    ) -> Result<Vec<Option<Version>>> {
        let mut versions: Vec<_> = keys.ends.iter().map(|_| None).collect();
        let pending = |place| Pending { place, hash: hash(keys.get(place)) };
        let mut pending: Vec<_> = (0..keys.ends.len()).map(pending).collect();
        for memtable in self.memtables().filter(|memtable| !memtable.is_empty()) {
            for group in pending.chunks(GROUP) {
                find_group(memtable, group, keys, at, &mut versions);
            }
            pending.retain(|key| versions[key.place].is_none());
        }
        pending.sort_unstable_by(|a, b| keys.get(a.place).cmp(keys.get(b.place)));
        let lookup = |pending: &Pending| {
            let key = keys.get(pending.place);
            Lookup { key, filter_hash: filter_hash(key), found: None }
        };
        let mut lookups: Vec<_> = pending.iter().map(lookup).collect();
        self.version.get_all(&mut lookups, at)?;
        for (pending, lookup) in pending.iter().zip(lookups) {
            versions[pending.place] = self.under_range_deletes(lookup.key, at, lookup.found);
        }
        Ok(versions)
    }
}

/// Looks for a group of keys in a memtable.
fn find_group(
    memtable: &Memtable,
    group: &[Pending],
    keys: &KeyList,
    at: Seqno,
    versions: &mut [Option<Version>],
) {
    for key in group {
        memtable.prefetch(key.hash);
    }
    for key in group {
        memtable.prefetch_entry(key.hash);
    }
    for key in group {
        versions[key.place] = Version::in_memtable(memtable, key.hash, keys.get(key.place), at);
    }
}
