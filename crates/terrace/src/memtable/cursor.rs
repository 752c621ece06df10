//! `MemCursor`: a position in the merged runs of a view.
//!
//! Invariant while valid: in every run, `positions[run]` is the number of items before the current one. It
//! holds in both directions, so turning round costs nothing. Entries newer than the cursor's seqno are stepped
//! over. The cursor never fails: its `Result`s are always `Ok`.

use std::sync::Arc;

use super::Memtable;
use super::arena::Entry;
use super::order::View;
use super::sort::{Item, Keys};
use crate::base::{Cursor, EntryMeta, Result, Seqno};

/// How many items ahead the entries are asked for: far enough to hide a memory access behind the work on
/// those before.
const PREFETCH_ITEMS: usize = 8;

/// A cursor over a memtable. It shows what had been inserted when it was made.
pub(crate) struct MemCursor {
    pub(super) memtable: Arc<Memtable>,
    pub(super) view: Arc<View>,
    at: Seqno,
    positions: Vec<usize>,
    /// The current item and its run.
    current: Option<(Item, usize)>,
}

impl MemCursor {
    /// A cursor over `view`, which is one of `memtable`.
    pub(super) fn new(memtable: Arc<Memtable>, view: Arc<View>, at: Seqno) -> Self {
        let positions = vec![0; view.runs().len()];
        Self { memtable, view, at, positions, current: None }
    }

    fn keys(&self) -> Keys<'_> {
        Keys(&self.memtable.shards)
    }

    #[inline]
    fn entry(&self) -> Entry<'_> {
        assert!(self.current.is_some(), "the cursor stands on an entry");
        self.current.map_or_else(|| unreachable!(), |(item, _)| self.entry_of(&item))
    }

    #[inline]
    fn entry_of(&self, item: &Item) -> Entry<'_> {
        self.memtable.shards[usize::from(item.shard)].entry(item.offset)
    }

    #[inline]
    fn prefetch(&self, run: usize, position: usize) {
        if let Some(item) = self.view.runs()[run].get(position) {
            self.memtable.shards[usize::from(item.shard)].prefetch_entry(item.offset);
        }
    }

    /// Puts every position at the first item not before `key`.
    fn rank(&mut self, key: &[u8]) {
        for run in 0..self.positions.len() {
            let items = &self.view.runs()[run];
            self.positions[run] = self.view.rank(self.keys(), items, key);
            // Most of what follows comes from the longest run, which is the first.
            for ahead in 0..if run == 0 { PREFETCH_ITEMS } else { 1 } {
                self.prefetch(run, self.positions[run] + ahead);
            }
        }
    }

    /// Makes the smallest visible item at or after the positions the current one.
    fn settle_forward(&mut self) {
        loop {
            self.current = self.smallest();
            let Some((item, run)) = self.current else { return };
            self.prefetch(run, self.positions[run] + PREFETCH_ITEMS);
            if self.entry_of(&item).seqno <= self.at {
                return;
            }
            self.positions[run] += 1;
        }
    }

    /// Makes the largest visible item before the positions the current one.
    fn settle_backward(&mut self) {
        loop {
            self.current = self.largest();
            let Some((item, run)) = self.current else { return };
            self.positions[run] -= 1;
            self.prefetch(run, self.positions[run].wrapping_sub(PREFETCH_ITEMS));
            if self.entry_of(&item).seqno <= self.at {
                return;
            }
        }
    }

    #[inline]
    fn smallest(&self) -> Option<(Item, usize)> {
        let mut best: Option<(Item, usize)> = None;
        for (run, items) in self.view.runs().iter().enumerate() {
            let Some(item) = items.get(self.positions[run]) else { continue };
            if best.is_none_or(|(other, _)| self.keys().compare(item, &other).is_lt()) {
                best = Some((*item, run));
            }
        }
        best
    }

    #[inline]
    fn largest(&self) -> Option<(Item, usize)> {
        let mut best: Option<(Item, usize)> = None;
        for (run, items) in self.view.runs().iter().enumerate() {
            let Some(item) = self.positions[run].checked_sub(1).and_then(|last| items.get(last)) else {
                continue;
            };
            if best.is_none_or(|(other, _)| self.keys().compare(item, &other).is_gt()) {
                best = Some((*item, run));
            }
        }
        best
    }
}

impl Cursor for MemCursor {
    #[inline]
    fn valid(&self) -> bool {
        self.current.is_some()
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.entry().key
    }

    #[inline]
    fn seqno(&self) -> Seqno {
        self.entry().seqno
    }

    #[inline]
    fn meta(&self) -> EntryMeta {
        self.entry().meta
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.entry().value
    }

    fn seek_to_first(&mut self) -> Result<()> {
        self.positions.fill(0);
        self.settle_forward();
        Ok(())
    }

    fn seek_to_last(&mut self) -> Result<()> {
        for (position, run) in self.positions.iter_mut().zip(self.view.runs()) {
            *position = run.len();
        }
        self.settle_backward();
        Ok(())
    }

    fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.rank(key);
        self.settle_forward();
        Ok(())
    }

    fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        self.rank(key);
        self.settle_backward();
        Ok(())
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        assert!(self.current.is_some(), "the cursor stands on an entry");
        if let Some((_, run)) = self.current {
            self.positions[run] += 1;
        }
        self.settle_forward();
        Ok(())
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        assert!(self.current.is_some(), "the cursor stands on an entry");
        self.settle_backward();
        Ok(())
    }
}
