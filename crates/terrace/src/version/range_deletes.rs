//! `RangeDeletes`: the markers that tables still need, and when they do so no longer.
//!
//! Markers are kept here, in the manifest, and not in the tables: a flush records those of its memtable in the
//! edit that adds its tables. A marker hides entries of tables only, since every memtable is newer. It goes as
//! soon as no table can hold anything that it hides: each table knows its oldest entry, and up to which marker
//! it was cleared when it was written.

use std::sync::Arc;

use super::edit::Edit;
use super::levels::Version;
use crate::base::{Fragments, RangeDelete, Seqno};
use crate::table::TableMeta;

/// The markers of a version. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct RangeDeletes {
    /// By sequence number.
    deletes: Arc<Vec<RangeDelete>>,
    fragments: Arc<Fragments>,
}

impl RangeDeletes {
    /// These markers, as far as readers at `snapshots` (ascending) and later ones tell them apart.
    pub(crate) fn new(mut deletes: Vec<RangeDelete>, snapshots: &[Seqno]) -> Self {
        deletes.sort_by_key(|delete| delete.seqno);
        let fragments = Fragments::new(&deletes, snapshots);
        let needed = fragments.seqnos();
        deletes.retain(|delete| needed.contains(&delete.seqno));
        Self { deletes: Arc::new(deletes), fragments: Arc::new(fragments) }
    }

    /// These markers, all of them, as a manifest has recorded them.
    pub(crate) fn recorded(deletes: Vec<RangeDelete>) -> Self {
        let fragments = Fragments::new(&deletes, &[]);
        Self { deletes: Arc::new(deletes), fragments: Arc::new(fragments) }
    }

    /// The markers, oldest first.
    pub(crate) fn list(&self) -> &[RangeDelete] {
        &self.deletes
    }

    /// The same, cut into disjoint pieces.
    pub(crate) fn fragments(&self) -> &Arc<Fragments> {
        &self.fragments
    }

    /// The newest marker over `key` that a reader at `at` sees; 0 if there is none.
    #[inline]
    pub(crate) fn newest(&self, key: &[u8], at: Seqno) -> Seqno {
        if self.fragments.is_empty() { 0 } else { self.fragments.newest(key, at) }
    }

    /// The newest marker; 0 if there is none.
    pub(crate) fn last_seqno(&self) -> Seqno {
        self.deletes.last().map_or(0, |delete| delete.seqno)
    }
}

/// Whether a table may hold entries that the marker hides.
pub(crate) fn is_needed_by(delete: &RangeDelete, table: &TableMeta) -> bool {
    table.min_seqno < delete.seqno
        && table.cleared_seqno < delete.seqno
        && delete.overlaps(&table.smallest, &table.largest)
}

impl Version {
    /// Whether some table needs the marker.
    fn needs(&self, delete: &RangeDelete) -> bool {
        self.runs().any(|run| {
            let tables = &run.tables()[run.overlapping(&delete.start, &delete.end)];
            tables.iter().any(|table| is_needed_by(delete, table.meta()))
        })
    }

    /// This version, which `edit` has led to, with the markers that its tables need: of those it had and those
    /// that the edit adds. What becomes of them is noted in the edit. `snapshots`, ascending, are to be listed
    /// after all of the markers had their numbers.
    pub(crate) fn settle_range_deletes(self, edit: &mut Edit, snapshots: &[Seqno]) -> Self {
        let had = self.range_deletes().clone();
        let candidates: Vec<_> = had.list().iter().chain(&edit.range_deletes).cloned().collect();
        if candidates.is_empty() {
            return self;
        }
        let needed: Vec<_> = candidates.iter().filter(|delete| self.needs(delete)).cloned().collect();
        if needed.len() == had.list().len() && edit.range_deletes.is_empty() {
            return self;
        }
        let next = RangeDeletes::new(needed, snapshots);
        let stays = |seqno: Seqno| next.list().binary_search_by_key(&seqno, |delete| delete.seqno).is_ok();
        edit.range_deletes.retain(|delete| stays(delete.seqno));
        let gone = had.list().iter().map(|delete| delete.seqno).filter(|seqno| !stays(*seqno));
        edit.settled_range_deletes = gone.collect();
        self.with_range_deletes(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::testing::{meta, open};

    fn delete(seqno: Seqno, start: &str, end: &str) -> RangeDelete {
        RangeDelete { seqno, start: start.into(), end: end.into() }
    }

    fn version(tables: &[(&str, &str, Seqno, Seqno)]) -> Version {
        let tables = tables.iter().zip(1..).map(|((a, b, min_seqno, cleared_seqno), id)| {
            let meta =
                TableMeta { min_seqno: *min_seqno, cleared_seqno: *cleared_seqno, ..meta(id, a, b, 100) };
            (1, 0, open(meta))
        });
        Version::new(tables).unwrap()
    }

    fn settled(version: Version, added: Vec<RangeDelete>) -> (Vec<Seqno>, Edit) {
        let mut edit = Edit { range_deletes: added, ..Edit::default() };
        let version = version.settle_range_deletes(&mut edit, &[]);
        (version.range_deletes().list().iter().map(|d| d.seqno).collect(), edit)
    }

    #[test]
    fn a_marker_stays_while_a_table_may_hold_what_it_hides() {
        let markers = || vec![delete(5, "a", "c"), delete(6, "m", "p"), delete(7, "x", "z")];
        let (kept, edit) = settled(version(&[("a", "n", 3, 0), ("x", "y", 9, 0)]), markers());
        assert_eq!(kept, [5, 6], "the table at x has nothing as old as the marker");
        assert_eq!(edit.range_deletes.len(), 2);
        let (kept, _) = settled(version(&[("a", "n", 0, 5)]), markers());
        assert_eq!(kept, [6], "the table was cleared up to 5");
    }

    #[test]
    fn markers_that_are_needed_no_longer_are_recorded_as_gone() {
        let before = version(&[]).with_range_deletes(RangeDeletes::new(vec![delete(5, "a", "c")], &[]));
        let (kept, edit) = settled(before, vec![delete(8, "d", "e")]);
        assert_eq!(kept, [] as [Seqno; 0]);
        assert_eq!(edit, Edit { settled_range_deletes: vec![5], ..Edit::default() });
    }

    #[test]
    fn a_marker_under_a_newer_one_goes_unless_a_snapshot_is_between() {
        let before = || {
            let range_deletes = RangeDeletes::new(vec![delete(5, "b", "c")], &[]);
            version(&[("a", "n", 1, 0)]).with_range_deletes(range_deletes)
        };
        for (snapshots, gone) in
            [(vec![], vec![5]), (vec![4], vec![5]), (vec![7], vec![]), (vec![8], vec![5])]
        {
            let mut edit = Edit { range_deletes: vec![delete(8, "a", "d")], ..Edit::default() };
            let _ = before().settle_range_deletes(&mut edit, &snapshots);
            assert_eq!(edit.settled_range_deletes, gone, "{snapshots:?}");
        }
    }
}
