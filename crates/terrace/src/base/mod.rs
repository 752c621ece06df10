//! The vocabulary of the engine: keys, sequence numbers, ids, entry kinds, checksums, varints, errors.
//!
//! This layer imports nothing of ours, which is what lets every other layer import it without a knot.
//! It does no I/O and holds no state.

pub(crate) mod checksum;
pub(crate) mod compression;
pub(crate) mod cursor;
pub(crate) mod entry;
pub(crate) mod error;
pub(crate) mod hash;
pub(crate) mod id;
pub(crate) mod key;
pub(crate) mod mend;
pub(crate) mod merge;
pub(crate) mod ranges;
pub(crate) mod slice;
pub(crate) mod sync;
pub(crate) mod varint;
#[cfg(feature = "zstd")]
mod zstandard;

pub(crate) use cursor::Cursor;
pub(crate) use entry::{EntryMeta, EntryRef, Kind};
pub(crate) use error::{Error, Result};
pub(crate) use id::{FileId, KeyspaceId, Seqno};
pub(crate) use merge::{Merging, SharedOperator};
pub(crate) use ranges::{Coverage, Fragments, RangeDelete};
pub(crate) use slice::Slice;
