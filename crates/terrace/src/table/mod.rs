//! Tables: immutable sorted files, and the cache of their blocks.
//!
//! A `TableWriter` turns sorted entries into one file; a `Table` answers lookups from it and hands out
//! cursors. The parts of a file, each with its byte table at its encoder: data blocks and index (`block`,
//! `index`), what surrounds each stored block (`frame`), `filter`, `properties`, `footer`.
//!
//! Invariants: a file never changes once written; versions of one key lie in one block; every stored byte is
//! covered by a checksum that also covers its place. This layer knows nothing of levels, versions or
//! snapshots, does not decide when a table dies, and does not look at the clock: expired entries and
//! tombstones are given back like any other.

mod block;
mod cache;
mod counters;
mod cursor;
mod filter;
mod footer;
mod frame;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod index;
mod loaded;
mod meta;
mod plain;
mod prefetch;
mod properties;
mod reader;
mod salvage;
pub(crate) mod shares;
mod slot;
#[cfg(test)]
mod tests;
mod verify;
mod whole;
mod writer;

use std::path::{Path, PathBuf};

use crate::base::{EntryMeta, FileId, Seqno, Slice};

pub use crate::base::compression::Compression;

pub(crate) use cache::Cache;
pub(crate) use cursor::TableCursor;
pub(crate) use meta::TableMeta;
pub(crate) use reader::{FilterStats, Lookup, Probe, Table, find_all};
pub(crate) use salvage::Salvaged;
pub(crate) use shares::Weight;
pub(crate) use verify::Damage;
pub(crate) use whole::WholeBlock;
pub(crate) use writer::TableWriter;

/// Default of `TableOptions::block_bytes`.
pub(crate) const DEFAULT_BLOCK_BYTES: usize = 8 << 10;

/// Default of `TableOptions::filter_bits_per_key`: about 1 % of absent keys get past the filter.
pub(crate) const DEFAULT_FILTER_BITS_PER_KEY: u8 = 10;

/// How a table is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TableOptions {
    /// A block is closed once it is about this long, in plain bytes.
    pub(crate) block_bytes: usize,
    /// How data blocks are stored.
    pub(crate) compression: Compression,
    /// Filter bits for each key; 0 writes no filter.
    pub(crate) filter_bits_per_key: u8,
    /// Who writes it: a random number of the opening of the store, 0 when not given. Together with the table's
    /// own number it names the content, in whatever copy of the store.
    pub(crate) origin: u64,
}

impl Default for TableOptions {
    fn default() -> Self {
        Self {
            block_bytes: DEFAULT_BLOCK_BYTES,
            compression: Compression::None,
            filter_bits_per_key: DEFAULT_FILTER_BITS_PER_KEY,
            origin: 0,
        }
    }
}

/// What a table's footer and properties say beyond its `TableMeta`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Summary {
    /// Data blocks.
    pub(crate) blocks: u64,
    /// Entries with an expiry.
    pub(crate) expiring: u64,
    /// When it was written, in milliseconds since the epoch.
    pub(crate) created_at_ms: u64,
    /// See `TableOptions::origin`.
    pub(crate) origin: u64,
    /// Bytes of the filter block.
    pub(crate) filter_bytes: u64,
    /// Bytes of the index block.
    pub(crate) index_bytes: u64,
    /// Bytes of the data blocks.
    pub(crate) data_bytes: u64,
}

/// The file of table `id` in `dir`.
pub(crate) fn table_path(dir: &Path, id: FileId) -> PathBuf {
    dir.join(format!("{id}.tbl"))
}

/// One version of a key, as a lookup finds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    /// Its sequence number.
    pub(crate) seqno: Seqno,
    /// Kind, tag and expiry.
    pub(crate) meta: EntryMeta,
    /// The value; empty for a delete.
    pub(crate) value: Slice,
}
