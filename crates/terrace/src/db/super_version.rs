//! `SuperVersion`: the memtables and the version that a read pins in one step.
//!
//! Invariant: at every moment each entry of the store is in exactly one of the active memtable, a sealed one
//! or the version's tables, and all of these are in the same super version. Sealing and installing a flush
//! or compaction replace the whole of it, so a reader never sees an entry twice or not at all.

use std::sync::Arc;

use crate::base::{Fragments, Seqno};
use crate::memtable::Memtable;
use crate::version::Version;

/// A memtable that takes no more writes.
#[derive(Clone)]
pub(super) struct Sealed {
    /// The entries.
    pub(super) memtable: Arc<Memtable>,
    /// The last sequence number that was given out when it was sealed: all its entries are at or below.
    pub(super) last_seqno: Seqno,
    /// Memory it takes.
    pub(super) bytes: u64,
}

/// One consistent state of the tree.
pub(super) struct SuperVersion {
    /// Takes the writes.
    pub(super) active: Arc<Memtable>,
    /// Waiting for their flush, newest first.
    pub(super) sealed: Vec<Sealed>,
    /// The tables.
    pub(super) version: Arc<Version>,
    /// Every write at or below this is in the tables, every later one in the memtables.
    pub(super) flushed_seqno: Seqno,
}

impl SuperVersion {
    /// The sealed memtable to flush next.
    pub(super) fn oldest_sealed(&self) -> Option<&Sealed> {
        self.sealed.last()
    }

    /// Every range delete, as lists of fragments; nothing if there are none.
    pub(super) fn range_fragments(&self) -> Vec<Arc<Fragments>> {
        let mut lists = self.active.range_fragments();
        lists.extend(self.sealed.iter().flat_map(|sealed| sealed.memtable.range_fragments()));
        let in_version = self.version.range_deletes().fragments();
        if !in_version.is_empty() {
            lists.push(Arc::clone(in_version));
        }
        lists
    }

    /// Memory of the sealed memtables.
    pub(super) fn sealed_bytes(&self) -> u64 {
        self.sealed.iter().map(|s| s.bytes).sum()
    }
}
