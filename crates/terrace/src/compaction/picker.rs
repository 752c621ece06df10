//! The picker: a pure function from a version and its circumstances to what should be compacted next.
//!
//! Order of business: tables to drop unread; level 0 when it has too many runs; the level that most exceeds
//! its size; blob files that take too much space; tables, and runs of
//! level 0, that are mostly garbage; tables with tombstones where reads are slow for them; tables that
//! keep range deletes alive when there are many; level 0, however few its runs, when reads have paid for them what a
//! merge costs. What running compactions hold is left alone, so several choices
//! may run side by side. Nothing here does I/O or keeps state.
//!
//! Rules that keep reads right, whatever the sizes say:
//! - level 0 goes down oldest runs first, and only while no older run is being compacted;
//! - it goes to the base level, which is never deeper than the shallowest level that holds anything;
//! - the inputs at the output level are all tables there that overlap the whole span of the others.

mod blobs;
mod level_zero;
mod leveled;
mod reclaim;
mod targets;
mod void;

use std::collections::{BTreeSet, HashSet};
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use crate::base::{FileId, Seqno};
use crate::table::Table;
use crate::version::{LiveKeyspaces, Run, Version};

pub(crate) use reclaim::has_tombstones;
pub(crate) use targets::{Targets, pending_compaction_bytes};

/// What the picker aims at.
#[derive(Clone, Debug)]
pub(crate) struct PickerOptions {
    /// Runs in level 0 that start a compaction. More means less rewriting and slower reads.
    pub(crate) l0_runs: usize,
    /// With so many, their merge into a large base level is put off no longer. Must be below the number at
    /// which writers stop, or nothing would ever be picked again.
    pub(crate) l0_patience_runs: usize,
    /// How many times larger each level is than the one above it.
    pub(crate) level_ratio: u64,
    /// The base level grows to this size before a level is put above it.
    pub(crate) base_level_bytes: u64,
    /// A level is due for compaction at this share of its target size.
    pub(crate) soft_percent: u64,
    /// The size at which tables are cut.
    pub(crate) target_table_bytes: u64,
    /// The size beyond which a compaction takes no further tables that it could do without.
    pub(crate) compaction_bytes_max: u64,
    /// A table with at least this share of tombstones, or of what has expired or is of dropped keyspaces, is due by itself.
    pub(crate) garbage_percent: u64,
    /// A table with tombstones is due when so many newer writes have been made than its newest entry.
    pub(crate) tombstone_age_seqnos: u64,
    /// With more range deletes than this, tables are compacted so that the oldest may go.
    pub(crate) range_deletes_max: usize,
    /// Garbage in blob files is collected when it takes more than this share of the store.
    pub(crate) blob_garbage_percent: u64,
    /// Tables and blob files that cannot be read. They are not compacted, but may be dropped.
    pub(crate) set_aside: BTreeSet<FileId>,
}

impl Default for PickerOptions {
    fn default() -> Self {
        Self {
            l0_runs: 4,
            l0_patience_runs: 12,
            level_ratio: 10,
            base_level_bytes: 512 << 20,
            soft_percent: 85,
            target_table_bytes: 64 << 20,
            compaction_bytes_max: 1 << 30,
            garbage_percent: 50,
            tombstone_age_seqnos: 1 << 28,
            range_deletes_max: 1000,
            blob_garbage_percent: 20,
            set_aside: BTreeSet::new(),
        }
    }
}

/// The circumstances of a choice.
#[derive(Clone, Copy)]
pub(crate) struct Situation<'a> {
    /// The time, never behind the persisted high water.
    pub(crate) now_ms: u64,
    /// The oldest live snapshot, or the newest seqno if there is none.
    pub(crate) oldest_snapshot: Seqno,
    /// The newest seqno given out.
    pub(crate) newest_seqno: Seqno,
    /// The keyspaces.
    pub(crate) keyspaces: &'a LiveKeyspaces,
    /// What the compactions that run now hold.
    pub(crate) busy: &'a [Locks],
    /// Where reads have stepped over many dead entries in a row.
    pub(crate) stepped: &'a [SteppedRange],
    /// What reads have paid for the runs of level 0, as the bytes that could have been merged instead.
    pub(crate) read_debt_bytes: u64,
}

/// Keys among which a read found nothing but tombstones and expired entries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SteppedRange {
    /// The first key.
    pub(crate) smallest: Vec<u8>,
    /// The last key.
    pub(crate) largest: Vec<u8>,
}

/// How a choice is carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ChoiceKind {
    /// Read the inputs, write new tables.
    Merge,
    /// Put the tables, as they are, one level down.
    Move,
    /// Remove the tables unread.
    Drop,
}

/// What to compact.
pub(crate) struct Choice {
    /// How.
    pub(crate) kind: ChoiceKind,
    /// The inputs by level; within level 0 by run, newest first.
    pub(crate) inputs: Vec<(usize, Vec<Arc<Table>>)>,
    /// Where the result goes.
    pub(crate) output_level: usize,
    /// The ordinal of the run it goes to; 0 but in level 0.
    pub(crate) output_run: u64,
    /// What the choice holds while it runs.
    pub(crate) locks: Locks,
    /// Blob files out of which values are moved on the way.
    pub(crate) relocate: BTreeSet<FileId>,
}

impl Choice {
    /// All input tables with their levels.
    pub(crate) fn tables(&self) -> impl Iterator<Item = (usize, &Arc<Table>)> {
        self.inputs.iter().flat_map(|(level, tables)| tables.iter().map(move |table| (*level, table)))
    }

    /// Bytes of values that it moves, at most.
    pub(crate) fn relocated_bytes(&self) -> u64 {
        self.tables().map(|(_, table)| blobs::bytes_in(table.meta(), &self.relocate)).sum()
    }

    /// Total input size in bytes.
    pub(crate) fn input_bytes(&self) -> u64 {
        self.tables().map(|(_, table)| table.meta().file_bytes).sum()
    }
}

/// A key range of a level.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LockedRange {
    /// The level.
    pub(crate) level: usize,
    /// The first key.
    pub(crate) smallest: Vec<u8>,
    /// The last key.
    pub(crate) largest: Vec<u8>,
}

/// What a running compaction keeps others from touching.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Locks {
    /// Its inputs.
    pub(crate) tables: Vec<FileId>,
    /// Where it will write.
    pub(crate) ranges: Vec<LockedRange>,
}

/// The next choice, if anything is to be done that does not wait for a running one.
pub(crate) fn pick(version: &Version, options: &PickerOptions, at: &Situation<'_>) -> Option<Choice> {
    let picker = Picker::new(version, options, at);
    picker
        .dead_tables()
        .or_else(|| picker.level_zero())
        .or_else(|| picker.fullest_level())
        .or_else(|| picker.blob_space())
        .or_else(|| picker.garbage())
        .or_else(|| picker.void_run())
        .or_else(|| picker.stepped_over())
        .or_else(|| picker.range_deleted())
        .or_else(|| picker.paid_by_reads())
}

/// The tables that can go unread, if there are any.
pub(crate) fn pick_dead(version: &Version, options: &PickerOptions, at: &Situation<'_>) -> Option<Choice> {
    Picker::new(version, options, at).dead_tables()
}

/// A choice that collects garbage of blob files to which no table points, if that takes too much space. New writes
/// make none of it, so picked again and again without anything else this ends.
pub(crate) fn pick_blobs(version: &Version, options: &PickerOptions, at: &Situation<'_>) -> Option<Choice> {
    Picker::new(version, options, at).known_garbage()
}

/// A choice that compacts every table that overlaps the range, of the shallowest level from `from` on that has
/// any, into the next; at the deepest one, a table that holds anything void or hidden by range deletes. `None` when nothing is left, or when a running compaction is in the way.
/// Called again after each step, with its output level, it settles a range by hand.
pub(crate) fn pick_range(
    version: &Version,
    options: &PickerOptions,
    at: &Situation<'_>,
    from: usize,
    range: RangeInclusive<&[u8]>,
) -> Option<Choice> {
    Picker::new(version, options, at).step_down(from, range.start(), range.end())
}

/// One call of `pick`.
struct Picker<'a> {
    version: &'a Version,
    options: &'a PickerOptions,
    at: &'a Situation<'a>,
    busy_tables: HashSet<FileId>,
    targets: Targets,
}

impl<'a> Picker<'a> {
    fn new(version: &'a Version, options: &'a PickerOptions, at: &'a Situation<'a>) -> Self {
        let busy_tables = at.busy.iter().flat_map(|locks| locks.tables.iter().copied()).collect();
        Self { version, options, at, busy_tables, targets: Targets::new(version, options) }
    }

    fn is_busy(&self, table: &Table) -> bool {
        self.is_held(table) || self.options.set_aside.contains(&table.meta().id)
    }

    /// Whether a running compaction has the table.
    fn is_held(&self, table: &Table) -> bool {
        self.busy_tables.contains(&table.meta().id)
    }

    /// Whether a running compaction may write into this range of the level.
    fn is_locked(&self, level: usize, smallest: &[u8], largest: &[u8]) -> bool {
        let meets = |range: &LockedRange| {
            range.level == level
                && range.smallest.as_slice() <= largest
                && smallest <= range.largest.as_slice()
        };
        self.at.busy.iter().flat_map(|locks| &locks.ranges).any(meets)
    }

    /// The tables of a level of one run that overlap the range, if they and the range are free.
    fn free_overlap(&self, level: usize, smallest: &[u8], largest: &[u8]) -> Option<Overlap<'a>> {
        if self.is_locked(level, smallest, largest) {
            return None;
        }
        let run = self.version.levels()[level].run();
        let span = run.map_or(0..0, |run| run.overlapping(smallest, largest));
        let overlap = Overlap { run, span };
        if overlap.tables().iter().any(|table| self.is_busy(table)) { None } else { Some(overlap) }
    }
}

/// Completes a choice: takes the locks that its inputs and output ask for.
fn choose(
    kind: ChoiceKind,
    inputs: Vec<(usize, Vec<Arc<Table>>)>,
    output_level: usize,
    output_run: u64,
) -> Choice {
    let inputs: Vec<_> = inputs.into_iter().filter(|(_, tables)| !tables.is_empty()).collect();
    let (locks, relocate) = (Locks::default(), BTreeSet::new());
    let mut choice = Choice { kind, inputs, output_level, output_run, locks, relocate };
    let tables: Vec<_> = choice.tables().map(|(_, table)| Arc::clone(table)).collect();
    choice.locks.tables = tables.iter().map(|table| table.meta().id).collect();
    // Level 0 needs no range lock: its runs may overlap, and only whole runs are merged.
    if let Some((smallest, largest)) = span_of(&tables)
        && kind != ChoiceKind::Drop
        && output_level > 0
    {
        let (smallest, largest) = (smallest.to_vec(), largest.to_vec());
        choice.locks.ranges.push(LockedRange { level: output_level, smallest, largest });
    }
    choice
}

/// Neighbouring tables of a run.
struct Overlap<'a> {
    run: Option<&'a Arc<Run>>,
    span: Range<usize>,
}

impl<'a> Overlap<'a> {
    fn tables(&self) -> &'a [Arc<Table>] {
        self.run.map_or(&[], |run| &run.tables()[self.span.clone()])
    }

    fn bytes(&self) -> u64 {
        self.run.map_or(0, |run| run.bytes_of(self.span.clone()))
    }
}

/// The first and the last key of some tables.
fn span_of(tables: &[Arc<Table>]) -> Option<(&[u8], &[u8])> {
    let smallest = tables.iter().map(|table| table.meta().smallest.as_slice()).min()?;
    let largest = tables.iter().map(|table| table.meta().largest.as_slice()).max()?;
    Some((smallest, largest))
}

#[cfg(test)]
mod tests;
