//! What of a table is void: expired, or of a dropped keyspace. A rewrite of the table, where it is, leaves none of it,
//! whatever lies below and whoever holds a snapshot: at most tombstones stay. So what is picked for this reason is not
//! picked again for it.
//!
//! How much is void follows from the table's shares, the time and the list of keyspaces. Of what expires it is never more
//! than a rewrite would remove, and may be less for a while, where a table has more expiries than its shares tell apart.
//! It is an estimate, to either side, where there are more keyspaces than they tell apart (all of a group count alike),
//! and in a table from before there were shares: such a table may be rewritten for little, but only once. Compactions by hand therefore ask whether *anything* may be void.

use std::sync::Arc;

use super::{Choice, ChoiceKind, Picker, choose};
use crate::base::key;
use crate::table::{Table, TableMeta, Weight};
use crate::version::LiveKeyspaces;

impl Picker<'_> {
    /// How much of a table is void, as far as is known.
    pub(super) fn void(&self, meta: &TableMeta) -> Weight {
        let mut void = self.expired(meta);
        for group in &meta.shares.groups {
            let live = self.at.keyspaces.live_between(group.first, group.last);
            let dropped = u64::from(group.keyspaces).saturating_sub(live);
            void.add(group.weight.part(dropped, u64::from(group.keyspaces)));
        }
        // What has expired in a dropped keyspace was counted twice.
        let Weight { raw_bytes, blob_bytes } = void;
        Weight { raw_bytes: raw_bytes.min(meta.raw_bytes), blob_bytes: blob_bytes.min(meta.blob_bytes()) }
    }

    fn expired(&self, meta: &TableMeta) -> Weight {
        let (first, last, now) = (meta.min_expires_at_ms, meta.max_expires_at_ms, self.at.now_ms);
        if !meta.shares.steps.is_empty() || last == 0 || now < first {
            return meta.shares.expired(now);
        }
        // From before shares: all of it expires, at times of which the first and the last are known.
        let whole = Weight { raw_bytes: meta.raw_bytes, blob_bytes: meta.blob_bytes() };
        if now >= last { whole } else { whole.part(now - first, last - first) }
    }

    /// The same, in percent of its keys and values.
    pub(super) fn void_share(&self, meta: &TableMeta) -> u64 {
        percent(self.void(meta).raw_bytes, meta.raw_bytes)
    }

    /// Whether anything in a table may be void.
    pub(super) fn may_be_void(&self, meta: &TableMeta) -> bool {
        let expired = meta.min_expires_at_ms != 0 && meta.min_expires_at_ms <= self.at.now_ms;
        expired || has_dropped(meta, self.at.keyspaces)
    }

    /// Bytes of blob files to which tables point for void entries.
    pub(super) fn void_blob_bytes(&self) -> u64 {
        self.version.tables().map(|(_, table)| self.void(table.meta()).blob_bytes).sum()
    }

    /// The free table, or run of level 0, that gives up the most bytes of blob files for its own, to be rewritten
    /// where it is.
    pub(super) fn give_up_void(&self) -> Option<Choice> {
        let mut best: Option<(u128, Choice)> = None;
        for (number, level) in self.version.levels().iter().enumerate() {
            for run in level.runs() {
                let parts = if number == 0 { run.tables().len().max(1) } else { 1 };
                for tables in run.tables().chunks(parts) {
                    let gain: u64 = tables.iter().map(|table| self.void(table.meta()).blob_bytes).sum();
                    let cost: u64 = tables.iter().map(|table| table.meta().file_bytes).sum();
                    let rate = u128::from(gain) * 1000 / u128::from(cost.max(1));
                    if gain > 0 && best.as_ref().is_none_or(|(most, _)| rate > *most) {
                        let choice = self.in_place(number, run.ordinal(), tables);
                        best = choice.map(|choice| (rate, choice)).or(best);
                    }
                }
            }
        }
        best.map(|(_, choice)| choice)
    }

    /// A run of level 0 that is mostly void. Those of deeper levels are tables with garbage like others.
    pub(super) fn void_run(&self) -> Option<Choice> {
        self.version.levels()[0].runs().iter().find_map(|run| {
            let void: u64 = run.tables().iter().map(|table| self.void(table.meta()).raw_bytes).sum();
            let all: u64 = run.tables().iter().map(|table| table.meta().raw_bytes).sum();
            let due = percent(void, all) >= self.options.garbage_percent;
            if due { self.in_place(0, run.ordinal(), run.tables()) } else { None }
        })
    }

    /// Rewrites tables of a run, a run of level 0 as a whole, if they are free.
    pub(super) fn in_place(&self, level: usize, run: u64, tables: &[Arc<Table>]) -> Option<Choice> {
        let choice = choose(ChoiceKind::Merge, vec![(level, tables.to_vec())], level, run);
        let locked =
            choice.locks.ranges.iter().any(|range| self.is_locked(level, &range.smallest, &range.largest));
        let free = !locked && tables.iter().all(|table| !self.is_busy(table));
        (free && !tables.is_empty()).then_some(choice)
    }
}

fn percent(part: u64, whole: u64) -> u64 {
    u64::try_from(u128::from(part) * 100 / u128::from(whole.max(1))).unwrap_or(100)
}

/// Whether a table may have entries of dropped keyspaces, though not only such.
fn has_dropped(meta: &TableMeta, keyspaces: &LiveKeyspaces) -> bool {
    let (Some((first, _)), Some((last, _))) = (key::split(&meta.smallest), key::split(&meta.largest)) else {
        return false;
    };
    if meta.shares.groups.is_empty() {
        // One keyspace, or from before shares.
        return first != last && keyspaces.live_between(first, last) <= u64::from(last.0 - first.0);
    }
    let mut groups = meta.shares.groups.iter();
    groups.any(|group| keyspaces.live_between(group.first, group.last) < u64::from(group.keyspaces))
}
