//! The one invariant that no table can break alone: for one key, whatever is in a shallower level or a newer run is
//! newer than everything in a deeper or older one. Lookups stop at the first hit because of it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::base::{Cursor, Result, Seqno};
use crate::version::{RunCursor, Version};

/// A key whose versions lie in the wrong order.
pub(super) struct Disorder {
    pub(super) key: Vec<u8>,
    /// The version in the newer run, which is older than the other.
    pub(super) above: Seqno,
    /// The version in the older run.
    pub(super) below: Seqno,
}

/// Reads everything in key order and tells `found` of every key that is out of order.
pub(super) fn check(version: &Version, found: &mut dyn FnMut(Disorder)) -> Result<()> {
    let mut cursors = Vec::new();
    let mut heap = BinaryHeap::new();
    for (rank, run) in version.runs().enumerate() {
        let mut cursor = RunCursor::new(Arc::clone(run), 0..run.tables().len(), false);
        cursor.seek_to_first()?;
        if cursor.valid() {
            heap.push(Reverse((cursor.key().to_vec(), rank, Reverse(cursor.seqno()))));
        }
        cursors.push(cursor);
    }
    // By key, then from the newest run to the oldest: so the sequence numbers must fall.
    let mut before: Option<(Vec<u8>, Seqno)> = None;
    while let Some(Reverse((key, rank, Reverse(seqno)))) = heap.pop() {
        if let Some((_, above)) = before.as_ref().filter(|(last, above)| *last == key && *above <= seqno) {
            found(Disorder { key: key.clone(), above: *above, below: seqno });
        }
        before = Some((key, seqno));
        let cursor = &mut cursors[rank];
        cursor.next()?;
        if cursor.valid() {
            heap.push(Reverse((cursor.key().to_vec(), rank, Reverse(cursor.seqno()))));
        }
    }
    Ok(())
}
