//! `WholeBlock`: a data block on its way from one table into another, as it is.
//!
//! What makes that cheap is what is left out: merging, judging and laying out its entries, and compressing them. The
//! bytes are read again as they are stored and their checksum, which is bound to file and offset, is verified
//! before it is replaced. Entries are still decoded once, for the filter and the summary. Whether a block may go as
//! it is, is not decided here.

use std::sync::Arc;

use super::Compression;
use super::block::Block;
use super::reader::Table;
use crate::base::{Kind, Result};

/// A block of a table. Keeps both in memory.
#[derive(Debug)]
pub(crate) struct WholeBlock {
    table: Arc<Table>,
    index: usize,
    pub(super) block: Arc<Block>,
}

impl WholeBlock {
    /// Data block `index` of `table`.
    pub(super) fn new(table: Arc<Table>, index: usize, block: Arc<Block>) -> Self {
        Self { table, index, block }
    }

    /// The number of entries, at least 1.
    pub(crate) fn entries(&self) -> usize {
        self.block.entries()
    }

    /// Its length before compression.
    pub(crate) fn plain_bytes(&self) -> usize {
        self.block.plain().len()
    }

    /// The first key.
    pub(crate) fn first_key(&self) -> Vec<u8> {
        self.block.key(0)
    }

    /// A key at or after the block's last one and before all others of the table that come after it.
    pub(crate) fn fence(&self) -> Result<Vec<u8>> {
        Ok(self.table.loaded()?.index.fence(self.index))
    }

    /// How many blocks of the table, from this one on, lie wholly before `end`; without it, all the rest.
    pub(crate) fn blocks_before(&self, end: Option<&[u8]>) -> Result<usize> {
        let index = &self.table.loaded()?.index;
        let reached = end.and_then(|end| index.find(end)).unwrap_or(index.blocks());
        Ok(reached.saturating_sub(self.index))
    }

    /// Whether every entry is a put that never expires, and the only version of its key here.
    pub(crate) fn is_plain(&self) -> bool {
        let block = &self.block;
        (0..block.entries()).all(|i| {
            let meta = block.meta(i);
            meta.kind == Kind::Put && meta.expires_at_ms == 0 && (i == 0 || !block.has_key_of_previous(i))
        })
    }

    /// Whether no entry has a sequence number.
    pub(crate) fn is_without_seqnos(&self) -> bool {
        (0..self.block.entries()).all(|i| self.block.seqno(i) == 0)
    }

    /// The bytes in the file, verified, if they are stored under `compression`; without the trailer's checksum.
    pub(super) fn stored_under(&self, compression: Compression) -> Result<Option<Vec<u8>>> {
        if compression == Compression::None {
            // The plain bytes are at hand.
            return Ok(None);
        }
        let stored = self.table.loaded()?.read_stored(self.index)?;
        Ok(stored.last().is_some_and(|kind| *kind == compression as u8).then_some(stored))
    }
}
