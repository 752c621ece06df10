//! `MergeCursor`: many sorted cursors read as one.
//!
//! A loser tree holds, for every inner node, the source that lost there; the overall winner stands beside it.
//! Moving on replays only the winner's path: log2(n) comparisons, each of two cached u64 heads, and of whole
//! keys only when the heads tie.
//!
//! Invariants, with "before" meaning (key ascending, seqno descending, source index ascending):
//! - going forward, every other source stands on its first entry after the current one, or past its end;
//! - going backward, every other source stands on its last entry before the current one, or before its start.
//!
//! So a change of direction is one step in every source. Entries are not hidden here: shadowed versions and
//! tombstones come through, for `visible` or a reader to judge.

use std::cmp::Ordering;

use crate::base::key::head;
use crate::base::{Cursor, EntryMeta, Result, Seqno, Slice};

/// Which way the sources are positioned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Direction {
    Forward,
    Backward,
}

/// A source and what the tree needs to know of its current entry without asking it.
struct Source<C> {
    cursor: C,
    /// The head of the current key, inverted when going backward, so that the smaller always wins; the
    /// largest number when the source is exhausted.
    rank: u64,
    /// The loser at the inner node that has this source's number.
    loser: u32,
}

/// A cursor over the union of several; on equal keys the larger seqno comes first, then the earlier source.
pub(crate) struct MergeCursor<C> {
    /// Of the tree's `n` inner nodes, 1 to `n - 1` are kept here; the leaf of source `i` would be node `n + i`.
    sources: Vec<Source<C>>,
    winner: u32,
    direction: Direction,
    /// Leading bytes that all keys of all sources share; the heads start behind them.
    shared_bytes: usize,
    valid: bool,
}

/// An inner node that no source has reached yet, while the tree is being built.
const EMPTY: u32 = u32::MAX;

impl<C: Cursor> MergeCursor<C> {
    /// Merges `sources`, the newest first.
    pub(crate) fn new(sources: impl IntoIterator<Item = C>) -> Self {
        Self::with_shared_prefix(sources, 0)
    }

    /// Merges `sources` whose keys are all known to share their first `shared_bytes` bytes. The more is known,
    /// the more comparisons end at the heads.
    pub(crate) fn with_shared_prefix(sources: impl IntoIterator<Item = C>, shared_bytes: usize) -> Self {
        let source = |cursor| Source { cursor, rank: u64::MAX, loser: EMPTY };
        let sources: Vec<_> = sources.into_iter().map(source).collect();
        assert!(sources.len() < EMPTY as usize, "sources are numbered by u32");
        Self { sources, winner: 0, direction: Direction::Forward, shared_bytes, valid: false }
    }

    fn winner(&self) -> usize {
        self.winner as usize
    }

    /// The source that stands on the current entry.
    #[inline]
    pub(super) fn current(&self) -> &C {
        &self.sources[self.winner()].cursor
    }

    /// Reads the head of source `i` again, after its cursor has moved.
    #[inline]
    fn refresh(&mut self, i: usize) {
        let source = &mut self.sources[i];
        source.rank = if source.cursor.valid() {
            let head = head(source.cursor.key().get(self.shared_bytes..).unwrap_or_default());
            if self.direction == Direction::Forward { head } else { !head }
        } else {
            u64::MAX
        };
    }

    /// Whether source `a` comes out before source `b`.
    #[inline]
    fn beats(&self, a: usize, b: usize) -> bool {
        let (left, right) = (self.sources[a].rank, self.sources[b].rank);
        if left == right { self.beats_on_tie(a, b) } else { left < right }
    }

    #[inline(never)]
    fn beats_on_tie(&self, a: usize, b: usize) -> bool {
        let (left, right) = (&self.sources[a].cursor, &self.sources[b].cursor);
        if !left.valid() || !right.valid() {
            return left.valid();
        }
        let order = left
            .key()
            .cmp(right.key())
            .then_with(|| right.seqno().cmp(&left.seqno()))
            .then_with(|| a.cmp(&b));
        match self.direction {
            Direction::Forward => order == Ordering::Less,
            Direction::Backward => order == Ordering::Greater,
        }
    }

    /// Builds the tree from the sources' positions.
    fn rebuild(&mut self, direction: Direction) {
        self.direction = direction;
        for i in 0..self.sources.len() {
            self.sources[i].loser = EMPTY;
            self.refresh(i);
        }
        let n = self.sources.len();
        for i in 0..n {
            let mut climber = i;
            let mut node = usize::midpoint(n, i);
            while node > 0 {
                let resident = self.sources[node].loser;
                if resident == EMPTY {
                    self.sources[node].loser = climber as u32;
                    break;
                }
                if self.beats(resident as usize, climber) {
                    self.sources[node].loser = climber as u32;
                    climber = resident as usize;
                }
                node /= 2;
            }
            if node == 0 {
                self.winner = climber as u32;
            }
        }
        self.valid = n > 0 && self.current().valid();
    }

    /// The first key behind the current entry that another source has. Only going forward.
    pub(super) fn runner_up(&self) -> Option<&[u8]> {
        debug_assert!(self.valid && self.direction == Direction::Forward);
        let mut best: Option<usize> = None;
        // Whoever comes second has lost to the winner itself.
        let mut node = usize::midpoint(self.sources.len(), self.winner());
        while node > 0 {
            let resident = self.sources[node].loser as usize;
            if best.is_none_or(|best| self.beats(resident, best)) {
                best = Some(resident);
            }
            node /= 2;
        }
        best.map(|i| &self.sources[i].cursor).filter(|cursor| cursor.valid()).map(Cursor::key)
    }

    /// Moves the current source forward by `step`, and then to what comes first. Only going forward.
    pub(super) fn advance(&mut self, step: impl FnOnce(&mut C) -> Result<()>) -> Result<()> {
        assert!(self.valid && self.direction == Direction::Forward, "a merge advances from a valid entry");
        let winner = self.winner();
        self.valid = false;
        step(&mut self.sources[winner].cursor)?;
        self.replay();
        Ok(())
    }

    /// Replays the winner's path after it has moved.
    #[inline]
    fn replay(&mut self) {
        let mut climber = self.winner();
        self.refresh(climber);
        let mut node = usize::midpoint(self.sources.len(), climber);
        while node > 0 {
            let resident = self.sources[node].loser as usize;
            if self.beats(resident, climber) {
                self.sources[node].loser = climber as u32;
                climber = resident;
            }
            node /= 2;
        }
        self.winner = climber as u32;
        self.valid = self.current().valid();
    }

    /// Positions every source by `place`, then finds the winner.
    fn position(&mut self, direction: Direction, mut place: impl FnMut(&mut C) -> Result<()>) -> Result<()> {
        self.valid = false;
        for source in &mut self.sources {
            place(&mut source.cursor)?;
        }
        self.rebuild(direction);
        Ok(())
    }

    /// Turns round: every source but the winner takes one step, the winner is left to the caller.
    fn turn(&mut self, direction: Direction) -> Result<()> {
        let winner = self.winner();
        self.valid = false;
        for (i, source) in self.sources.iter_mut().enumerate() {
            let cursor = &mut source.cursor;
            match (direction, cursor.valid()) {
                _ if i == winner => {}
                (Direction::Forward, true) => cursor.next()?,
                (Direction::Forward, false) => cursor.seek_to_first()?,
                (Direction::Backward, true) => cursor.prev()?,
                (Direction::Backward, false) => cursor.seek_to_last()?,
            }
        }
        Ok(())
    }
}

impl<C: Cursor> Cursor for MergeCursor<C> {
    #[inline]
    fn valid(&self) -> bool {
        self.valid
    }

    #[inline]
    fn key(&self) -> &[u8] {
        debug_assert!(self.valid);
        self.current().key()
    }

    #[inline]
    fn seqno(&self) -> Seqno {
        self.current().seqno()
    }

    #[inline]
    fn meta(&self) -> EntryMeta {
        self.current().meta()
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.current().value()
    }

    fn value_slice(&self) -> Slice {
        self.current().value_slice()
    }

    fn seek_to_first(&mut self) -> Result<()> {
        self.position(Direction::Forward, Cursor::seek_to_first)
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.position(Direction::Backward, Cursor::seek_to_last)
    }

    fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.position(Direction::Forward, |cursor| cursor.seek(key))
    }

    fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        self.position(Direction::Backward, |cursor| cursor.seek_before(key))
    }

    fn next(&mut self) -> Result<()> {
        assert!(self.valid, "next is called on a valid cursor only");
        let turned = self.direction == Direction::Backward;
        if turned {
            self.turn(Direction::Forward)?;
        }
        let winner = self.winner();
        self.valid = false;
        self.sources[winner].cursor.next()?;
        if turned {
            self.rebuild(Direction::Forward);
        } else {
            self.replay();
        }
        Ok(())
    }

    fn prev(&mut self) -> Result<()> {
        assert!(self.valid, "prev is called on a valid cursor only");
        let turned = self.direction == Direction::Forward;
        if turned {
            self.turn(Direction::Backward)?;
        }
        let winner = self.winner();
        self.valid = false;
        self.sources[winner].cursor.prev()?;
        if turned {
            self.rebuild(Direction::Backward);
        } else {
            self.replay();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
