//! `Salvaged`: the sound blocks of a table file, whatever else of it is damaged.
//!
//! The index says where the blocks are. Where it cannot be read, or anything else that is needed to get to it, the
//! blocks are found by their checksums: a block begins where the one before it ends, and ends where the checksum
//! over all bytes so far is the one that follows. Nothing is believed that its checksum does not cover.
//!
//! Filter and properties are not used: whoever salvages a table writes a new one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::block::Block;
use super::frame::{self, Handle, TRAILER_BYTES};
use super::loaded::Loaded;
use super::verify::Damage;
use super::{Cache, TableMeta, table_path};
use crate::base::error::IoContext;
use crate::base::{Cursor, EntryMeta, Error, FileId, Result, Seqno, checksum};
use crate::io::{File, Fs};

/// How much is read at a time while block borders are looked for.
const SCAN_BYTES: u64 = 1 << 20;

/// What can be read of a table.
#[derive(Clone, Debug)]
pub(crate) struct Salvaged {
    file: Arc<dyn File>,
    path: PathBuf,
    id: FileId,
    /// The sound blocks, in key order.
    blocks: Vec<Handle>,
    /// The largest sequence number in them.
    pub(crate) max_seqno: Seqno,
    /// What is wrong; its keys are lost, unless `lost` says otherwise.
    pub(crate) damage: Vec<Loss>,
}

/// Something wrong with a file that is being salvaged.
#[derive(Clone, Debug)]
pub(crate) struct Loss {
    /// Where and what.
    pub(crate) damage: Damage,
    /// Whether entries in its range are gone; otherwise everything was found without the damaged part.
    pub(crate) is_lost: bool,
}

impl Salvaged {
    /// Reads every block of the table `id` in `dir`. `meta` is what the manifest says of it, if anything does.
    /// Shows every entry's key to `see`. Fails only where the file cannot be read at all.
    pub(crate) fn open(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        id: FileId,
        meta: Option<&TableMeta>,
        see: &mut dyn FnMut(&[u8]),
    ) -> Result<Self> {
        let path = table_path(dir, id);
        let file = fs.open(&path).at("open", &path)?;
        let len = file.len().at("read the length of", &path)?;
        let expected = meta.map_or(len, |meta| meta.file_bytes);
        let loaded = Loaded::open(Arc::clone(&file), &path, id, expected, Cache::new(0));
        let mut salvaged = Self { file, path, id, blocks: Vec::new(), max_seqno: 0, damage: Vec::new() };
        let (first, last) = meta.map_or_else(Default::default, |m| (m.smallest.clone(), m.largest.clone()));
        match loaded {
            Ok(loaded) => salvaged.by_index(&loaded, first, see),
            Err(error) => salvaged.by_scan(error, len, first, last, see)?,
        }
        Ok(salvaged)
    }

    /// A cursor over the entries of the sound blocks.
    pub(crate) fn cursor(&self) -> SalvageCursor {
        SalvageCursor { table: self.clone(), at: 0, block: None, entry: 0, key: Vec::new() }
    }

    fn read(&self, handle: Handle) -> Result<Block> {
        let plain = frame::read(&*self.file, &self.path, self.id, handle)?;
        Block::decode(plain).map_err(|detail| Error::corruption(&self.path, handle.offset, detail))
    }

    fn keep(&mut self, handle: Handle, block: &Block, see: &mut dyn FnMut(&[u8])) {
        for entry in 0..block.entries() {
            self.max_seqno = self.max_seqno.max(block.seqno(entry));
            see(&block.key(entry));
        }
        self.blocks.push(handle);
    }

    fn by_index(&mut self, loaded: &Loaded, mut first: Vec<u8>, see: &mut dyn FnMut(&[u8])) {
        for i in 0..loaded.index.blocks() {
            let last = loaded.index.fence(i);
            match self.read(loaded.index.handle(i)) {
                Ok(block) => self.keep(loaded.index.handle(i), &block, see),
                Err(error) => {
                    let damage = Damage { error, first, last: last.clone() };
                    self.damage.push(Loss { damage, is_lost: true });
                }
            }
            first = last;
        }
        if let Err(error) = loaded.properties() {
            let damage = Damage { error, first: Vec::new(), last: Vec::new() };
            self.damage.push(Loss { damage, is_lost: false });
        }
    }

    /// Finds the blocks from the start of the file on. Ends where none is found: at the filter or the index, or at
    /// a damaged block.
    fn by_scan(
        &mut self,
        error: Error,
        len: u64,
        first: Vec<u8>,
        last: Vec<u8>,
        see: &mut dyn FnMut(&[u8]),
    ) -> Result<()> {
        let mut reached = first;
        let mut offset = 0;
        while let Some((handle, block)) = self.next_block(offset, len)? {
            if self.is_index(&block) {
                break;
            }
            reached = block.key(block.entries() - 1);
            self.keep(handle, &block, see);
            offset = handle.offset + handle.len;
        }
        // Without the manifest nobody knows where the table ended.
        let is_lost = reached < last || last.is_empty();
        let (first, last) = if is_lost { (reached, last) } else { Default::default() };
        self.damage.push(Loss { damage: Damage { error, first, last }, is_lost });
        Ok(())
    }

    /// Whether this is the index of the blocks found so far, which looks like a block of entries.
    fn is_index(&self, block: &Block) -> bool {
        let ends = self.blocks.iter().filter_map(|handle| handle.end());
        let fences =
            (0..block.entries()).map(|entry| block.value(entry).try_into().map(u64::from_le_bytes).ok());
        block.entries() == self.blocks.len() && ends.map(Some).eq(fences)
    }

    /// The block that begins at `start`, if one does.
    fn next_block(&self, start: u64, len: u64) -> Result<Option<(Handle, Block)>> {
        let (mut sum, mut window, mut window_at) = (0, Vec::new(), start);
        let mut end = start;
        while end + 4 <= len {
            let seen = (end - window_at) as usize;
            if seen + 4 > window.len() {
                window_at = end;
                window.resize((len - end).min(SCAN_BYTES) as usize, 0);
                self.file.read_exact_at(&mut window, end).at("read", &self.path)?;
                continue;
            }
            let stored = window[seen..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
            if end > start && checksum::bind(self.id.0, start, sum) == stored {
                let handle = Handle { offset: start, len: end + 4 - start };
                if handle.len > TRAILER_BYTES as u64
                    && let Ok(block) = self.read(handle)
                {
                    return Ok(Some((handle, block)));
                }
            }
            sum = checksum::plain_append(sum, &window[seen..=seen]);
            end += 1;
        }
        Ok(None)
    }
}

/// Reads a salvaged table from its first entry to its last. It goes forward only.
pub(crate) struct SalvageCursor {
    table: Salvaged,
    /// The number of the next block.
    at: usize,
    block: Option<Block>,
    entry: usize,
    key: Vec<u8>,
}

impl SalvageCursor {
    fn current(&self) -> &Block {
        self.block.as_ref().expect("a cursor is read only while it is valid")
    }

    /// Stands on the first entry of the next block, if there is one.
    fn enter_next(&mut self) -> Result<()> {
        self.block = None;
        self.entry = 0;
        if let Some(handle) = self.table.blocks.get(self.at) {
            self.at += 1;
            let block = self.table.read(*handle)?;
            self.key = block.key(0);
            self.block = Some(block);
        }
        Ok(())
    }

    fn forward_only() -> Error {
        Error::invalid("a salvaged table is read forward only")
    }
}

impl Cursor for SalvageCursor {
    fn valid(&self) -> bool {
        self.block.is_some()
    }
    fn key(&self) -> &[u8] {
        &self.key
    }
    fn seqno(&self) -> Seqno {
        self.current().seqno(self.entry)
    }
    fn meta(&self) -> EntryMeta {
        self.current().meta(self.entry)
    }
    fn value(&self) -> &[u8] {
        self.current().value(self.entry)
    }
    fn seek_to_first(&mut self) -> Result<()> {
        self.at = 0;
        self.enter_next()
    }
    fn seek_to_last(&mut self) -> Result<()> {
        Err(Self::forward_only())
    }
    fn seek(&mut self, _: &[u8]) -> Result<()> {
        Err(Self::forward_only())
    }
    fn seek_before(&mut self, _: &[u8]) -> Result<()> {
        Err(Self::forward_only())
    }
    fn next(&mut self) -> Result<()> {
        if self.entry + 1 < self.current().entries() {
            self.entry += 1;
            self.key = self.current().key(self.entry);
            return Ok(());
        }
        self.enter_next()
    }
    fn prev(&mut self) -> Result<()> {
        Err(Self::forward_only())
    }
}
