//! `Job`: carries a choice out. Reads the inputs, merges, writes, and returns the edit to be installed.
//!
//! It touches neither the manifest nor the version: until its edit is installed, nothing has happened but
//! that some files exist. Parts of disjoint key ranges may run on threads of the caller's; the caller holds
//! the choice's locks until the edit is installed or the outputs are discarded.

use std::path::Path;
use std::sync::Arc;

use super::merge::MergeCursor;
use super::output::{Output, Relocate, Separation, Written, discard, write_run};
use super::picker::{Choice, ChoiceKind};
use super::visible::{Below, Counts, Retention};
use crate::base::{Cursor, Error, Result, Seqno};
use crate::table::{Table, TableMeta};
use crate::version::{
    Edit, Level, LiveKeyspaces, Placed, RangeDeletes, Run, RunCursor, Version, shared_prefix_bytes,
};

/// What decides which entries are kept, listed after the inputs were chosen.
#[derive(Clone, Debug)]
pub(crate) struct Readers {
    /// Live snapshot seqnos.
    pub(crate) snapshots: Vec<Seqno>,
    /// The time, never behind the persisted high water.
    pub(crate) now_ms: u64,
    /// The keyspaces.
    pub(crate) keyspaces: LiveKeyspaces,
}

impl Readers {
    /// Up to which range delete nothing remains that one of them hides, when all up to `applied` are applied:
    /// a snapshot keeps what only newer ones hide.
    pub(crate) fn cleared(&self, applied: Seqno) -> Seqno {
        self.snapshots.iter().copied().min().map_or(applied, |oldest| oldest.min(applied))
    }
}

/// Keys from `start` (from the first key without it) up to `end`, exclusive (to the last without it).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct KeyRange {
    /// The first key.
    pub(crate) start: Option<Vec<u8>>,
    /// The key after the last.
    pub(crate) end: Option<Vec<u8>>,
}

/// What a compaction did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct CompactionStats {
    /// Tables read, or moved or dropped unread.
    pub(crate) tables_in: u64,
    /// Tables written.
    pub(crate) tables_out: u64,
    /// Bytes of the tables read.
    pub(crate) bytes_in: u64,
    /// Bytes of the tables written.
    pub(crate) bytes_out: u64,
    /// What happened to the entries.
    pub(crate) counts: Counts,
}

/// A choice on its way.
pub(crate) struct Job {
    choice: Choice,
    readers: Readers,
    /// The inputs as sorted runs, newest first.
    inputs: Vec<Arc<Run>>,
    /// The runs of the levels deeper than the output that overlap it.
    deeper: Vec<Arc<Run>>,
    /// The range deletes of the version.
    range_deletes: RangeDeletes,
    /// The run one level deeper than the output, to which the outputs are aligned.
    next_level: Option<Arc<Run>>,
}

impl Job {
    /// Prepares `choice`, which was picked from `version`.
    pub(crate) fn new(version: &Version, choice: Choice, readers: Readers) -> Self {
        let tables: Vec<_> = choice.tables().map(|(_, table)| Arc::clone(table)).collect();
        let smallest = tables.iter().map(|t| t.meta().smallest.as_slice()).min().unwrap_or_default();
        let largest = tables.iter().map(|t| t.meta().largest.as_slice()).max().unwrap_or_default();
        let levels = version.levels();
        let below = levels[choice.output_level + 1..].iter().flat_map(Level::runs);
        let deeper = below.filter(|run| !run.overlapping(smallest, largest).is_empty()).cloned().collect();
        let next_level = levels.get(choice.output_level + 1).and_then(|level| level.run()).cloned();
        let next_level = if choice.output_level == 0 { None } else { next_level };
        let inputs = choice.inputs.iter().flat_map(|(_, tables)| chains(tables)).collect();
        let range_deletes = version.range_deletes().clone();
        Self { choice, readers, inputs, deeper, range_deletes, next_level }
    }

    /// The choice being carried out.
    pub(crate) fn choice(&self) -> &Choice {
        &self.choice
    }

    /// Up to `n` disjoint ranges that together cover the inputs and hold similar amounts of them. Moves and
    /// drops have none: there is nothing to read.
    pub(crate) fn split(&self, n: usize) -> Result<Vec<KeyRange>> {
        if self.choice.kind != ChoiceKind::Merge {
            return Ok(Vec::new());
        }
        let n = n.max(1);
        let total = self.choice.input_bytes();
        let mut pieces: Vec<(Vec<u8>, u64)> = Vec::new();
        for (_, table) in self.choice.tables().filter(|_| n > 1) {
            let bytes = table.meta().file_bytes;
            // Four pieces to a part leave room to balance the parts.
            let keys = table.split_keys((bytes * 4 * n as u64 / total.max(1)) as usize)?;
            let piece_bytes = bytes / (keys.len() as u64 + 1);
            pieces.push((table.meta().smallest.clone(), piece_bytes));
            pieces.extend(keys.into_iter().map(|key| (key, piece_bytes)));
        }
        pieces.sort();
        let mut ranges = Vec::new();
        let (mut start, mut before) = (None, 0u64);
        for (key, bytes) in pieces {
            let due = before >= total * (ranges.len() as u64 + 1) / n as u64;
            if due && ranges.len() + 1 < n && start.as_ref().is_none_or(|start| *start < key) {
                ranges.push(KeyRange { start: start.replace(key.clone()), end: Some(key) });
            }
            before += bytes;
        }
        ranges.push(KeyRange { start, end: None });
        Ok(ranges)
    }

    /// Merges one range of the inputs into new tables. `None` means cancelled, with nothing left behind.
    pub(crate) fn run_part(&self, range: &KeyRange, output: &Output<'_>) -> Result<Option<Written>> {
        let cover = |run: &Arc<Run>| RunCursor::new(Arc::clone(run), 0..run.tables().len(), false);
        let cursors: Vec<_> = self.inputs.iter().map(cover).collect();
        let shared_bytes = shared_prefix_bytes(&cursors);
        let mut merged = MergeCursor::with_shared_prefix(cursors, shared_bytes);
        match &range.start {
            Some(start) => merged.seek(start)?,
            None => merged.seek_to_first()?,
        }
        let cleared_seqno = self.readers.cleared(self.range_deletes.last_seqno());
        let values = Separation { relocate: Relocate::These(&self.choice.relocate), ..output.values.clone() };
        let output = Output { cleared_seqno, values, ..output.clone() };
        let Readers { snapshots, now_ms, keyspaces } = self.readers.clone();
        let rule = Retention::new(snapshots, now_ms, keyspaces, self.below());
        let mut rule = rule.under(Arc::clone(self.range_deletes.fragments()));
        write_run(&mut merged, range.end.as_deref(), &mut rule, self.next_level.clone(), &output)
    }

    /// What lies below the output. Runs of level 0 never know: an older run may hold anything.
    fn below(&self) -> Below {
        if self.choice.output_level == 0 {
            return Below::Unknown;
        }
        if self.deeper.is_empty() {
            return Below::Nothing;
        }
        let mut runs: Vec<(Arc<Run>, usize)> = self.deeper.iter().map(|run| (Arc::clone(run), 0)).collect();
        Below::Check(Box::new(move |key| {
            runs.iter_mut().any(|(run, index)| {
                let tables = run.tables();
                while tables.get(*index).is_some_and(|table| table.meta().largest.as_slice() < key) {
                    *index += 1;
                }
                tables.get(*index).is_some_and(|table| table.meta().smallest.as_slice() <= key)
            })
        }))
    }

    /// Joins the parts of `split` into one edit. If the parts did not read every entry that the inputs'
    /// metadata promises, the outputs are discarded and the inputs stay.
    pub(crate) fn finish(&self, parts: Vec<Written>, output: &Output<'_>) -> Result<(Edit, CompactionStats)> {
        let mut stats = CompactionStats::default();
        let mut edit = Edit::default();
        let mut expected = 0;
        for (level, table) in self.choice.tables() {
            edit.removed.push((level, table.meta().id));
            stats.tables_in += 1;
            expected += table.meta().entries;
            if self.choice.kind == ChoiceKind::Move {
                edit.added.push(self.place(table.meta().clone()));
            }
        }
        if self.choice.kind != ChoiceKind::Merge {
            return Ok((edit, stats));
        }
        stats.bytes_in = self.choice.input_bytes();
        for part in parts {
            stats.bytes_out += part.bytes();
            stats.bytes_in += part.relocated_bytes;
            edit.blobs.extend(part.blobs.iter().copied());
            stats.tables_out += part.tables.len() as u64;
            stats.counts.add(&part.counts);
            edit.added.extend(part.tables.into_iter().map(|meta| self.place(meta)));
        }
        if stats.counts.read != expected {
            let outputs: Vec<_> = edit.added.into_iter().map(|placed| placed.meta).collect();
            discard(&**output.fs, output.dir, &outputs, &edit.blobs);
            return Err(self.lost_entries(output.dir, expected, stats.counts.read));
        }
        Ok((edit, stats))
    }

    fn place(&self, meta: TableMeta) -> Placed {
        Placed { level: self.choice.output_level, run: self.choice.output_run, meta }
    }

    fn lost_entries(&self, dir: &Path, expected: u64, found: u64) -> Error {
        let ids: Vec<_> = self.choice.tables().map(|(_, table)| table.meta().id.to_string()).collect();
        let detail = format!("expected {expected} entries in tables {}, found {found}", ids.join(", "));
        Error::corruption(dir, 0, detail)
    }
}

/// Strings tables together as long as each begins after the one before it ends. Tables of one run become one
/// sorted run; and where runs happen to follow each other, that is as good.
fn chains(tables: &[Arc<Table>]) -> Vec<Arc<Run>> {
    let follows = |a: &Arc<Table>, b: &Arc<Table>| a.meta().largest < b.meta().smallest;
    let chains = tables.chunk_by(follows);
    chains.filter_map(|chain| Run::new(0, chain.to_vec()).ok().map(Arc::new)).collect()
}

#[cfg(test)]
mod tests;
