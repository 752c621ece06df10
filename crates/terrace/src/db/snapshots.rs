//! The list of live snapshots: which old versions flush and compaction must keep.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::Seqno;
use crate::base::sync::Mutex;

/// Sequence numbers that somebody still reads at, with a count each.
#[derive(Debug, Default)]
pub(super) struct SnapshotList {
    live: Mutex<BTreeMap<Seqno, usize>>,
}

impl SnapshotList {
    /// Registers the sequence number that `newest` returns, in one step with reading it, so that a
    /// compaction that starts later knows of it.
    pub(super) fn pin(self: &Arc<Self>, newest: impl FnOnce() -> Seqno) -> PinnedSeqno {
        let mut live = self.live.lock();
        let seqno = newest();
        *live.entry(seqno).or_insert(0) += 1;
        drop(live);
        PinnedSeqno { list: Arc::clone(self), seqno }
    }

    /// The live ones, ascending. To be read *after* the inputs of a flush or compaction are fixed: a snapshot
    /// taken later sees the newest version of everything in those inputs.
    pub(super) fn seqnos(&self) -> Vec<Seqno> {
        self.live.lock().keys().copied().collect()
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.live.lock().values().sum()
    }
}

/// Keeps a sequence number on the list until dropped.
#[derive(Debug)]
pub(super) struct PinnedSeqno {
    list: Arc<SnapshotList>,
    seqno: Seqno,
}

impl PinnedSeqno {
    /// The sequence number.
    pub(super) fn seqno(&self) -> Seqno {
        self.seqno
    }
}

impl Drop for PinnedSeqno {
    fn drop(&mut self) {
        let mut live = self.list.live.lock();
        if let Some(count) = live.get_mut(&self.seqno) {
            *count -= 1;
            if *count == 0 {
                live.remove(&self.seqno);
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_seqno_stays_until_its_last_holder_goes() {
        let list = Arc::new(SnapshotList::default());
        let a = list.pin(|| 5);
        let b = list.pin(|| 5);
        let c = list.pin(|| 9);
        assert_eq!((list.seqnos(), list.count()), (vec![5, 9], 3));
        drop(a);
        assert_eq!(list.seqnos(), [5, 9]);
        drop(b);
        assert_eq!(list.seqnos(), [9]);
        assert_eq!(c.seqno(), 9);
    }
}
