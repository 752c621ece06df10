//! `Version`: an immutable set of tables, sorted into levels.
//!
//! Invariants, checked when a version is made: level 0 holds runs, newest first, with distinct ordinals; each
//! deeper level holds at most one run; the tables of a run are disjoint. Kept by those who make edits: for one
//! key, every entry of a shallower level (or a newer run) is newer than every entry of a deeper (or older) one.
//! So the first version of a key found from the top down is the newest.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::blobs::Blobs;
use super::edit::{Edit, LEVELS};
use super::range_deletes::RangeDeletes;
use super::run::Run;
use crate::base::{FileId, Result, Seqno};
use crate::table::{Found, Lookup, Table, TableMeta, find_all};

/// The runs of one level, newest first.
#[derive(Clone, Default)]
pub(crate) struct Level {
    runs: Vec<Arc<Run>>,
}

impl Level {
    /// The runs, newest first.
    pub(crate) fn runs(&self) -> &[Arc<Run>] {
        &self.runs
    }

    /// The run of a level deeper than 0, if it has any table.
    pub(crate) fn run(&self) -> Option<&Arc<Run>> {
        self.runs.first()
    }

    /// Total file size in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.runs.iter().map(|r| r.bytes()).sum()
    }

    /// Bytes of the records in blob files that its tables point to.
    pub(crate) fn blob_bytes(&self) -> u64 {
        self.tables().map(|table| table.meta().blob_bytes()).sum()
    }

    /// Every table, newest run first.
    pub(crate) fn tables(&self) -> impl DoubleEndedIterator<Item = &Arc<Table>> {
        self.runs.iter().flat_map(|run| run.tables())
    }

    /// Whether any table overlaps `smallest..=largest`.
    pub(crate) fn overlaps(&self, smallest: &[u8], largest: &[u8]) -> bool {
        self.runs.iter().any(|run| !run.overlapping(smallest, largest).is_empty())
    }
}

/// An immutable set of tables. Cheap to derive the next one from: unchanged runs are shared.
#[derive(Clone, Default)]
pub(crate) struct Version {
    levels: [Level; LEVELS],
    range_deletes: RangeDeletes,
    blobs: Blobs,
}

/// Candidates whose filters are prefetched together; more than a well-shaped version has.
const PROBE_BATCH: usize = 16;

impl Version {
    /// A version of these tables, each with its level and the ordinal of its run.
    pub(crate) fn new(tables: impl IntoIterator<Item = (usize, u64, Arc<Table>)>) -> Result<Self, String> {
        let mut groups: [BTreeMap<u64, Vec<Arc<Table>>>; LEVELS] = Default::default();
        for (level, run, table) in tables {
            groups[level].entry(run).or_default().push(table);
        }
        let mut version = Self::default();
        for (number, group) in groups.into_iter().enumerate() {
            version.levels[number] = build_level(number, group)?;
        }
        Ok(version)
    }

    /// The same tables with these range deletes.
    pub(crate) fn with_range_deletes(self, range_deletes: RangeDeletes) -> Self {
        Self { range_deletes, ..self }
    }

    /// The range deletes that hide entries of the tables.
    #[inline]
    pub(crate) fn range_deletes(&self) -> &RangeDeletes {
        &self.range_deletes
    }

    /// The same tables with these blob files, to which they point.
    pub(crate) fn with_blobs(self, blobs: Blobs) -> Self {
        Self { blobs, ..self }
    }

    /// The blob files that the tables point to.
    pub(crate) fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// The levels, shallowest first.
    pub(crate) fn levels(&self) -> &[Level; LEVELS] {
        &self.levels
    }

    /// Every table with its level.
    pub(crate) fn tables(&self) -> impl Iterator<Item = (usize, &Arc<Table>)> {
        self.levels.iter().enumerate().flat_map(|(n, level)| level.tables().map(move |table| (n, table)))
    }

    /// Every run, newest data first.
    pub(crate) fn runs(&self) -> impl Iterator<Item = &Arc<Run>> {
        self.levels.iter().flat_map(|level| level.runs.iter())
    }

    /// Whether a level deeper than `level` has a table that overlaps `smallest..=largest`.
    pub(crate) fn deeper_overlaps(&self, level: usize, smallest: &[u8], largest: &[u8]) -> bool {
        self.levels[level + 1..].iter().any(|deeper| deeper.overlaps(smallest, largest))
    }

    /// The version of `key` that a reader at seqno `at` finds: a put, live or expired, or a tombstone.
    ///
    /// The candidate of every run is found and its filter line requested before the first is probed, so the
    /// cache misses overlap.
    pub(crate) fn get(&self, key: &[u8], filter_hash: u64, at: Seqno) -> Result<Option<Found>> {
        let mut candidates =
            self.runs().filter_map(|run| run.table_for(key)).filter(|table| table.meta().min_seqno <= at);
        loop {
            let mut batch: [Option<&Arc<Table>>; PROBE_BATCH] = [None; PROBE_BATCH];
            let mut count = 0;
            for (slot, table) in batch.iter_mut().zip(candidates.by_ref()) {
                table.prefetch_filter(filter_hash);
                *slot = Some(table);
                count += 1;
            }
            for table in batch.into_iter().flatten() {
                if let Some(found) = table.get(key, filter_hash, at)? {
                    return Ok(Some(found));
                }
            }
            if count < PROBE_BATCH {
                return Ok(None);
            }
        }
    }

    /// Shows `take` every version of `key` at or below `at`, newest first, until it returns `false`.
    pub(crate) fn versions(
        &self,
        key: &[u8],
        filter_hash: u64,
        at: Seqno,
        take: &mut dyn FnMut(Found) -> bool,
    ) -> Result<()> {
        for table in self.runs().filter_map(|run| run.table_for(key)) {
            let mut at = at;
            while let Some(found) = table.get(key, filter_hash, at)? {
                let below = found.seqno.checked_sub(1);
                if !take(found) {
                    return Ok(());
                }
                let Some(below) = below else { break };
                at = below;
            }
        }
        Ok(())
    }

    /// As `get`, for many keys in ascending order, run by run: each key goes on to the next run until it is found.
    pub(crate) fn get_all(&self, lookups: &mut [Lookup<'_>], at: Seqno) -> Result<()> {
        let mut probes = Vec::with_capacity(lookups.len());
        for run in self.runs() {
            run.probe_all(lookups, at, &mut probes);
            find_all(lookups, &probes, at)?;
        }
        Ok(())
    }

    /// The version after `edit`, but for range deletes (see `settle_range_deletes`) and blob files. `open` makes a table of a new
    /// meta, without I/O; a moved table is kept as it
    /// is. The text says what is wrong with the edit.
    pub(crate) fn apply(
        &self,
        edit: &Edit,
        mut open: impl FnMut(&TableMeta) -> Arc<Table>,
    ) -> Result<Self, String> {
        let mut groups: [BTreeMap<u64, Vec<Arc<Table>>>; LEVELS] = Default::default();
        let mut touched = [false; LEVELS];
        for level in edit.removed.iter().map(|(n, _)| *n).chain(edit.added.iter().map(|p| p.level)) {
            touched[level] = true;
        }
        let mut removed: HashMap<(usize, FileId), Option<Arc<Table>>> =
            edit.removed.iter().map(|place| (*place, None)).collect();
        let mut ids = HashSet::new();
        for (number, level) in self.levels.iter().enumerate().filter(|(n, _)| touched[*n]) {
            for run in &level.runs {
                for table in run.tables() {
                    let id = table.meta().id;
                    match removed.get_mut(&(number, id)) {
                        Some(slot) => *slot = Some(Arc::clone(table)),
                        None => groups[number].entry(run.ordinal()).or_default().push(Arc::clone(table)),
                    }
                }
            }
        }
        if let Some(((level, id), _)) = removed.iter().find(|(_, table)| table.is_none()) {
            return Err(format!("table {id} is to be removed from level {level} but is not there"));
        }
        let moved: HashMap<FileId, Arc<Table>> =
            removed.into_iter().filter_map(|((_, id), table)| Some((id, table?))).collect();
        for placed in &edit.added {
            let id = placed.meta.id;
            if !ids.insert(id) {
                return Err(format!("table {id} is added twice"));
            }
            let table = moved.get(&id).map_or_else(|| open(&placed.meta), Arc::clone);
            groups[placed.level].entry(placed.run).or_default().push(table);
        }
        let mut next = self.clone();
        for (number, group) in groups.into_iter().enumerate().filter(|(n, _)| touched[*n]) {
            next.levels[number] = build_level(number, group)?;
        }
        Ok(next)
    }

    /// The tables of this version that are gone once `edit` is applied: their files may be deleted when the
    /// edit is durable and no reader pins them.
    pub(crate) fn obsolete_after(&self, edit: &Edit) -> Vec<Arc<Table>> {
        let gone = |level: usize, id: FileId| {
            edit.removed.contains(&(level, id)) && !edit.added.iter().any(|placed| placed.meta.id == id)
        };
        let tables = self.tables().filter(|(level, table)| gone(*level, table.meta().id));
        tables.map(|(_, table)| Arc::clone(table)).collect()
    }
}

fn build_level(number: usize, group: BTreeMap<u64, Vec<Arc<Table>>>) -> Result<Level, String> {
    if number > 0 && group.len() > 1 {
        return Err(format!("level {number} has {} runs, at most one is allowed", group.len()));
    }
    let mut runs = Vec::with_capacity(group.len());
    for (ordinal, tables) in group.into_iter().rev() {
        let run = Run::new(ordinal, tables).map_err(|detail| format!("level {number}: {detail}"))?;
        runs.push(Arc::new(run));
    }
    Ok(Level { runs })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::edit::Placed;
    use crate::version::testing::{meta, open, table};

    fn place(level: usize, run: u64, id: u64, a: &str, b: &str) -> Placed {
        Placed { level, run, meta: meta(id, a, b, 100) }
    }

    fn shape(version: &Version) -> Vec<(usize, u64, Vec<u64>)> {
        let levels = version.levels().iter().enumerate();
        levels
            .flat_map(|(n, level)| level.runs().iter().map(move |run| (n, run)))
            .map(|(n, run)| (n, run.ordinal(), run.tables().iter().map(|t| t.meta().id.0).collect()))
            .collect()
    }

    #[test]
    fn an_edit_makes_a_new_version_and_leaves_the_old_one() {
        let tables = [(0, 5, table(1, "a", "m", 100)), (0, 9, table(2, "c", "z", 100))];
        let first = Version::new(tables).unwrap();
        assert_eq!(shape(&first), [(0, 9, vec![2]), (0, 5, vec![1])], "the newest run comes first");
        let edit = Edit {
            removed: vec![(0, FileId(1)), (0, FileId(2))],
            added: vec![place(6, 0, 1, "a", "m"), place(6, 0, 3, "n", "z")],
            ..Edit::default()
        };
        let mut opened = Vec::new();
        let second = first
            .apply(&edit, |meta| {
                opened.push(meta.id.0);
                open(meta.clone())
            })
            .unwrap();
        assert_eq!(shape(&second), [(6, 0, vec![1, 3])]);
        assert_eq!(opened, [3], "a moved table is not opened again");
        assert_eq!(shape(&first).len(), 2);
        let gone: Vec<_> = first.obsolete_after(&edit).iter().map(|t| t.meta().id.0).collect();
        assert_eq!(gone, [2]);
        assert!(second.deeper_overlaps(5, b"b", b"b") && !second.deeper_overlaps(6, b"b", b"b"));
        assert!(!second.deeper_overlaps(0, b"mm", b"mn"));
    }

    #[test]
    fn inconsistent_edits_are_refused() {
        let version = Version::new([(1, 0, table(1, "a", "m", 100))]).unwrap();
        let refuse = |removed: &[(usize, FileId)], added: Vec<Placed>| {
            let edit = Edit { removed: removed.to_vec(), added, ..Edit::default() };
            version.apply(&edit, |meta| open(meta.clone())).err().expect("refused")
        };
        assert!(refuse(&[(1, FileId(2))], vec![]).contains("not there"));
        assert!(refuse(&[(2, FileId(1))], vec![]).contains("not there"));
        assert!(refuse(&[], vec![place(1, 0, 2, "m", "z")]).contains("overlap"));
        assert!(refuse(&[], vec![place(1, 3, 2, "n", "z")]).contains("at most one"));
        let twice = vec![place(2, 0, 2, "a", "b"), place(3, 0, 2, "a", "b")];
        assert!(refuse(&[], twice).contains("twice"));
    }
}
