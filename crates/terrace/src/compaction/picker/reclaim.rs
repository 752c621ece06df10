//! Garbage: tables that can go unread, and tables that are worth compacting for what they no longer need.

use std::sync::Arc;

use super::targets::BOTTOM;
use super::{Choice, ChoiceKind, Picker, choose};
use crate::table::{Table, TableMeta};
use crate::version::{Run, Version, is_needed_by};

/// Range deletes that are looked at in one pick when there are too many.
const RANGE_DELETES_LOOKED_AT: usize = 16;

/// Whether a table below level 0 that overlaps the range has tombstones, wherever in it they are.
pub(crate) fn has_tombstones(version: &Version, smallest: &[u8], largest: &[u8]) -> bool {
    let runs = version.levels()[1..].iter().filter_map(|level| level.run());
    let mut tables = runs.flat_map(|run| &run.tables()[run.overlapping(smallest, largest)]);
    tables.any(|table| table.meta().tombstones > 0)
}

impl<'a> Picker<'a> {
    /// Every free table whose content is void: in a dropped keyspace, or wholly expired with nothing older
    /// beneath it that it still hides.
    pub(super) fn dead_tables(&self) -> Option<Choice> {
        let mut inputs: Vec<(usize, Vec<Arc<Table>>)> = Vec::new();
        for (number, level) in self.version.levels().iter().enumerate() {
            let mut dead = Vec::new();
            for (age, run) in level.runs().iter().enumerate() {
                let older = &level.runs()[age + 1..];
                let free = run.tables().iter().filter(|table| !self.is_held(table));
                dead.extend(free.filter(|table| self.is_dead(number, older, table.meta())).cloned());
            }
            inputs.push((number, dead));
        }
        let choice = choose(ChoiceKind::Drop, inputs, 0, 0);
        (!choice.inputs.is_empty()).then_some(choice)
    }

    fn is_dead(&self, level: usize, older: &[Arc<Run>], meta: &TableMeta) -> bool {
        let (smallest, largest) = (meta.smallest.as_slice(), meta.largest.as_slice());
        if self.at.keyspaces.all_dropped(smallest, largest) {
            return true;
        }
        // What the range deletes hide below it stays hidden: they stay for as long as there is any.
        let ranges = self.version.range_deletes().fragments();
        if ranges.covers(smallest, largest, meta.max_seqno, self.at.oldest_snapshot) {
            return true;
        }
        let expired = meta.max_expires_at_ms != 0 && meta.max_expires_at_ms <= self.at.now_ms;
        expired
            && !older.iter().any(|run| !run.overlapping(smallest, largest).is_empty())
            && !self.version.deeper_overlaps(level, smallest, largest)
    }

    /// How much of a table is garbage, in percent: void, tombstones, or under range deletes.
    pub(super) fn garbage_share(&self, meta: &TableMeta) -> u64 {
        self.void_share(meta).max(self.hidden_share(meta))
    }

    /// The same of what stays for as long as a snapshot needs it.
    fn hidden_share(&self, meta: &TableMeta) -> u64 {
        let tombstones = meta.tombstones * 100 / meta.entries.max(1);
        tombstones.max(self.range_deleted_share(meta))
    }

    /// The share of a table's keys that is under range deletes which a compaction would apply, in percent.
    fn range_deleted_share(&self, meta: &TableMeta) -> u64 {
        let above = meta.cleared_seqno.max(meta.min_seqno);
        let ranges = self.version.range_deletes().fragments();
        ranges.share(&meta.smallest, &meta.largest, above, self.at.oldest_snapshot)
    }

    /// Whether a table has enough garbage to be compacted for that alone.
    pub(super) fn has_garbage(&self, meta: &TableMeta) -> bool {
        self.garbage_share(meta) >= self.options.garbage_percent
    }

    fn has_old_tombstones(&self, meta: &TableMeta) -> bool {
        let age = self.at.newest_seqno.saturating_sub(meta.max_seqno);
        meta.tombstones > 0 && age > self.options.tombstone_age_seqnos
    }

    /// Whether a table is to be compacted for its garbage. One that a snapshot still needs is let be, unless it is
    /// mostly void: it would come out as it went in.
    fn is_due(&self, meta: &TableMeta) -> bool {
        let percent = self.options.garbage_percent;
        self.void_share(meta) >= percent
            || meta.max_seqno <= self.at.oldest_snapshot
                && (self.hidden_share(meta) >= percent || self.has_old_tombstones(meta))
    }

    /// The free table with the most garbage.
    pub(super) fn garbage(&self) -> Option<Choice> {
        let mut worst: Option<(u64, usize, &'a Arc<Run>, usize)> = None;
        for (number, level) in self.version.levels().iter().enumerate().skip(1) {
            let Some(run) = level.run() else { continue };
            for (index, table) in run.tables().iter().enumerate() {
                let meta = table.meta();
                if !self.is_due(meta) || self.is_busy(table) {
                    continue;
                }
                let share = self.garbage_share(meta);
                if worst.is_none_or(|(most, ..)| share > most) && self.can_reclaim(number, meta) {
                    worst = Some((share, number, run, index));
                }
            }
        }
        let (_, level, run, index) = worst?;
        self.reclaim(level, run, index)
    }

    /// The first free table with tombstones, from level 1 down, where reads have stepped over dead entries. Its
    /// tombstones come nearer to the bottom each time and vanish there, so this ends. What is in level 0 waits
    /// for the others' reasons, and a table that a snapshot still needs for the snapshot's end.
    pub(super) fn stepped_over(&self) -> Option<Choice> {
        if self.at.stepped.is_empty() {
            return None;
        }
        let levels = self.version.levels().iter().enumerate().skip(1);
        let runs = levels.filter_map(|(number, level)| Some((number, level.run()?)));
        let near = runs.flat_map(|(number, run)| {
            let spans = self.at.stepped.iter().map(|range| run.overlapping(&range.smallest, &range.largest));
            spans.flatten().map(move |index| (number, run, index))
        });
        let mut due = near.filter(|(number, run, index)| {
            let table = &run.tables()[*index];
            let meta = table.meta();
            meta.tombstones > 0
                && meta.max_seqno <= self.at.oldest_snapshot
                && !self.is_busy(table)
                && self.can_reclaim(*number, meta)
        });
        due.find_map(|(number, run, index)| self.reclaim(number, run, index))
    }

    /// When there are too many range deletes: the first free table, from level 1 down, that keeps one of the
    /// oldest from going. What comes out of it needs that marker no longer, so this ends.
    pub(super) fn range_deleted(&self) -> Option<Choice> {
        let markers = self.version.range_deletes().list();
        if markers.len() <= self.options.range_deletes_max {
            return None;
        }
        let old = markers.iter().take_while(|marker| marker.seqno <= self.at.oldest_snapshot);
        for marker in old.take(RANGE_DELETES_LOOKED_AT) {
            for (number, level) in self.version.levels().iter().enumerate().skip(1) {
                let Some(run) = level.run() else { continue };
                let due = run.overlapping(&marker.start, &marker.end).find(|index| {
                    let table = &run.tables()[*index];
                    let keeps = is_needed_by(marker, table.meta());
                    keeps && !self.is_busy(table) && self.can_reclaim(number, table.meta())
                });
                if let Some(choice) = due.and_then(|index| self.reclaim(number, run, index)) {
                    return Some(choice);
                }
            }
        }
        None
    }

    /// The first table of a level in the range that holds what range deletes hide from every reader, or anything
    /// void, to be rewritten where it is: for compactions by hand, at the deepest level.
    pub(super) fn clear_in_place(&self, level: usize, smallest: &[u8], largest: &[u8]) -> Option<Choice> {
        let run = self.version.levels()[level].run()?;
        let markers = self.version.range_deletes().list();
        let due = |table: &&Arc<Table>| {
            let mut settled = markers.iter().take_while(|marker| marker.seqno <= self.at.oldest_snapshot);
            self.may_be_void(table.meta()) || settled.any(|marker| is_needed_by(marker, table.meta()))
        };
        let table = run.tables()[run.overlapping(smallest, largest)].iter().find(due)?;
        self.in_place(level, 0, std::slice::from_ref(table))
    }

    /// Merges a table into what lies below it, or rewrites it where it is when nothing does.
    fn reclaim(&self, level: usize, run: &'a Arc<Run>, index: usize) -> Option<Choice> {
        let table = &run.tables()[index];
        let meta = table.meta();
        if self.version.deeper_overlaps(level, &meta.smallest, &meta.largest) {
            return self.down(level, run, index..index + 1);
        }
        let inputs = vec![(level, vec![Arc::clone(table)])];
        Some(choose(ChoiceKind::Merge, inputs, level, 0))
    }

    /// Whether the choice for this table would not meet a running compaction.
    fn can_reclaim(&self, level: usize, meta: &TableMeta) -> bool {
        let (smallest, largest) = (meta.smallest.as_slice(), meta.largest.as_slice());
        !self.is_locked(level, smallest, largest)
            && (level == BOTTOM || self.free_overlap(level + 1, smallest, largest).is_some())
    }
}
