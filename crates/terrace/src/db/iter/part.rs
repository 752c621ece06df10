//! `Part`: one of the sources that an iterator merges.
//!
//! An enum rather than a boxed trait object: a scan asks its sources several times per entry, and most of these
//! calls are a few instructions when the compiler sees through them.

use crate::base::{Cursor, EntryMeta, Result, Seqno, Slice};
use crate::memtable::MemCursor;
use crate::version::RunCursor;

/// A memtable or a run.
pub(super) enum Part {
    Memtable(MemCursor),
    Run(RunCursor),
    /// Either, without what range deletes hide in it.
    Skipping(Box<dyn Cursor>),
}

/// Calls a method of whichever cursor it is.
macro_rules! each {
    ($part:expr, $cursor:ident => $call:expr) => {
        match $part {
            Part::Memtable($cursor) => $call,
            Part::Run($cursor) => $call,
            Part::Skipping($cursor) => $call,
        }
    };
}

impl Cursor for Part {
    #[inline]
    fn valid(&self) -> bool {
        each!(self, cursor => cursor.valid())
    }

    #[inline]
    fn key(&self) -> &[u8] {
        each!(self, cursor => cursor.key())
    }

    #[inline]
    fn seqno(&self) -> Seqno {
        each!(self, cursor => cursor.seqno())
    }

    #[inline]
    fn meta(&self) -> EntryMeta {
        each!(self, cursor => cursor.meta())
    }

    #[inline]
    fn value(&self) -> &[u8] {
        each!(self, cursor => cursor.value())
    }

    fn value_slice(&self) -> Slice {
        each!(self, cursor => cursor.value_slice())
    }

    fn seek_to_first(&mut self) -> Result<()> {
        each!(self, cursor => cursor.seek_to_first())
    }

    fn seek_to_last(&mut self) -> Result<()> {
        each!(self, cursor => cursor.seek_to_last())
    }

    fn seek(&mut self, key: &[u8]) -> Result<()> {
        each!(self, cursor => cursor.seek(key))
    }

    fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        each!(self, cursor => cursor.seek_before(key))
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        each!(self, cursor => cursor.next())
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        each!(self, cursor => cursor.prev())
    }
}
