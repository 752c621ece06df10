//! `RunCursor`: the tables of one run read one after another, each opened when the cursor reaches it.

use std::ops::Range;
use std::sync::Arc;

use super::levels::Version;
use super::run::Run;
use crate::base::{Cursor, EntryMeta, Result, Seqno, Slice};
use crate::table::{Table, TableCursor, WholeBlock};

/// A cursor over some neighbouring tables of a run, in both directions.
pub(crate) struct RunCursor {
    run: Arc<Run>,
    /// The tables that the cursor covers; it does not see the others.
    span: Range<usize>,
    fill_cache: bool,
    /// The open table and its cursor.
    open: Option<(usize, TableCursor)>,
}

impl RunCursor {
    /// A cursor over the tables `span` of `run`. Without `fill_cache` the blocks read are not kept.
    pub(crate) fn new(run: Arc<Run>, span: Range<usize>, fill_cache: bool) -> Self {
        assert!(span.end <= run.tables().len(), "a cursor covers tables of its run");
        Self { run, span, fill_cache, open: None }
    }

    /// The cursor of table `index`, opened unless it is the open one.
    fn open(&mut self, index: usize) -> &mut TableCursor {
        let open = match self.open.take() {
            Some(open) if open.0 == index => open,
            _ => (index, self.run.tables()[index].cursor(self.fill_cache)),
        };
        &mut self.open.insert(open).1
    }

    #[inline]
    fn current(&self) -> &TableCursor {
        match &self.open {
            Some((_, cursor)) => cursor,
            None => panic!("a run cursor is read only while valid"),
        }
    }

    /// The newest sequence number in the table under the cursor, which must be valid.
    pub(crate) fn max_seqno(&self) -> Seqno {
        self.open.as_ref().map_or(Seqno::MAX, |(index, _)| self.run.tables()[*index].meta().max_seqno)
    }

    /// From a table in which everything up to `end` is as old as `marker` or older, goes to the first entry that is
    /// not known to be: at `end`, or where a table with newer entries begins. Tables in between are not opened.
    pub(crate) fn pass_forward(&mut self, end: &[u8], marker: Seqno) -> Result<()> {
        let Some(open) = self.open.as_ref().map(|(index, _)| *index) else { return Ok(()) };
        for index in open..self.span.end {
            let meta = self.run.tables()[index].meta();
            if index > open && meta.max_seqno > marker {
                self.open(index).seek_to_first()?;
                return self.settle_forward();
            }
            if meta.largest.as_slice() >= end {
                self.open(index).seek(end)?;
                return self.settle_forward();
            }
        }
        self.open = None;
        Ok(())
    }

    /// The same backward: to the last entry before `start`, or to where a table with newer entries ends.
    pub(crate) fn pass_backward(&mut self, start: &[u8], marker: Seqno) -> Result<()> {
        let Some(open) = self.open.as_ref().map(|(index, _)| *index) else { return Ok(()) };
        for index in (self.span.start..=open).rev() {
            let meta = self.run.tables()[index].meta();
            if index < open && meta.max_seqno > marker {
                self.open(index).seek_to_last()?;
                return self.settle_backward();
            }
            if meta.smallest.as_slice() < start {
                self.open(index).seek_before(start)?;
                return self.settle_backward();
            }
        }
        self.open = None;
        Ok(())
    }

    /// Whether the cursor stands on the first entry of a block.
    #[inline]
    pub(crate) fn at_block_start(&self) -> bool {
        self.open.as_ref().is_some_and(|(_, cursor)| cursor.at_block_start())
    }

    /// The block under the cursor.
    pub(crate) fn whole_block(&self) -> Option<WholeBlock> {
        self.open.as_ref()?.1.whole_block()
    }

    /// Moves to the first entry of the next block. The cursor must be valid.
    pub(crate) fn skip_block(&mut self) -> Result<()> {
        let Some((_, cursor)) = &mut self.open else { return Ok(()) };
        cursor.skip_block()?;
        self.settle_forward()
    }

    /// If the open table has ended, goes on to the first entry of the next one.
    fn settle_forward(&mut self) -> Result<()> {
        while let Some((index, cursor)) = &self.open {
            let next = index + 1;
            if cursor.valid() || next >= self.span.end {
                break;
            }
            self.open(next).seek_to_first()?;
        }
        Ok(())
    }

    /// If the open table has ended, goes back to the last entry of the previous one.
    fn settle_backward(&mut self) -> Result<()> {
        while let Some((index, cursor)) = &self.open {
            if cursor.valid() || *index <= self.span.start {
                break;
            }
            let previous = index - 1;
            self.open(previous).seek_to_last()?;
        }
        Ok(())
    }
}

impl Cursor for RunCursor {
    #[inline]
    fn valid(&self) -> bool {
        self.open.as_ref().is_some_and(|(_, cursor)| cursor.valid())
    }

    #[inline]
    fn key(&self) -> &[u8] {
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
        if self.span.is_empty() {
            return Ok(());
        }
        self.open(self.span.start).seek_to_first()?;
        self.settle_forward()
    }

    fn seek_to_last(&mut self) -> Result<()> {
        if self.span.is_empty() {
            return Ok(());
        }
        self.open(self.span.end - 1).seek_to_last()?;
        self.settle_backward()
    }

    fn seek(&mut self, key: &[u8]) -> Result<()> {
        let index = self.run.first_reaching(key).max(self.span.start);
        if index >= self.span.end {
            self.open = None;
            return Ok(());
        }
        self.open(index).seek(key)?;
        self.settle_forward()
    }

    fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        let beginning = |table: &Arc<Table>| table.meta().smallest.as_slice() < key;
        let end = self.run.tables().partition_point(beginning).min(self.span.end);
        if end <= self.span.start {
            self.open = None;
            return Ok(());
        }
        self.open(end - 1).seek_before(key)?;
        self.settle_backward()
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        let Some((_, cursor)) = &mut self.open else { return Ok(()) };
        cursor.next()?;
        self.settle_forward()
    }

    fn prev(&mut self) -> Result<()> {
        let Some((_, cursor)) = &mut self.open else { return Ok(()) };
        cursor.prev()?;
        self.settle_backward()
    }
}

impl Version {
    /// A cursor for each run that may hold a key in `lower..upper` (to the end without `upper`), the newest
    /// data first. The range only leaves tables out: cursors may show keys around it.
    pub(crate) fn run_cursors<'a>(
        &'a self,
        lower: &'a [u8],
        upper: Option<&'a [u8]>,
        fill_cache: bool,
    ) -> impl Iterator<Item = RunCursor> + 'a {
        let cover = move |run: &Arc<Run>| {
            let end = match upper {
                None => run.tables().len(),
                Some(upper) => run.tables().partition_point(|t| t.meta().smallest.as_slice() < upper),
            };
            let start = run.first_reaching(lower);
            (start < end).then(|| RunCursor::new(Arc::clone(run), start..end, fill_cache))
        };
        self.runs().filter_map(cover)
    }
}

/// The number of leading bytes that all keys of these cursors' tables share: those that the first and the last
/// of them share. For `MergeCursor::with_shared_prefix`.
pub(crate) fn shared_prefix_bytes(cursors: &[RunCursor]) -> usize {
    let tables = || cursors.iter().flat_map(|c| &c.run.tables()[c.span.clone()]);
    let first = tables().map(|t| t.meta().smallest.as_slice()).min().unwrap_or_default();
    let last = tables().map(|t| t.meta().largest.as_slice()).max().unwrap_or_default();
    first.iter().zip(last).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests;
