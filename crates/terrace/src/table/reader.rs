//! `Table`: reads of one immutable table file.
//!
//! Opening does no I/O; the first use loads index and filter. A lookup is: filter (one cache line), fence
//! search, slot load, head search. No lock is taken and no shared counter is bumped unless the block is not
//! in memory. No pin is held across I/O.

mod lookup;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::block::Block;
use super::cache::Cache;
use super::counters::Counters;
use super::cursor::TableCursor;
use super::loaded::Loaded;
use super::loaded::{describe, summarise};
use super::meta::TableMeta;
use super::slot::pin;
use super::{Found, Summary, table_path};
use crate::base::error::IoContext;
use crate::base::{FileId, Result, Seqno};
use crate::io::{File, Fs};

pub(crate) use lookup::{Lookup, Probe, find_all};

const FILTER_REJECTED: usize = 0;
const FILTER_CONFIRMED: usize = 1;
const FILTER_FOOLED: usize = 2;
const SCANNED: usize = 3;

/// So many scans of one thread are a reason to look at what they cost.
const SCANS_PER_LOOK: u64 = 4096;

/// How a table's filter has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct FilterStats {
    /// Lookups that the filter ended.
    pub(crate) rejected: u64,
    /// Lookups that it let through and that found their key.
    pub(crate) found: u64,
    /// Lookups that it let through in vain.
    pub(crate) false_positives: u64,
}

/// An open table.
#[derive(Debug)]
pub(crate) struct Table {
    meta: TableMeta,
    path: PathBuf,
    fs: Arc<dyn Fs>,
    /// Read the file through a mapping where that is possible.
    mapped: bool,
    pub(super) cache: Arc<Cache>,
    /// The file, if it was opened ahead of its first use.
    held: OnceLock<Arc<dyn File>>,
    loaded: OnceLock<Loaded>,
    /// Held while loading, so that a crowd at a new table reads its index once.
    loading: Mutex<()>,
    obsolete: AtomicBool,
    counters: Counters,
}

impl Table {
    /// A handle on the table that `meta` describes. Does no I/O.
    pub(crate) fn open(fs: Arc<dyn Fs>, dir: &Path, meta: TableMeta, cache: Arc<Cache>) -> Self {
        Self {
            path: table_path(dir, meta.id),
            meta,
            fs,
            mapped: false,
            cache,
            held: OnceLock::new(),
            loaded: OnceLock::new(),
            loading: Mutex::new(()),
            obsolete: AtomicBool::new(false),
            counters: Counters::default(),
        }
    }

    /// The same table, its file read through a mapping where the file system has them, if `mapped`.
    pub(crate) fn mapped(mut self, mapped: bool) -> Self {
        self.mapped = mapped;
        self
    }

    /// Reads a table's description out of its own file, for salvage and inspection.
    pub(crate) fn read_meta(fs: &dyn Fs, dir: &Path, id: FileId) -> Result<TableMeta> {
        Ok(describe(fs, &table_path(dir, id), id)?.meta)
    }

    /// Reads what a table file says about itself beyond that.
    pub(crate) fn read_summary(fs: &dyn Fs, dir: &Path, id: FileId) -> Result<Summary> {
        summarise(fs, &table_path(dir, id), id)
    }

    /// Which opening of a store has written it; see `TableOptions::origin`. Reads the file at each call.
    pub(crate) fn origin(&self) -> Result<u64> {
        Ok(self.loaded()?.properties()?.origin)
    }

    /// What the manifest knows of this table.
    pub(crate) fn meta(&self) -> &TableMeta {
        &self.meta
    }

    /// The file, for messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Index, filter and slots; read from the file at first use.
    #[inline]
    pub(super) fn loaded(&self) -> Result<&Loaded> {
        match self.loaded.get() {
            Some(loaded) => Ok(loaded),
            None => self.load(),
        }
    }

    fn open_file(&self) -> Result<Arc<dyn File>> {
        let file = if self.mapped { self.fs.open_mapped(&self.path) } else { self.fs.open(&self.path) };
        file.at("open", &self.path)
    }

    /// Opens the file and reads nothing: from now on the table can be read although somebody removes its file.
    pub(crate) fn hold(&self) -> Result<()> {
        if self.held.get().is_none() {
            let _ = self.held.set(self.open_file()?);
        }
        Ok(())
    }

    #[cold]
    fn load(&self) -> Result<&Loaded> {
        let _alone = self.loading.lock();
        if let Some(loaded) = self.loaded.get() {
            return Ok(loaded);
        }
        let (id, file_bytes) = (self.meta.id, self.meta.file_bytes);
        let file = match self.held.get() {
            Some(file) => Arc::clone(file),
            None => self.open_file()?,
        };
        let loaded = Loaded::open(file, &self.path, id, file_bytes, Arc::clone(&self.cache))?;
        Ok(self.loaded.get_or_init(|| loaded))
    }

    /// The newest version of `key` that was written at or before `at`. `filter_hash` is that of the key.
    pub(crate) fn get(&self, key: &[u8], filter_hash: u64, at: Seqno) -> Result<Option<Found>> {
        let loaded = self.loaded()?;
        if loaded.filter.is_absent() {
            return self.search(loaded, key, at);
        }
        if !loaded.filter.may_contain(filter_hash) {
            self.counters.bump(FILTER_REJECTED);
            return Ok(None);
        }
        let found = self.search(loaded, key, at)?;
        self.counters.bump(if found.is_some() { FILTER_CONFIRMED } else { FILTER_FOOLED });
        Ok(found)
    }

    fn search(&self, loaded: &Loaded, key: &[u8], at: Seqno) -> Result<Option<Found>> {
        let Some(i) = loaded.index.find(key) else {
            return Ok(None);
        };
        {
            let pinned = pin();
            if let Some(block) = loaded.slots[i].read(&pinned) {
                self.cache.count_hit();
                return Ok(block.find(key, at).map(|entry| found(&block, entry, || block.to_arc())));
            }
        }
        let block = loaded.fetch_block(i, true)?;
        Ok(block.find(key, at).map(|entry| found(&block, entry, || Arc::clone(&block))))
    }

    /// Block `i` for a cursor: from its slot, or from the file.
    pub(super) fn block(&self, i: usize, fill_cache: bool) -> Result<Arc<Block>> {
        let loaded = self.loaded()?;
        let cached = loaded.slots[i].read(&pin()).map(|block| block.to_arc());
        match cached {
            Some(block) => {
                self.cache.count_hit();
                Ok(block)
            }
            None => loaded.fetch_block(i, fill_cache),
        }
    }

    /// Asks for the filter's cache line ahead of `get` or `may_contain`. Does nothing before first use.
    #[inline]
    pub(crate) fn prefetch_filter(&self, filter_hash: u64) {
        if let Some(loaded) = self.loaded.get() {
            loaded.filter.prefetch(filter_hash);
        }
    }

    /// A cursor over all entries. Without `fill_cache` it uses cached blocks and adds none.
    pub(crate) fn cursor(self: &Arc<Self>, fill_cache: bool) -> TableCursor {
        TableCursor::new(Arc::clone(self), fill_cache)
    }

    /// Counts a scan that has to look at this table's run; `true` once in a while, when the sum is worth a look.
    #[inline]
    pub(crate) fn count_scan(&self) -> bool {
        self.counters.bump(SCANNED) % SCANS_PER_LOOK == SCANS_PER_LOOK - 1
    }

    /// The scans that were counted.
    pub(crate) fn scans(&self) -> u64 {
        self.counters.sum(SCANNED)
    }

    /// Marks the table as no longer part of the store: its file goes when the last handle does.
    pub(crate) fn delete_on_drop(&self) {
        self.obsolete.store(true, Ordering::Release);
    }

    /// Up to `n` keys, ascending, that split the table into parts of similar stored size: a part holds the
    /// keys from one split key up to the next. Fewer when there are fewer blocks.
    pub(crate) fn split_keys(&self, n: usize) -> Result<Vec<Vec<u8>>> {
        let index = &self.loaded()?.index;
        let parts = n as u64 + 1;
        let step = index.data_end() / parts;
        // The fence of the last block bounds nothing, so it splits nothing.
        let mut blocks: Vec<usize> =
            (1..parts).map(|i| index.block_at(i * step)).filter(|block| block + 1 < index.blocks()).collect();
        blocks.dedup();
        Ok(blocks.into_iter().map(|block| index.fence(block)).collect())
    }

    /// How the filter has done so far.
    pub(crate) fn filter_stats(&self) -> FilterStats {
        FilterStats {
            rejected: self.counters.sum(FILTER_REJECTED),
            found: self.counters.sum(FILTER_CONFIRMED),
            false_positives: self.counters.sum(FILTER_FOOLED),
        }
    }
}

#[inline]
fn found(block: &Block, entry: usize, pin: impl FnOnce() -> Arc<Block>) -> Found {
    Found { seqno: block.seqno(entry), meta: block.meta(entry), value: block.value_slice(entry, pin) }
}

impl Drop for Table {
    fn drop(&mut self) {
        if self.obsolete.load(Ordering::Acquire) {
            // A file that stays is an orphan, which the next opening removes.
            let _ = self.fs.remove(&self.path);
        }
    }
}
