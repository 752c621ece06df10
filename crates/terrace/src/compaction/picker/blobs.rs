//! Blob files: when their garbage is collected, and which tables are rewritten for it.
//!
//! Garbage is of two kinds. What no table points to any more is *known*. What is pointed to from a deeper level, but has
//! been overwritten or deleted in one above, is *hidden* until compaction brings the two together; how much that is
//! nobody knows. An upper level's guess is what it points to itself, and for each of its tombstones what an entry of the
//! deepest level points to on average. What *void* entries point to (`void`) is garbage as soon as their tables are
//! rewritten. When all together exceed a share of the store, what is void is given up first and what is
//! hidden brought to light, by moving pointers down, and then the files with the largest shares of garbage are
//! emptied: the tables that point there are rewritten where they are, and the values that are still wanted move to a
//! new file. A file goes with its last pointer, so the steps may be taken one by one, and each leads nearer to the end.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Choice, ChoiceKind, Picker, PickerOptions, choose, span_of};
use crate::base::FileId;
use crate::table::{Table, TableMeta};
use crate::version::{LEVELS, Level, LiveBlob, Run, Version};

/// Hidden garbage is worth looking for when there may be more than this part of the limit; so is what is void.
const HIDDEN_PART: u64 = 4;
/// No more bytes of tables are rewritten for bringing garbage to light than so many times that garbage.
const SETTLE_RATIO_MAX: u64 = 8;
/// A collection frees at least this part of the limit, so that tables are not rewritten for every single file.
const BATCH_PART: u64 = 4;

/// How much of the store is garbage of blob files, in bytes.
struct Space {
    /// What no table points to.
    known: u64,
    /// What upper levels may have overwritten.
    hidden: u64,
    /// What an entry of the deepest level points to, on average.
    mean: u64,
    /// What may be, of both.
    limit: u64,
    /// All tables.
    table_bytes: u64,
    /// Files of which nothing is to be had.
    stuck: BTreeSet<FileId>,
}

/// What was set aside, and the blob files to which a table points that was: that table cannot be rewritten, and a file
/// goes only with its last pointer.
fn stuck(version: &Version, set_aside: &BTreeSet<FileId>) -> BTreeSet<FileId> {
    let mut stuck = set_aside.clone();
    if !stuck.is_empty() {
        let metas = version.tables().map(|(_, table)| table.meta());
        let aside = metas.filter(|meta| set_aside.contains(&meta.id));
        stuck.extend(aside.flat_map(|meta| meta.blobs.iter().map(|used| used.id)));
    }
    stuck
}

impl Space {
    fn of(version: &Version, options: &PickerOptions) -> Self {
        let levels = version.levels();
        let (mut known, mut data_bytes) = (0, 0);
        let stuck = stuck(version, &options.set_aside);
        for blob in version.blobs().iter() {
            if !stuck.contains(&blob.meta.id) {
                known += blob.garbage_bytes();
            }
            data_bytes += blob.meta.data_bytes();
        }
        let deepest =
            (0..LEVELS).rev().find(|n| levels[*n].runs().iter().any(|run| !run.tables().is_empty()));
        let settled = deepest.map_or(0, |deepest| levels[deepest].blob_bytes());
        let entries: u64 =
            deepest.map_or(0, |deepest| levels[deepest].tables().map(|t| t.meta().entries).sum());
        let mean = settled / entries.max(1);
        let above: u64 =
            levels[..deepest.unwrap_or(0)].iter().map(|level| may_hide(level.tables(), mean)).sum();
        let table_bytes = levels.iter().map(Level::bytes).sum();
        let limit = (data_bytes + table_bytes) / 100 * options.blob_garbage_percent;
        Self { known, hidden: above.min(settled), mean, limit, table_bytes, stuck }
    }
}

/// Bytes in blob files that these tables may have overwritten or deleted below them.
fn may_hide<'t>(tables: impl Iterator<Item = &'t Arc<Table>>, mean: u64) -> u64 {
    tables.map(|table| table.meta().blob_bytes() + table.meta().tombstones * mean).sum()
}

/// Bytes of known garbage in blob files beyond what may be.
pub(super) fn excess_bytes(version: &Version, options: &PickerOptions) -> u64 {
    let space = Space::of(version, options);
    space.known.saturating_sub(space.limit)
}

/// Bytes that the table points to in these files.
pub(super) fn bytes_in(meta: &TableMeta, files: &BTreeSet<FileId>) -> u64 {
    meta.blobs.iter().filter(|used| files.contains(&used.id)).map(|used| used.bytes).sum()
}

impl<'a> Picker<'a> {
    /// What to do about the space that blob files take, if that is too much.
    pub(super) fn blob_space(&self) -> Option<Choice> {
        if self.version.blobs().is_empty() {
            return None;
        }
        let space = Space::of(self.version, self.options);
        let void = self.void_blob_bytes();
        if space.known + space.hidden + void <= space.limit {
            return None;
        }
        let give_up = || if void > space.limit / HIDDEN_PART { self.give_up_void() } else { None };
        let look = space.hidden > space.limit / HIDDEN_PART;
        let settle = || if look { self.settle_pointers(space.mean) } else { None };
        give_up().or_else(settle).or_else(|| self.collect(&space))
    }

    /// What to do about known garbage alone.
    pub(super) fn known_garbage(&self) -> Option<Choice> {
        self.collect(&Space::of(self.version, self.options))
    }

    /// Moves entries down from the level, not the deepest one, that may hide the most.
    fn settle_pointers(&self, mean: u64) -> Option<Choice> {
        let levels = self.version.levels();
        let deepest = (0..LEVELS).rev().find(|n| levels[*n].bytes() > 0)?;
        let hides = |n: usize| (may_hide(levels[n].tables(), mean), n);
        let fullest = (0..deepest).map(hides).filter(|(bytes, _)| *bytes > 0).max()?;
        match fullest.1 {
            0 => {
                let overlap = |tables: &[Arc<Table>]| {
                    let (smallest, largest) = span_of(tables)?;
                    Some(self.free_overlap(self.targets.base, smallest, largest)?.bytes())
                };
                let tables: Vec<_> = levels[0].tables().cloned().collect();
                let cost = overlap(&tables)?;
                if cost <= SETTLE_RATIO_MAX * fullest.0 { self.level_zero_by_hand() } else { None }
            }
            level => self.pointers_down(level, mean),
        }
    }

    /// The table of a level that may hide the most beside what must be rewritten below it.
    fn pointers_down(&self, level: usize, mean: u64) -> Option<Choice> {
        let run = self.version.levels()[level].run()?;
        let gain = |index: &usize| {
            let table = &run.tables()[*index];
            let (meta, bytes) = (table.meta(), may_hide(std::iter::once(table), mean));
            if bytes == 0 || self.is_busy(table) {
                return None;
            }
            let cost = self.free_overlap(level + 1, &meta.smallest, &meta.largest)?.bytes();
            (cost <= SETTLE_RATIO_MAX * bytes).then(|| u128::from(bytes) * 1000 / u128::from(cost.max(1)))
        };
        let best = (0..run.tables().len()).filter_map(|i| Some((gain(&i)?, i))).max()?;
        self.down(level, run, best.1..best.1 + 1)
    }

    /// Rewrites tables that point into the files with the largest shares of garbage.
    fn collect(&self, space: &Space) -> Option<Choice> {
        if space.known <= space.limit {
            return None;
        }
        let files = self.victims(space);
        // The deepest level first: there is the most.
        let levels = self.version.levels().iter().enumerate().rev();
        let mut runs = levels.flat_map(|(number, level)| level.runs().iter().map(move |run| (number, run)));
        runs.find_map(|(level, run)| self.empty(level, run, &files))
    }

    /// The files to be emptied together: the worst, until enough would be freed.
    fn victims(&self, space: &Space) -> BTreeSet<FileId> {
        let free = |blob: &LiveBlob| !space.stuck.contains(&blob.meta.id);
        let mut files: Vec<LiveBlob> = self.version.blobs().iter().filter(free).collect();
        let share = |blob: &LiveBlob| {
            u128::from(blob.garbage_bytes()) * 1000 / u128::from(blob.meta.data_bytes().max(1))
        };
        files.sort_by_key(|blob| (std::cmp::Reverse(share(blob)), blob.meta.id));
        // Where tables hold much beside pointers, more is collected at a time.
        let batch = (space.limit / BATCH_PART).max((space.table_bytes / 2).min(space.known / 4 * 3));
        let goal = (space.known - space.limit).max(batch);
        let mut freed = 0;
        let enough = files.iter().take_while(|blob| {
            let more = freed < goal && blob.garbage_bytes() > 0;
            freed += blob.garbage_bytes();
            more
        });
        enough.map(|blob| blob.meta.id).collect()
    }

    /// The first free tables of a run, next to each other, that point into `files`; a run of level 0 as a whole.
    fn empty(&self, level: usize, run: &'a Arc<Run>, files: &BTreeSet<FileId>) -> Option<Choice> {
        let points = |table: &Arc<Table>| bytes_in(table.meta(), files) > 0;
        let tables = run.tables();
        if level == 0 {
            let due = tables.iter().any(points) && tables.iter().all(|table| !self.is_busy(table));
            return due.then(|| relocating(vec![(0, tables.to_vec())], 0, run.ordinal(), files));
        }
        let free = |table: &Arc<Table>| {
            let meta = table.meta();
            points(table) && !self.is_busy(table) && !self.is_locked(level, &meta.smallest, &meta.largest)
        };
        let start = tables.iter().position(free)?;
        let mut bytes = 0;
        let span = tables[start..].iter().take_while(|table| {
            let first = bytes == 0;
            bytes += table.meta().file_bytes + bytes_in(table.meta(), files);
            free(table) && (first || bytes <= self.options.compaction_bytes_max)
        });
        let inputs: Vec<_> = span.cloned().collect();
        // Nothing else may write between the first and the last of them.
        let (smallest, largest) = span_of(&inputs)?;
        if self.is_locked(level, smallest, largest) {
            return None;
        }
        Some(relocating(vec![(level, inputs)], level, 0, files))
    }
}

/// A merge of tables where they are, out of which values of `files` move.
fn relocating(
    inputs: Vec<(usize, Vec<Arc<Table>>)>,
    level: usize,
    run: u64,
    files: &BTreeSet<FileId>,
) -> Choice {
    let mut choice = choose(ChoiceKind::Merge, inputs, level, run);
    choice.relocate.clone_from(files);
    choice
}
