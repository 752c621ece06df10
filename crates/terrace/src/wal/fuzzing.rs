//! The decoders of a log segment's frames, for fuzzing.

use super::format::{ChunkHeader, HEADER_BYTES, HorizonSlot, RecordHeader, SegmentHeader};
use crate::base::FileId;

/// Every frame of a segment that these bytes could be. The first byte is mixed into the context, so that the
/// checksums of a corpus can be met.
pub fn log_record(bytes: &[u8]) {
    let Some((context, rest)) = bytes.split_first() else { return };
    let context = u64::from(*context);
    let _ = RecordHeader::decode(rest, context, 0, 1);
    let _ = ChunkHeader::decode(rest, context, 0);
    let _ = HorizonSlot::decode(rest, context, 0);
    if let Some(header) = rest.first_chunk::<HEADER_BYTES>() {
        let _ = SegmentHeader::decode(header, FileId(1));
    }
}
