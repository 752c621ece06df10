//! Test helpers: tables that are only metadata, for everything that never reads one.

use std::path::Path;
use std::sync::Arc;

use crate::base::FileId;
use crate::blob::{BlobFile, BlobMeta};
use crate::io::os::OsFs;
use crate::table::shares::Shares;
use crate::table::{Cache, Table, TableMeta};
use crate::version::{Blobs, Version};

/// The metadata of a table of `bytes` bytes, one entry per hundred, seqnos 1 to 9.
pub(crate) fn meta(id: u64, smallest: &str, largest: &str, bytes: u64) -> TableMeta {
    TableMeta {
        id: FileId(id),
        file_bytes: bytes,
        entries: bytes / 100,
        smallest: smallest.into(),
        largest: largest.into(),
        min_seqno: 1,
        max_seqno: 9,
        raw_bytes: bytes,
        tombstones: 0,
        max_expires_at_ms: 0,
        min_expires_at_ms: 0,
        cleared_seqno: 0,
        blobs: Vec::new(),
        shares: Shares::default(),
    }
}

/// The same tables with blob files of these sizes, as much of each in use as the tables say.
pub(crate) fn with_blobs(version: Version, sizes: &[(u64, u64)]) -> Version {
    let used = |id: u64| {
        let uses = version.tables().flat_map(|(_, table)| &table.meta().blobs);
        uses.filter(|used| used.id.0 == id).map(|used| used.bytes).sum()
    };
    let sized = |(id, bytes): &(u64, u64)| {
        let empty = BlobMeta { id: FileId(*id), file_bytes: 1 << 40, records: 1 };
        let meta = BlobMeta { file_bytes: empty.file_bytes - empty.data_bytes() + bytes, ..empty };
        let file = BlobFile::open(Arc::new(OsFs::default()), Path::new("nowhere"), meta);
        (Arc::new(file), used(*id))
    };
    let blobs = Blobs::of_files(sizes.iter().map(sized));
    version.with_blobs(blobs)
}

/// Opens a table by its metadata alone; reading it would fail.
pub(crate) fn open(meta: TableMeta) -> Arc<Table> {
    Arc::new(Table::open(Arc::new(OsFs::default()), Path::new("nowhere"), meta, Cache::new(0)))
}

/// `open(meta(..))`.
pub(crate) fn table(id: u64, smallest: &str, largest: &str, bytes: u64) -> Arc<Table> {
    open(meta(id, smallest, largest, bytes))
}
