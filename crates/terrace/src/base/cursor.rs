//! `Cursor`: one position in a sorted sequence of internal entries.

use super::{EntryMeta, Result, Seqno, Slice};

/// A movable position over entries sorted by internal key ascending, then sequence number descending.
///
/// A new cursor is not valid until it is sought. The accessors may be called only while `valid()`; calling
/// them otherwise is a programmer error and may panic. After an error the cursor is not valid.
pub(crate) trait Cursor: Send {
    /// Whether the cursor stands on an entry.
    fn valid(&self) -> bool;
    /// The internal key (keyspace prefix and user key) of the current entry.
    fn key(&self) -> &[u8];
    /// The sequence number of the current entry.
    fn seqno(&self) -> Seqno;
    /// Kind, tag and expiry of the current entry.
    fn meta(&self) -> EntryMeta;
    /// The value of the current entry; empty for a delete.
    fn value(&self) -> &[u8];
    /// The value as owned bytes: a copy when small, pinned when large.
    fn value_slice(&self) -> Slice {
        Slice::copy_from(self.value())
    }
    /// Moves to the first entry.
    fn seek_to_first(&mut self) -> Result<()>;
    /// Moves to the last entry.
    fn seek_to_last(&mut self) -> Result<()>;
    /// Moves to the first entry whose key is at or after `key` (its newest version).
    fn seek(&mut self, key: &[u8]) -> Result<()>;
    /// Moves to the last entry whose key is strictly before `key` (its oldest version).
    fn seek_before(&mut self, key: &[u8]) -> Result<()>;
    /// Moves one entry forward. The cursor must be valid.
    fn next(&mut self) -> Result<()>;
    /// Moves one entry back. The cursor must be valid.
    fn prev(&mut self) -> Result<()>;
}

impl<C: Cursor + ?Sized> Cursor for Box<C> {
    fn valid(&self) -> bool {
        (**self).valid()
    }
    fn key(&self) -> &[u8] {
        (**self).key()
    }
    fn seqno(&self) -> Seqno {
        (**self).seqno()
    }
    fn meta(&self) -> EntryMeta {
        (**self).meta()
    }
    fn value(&self) -> &[u8] {
        (**self).value()
    }
    fn value_slice(&self) -> Slice {
        (**self).value_slice()
    }
    fn seek_to_first(&mut self) -> Result<()> {
        (**self).seek_to_first()
    }
    fn seek_to_last(&mut self) -> Result<()> {
        (**self).seek_to_last()
    }
    fn seek(&mut self, key: &[u8]) -> Result<()> {
        (**self).seek(key)
    }
    fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        (**self).seek_before(key)
    }
    fn next(&mut self) -> Result<()> {
        (**self).next()
    }
    fn prev(&mut self) -> Result<()> {
        (**self).prev()
    }
}
