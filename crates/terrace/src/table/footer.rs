//! The footer: the fixed tail from which everything else in a table is found.
//!
//! | offset | bytes | field |
//! |--------|-------|-------|
//! | 0      | 8 + 8 | filter block: offset, length with trailer; length 0 when there is no filter |
//! | 16     | 8 + 8 | index block: offset, length with trailer |
//! | 32     | 8 + 8 | properties block: offset, length with trailer |
//! | 48     | 8     | file number |
//! | 56     | 4     | CRC-32C of bytes 0 to 55 and the version, bound to file number and the footer's offset |
//! | 60     | 4     | format version, 1 |
//! | 64     | 8     | magic `TERRATBL` |
//!
//! All integers are little-endian. Magic and version stay the last twelve bytes in every version, so that
//! any build can name a version it does not know.

use std::path::Path;

use super::frame::{Handle, TRAILER_BYTES};
use crate::base::{Error, FileId, Result, checksum};

/// Length of the footer.
pub(super) const FOOTER_BYTES: usize = 72;

/// The one version that this build writes and reads.
pub(super) const FORMAT_VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"TERRATBL";

/// Where the parts of a table lie. The data blocks fill the file from byte 0 to the filter block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Footer {
    /// The filter block; length 0 when there is none.
    pub(super) filter: Handle,
    /// The index block.
    pub(super) index: Handle,
    /// The properties block.
    pub(super) properties: Handle,
}

impl Footer {
    /// Appends the footer of file `id` as it lies at `offset`.
    pub(super) fn encode(&self, out: &mut Vec<u8>, id: FileId, offset: u64) {
        let start = out.len();
        for handle in [self.filter, self.index, self.properties] {
            out.extend_from_slice(&handle.offset.to_le_bytes());
            out.extend_from_slice(&handle.len.to_le_bytes());
        }
        out.extend_from_slice(&id.0.to_le_bytes());
        let sum = sum(&out[start..], FORMAT_VERSION, id, offset);
        out.extend_from_slice(&sum.to_le_bytes());
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&MAGIC);
        debug_assert_eq!(out.len() - start, FOOTER_BYTES);
    }

    /// Checks and decodes the footer at `offset` of file `id`.
    pub(super) fn decode(bytes: &[u8; FOOTER_BYTES], path: &Path, id: FileId, offset: u64) -> Result<Self> {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let half = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let corrupt = |detail: String| Err(Error::corruption(path, offset, detail));
        if bytes[64..] != MAGIC {
            return corrupt(format!("expected the magic of a table, found {:02x?}", &bytes[64..]));
        }
        let version = half(60);
        if version != FORMAT_VERSION {
            let path = path.to_path_buf();
            return Err(Error::UnsupportedVersion { path, found: version, supported: FORMAT_VERSION });
        }
        let (expected, found) = (half(56), sum(&bytes[..56], version, id, offset));
        if expected != found {
            return corrupt(format!("expected footer checksum {expected:08x}, found {found:08x}"));
        }
        if word(48) != id.0 {
            return corrupt(format!("expected file number {}, found {}", id.0, word(48)));
        }
        let handle = |at: usize| Handle { offset: word(at), len: word(at + 8) };
        let footer = Self { filter: handle(0), index: handle(16), properties: handle(32) };
        footer.check_places(offset).map_err(|detail| Error::corruption(path, offset, detail))?;
        Ok(footer)
    }

    /// The parts follow each other without a gap up to the footer: whatever else the handles say is wrong.
    fn check_places(&self, footer_offset: u64) -> Result<(), String> {
        let chain = [
            ("index block", self.filter.end(), self.index.offset),
            ("properties block", self.index.end(), self.properties.offset),
            ("footer", self.properties.end(), footer_offset),
        ];
        for (part, end, start) in chain {
            if end != Some(start) {
                return Err(format!(
                    "expected the {part} right after its neighbour ({end:?}), found {start}"
                ));
            }
        }
        let trailer = TRAILER_BYTES as u64;
        if self.index.len <= trailer || self.properties.len <= trailer {
            return Err("expected an index and properties, found an empty block".to_string());
        }
        Ok(())
    }
}

fn sum(fields: &[u8], version: u32, id: FileId, offset: u64) -> u32 {
    let mut covered = fields.to_vec();
    covered.extend_from_slice(&version.to_le_bytes());
    checksum::bound(id.0, offset, &covered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> (Footer, Vec<u8>) {
        let footer = Footer {
            filter: Handle { offset: 100, len: 0 },
            index: Handle { offset: 100, len: 50 },
            properties: Handle { offset: 150, len: 20 },
        };
        let mut out = Vec::new();
        footer.encode(&mut out, FileId(3), 170);
        (footer, out)
    }

    fn decode(bytes: &[u8], id: u64, offset: u64) -> Result<Footer> {
        Footer::decode(bytes.first_chunk().unwrap(), Path::new("t"), FileId(id), offset)
    }

    #[test]
    fn round_trip_and_every_flipped_bit_is_refused() {
        let (footer, mut bytes) = example();
        assert_eq!(decode(&bytes, 3, 170).unwrap(), footer);
        assert!(decode(&bytes, 4, 170).is_err());
        assert!(decode(&bytes, 3, 171).is_err());
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bytes, 3, 170).is_err(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn an_unknown_version_is_named() {
        let (_, mut bytes) = example();
        bytes[60] = 9;
        let error = decode(&bytes, 3, 170).unwrap_err();
        assert!(matches!(error, Error::UnsupportedVersion { found: 9, supported: 1, .. }), "{error}");
    }
}
