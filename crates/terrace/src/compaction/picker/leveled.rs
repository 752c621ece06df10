//! Levels 1 and deeper: which level, which of its tables, and how they go down.

use std::ops::Range;
use std::sync::Arc;

use super::targets::BOTTOM;
use super::{Choice, ChoiceKind, Picker, choose, span_of};
use crate::table::{Table, TableMeta};
use crate::version::{LEVELS, Run};

/// A table is moved down unread only if it overlaps at most this many target tables two levels down, or the
/// compaction that takes it further would be too large.
const GRANDPARENT_TABLES_MAX: u64 = 10;

impl<'a> Picker<'a> {
    /// A compaction out of the level that most exceeds its size and has a free table.
    pub(super) fn fullest_level(&self) -> Option<Choice> {
        let mut due: Vec<(u64, usize)> = (1..BOTTOM)
            .map(|level| (self.targets.score(level, self.free_bytes(level), self.options), level))
            .filter(|(score, _)| *score >= 1000)
            .collect();
        due.sort_by(|a, b| b.cmp(a));
        due.into_iter().find_map(|(_, level)| self.out_of(level))
    }

    /// The size of a level without what is on its way down already.
    fn free_bytes(&self, level: usize) -> u64 {
        let tables = self.version.levels()[level].tables();
        tables.filter(|table| !self.is_busy(table)).map(|table| table.meta().file_bytes).sum()
    }

    /// The table of a level that goes down at the least cost per byte gained, garbage counting double.
    fn out_of(&self, level: usize) -> Option<Choice> {
        let run = self.version.levels()[level].run()?;
        let cost = |index: &usize| {
            let meta = run.tables()[*index].meta();
            if self.is_busy(&run.tables()[*index]) {
                return None;
            }
            let overlap = self.free_overlap(level + 1, &meta.smallest, &meta.largest)?;
            let gain = meta.file_bytes.max(1) * (100 + 2 * self.garbage_share(meta));
            Some(u128::from(overlap.bytes()) * 1_000_000 / u128::from(gain))
        };
        let candidates = 0..run.tables().len();
        let best = candidates.filter_map(|i| Some((cost(&i)?, i))).min()?;
        self.down(level, run, best.1..best.1 + 1)
    }

    /// Compacts some neighbouring tables of a level, which are free, into the next level.
    pub(super) fn down(&self, level: usize, run: &'a Arc<Run>, span: Range<usize>) -> Option<Choice> {
        let tables = &run.tables()[span.clone()];
        let (smallest, largest) = span_of(tables)?;
        let overlap = self.free_overlap(level + 1, smallest, largest)?;
        if overlap.tables().is_empty() && tables.iter().all(|table| self.may_move_down(level, table.meta())) {
            let inputs = vec![(level, tables.to_vec())];
            return Some(choose(ChoiceKind::Move, inputs, level + 1, 0));
        }
        let span = self.widen(level, run, span, overlap.bytes());
        let inputs = vec![(level, run.tables()[span].to_vec()), (level + 1, overlap.tables().to_vec())];
        Some(choose(ChoiceKind::Merge, inputs, level + 1, 0))
    }

    fn may_move_down(&self, level: usize, meta: &TableMeta) -> bool {
        let grandparents = self.version.levels().get(level + 2).and_then(|level| level.run());
        let beyond =
            grandparents.map_or(0, |run| run.bytes_of(run.overlapping(&meta.smallest, &meta.largest)));
        beyond <= GRANDPARENT_TABLES_MAX * self.options.target_table_bytes && !self.has_garbage(meta)
    }

    /// Takes neighbours along that add nothing to what must be rewritten in the next level.
    fn widen(&self, level: usize, run: &'a Arc<Run>, span: Range<usize>, below: u64) -> Range<usize> {
        let fits = |wider: &Range<usize>| {
            let tables = &run.tables()[wider.clone()];
            let Some((smallest, largest)) = span_of(tables) else { return false };
            let same = self.free_overlap(level + 1, smallest, largest).is_some_and(|o| o.bytes() == below);
            same && run.bytes_of(wider.clone()) + below <= self.options.compaction_bytes_max
                && tables.iter().all(|table| !self.is_busy(table))
        };
        let mut span = span;
        if below == 0 {
            return span;
        }
        while span.end < run.tables().len() && fits(&(span.start..span.end + 1)) {
            span.end += 1;
        }
        while span.start > 0 && fits(&(span.start - 1..span.end)) {
            span.start -= 1;
        }
        span
    }

    /// One step of a manual compaction: see `pick_range`.
    pub(super) fn step_down(&self, from: usize, smallest: &[u8], largest: &[u8]) -> Option<Choice> {
        let levels = self.version.levels();
        let deepest = (0..LEVELS).rev().find(|n| levels[*n].overlaps(smallest, largest))?;
        let level = (from..LEVELS).find(|n| levels[*n].overlaps(smallest, largest))?;
        if level == 0 {
            return self.level_zero_by_hand();
        }
        if level == deepest {
            return self.clear_in_place(level, smallest, largest);
        }
        let run = levels[level].run()?;
        let span = run.overlapping(smallest, largest);
        if run.tables()[span.clone()].iter().any(|table| self.is_busy(table)) {
            return None;
        }
        self.down(level, run, span)
    }

    /// Every run of level 0, to the base level.
    pub(super) fn level_zero_by_hand(&self) -> Option<Choice> {
        let tables: Vec<Arc<Table>> = self.version.levels()[0].tables().cloned().collect();
        if tables.iter().any(|table| self.is_busy(table)) {
            return None;
        }
        let (smallest, largest) = span_of(&tables)?;
        let base = self.targets.base;
        let overlap = self.free_overlap(base, smallest, largest)?.tables().to_vec();
        Some(choose(ChoiceKind::Merge, vec![(0, tables), (base, overlap)], base, 0))
    }
}
