//! The byte layout of a segment. All numbers are little-endian; every frame starts with its checksum.
//!
//! Segment file `<id>.wal` (the id in at least six decimal digits):
//!
//! ```text
//! offset             what
//!      0             header frame, in the first 512-byte sector
//!    512, 1024       two horizon slots, written in turn, each in its own sector
//!   4096             slots of `chunk_bytes` each; a chunk is a run of one or more of them
//! ```
//!
//! Header frame (76 bytes), bound to context = segment id, place = 0:
//!
//! ```text
//! offset  size  field
//!      0     4  CRC-32C of bytes 4..76
//!      4     8  magic "TERRAWAL"
//!     12     4  format version (1)
//!     16     4  chunk_bytes
//!     20     8  segment id
//!     28     8  id of the segment that was active when this one was made, 0 if none
//!     36    16  boot id of the machine, 0 if unknown
//!     52     8  nonce: random, part of the context of every other frame of this segment
//!     60     8  clock high-water mark in milliseconds since the epoch
//!     68     8  length of the file in bytes
//! ```
//!
//! All other frames are bound to context = nonce XOR (segment id << 32), place = their offset in the file.
//!
//! Horizon slot (20 bytes): every record up to `horizon` was durable when the slot was stored; the slot is
//! durable with the next sync. Two slots alternate, so that a torn one leaves the one before it.
//!
//! ```text
//!      0     4  CRC-32C of bytes 4..20
//!      4     8  horizon (sequence number)
//!     12     8  clock high-water mark in milliseconds
//! ```
//!
//! Chunk header (24 bytes), then records, then zeros or stale bytes:
//!
//! ```text
//!      0     4  CRC-32C of bytes 4..24
//!      4     2  lane number
//!      6     2  zero
//!      8     4  ordinal of the chunk in its lane and segment, from 0
//!     12     4  length of the chunk in slots, at least 1
//!     16     8  base: the first sequence number that may be in this segment
//! ```
//!
//! Record (24 bytes and the body, padded with zeros to a multiple of 8). Eight zero bytes in the place of a
//! record end the chunk; a chunk with no room for them ends as well.
//!
//! ```text
//!      0     4  CRC-32C of bytes 4..24
//!      4     4  body length in bytes
//!      8     8  first sequence number
//!     16     4  count of sequence numbers, at least 1
//!     20     4  plain CRC-32C of the body
//!     24     n  body
//! ```

use crate::base::id::MAX_SEQNO;
use crate::base::{FileId, Seqno};
use crate::record::frame::{is_sealed, seal, u16_at, u32_at, u64_at, u128_at};

pub(super) const MAGIC: &[u8; 8] = b"TERRAWAL";
pub(super) const FORMAT_VERSION: u32 = 1;
/// Where the chunks start.
pub(super) const CHUNKS_START: u64 = 4096;
/// Where the two horizon slots lie.
pub(super) const HORIZON_OFFSETS: [u64; 2] = [512, 1024];
pub(super) const HEADER_BYTES: usize = 76;
pub(super) const HORIZON_BYTES: usize = 20;
pub(super) const CHUNK_HEADER_BYTES: usize = 24;
pub(super) const RECORD_HEADER_BYTES: usize = 24;
/// The zeros that end a chunk's records.
pub(super) const TERMINATOR_BYTES: usize = 8;
/// Chunk lengths that this build writes and believes.
pub(super) const CHUNK_BYTES_MIN: u64 = 256;
pub(super) const CHUNK_BYTES_MAX: u64 = 1 << 30;
/// The largest body of a record.
pub(super) const BODY_BYTES_MAX: usize = 1 << 30;

/// The bytes that a record with a body of `body_len` bytes takes in a chunk.
#[inline]
pub(crate) fn record_bytes(body_len: usize) -> u64 {
    (RECORD_HEADER_BYTES as u64 + body_len as u64).next_multiple_of(8)
}

/// The length of the chunk that holds a record of `record_bytes` when it is the first in it.
pub(super) fn run_bytes(record_bytes: u64, chunk_bytes: u64) -> u64 {
    (CHUNK_HEADER_BYTES as u64 + record_bytes).next_multiple_of(chunk_bytes)
}

/// The header frame of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SegmentHeader {
    pub(super) id: FileId,
    pub(super) previous: FileId,
    pub(super) boot_id: u128,
    pub(super) nonce: u64,
    pub(super) chunk_bytes: u32,
    pub(super) clock_ms: u64,
    pub(super) file_bytes: u64,
}

/// Why a header was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BadHeader {
    Version(u32),
    Damaged(&'static str),
}

impl SegmentHeader {
    /// What every other frame of the segment is bound to.
    pub(super) fn context(&self) -> u64 {
        self.nonce ^ (self.id.0 << 32)
    }

    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut frame = [0; HEADER_BYTES];
        frame[4..12].copy_from_slice(MAGIC);
        frame[12..16].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        frame[16..20].copy_from_slice(&self.chunk_bytes.to_le_bytes());
        frame[20..28].copy_from_slice(&self.id.0.to_le_bytes());
        frame[28..36].copy_from_slice(&self.previous.0.to_le_bytes());
        frame[36..52].copy_from_slice(&self.boot_id.to_le_bytes());
        frame[52..60].copy_from_slice(&self.nonce.to_le_bytes());
        frame[60..68].copy_from_slice(&self.clock_ms.to_le_bytes());
        frame[68..76].copy_from_slice(&self.file_bytes.to_le_bytes());
        seal(self.id.0, 0, &mut frame);
        frame
    }

    /// Decodes the header of the segment that its file name calls `id`.
    pub(super) fn decode(frame: &[u8; HEADER_BYTES], id: FileId) -> Result<Self, BadHeader> {
        if &frame[4..12] != MAGIC {
            return Err(BadHeader::Damaged("expected the magic of a segment header, found something else"));
        }
        // A later version may seal its header in another way, so the version comes before the checksum.
        if u32_at(frame, 12) != FORMAT_VERSION {
            return Err(BadHeader::Version(u32_at(frame, 12)));
        }
        if !is_sealed(id.0, 0, frame) {
            return Err(BadHeader::Damaged("the segment header does not match its checksum and file name"));
        }
        let header = Self {
            chunk_bytes: u32_at(frame, 16),
            id: FileId(u64_at(frame, 20)),
            previous: FileId(u64_at(frame, 28)),
            boot_id: u128_at(frame, 36),
            nonce: u64_at(frame, 52),
            clock_ms: u64_at(frame, 60),
            file_bytes: u64_at(frame, 68),
        };
        let chunk_bytes = u64::from(header.chunk_bytes);
        let chunk_fits = (CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&chunk_bytes) && chunk_bytes % 8 == 0;
        if header.id != id || !chunk_fits {
            return Err(BadHeader::Damaged("the segment header is sealed but makes no sense"));
        }
        Ok(header)
    }
}

/// A horizon slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct HorizonSlot {
    pub(super) horizon: Seqno,
    pub(super) clock_ms: u64,
}

impl HorizonSlot {
    pub(super) fn encode(&self, context: u64, place: u64) -> [u8; HORIZON_BYTES] {
        let mut frame = [0; HORIZON_BYTES];
        frame[4..12].copy_from_slice(&self.horizon.to_le_bytes());
        frame[12..20].copy_from_slice(&self.clock_ms.to_le_bytes());
        seal(context, place, &mut frame);
        frame
    }

    pub(super) fn decode(frame: &[u8], context: u64, place: u64) -> Option<Self> {
        let sealed = frame.len() == HORIZON_BYTES && is_sealed(context, place, frame);
        sealed.then(|| Self { horizon: u64_at(frame, 4), clock_ms: u64_at(frame, 12) })
    }
}

/// A chunk header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ChunkHeader {
    pub(super) lane: u16,
    pub(super) ordinal: u32,
    pub(super) slots: u32,
    pub(super) base: Seqno,
}

impl ChunkHeader {
    /// The header, and the terminator that makes the chunk empty.
    pub(super) fn encode(&self, context: u64, place: u64) -> [u8; CHUNK_HEADER_BYTES + TERMINATOR_BYTES] {
        let mut bytes = [0; CHUNK_HEADER_BYTES + TERMINATOR_BYTES];
        let frame = &mut bytes[..CHUNK_HEADER_BYTES];
        frame[4..6].copy_from_slice(&self.lane.to_le_bytes());
        frame[8..12].copy_from_slice(&self.ordinal.to_le_bytes());
        frame[12..16].copy_from_slice(&self.slots.to_le_bytes());
        frame[16..24].copy_from_slice(&self.base.to_le_bytes());
        seal(context, place, frame);
        bytes
    }

    pub(super) fn decode(frame: &[u8], context: u64, place: u64) -> Option<Self> {
        if frame.len() != CHUNK_HEADER_BYTES || !is_sealed(context, place, frame) {
            return None;
        }
        let slots = u32_at(frame, 12);
        (slots > 0).then(|| Self {
            lane: u16_at(frame, 4),
            ordinal: u32_at(frame, 8),
            slots,
            base: u64_at(frame, 16),
        })
    }
}

/// The header of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RecordHeader {
    pub(super) body_bytes: u32,
    pub(super) first_seqno: Seqno,
    pub(super) count: u32,
    pub(super) body_crc: u32,
}

impl RecordHeader {
    #[inline]
    pub(super) fn encode(&self, context: u64, place: u64) -> [u8; RECORD_HEADER_BYTES] {
        let mut frame = [0; RECORD_HEADER_BYTES];
        frame[4..8].copy_from_slice(&self.body_bytes.to_le_bytes());
        frame[8..16].copy_from_slice(&self.first_seqno.to_le_bytes());
        frame[16..20].copy_from_slice(&self.count.to_le_bytes());
        frame[20..24].copy_from_slice(&self.body_crc.to_le_bytes());
        seal(context, place, &mut frame);
        frame
    }

    /// Decodes a record header that says something possible: sequence numbers from `least` on, and a body that
    /// fits `bytes`.
    #[inline]
    pub(super) fn decode(bytes: &[u8], context: u64, place: u64, least: Seqno) -> Option<Self> {
        Self::decode_within(bytes, bytes.len() as u64, context, place, least)
    }

    /// As `decode`, where not all of the `room` bytes that are left for header and body were read. The cheap
    /// tests come before the checksum, because a search for records behind damage tries every place of a
    /// chunk.
    #[inline]
    pub(super) fn decode_within(
        bytes: &[u8],
        room: u64,
        context: u64,
        place: u64,
        least: Seqno,
    ) -> Option<Self> {
        let frame = bytes.get(..RECORD_HEADER_BYTES)?;
        let header = Self {
            body_bytes: u32_at(frame, 4),
            first_seqno: u64_at(frame, 8),
            count: u32_at(frame, 16),
            body_crc: u32_at(frame, 20),
        };
        let possible = RECORD_HEADER_BYTES as u64 + u64::from(header.body_bytes) <= room
            && header.count > 0
            && header.first_seqno >= least
            && header.last_seqno() <= MAX_SEQNO;
        (possible && is_sealed(context, place, frame)).then_some(header)
    }

    /// The last sequence number of the record.
    #[inline]
    pub(super) fn last_seqno(&self) -> Seqno {
        self.first_seqno.saturating_add(u64::from(self.count)).saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first run of the fuzzer over log frames panicked: a chunk header was read before its length was
    /// looked at. No caller passes a short one, but a decoder is not to depend on that.
    #[test]
    fn frames_that_are_cut_short_are_none() {
        let bytes = ChunkHeader { lane: 1, ordinal: 2, slots: 3, base: 4 }.encode(7, 0);
        let frame = &bytes[..CHUNK_HEADER_BYTES];
        assert!(ChunkHeader::decode(frame, 7, 0).is_some());
        for len in 0..CHUNK_HEADER_BYTES {
            assert_eq!(ChunkHeader::decode(&frame[..len], 7, 0), None);
            assert_eq!(RecordHeader::decode(&frame[..len], 7, 0, 1), None);
            assert!(HorizonSlot::decode(&frame[..len.min(HORIZON_BYTES - 1)], 7, 0).is_none());
        }
    }
}
