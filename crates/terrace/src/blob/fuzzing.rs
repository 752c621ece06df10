//! What the fuzz targets call. See `upkeep/fuzzing`.

use super::Pointer;
use super::format::{FOOTER_BYTES, HEADER_BYTES, RecordHeader, check_header, parse_footer};
use crate::base::FileId;
use crate::base::compression::decompress;
use std::path::Path;

/// Header, record header, footer, pointer and stored value of a blob file.
pub fn blob(bytes: &[u8]) {
    let path = Path::new("fuzz");
    if let Some(header) = bytes.first_chunk::<HEADER_BYTES>() {
        let _ = check_header(path, FileId(7), header);
    }
    if let Some(footer) = bytes.first_chunk::<FOOTER_BYTES>() {
        let _ = parse_footer(path, FileId(7), 1000, footer);
    }
    let _ = RecordHeader::parse(bytes, FileId(7), 32);
    if let Some((kind, stored)) = bytes.split_first() {
        let _ = decompress(*kind, stored);
    }
    if let Some(pointer) = Pointer::decode(bytes) {
        let mut again = Vec::new();
        pointer.encode(&mut again);
        assert_eq!(Pointer::decode(&again), Some(pointer), "a pointer reads as it was written");
    }
}
