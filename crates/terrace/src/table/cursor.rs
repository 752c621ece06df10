//! `TableCursor`: a position in a table, one block at a time.
//!
//! The cursor owns a count of the block it stands in, so it holds no pin and may rest as long as it likes.

use std::sync::Arc;

use super::block::Block;
use super::reader::Table;
use super::whole::WholeBlock;
use crate::base::{Cursor, EntryMeta, Result, Seqno, Slice};

/// A cursor over one table; see `base::Cursor` for the contract.
#[derive(Debug)]
pub(crate) struct TableCursor {
    table: Arc<Table>,
    fill_cache: bool,
    /// The block under the cursor; `None` while the cursor is not valid.
    block: Option<Arc<Block>>,
    block_index: usize,
    entry: usize,
    entries: usize,
    key: Vec<u8>,
}

impl TableCursor {
    pub(super) fn new(table: Arc<Table>, fill_cache: bool) -> Self {
        Self { table, fill_cache, block: None, block_index: 0, entry: 0, entries: 0, key: Vec::new() }
    }

    #[inline]
    fn current(&self) -> &Block {
        self.block.as_deref().expect("a cursor is read only while it is valid")
    }

    /// Goes to block `i`, reusing it if the cursor stands in it, and gives it back. Not valid after an error.
    fn enter(&mut self, i: usize) -> Result<Arc<Block>> {
        match self.block.take() {
            Some(block) if self.block_index == i => Ok(block),
            _ => self.table.block(i, self.fill_cache),
        }
    }

    /// Stands on `entry` of block `i`.
    fn stand(&mut self, block: Arc<Block>, i: usize, entry: usize) {
        self.key.clear();
        self.key.reserve(block.key_bytes(entry));
        self.key.extend_from_slice(block.prefix());
        block.rebuild_key(entry, &mut self.key);
        self.entries = block.entries();
        self.block_index = i;
        self.entry = entry;
        self.block = Some(block);
    }

    fn stand_on_first_of(&mut self, i: usize) -> Result<()> {
        if i >= self.table.loaded()?.index.blocks() {
            self.block = None;
            return Ok(());
        }
        let block = self.enter(i)?;
        self.stand(block, i, 0);
        Ok(())
    }

    /// Whether the cursor stands on the first entry of a block.
    #[inline]
    pub(crate) fn at_block_start(&self) -> bool {
        self.entry == 0 && self.block.is_some()
    }

    /// The block under the cursor.
    pub(crate) fn whole_block(&self) -> Option<WholeBlock> {
        let block = Arc::clone(self.block.as_ref()?);
        Some(WholeBlock::new(Arc::clone(&self.table), self.block_index, block))
    }

    /// Moves to the first entry of the next block. The cursor must be valid.
    pub(crate) fn skip_block(&mut self) -> Result<()> {
        self.stand_on_first_of(self.block_index + 1)
    }

    /// Stands on the last entry in front of block `i`.
    fn stand_before(&mut self, i: usize) -> Result<()> {
        let Some(i) = i.checked_sub(1) else {
            self.block = None;
            return Ok(());
        };
        let block = self.enter(i)?;
        let last = block.entries() - 1;
        self.stand(block, i, last);
        Ok(())
    }
}

impl Cursor for TableCursor {
    #[inline]
    fn valid(&self) -> bool {
        self.block.is_some()
    }

    #[inline]
    fn key(&self) -> &[u8] {
        debug_assert!(self.valid());
        &self.key
    }

    #[inline]
    fn seqno(&self) -> Seqno {
        self.current().seqno(self.entry)
    }

    #[inline]
    fn meta(&self) -> EntryMeta {
        self.current().meta(self.entry)
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.current().value(self.entry)
    }

    fn value_slice(&self) -> Slice {
        let block = self.block.as_ref().expect("a cursor is read only while it is valid");
        block.value_slice(self.entry, || Arc::clone(block))
    }

    fn seek_to_first(&mut self) -> Result<()> {
        self.stand_on_first_of(0)
    }

    fn seek_to_last(&mut self) -> Result<()> {
        let blocks = self.table.loaded()?.index.blocks();
        self.stand_before(blocks)
    }

    fn seek(&mut self, key: &[u8]) -> Result<()> {
        let Some(i) = self.table.loaded()?.index.find(key) else {
            self.block = None;
            return Ok(());
        };
        let block = self.enter(i)?;
        let entry = block.lower_bound(key);
        if entry == block.entries() {
            // The key lies between the block's last key and its fence.
            return self.stand_on_first_of(i + 1);
        }
        self.stand(block, i, entry);
        Ok(())
    }

    fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        let Some(i) = self.table.loaded()?.index.find(key) else {
            return self.seek_to_last();
        };
        let block = self.enter(i)?;
        match block.lower_bound(key).checked_sub(1) {
            Some(entry) => {
                self.stand(block, i, entry);
                Ok(())
            }
            None => self.stand_before(i),
        }
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        let block = self.block.as_deref().expect("a cursor moves only while it is valid");
        if self.entry + 1 == self.entries {
            return self.stand_on_first_of(self.block_index + 1);
        }
        self.entry += 1;
        block.rebuild_key(self.entry, &mut self.key);
        Ok(())
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        let block = self.block.as_deref().expect("a cursor moves only while it is valid");
        if self.entry == 0 {
            return self.stand_before(self.block_index);
        }
        self.entry -= 1;
        block.rebuild_key(self.entry, &mut self.key);
        Ok(())
    }
}
