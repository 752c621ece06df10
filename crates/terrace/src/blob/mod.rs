//! Blob files: large values beside the tables, so that compaction moves a pointer instead of the value.
//!
//! A `BlobWriter` appends records, each a key and its value; a `Pointer`, kept in a table as the value of an entry of
//! kind `Pointer`, says where one lies; a `BlobFile` reads it back with one read. The bytes are described in `format`.
//!
//! Invariants: a file never changes once written; every byte of it is covered by a checksum, those of a record are
//! bound to its place, and a record is believed only by who knows its key. This layer does not know who points to a
//! record and does not decide when a file dies.

mod format;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod pointer;
mod reader;
mod scan;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};

use crate::base::FileId;
use crate::base::varint::{push_u64, take_u64};

pub(crate) use pointer::Pointer;
pub(crate) use reader::{BlobFile, Stored, read_origin};
pub(crate) use scan::{Piece, scan};
pub(crate) use writer::BlobWriter;

/// The file of number `id` in `dir`.
pub(crate) fn blob_path(dir: &Path, id: FileId) -> PathBuf {
    dir.join(format!("{id}.blob"))
}

/// What the manifest knows of a blob file. Encoding: id, file bytes and records as varints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BlobMeta {
    /// The number of the file.
    pub(crate) id: FileId,
    /// Its length.
    pub(crate) file_bytes: u64,
    /// Its records.
    pub(crate) records: u64,
}

impl BlobMeta {
    /// Bytes of the records.
    pub(crate) fn data_bytes(&self) -> u64 {
        self.file_bytes.saturating_sub((format::HEADER_BYTES + format::FOOTER_BYTES) as u64)
    }

    /// Appends the encoding.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for number in [self.id.0, self.file_bytes, self.records] {
            push_u64(out, number);
        }
    }

    /// Takes one encoding off the front of `input`; `None` if it is malformed.
    pub(crate) fn decode(input: &mut &[u8]) -> Option<Self> {
        let id = FileId(take_u64(input)?);
        Some(Self { id, file_bytes: take_u64(input)?, records: take_u64(input)? })
    }
}

/// How much of a blob file is pointed to by a table, or by all of a version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BlobUse {
    /// The file.
    pub(crate) id: FileId,
    /// Bytes of the records that are pointed to.
    pub(crate) bytes: u64,
}
