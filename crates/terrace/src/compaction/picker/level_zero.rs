//! Level 0: merging its runs into the base level, or with each other when the base level would cost too much.

use std::sync::Arc;

use super::{Choice, ChoiceKind, Picker, choose, span_of};
use crate::table::Table;
use crate::version::Run;

/// Rewriting more of the base level than this many times the bulk that causes it is put off.
const REWRITE_RATIO_MAX: u64 = 4;

impl Picker<'_> {
    fn run_is_free(&self, run: &Run) -> bool {
        run.tables().iter().all(|table| !self.is_busy(table))
    }

    /// What to do about level 0 when it has too many runs that nobody works on.
    pub(super) fn level_zero(&self) -> Option<Choice> {
        let runs = self.version.levels()[0].runs();
        let free = runs.iter().filter(|run| self.run_is_free(run)).count();
        if free < self.options.l0_runs {
            return None;
        }
        self.level_zero_down().or_else(|| self.level_zero_within())
    }

    /// All free runs up to the oldest, with what they overlap in the base level.
    fn level_zero_down(&self) -> Option<Choice> {
        let runs = self.version.levels()[0].runs();
        let newest_free = runs.iter().rposition(|run| !self.run_is_free(run)).map_or(0, |i| i + 1);
        let runs = &runs[newest_free..];
        if runs.len() < self.options.l0_runs {
            return None;
        }
        let tables = collect(runs);
        let (smallest, largest) = span_of(&tables)?;
        let base = self.targets.base;
        let overlap = self.free_overlap(base, smallest, largest)?;
        let bytes: u64 = runs.iter().map(|run| run.bytes()).sum();
        if overlap.bytes() > REWRITE_RATIO_MAX * bytes && runs.len() < self.options.l0_patience_runs {
            return None;
        }
        if overlap.tables().is_empty() && self.may_move(&tables) {
            return Some(choose(ChoiceKind::Move, vec![(0, tables)], base, 0));
        }
        let inputs = vec![(0, tables), (base, overlap.tables().to_vec())];
        Some(choose(ChoiceKind::Merge, inputs, base, 0))
    }

    /// All of level 0, once reads have paid as much for its runs as their merge will cost: however long they are left
    /// then, reads and merge together cost at most twice what the better of the two would have.
    pub(super) fn paid_by_reads(&self) -> Option<Choice> {
        if self.at.read_debt_bytes == 0 {
            return None;
        }
        let choice = self.level_zero_by_hand()?;
        let runs = self.version.levels()[0].runs().len() + choice.inputs.len() - 1;
        (runs > 1 && choice.input_bytes() <= self.at.read_debt_bytes).then_some(choice)
    }

    /// Whether the tables of several runs can go down as they are: disjoint, and not so small that a merge
    /// would be a kindness to every later read.
    fn may_move(&self, tables: &[Arc<Table>]) -> bool {
        let mut sorted: Vec<_> = tables.iter().map(|table| table.meta()).collect();
        sorted.sort_by(|a, b| a.smallest.cmp(&b.smallest));
        let bytes: u64 = sorted.iter().map(|meta| meta.file_bytes).sum();
        sorted.windows(2).all(|pair| pair[0].largest < pair[1].smallest)
            && bytes / sorted.len().max(1) as u64 >= self.options.target_table_bytes / 4
            && tables.iter().all(|table| !self.has_garbage(table.meta()))
    }

    /// The newest free runs of similar size become one: each next run joins while it is no larger than those
    /// before it together, so a byte is rewritten once for every doubling of its run.
    fn level_zero_within(&self) -> Option<Choice> {
        let runs = self.version.levels()[0].runs();
        let start = runs.iter().position(|run| self.run_is_free(run))?;
        let mut bytes = runs[start].bytes();
        let mut end = start + 1;
        while let Some(next) = runs.get(end).filter(|run| self.run_is_free(run)) {
            if next.bytes() > bytes || bytes + next.bytes() > self.options.compaction_bytes_max {
                break;
            }
            bytes += next.bytes();
            end += 1;
        }
        if end - start < self.options.l0_runs.max(2) {
            return None;
        }
        let ordinal = runs[start].ordinal();
        let inputs = vec![(0, collect(&runs[start..end]))];
        Some(choose(ChoiceKind::Merge, inputs, 0, ordinal))
    }
}

fn collect(runs: &[Arc<Run>]) -> Vec<Arc<Table>> {
    runs.iter().flat_map(|run| run.tables().iter().cloned()).collect()
}
