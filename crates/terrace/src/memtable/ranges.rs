//! `Ranges`: the range deletes of a memtable.
//!
//! Readers take no lock. A marker is published after the points of its batch, and a reader asks for markers
//! before it looks for points: so nobody sees a key deleted by a batch that also writes it. The fragments are
//! kept in a few lists, each at least twice as long as the next, so that a marker is copied log n times at most.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::base::sync::{AtomicUsize, Ordering};
use crate::base::{Fragments, RangeDelete, Seqno};

/// The markers, and their fragments for readers.
pub(super) struct Ranges {
    /// How many markers there are: all that most reads look at.
    count: AtomicUsize,
    lists: ArcSwap<Vec<Arc<Fragments>>>,
    deletes: Mutex<Vec<RangeDelete>>,
}

impl Ranges {
    /// No markers.
    pub(super) fn new() -> Self {
        Self { count: AtomicUsize::new(0), lists: ArcSwap::default(), deletes: Mutex::default() }
    }

    /// Adds markers; `snapshots`, ascending, are those that may see older ones. The memory that this took, in
    /// bytes.
    pub(super) fn add(&self, deletes: Vec<RangeDelete>, snapshots: &[Seqno]) -> usize {
        let mut all = self.deletes.lock();
        let mut lists = Vec::clone(&self.lists.load());
        lists.push(Arc::new(Fragments::new(&deletes, snapshots)));
        while let [.., longer, last] = &lists[..] {
            if longer.len() > 2 * last.len() {
                break;
            }
            let union = Arc::new(longer.union(last, snapshots));
            lists.truncate(lists.len() - 2);
            lists.push(union);
        }
        let bytes = deletes.iter().map(|d| 2 * (size_of::<RangeDelete>() + d.start.len() + d.end.len()));
        let bytes = bytes.sum();
        all.extend(deletes);
        self.lists.store(Arc::new(lists));
        self.count.store(all.len(), Ordering::Release);
        bytes
    }

    /// How many markers there are.
    #[inline]
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// The newest marker over `key` that a reader at `at` sees; 0 if there is none.
    #[cold]
    pub(super) fn newest(&self, key: &[u8], at: Seqno) -> Seqno {
        self.lists.load().iter().map(|list| list.newest(key, at)).max().unwrap_or(0)
    }

    /// The lists of fragments.
    pub(super) fn lists(&self) -> Vec<Arc<Fragments>> {
        if self.count() == 0 { Vec::new() } else { Vec::clone(&self.lists.load()) }
    }

    /// The markers that some reader can tell apart.
    pub(super) fn deletes(&self) -> Vec<RangeDelete> {
        let deletes = self.deletes.lock();
        let needed: Vec<_> = self.lists.load().iter().map(|list| list.seqnos()).collect();
        let kept = deletes.iter().filter(|delete| needed.iter().any(|list| list.contains(&delete.seqno)));
        kept.cloned().collect()
    }
}
