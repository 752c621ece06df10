//! What a table holds in memory once it is in use: file handle, index, filter and block slots.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Summary;
use super::block::Block;
use super::cache::{Cache, Slots};
use super::filter::Filter;
use super::footer::{FOOTER_BYTES, Footer};
use super::frame::{self, Handle};
use super::index::Index;
use super::plain::Plain;
use super::properties::Properties;
use crate::base::error::IoContext;
use crate::base::{Error, FileId, Result};
use crate::io::{File, Fs};

/// An opened table. Its index and filter count as pinned in the cache.
#[derive(Debug)]
pub(super) struct Loaded {
    file: Arc<dyn File>,
    path: PathBuf,
    id: FileId,
    properties_at: Handle,
    pub(super) index: Index,
    pub(super) filter: Filter,
    pub(super) slots: Arc<Slots>,
    cache: Arc<Cache>,
}

/// Reads the footer of an open file of `file_bytes` bytes.
fn read_footer(file: &dyn File, path: &Path, id: FileId, file_bytes: u64) -> Result<Footer> {
    let Some(offset) = file_bytes.checked_sub(FOOTER_BYTES as u64) else {
        let detail = format!("expected a footer of {FOOTER_BYTES} bytes, found a file of {file_bytes}");
        return Err(Error::corruption(path, 0, detail));
    };
    let mut bytes = [0; FOOTER_BYTES];
    frame::read_exact(file, path, &mut bytes, offset)?;
    Footer::decode(&bytes, path, id, offset)
}

/// Reads the properties block at `handle`.
fn read_properties(file: &dyn File, path: &Path, id: FileId, handle: Handle) -> Result<Properties> {
    let bytes = frame::read(file, path, id, handle)?;
    Properties::decode(&bytes).ok_or_else(|| {
        Error::corruption(
            path,
            handle.offset,
            format!("expected properties, found {} other bytes", bytes.len()),
        )
    })
}

/// Reads what a table file says about itself, without the manifest's help.
pub(super) fn describe(fs: &dyn Fs, path: &Path, id: FileId) -> Result<Properties> {
    let file = fs.open(path).at("open", path)?;
    let file_bytes = file.len().at("measure", path)?;
    let footer = read_footer(&*file, path, id, file_bytes)?;
    let mut properties = read_properties(&*file, path, id, footer.properties)?;
    properties.meta.file_bytes = file_bytes;
    Ok(properties)
}

/// As `describe`, for those who look at a store.
pub(super) fn summarise(fs: &dyn Fs, path: &Path, id: FileId) -> Result<Summary> {
    let file = fs.open(path).at("open", path)?;
    let footer = read_footer(&*file, path, id, file.len().at("measure", path)?)?;
    let properties = read_properties(&*file, path, id, footer.properties)?;
    Ok(Summary {
        blocks: properties.data_blocks,
        expiring: properties.meta.entries.saturating_sub(properties.never_expiring),
        created_at_ms: properties.created_at_ms,
        origin: properties.origin,
        filter_bytes: footer.filter.len,
        index_bytes: footer.index.len,
        data_bytes: footer.filter.offset,
    })
}

impl Loaded {
    /// Reads footer, filter and index of an open file.
    pub(super) fn open(
        file: Arc<dyn File>,
        path: &Path,
        id: FileId,
        file_bytes: u64,
        cache: Arc<Cache>,
    ) -> Result<Self> {
        let found = file.len().at("measure", path)?;
        if found != file_bytes {
            let detail = format!("expected a file of {file_bytes} bytes, found {found}");
            return Err(Error::corruption(path, found.min(file_bytes), detail));
        }
        let footer = read_footer(&*file, path, id, file_bytes)?;
        let index = frame::read(&*file, path, id, footer.index)?;
        let index = Index::decode(index, footer.filter.offset)
            .map_err(|detail| Error::corruption(path, footer.index.offset, detail))?;
        let filter = match footer.filter.len {
            0 => Filter::default(),
            _ => Filter::decode(&frame::read(&*file, path, id, footer.filter)?)
                .map_err(|detail| Error::corruption(path, footer.filter.offset, detail))?,
        };
        let slots = Arc::new(Slots::new(index.blocks(), Arc::clone(&cache)));
        let path = path.to_path_buf();
        let loaded = Self { file, path, id, properties_at: footer.properties, index, filter, slots, cache };
        loaded.cache.pin_bytes(loaded.memory_bytes());
        Ok(loaded)
    }

    fn memory_bytes(&self) -> u64 {
        self.index.memory_bytes() + self.filter.memory_bytes() + size_of_val(&**self.slots) as u64
    }

    /// Reads data block `i` from the file, past the cache.
    pub(super) fn read_block(&self, i: usize) -> Result<Block> {
        self.decoded(i, frame::read_in_place(&self.file, &self.path, self.id, self.index.handle(i))?)
    }

    fn decoded(&self, i: usize, plain: Plain) -> Result<Block> {
        let offset = self.index.handle(i).offset;
        Block::decode(plain).map_err(|detail| Error::corruption(&self.path, offset, detail))
    }

    /// Reads data block `i` as it is stored, verified; for `frame::reseal`.
    pub(super) fn read_stored(&self, i: usize) -> Result<Vec<u8>> {
        frame::read_stored(&*self.file, &self.path, self.id, self.index.handle(i))
    }

    /// Reads data block `i` after a miss and offers it to the cache if `fill_cache`.
    #[cold]
    pub(super) fn fetch_block(&self, i: usize, fill_cache: bool) -> Result<Arc<Block>> {
        self.cache.count_miss();
        let block = Arc::new(self.read_block(i)?);
        if fill_cache {
            self.slots.offer(i, &block);
        }
        Ok(block)
    }

    /// The same if that takes no wait for the device; else the system may begin to bring the block in.
    pub(super) fn try_fetch_block(&self, i: usize) -> Result<Option<Arc<Block>>> {
        let handle = self.index.handle(i);
        let Some(plain) = frame::try_read(&*self.file, &self.path, self.id, handle)? else {
            return Ok(None);
        };
        self.cache.count_miss();
        let block = Arc::new(self.decoded(i, plain.into())?);
        self.slots.offer(i, &block);
        Ok(Some(block))
    }

    /// Reads the properties block.
    pub(super) fn properties(&self) -> Result<Properties> {
        read_properties(&*self.file, &self.path, self.id, self.properties_at)
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        self.cache.unpin_bytes(self.memory_bytes());
    }
}
