//! `Skipping`: a source of an iterator that passes over what range deletes hide in it, by seeking.
//!
//! Entries can be passed over unseen only where none is newer than the marker. So each source says how new the
//! entries around it may be, and passes over no others; what is older than a marker but lies among newer entries
//! comes through, for the iterator to judge entry by entry.

use crate::base::{Coverage, Cursor, EntryMeta, Result, Seqno, Slice};
use crate::memtable::MemCursor;
use crate::version::RunCursor;

/// A cursor that knows how new its entries may be.
pub(super) trait Bounded: Cursor {
    /// What it knows this from, beside itself.
    type From: Send;

    /// Nothing around the cursor, which is valid, is newer.
    fn newest(&self, from: &Self::From) -> Seqno;

    /// Goes forward to `end`, or to the first place before it where entries may be newer than `marker`.
    fn pass_forward(&mut self, end: &[u8], marker: Seqno) -> Result<()>;

    /// Goes back to the last entry before `start`, or to the last place behind it where entries may be newer.
    fn pass_backward(&mut self, start: &[u8], marker: Seqno) -> Result<()>;
}

/// All of a memtable is as new as its newest entry.
impl Bounded for MemCursor {
    type From = Seqno;

    fn newest(&self, from: &Seqno) -> Seqno {
        *from
    }

    fn pass_forward(&mut self, end: &[u8], _marker: Seqno) -> Result<()> {
        self.seek(end)
    }

    fn pass_backward(&mut self, start: &[u8], _marker: Seqno) -> Result<()> {
        self.seek_before(start)
    }
}

/// Each table of a run has a newest entry of its own.
impl Bounded for RunCursor {
    type From = ();

    fn newest(&self, (): &()) -> Seqno {
        self.max_seqno()
    }

    fn pass_forward(&mut self, end: &[u8], marker: Seqno) -> Result<()> {
        Self::pass_forward(self, end, marker)
    }

    fn pass_backward(&mut self, start: &[u8], marker: Seqno) -> Result<()> {
        Self::pass_backward(self, start, marker)
    }
}

/// A source that passes over what is hidden.
pub(super) struct Skipping<C: Bounded> {
    cursor: C,
    from: C::From,
    covered: Coverage,
}

impl<C: Bounded> Skipping<C> {
    /// `cursor` without what `covered` hides in it.
    pub(super) fn new(cursor: C, from: C::From, covered: Coverage) -> Self {
        Self { cursor, from, covered }
    }

    /// The marker that hides all around the cursor, if there is one. Sequence numbers are unique, so an entry as
    /// new as the marker is no entry.
    #[inline]
    fn hidden_by(&mut self) -> Option<Seqno> {
        if !self.cursor.valid() {
            return None;
        }
        let marker = self.covered.newest(self.cursor.key());
        (marker != 0 && self.cursor.newest(&self.from) <= marker).then_some(marker)
    }

    fn settle_forward(&mut self) -> Result<()> {
        while let Some(marker) = self.hidden_by() {
            let Some(end) = self.covered.high() else { break };
            self.cursor.pass_forward(end, marker)?;
        }
        Ok(())
    }

    fn settle_backward(&mut self) -> Result<()> {
        while let Some(marker) = self.hidden_by() {
            self.cursor.pass_backward(self.covered.low(), marker)?;
        }
        Ok(())
    }
}

impl<C: Bounded> Cursor for Skipping<C> {
    fn valid(&self) -> bool {
        self.cursor.valid()
    }

    fn key(&self) -> &[u8] {
        self.cursor.key()
    }

    fn seqno(&self) -> Seqno {
        self.cursor.seqno()
    }

    fn meta(&self) -> EntryMeta {
        self.cursor.meta()
    }

    fn value(&self) -> &[u8] {
        self.cursor.value()
    }

    fn value_slice(&self) -> Slice {
        self.cursor.value_slice()
    }

    fn seek_to_first(&mut self) -> Result<()> {
        self.cursor.seek_to_first()?;
        self.settle_forward()
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.cursor.seek_to_last()?;
        self.settle_backward()
    }

    fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.cursor.seek(key)?;
        self.settle_forward()
    }

    fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        self.cursor.seek_before(key)?;
        self.settle_backward()
    }

    fn next(&mut self) -> Result<()> {
        self.cursor.next()?;
        self.settle_forward()
    }

    fn prev(&mut self) -> Result<()> {
        self.cursor.prev()?;
        self.settle_backward()
    }
}
