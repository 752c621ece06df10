//! `TableWriter`: turns sorted entries into a table file.
//!
//! A file is data blocks, filter block, index block, properties block and footer, without gaps. Versions of
//! one key never part: a block is closed only in front of a different key, so a lookup ends in one block.
//! The file counts as written only when `finish` has returned; syncing the directory is the caller's, once
//! for all the files that it made.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::block::BlockBuilder;
use super::filter::FilterBuilder;
use super::footer::{FOOTER_BYTES, Footer};
use super::frame::{Handle, reseal, seal};
use super::index::{fence, push_fence};
use super::meta::TableMeta;
use super::properties::Properties;
use super::whole::WholeBlock;
use super::{Compression, TableOptions, table_path};
use crate::base::error::IoContext;
use crate::base::hash::filter_hash;
use crate::base::{EntryMeta, FileId, Result, Seqno};
use crate::io::{File, Fs};

/// Output is gathered into writes of about this size.
const WRITE_BYTES: usize = 256 << 10;

/// Writes one table. After an error, `abandon` it.
#[derive(Debug)]
pub(crate) struct TableWriter {
    fs: Arc<dyn Fs>,
    file: Arc<dyn File>,
    path: PathBuf,
    id: FileId,
    options: TableOptions,
    /// Sealed bytes that are not in the file yet.
    out: Vec<u8>,
    written_bytes: u64,
    block: BlockBuilder,
    plain: Vec<u8>,
    index: BlockBuilder,
    filter: FilterBuilder,
    properties: Properties,
    smallest: Vec<u8>,
    last_key: Vec<u8>,
    last_seqno: Seqno,
}

impl TableWriter {
    /// Creates the file of table `id`, which must not exist yet.
    pub(crate) fn create(fs: &Arc<dyn Fs>, dir: &Path, id: FileId, options: TableOptions) -> Result<Self> {
        let path = table_path(dir, id);
        let file = fs.create(&path).at("create", &path)?;
        Ok(Self {
            fs: Arc::clone(fs),
            file,
            path,
            id,
            filter: FilterBuilder::new(options.filter_bits_per_key),
            options,
            out: Vec::with_capacity(WRITE_BYTES + WRITE_BYTES / 8),
            written_bytes: 0,
            block: BlockBuilder::default(),
            plain: Vec::new(),
            index: BlockBuilder::default(),
            properties: Properties { origin: options.origin, ..Properties::new(id) },
            smallest: Vec::new(),
            last_key: Vec::new(),
            last_seqno: 0,
        })
    }

    /// Notes the time of writing in the properties; 0 when never called.
    pub(crate) fn set_created_at_ms(&mut self, now_ms: u64) {
        self.properties.created_at_ms = now_ms;
    }

    /// Notes that nothing comes which a range delete up to this one hides from every reader; 0 when never called.
    pub(crate) fn set_cleared_seqno(&mut self, seqno: Seqno) {
        self.properties.meta.cleared_seqno = seqno;
    }

    /// Adds the next entry: keys ascending, and versions of one key from newest to oldest.
    pub(crate) fn add(&mut self, key: &[u8], seqno: Seqno, meta: EntryMeta, value: &[u8]) -> Result<()> {
        let first = self.properties.meta.entries == 0;
        let order = if first { std::cmp::Ordering::Less } else { self.last_key[..].cmp(key) };
        let in_order = order.is_lt() || (order.is_eq() && seqno < self.last_seqno);
        assert!(in_order, "entries come in order: {:?} at {seqno}", key.escape_ascii().to_string());
        if order.is_lt() {
            if self.block_is_full() {
                self.close_block(Some(key))?;
            }
            self.filter.add(filter_hash(key));
            self.last_key.clear();
            self.last_key.extend_from_slice(key);
        }
        if first {
            self.smallest = key.to_vec();
        }
        self.last_seqno = seqno;
        self.properties.count(key, seqno, meta, value);
        self.block.add(key, seqno, meta, value);
        Ok(())
    }

    /// Adds a whole block, whose keys come after all that was added, and closes the one under way. `fence` is at or
    /// after its last key and before the next one to be added. The block's bytes stay as they are where it is
    /// stored as this table's blocks are, else only their compression changes.
    pub(crate) fn add_block(&mut self, whole: &WholeBlock, fence: &[u8]) -> Result<()> {
        let block = &*whole.block;
        let mut key = block.key(0);
        let first = self.properties.meta.entries == 0;
        assert!(first || self.last_key < key, "blocks come in order: {:?}", key.escape_ascii().to_string());
        if !self.block.is_empty() {
            self.close_block(Some(&key))?;
        }
        if first {
            self.smallest.clone_from(&key);
        }
        match whole.stored_under(self.options.compression)? {
            Some(stored) => {
                let offset = self.offset();
                reseal(&mut self.out, self.id, offset, &stored);
            }
            None => {
                self.seal(block.plain(), self.options.compression);
            }
        }
        for i in 0..block.entries() {
            if i == 0 || !block.has_key_of_previous(i) {
                block.rebuild_key(i, &mut key);
                self.filter.add(filter_hash(&key));
            }
            self.properties.count(&key, block.seqno(i), block.meta(i), block.value(i));
        }
        self.last_key = key;
        self.last_seqno = block.seqno(block.entries() - 1);
        self.end_block(fence)
    }

    /// The length so far of the block under way; 0 when there is none.
    pub(crate) fn open_block_bytes(&self) -> usize {
        if self.block.is_empty() { 0 } else { self.block.estimate_bytes() }
    }

    /// About how long the file would be if it were finished now.
    pub(crate) fn file_bytes(&self) -> u64 {
        let pending = self.open_block_bytes() as u64;
        let index = if self.index.is_empty() { 0 } else { self.index.estimate_bytes() as u64 };
        self.offset() + pending + index + self.filter.estimate_bytes() + FOOTER_BYTES as u64
    }

    /// Entries added so far.
    pub(crate) fn entries(&self) -> u64 {
        self.properties.meta.entries
    }

    /// Whether the next different key would begin a block: a good place to end the table.
    #[cfg(test)]
    pub(crate) fn at_block_start(&self) -> bool {
        self.block.is_empty() || self.block_is_full()
    }

    fn block_is_full(&self) -> bool {
        self.block.estimate_bytes() >= self.options.block_bytes && !self.block.is_empty()
    }

    /// Where the next sealed byte goes.
    fn offset(&self) -> u64 {
        self.written_bytes + self.out.len() as u64
    }

    /// Seals the gathered entries as a data block; `next` is the key that follows, if any.
    fn close_block(&mut self, next: Option<&[u8]>) -> Result<()> {
        let mut plain = std::mem::take(&mut self.plain);
        self.block.finish(&mut plain);
        self.seal(&plain, self.options.compression);
        plain.clear();
        plain.shrink_to(WRITE_BYTES);
        self.plain = plain;
        let fence = next.map_or(&self.last_key[..], |next| fence(&self.last_key, next)).to_vec();
        self.end_block(&fence)
    }

    /// Notes the data block that was just sealed.
    fn end_block(&mut self, fence: &[u8]) -> Result<()> {
        push_fence(&mut self.index, fence, self.written_bytes + self.out.len() as u64);
        self.properties.data_blocks += 1;
        if self.out.len() >= WRITE_BYTES { self.write_out() } else { Ok(()) }
    }

    fn seal(&mut self, plain: &[u8], compression: Compression) -> Handle {
        let offset = self.offset();
        seal(&mut self.out, self.id, offset, plain, compression);
        Handle { offset, len: self.offset() - offset }
    }

    fn write_out(&mut self) -> Result<()> {
        self.file.write_all_at(&self.out, self.written_bytes).at("write", &self.path)?;
        self.written_bytes += self.out.len() as u64;
        self.out.clear();
        self.out.shrink_to(2 * WRITE_BYTES);
        Ok(())
    }

    /// Writes what remains and syncs the file. There must be an entry; a writer without any is to be
    /// abandoned. On an error the file is removed as far as that is possible.
    pub(crate) fn finish(mut self) -> Result<TableMeta> {
        assert!(self.entries() > 0, "a table has entries");
        match self.write_tail() {
            Ok(meta) => Ok(meta),
            Err(error) => {
                self.abandon();
                Err(error)
            }
        }
    }

    fn write_tail(&mut self) -> Result<TableMeta> {
        if !self.block.is_empty() {
            self.close_block(None)?;
        }
        let mut plain = Vec::new();
        self.filter.finish(&mut plain);
        let filter = if plain.is_empty() {
            Handle { offset: self.offset(), len: 0 }
        } else {
            self.seal(&plain, Compression::None)
        };
        plain.clear();
        self.index.finish(&mut plain);
        let index = self.seal(&plain, Compression::None);
        self.properties.close(std::mem::take(&mut self.smallest), std::mem::take(&mut self.last_key));
        plain.clear();
        self.properties.encode(&mut plain);
        let properties = self.seal(&plain, Compression::None);
        let offset = self.offset();
        Footer { filter, index, properties }.encode(&mut self.out, self.id, offset);
        self.write_out()?;
        self.file.sync().at("sync", &self.path)?;
        Ok(TableMeta { file_bytes: self.written_bytes, ..self.properties.meta.clone() })
    }

    /// Gives up and removes the file. What cannot be removed now is an orphan that the next opening removes.
    pub(crate) fn abandon(self) {
        let _ = self.fs.remove(&self.path);
    }
}
