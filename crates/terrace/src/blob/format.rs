//! The bytes of a blob file: a header, records without gaps, a footer. All integers are little-endian.
//!
//! Header, 32 bytes:
//!
//! | offset | size | field |
//! |-------:|-----:|-------|
//! | 0      | 8    | magic `TERRABLB` |
//! | 8      | 4    | format version, 1 |
//! | 12     | 8    | file number |
//! | 20     | 8    | origin: a random number drawn by each opening of a store, 0 when not given |
//! | 28     | 4    | CRC-32C of bytes 0 to 27, bound to file number and offset 0 |
//!
//! Record, 16 bytes and more:
//!
//! | offset | size | field |
//! |-------:|-----:|-------|
//! | 0      | 4    | CRC-32C of bytes 4 to 15, bound to file number and the record's offset |
//! | 4      | 4    | length of the key, and in the highest byte the compression: 0 none, 1 LZ4, 2 zstd |
//! | 8      | 4    | length of the stored value |
//! | 12     | 4    | plain CRC-32C of the key and the stored value |
//! | 16     | k    | the internal key |
//! | 16 + k | n    | the value, stored as compression says |
//!
//! Footer, 40 bytes, the end of the file:
//!
//! | offset | size | field |
//! |-------:|-----:|-------|
//! | 0      | 8    | records |
//! | 8      | 8    | bytes of all records |
//! | 16     | 8    | file number |
//! | 24     | 4    | CRC-32C of bytes 0 to 23, bound to file number and the footer's offset |
//! | 28     | 4    | format version, 1 |
//! | 32     | 8    | magic `TERRABLB` |

use std::path::Path;

use super::{BlobMeta, Pointer};
use crate::base::key::{MAX_INTERNAL_KEY_BYTES, MAX_VALUE_BYTES};
use crate::base::{Error, FileId, Result, checksum};

pub(super) const HEADER_BYTES: usize = 32;
pub(super) const RECORD_HEADER_BYTES: usize = 16;
pub(super) const FOOTER_BYTES: usize = 40;

const MAGIC: &[u8; 8] = b"TERRABLB";
const FORMAT_VERSION: u32 = 1;

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Appends the header of file `id`.
pub(super) fn push_header(out: &mut Vec<u8>, id: FileId, origin: u64) {
    let start = out.len();
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    out.extend_from_slice(&id.0.to_le_bytes());
    out.extend_from_slice(&origin.to_le_bytes());
    let sum = checksum::bound(id.0, 0, &out[start..]);
    out.extend_from_slice(&sum.to_le_bytes());
}

/// Checks the header of file `id`; its origin.
pub(super) fn check_header(path: &Path, id: FileId, header: &[u8; HEADER_BYTES]) -> Result<u64> {
    let corrupt = |detail: &str| Err(Error::corruption(path, 0, detail));
    if header[..8] != *MAGIC {
        return corrupt("expected the magic TERRABLB of a blob file, found something else");
    }
    check_version(path, u32_at(header, 8))?;
    if checksum::bound(id.0, 0, &header[..28]) != u32_at(header, 28) {
        return corrupt(
            "the header of the blob file does not match its checksum, or is that of another file",
        );
    }
    Ok(u64_at(header, 20))
}

fn check_version(path: &Path, found: u32) -> Result<()> {
    match found {
        FORMAT_VERSION => Ok(()),
        _ => Err(Error::UnsupportedVersion { path: path.to_path_buf(), found, supported: FORMAT_VERSION }),
    }
}

/// Appends the footer of a file.
pub(super) fn push_footer(out: &mut Vec<u8>, id: FileId, offset: u64, records: u64) {
    let start = out.len();
    let data_bytes = offset - HEADER_BYTES as u64;
    for number in [records, data_bytes, id.0] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    let sum = checksum::bound(id.0, offset, &out[start..]);
    out.extend_from_slice(&sum.to_le_bytes());
    out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    out.extend_from_slice(MAGIC);
}

/// Reads the footer, which begins at `offset`.
pub(super) fn parse_footer(
    path: &Path,
    id: FileId,
    offset: u64,
    footer: &[u8; FOOTER_BYTES],
) -> Result<BlobMeta> {
    let corrupt = |detail: String| Err(Error::corruption(path, offset, detail));
    if footer[32..] != *MAGIC {
        return corrupt(
            "expected the magic TERRABLB at the end of the blob file, found something else".into(),
        );
    }
    check_version(path, u32_at(footer, 28))?;
    if checksum::bound(id.0, offset, &footer[..24]) != u32_at(footer, 24) {
        return corrupt("the footer of the blob file does not match its checksum".into());
    }
    let meta = BlobMeta { id, file_bytes: offset + FOOTER_BYTES as u64, records: u64_at(footer, 0) };
    if u64_at(footer, 8) != meta.data_bytes() || u64_at(footer, 16) != id.0 {
        return corrupt(format!(
            "expected {} bytes of records, found {}",
            meta.data_bytes(),
            u64_at(footer, 8)
        ));
    }
    Ok(meta)
}

/// The header of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RecordHeader {
    pub(super) key_bytes: usize,
    pub(super) compression: u8,
    pub(super) stored_bytes: usize,
    /// The plain CRC of key and stored value.
    pub(super) sum: u32,
}

impl RecordHeader {
    /// The length of the whole record.
    pub(super) fn record_bytes(&self) -> u64 {
        (RECORD_HEADER_BYTES + self.key_bytes + self.stored_bytes) as u64
    }

    /// Appends the header of the record at `offset` of file `id`.
    pub(super) fn push(&self, out: &mut Vec<u8>, id: FileId, offset: u64) {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        let key = self.key_bytes as u32 | u32::from(self.compression) << 24;
        bytes[4..8].copy_from_slice(&key.to_le_bytes());
        bytes[8..12].copy_from_slice(&(self.stored_bytes as u32).to_le_bytes());
        bytes[12..].copy_from_slice(&self.sum.to_le_bytes());
        let sum = checksum::bound(id.0, offset, &bytes[4..]);
        bytes[..4].copy_from_slice(&sum.to_le_bytes());
        out.extend_from_slice(&bytes);
    }

    /// The header at the front of `bytes`, which lie at `offset` of file `id`; the text says why there is none.
    pub(super) fn parse(bytes: &[u8], id: FileId, offset: u64) -> Result<Self, &'static str> {
        let Some(bytes) = bytes.first_chunk::<RECORD_HEADER_BYTES>() else {
            return Err("expected the header of a record, found the end");
        };
        if checksum::bound(id.0, offset, &bytes[4..]) != u32_at(bytes, 0) {
            return Err("the header of the record does not match its checksum");
        }
        let key = u32_at(bytes, 4);
        let header = Self {
            key_bytes: (key & 0xff_ffff) as usize,
            compression: (key >> 24) as u8,
            stored_bytes: u32_at(bytes, 8) as usize,
            sum: u32_at(bytes, 12),
        };
        // Compressed only if that is shorter, so neither is longer than what a store takes.
        if header.key_bytes > MAX_INTERNAL_KEY_BYTES || header.stored_bytes > MAX_VALUE_BYTES {
            return Err("the record claims a longer key or value than there can be");
        }
        Ok(header)
    }
}

/// Where a record lies whose value has so many bytes.
pub(super) fn pointer_to(file: FileId, offset: u64, header: &RecordHeader, value_bytes: u64) -> Pointer {
    Pointer { file, offset, record_bytes: header.record_bytes(), value_bytes }
}
