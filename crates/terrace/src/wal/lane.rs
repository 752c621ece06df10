//! A lane: one shard's own stretch of the log. It lives inside the shard's lock.
//!
//! A lane appends to a chunk that it has claimed from the active segment and claims the next one when that
//! is full. Sequence numbers within a lane rise, because they are taken under the same lock.

use std::sync::Arc;

use super::format::{
    BODY_BYTES_MAX, CHUNK_HEADER_BYTES, ChunkHeader, RECORD_HEADER_BYTES, RecordHeader, TERMINATOR_BYTES,
    record_bytes, run_bytes,
};
use super::segment::Segment;
use crate::base::error::IoContext;
use crate::base::{Error, FileId, Result, Seqno};
use crate::io::Claim;

/// Up to this body length a record is put together in a buffer and stored with one write; beyond it the
/// body is not worth a second copy.
const GATHER_BYTES_MAX: usize = 4096;

/// Whether a reservation found room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reserve {
    /// The record fits; `append` it.
    Ready,
    /// The segment is full: prepare a new one (for `record_bytes` of the body), switch, and try again.
    SegmentFull,
}

/// One shard's stretch of the write-ahead log.
#[derive(Debug)]
pub(crate) struct Lane {
    number: u16,
    chunk: Option<Chunk>,
    /// The segment that `next_ordinal` counts in.
    segment_id: FileId,
    next_ordinal: u32,
    buffer: Vec<u8>,
    took_chunk: bool,
}

#[derive(Debug)]
struct Chunk {
    segment: Arc<Segment>,
    claim: Claim,
    used: u64,
}

impl Lane {
    /// The lane of shard `number`. Two lanes that write to the same log must have different numbers.
    pub(crate) fn new(number: u16) -> Self {
        Self {
            number,
            chunk: None,
            segment_id: FileId(0),
            next_ordinal: 0,
            buffer: Vec::new(),
            took_chunk: false,
        }
    }

    /// Makes sure that a record with a body of `body_len` bytes fits, claiming a chunk if need be.
    /// `segment` is the active one.
    #[inline]
    pub(crate) fn reserve(&mut self, segment: &Arc<Segment>, body_len: usize) -> Result<Reserve> {
        let needed = record_bytes(body_len);
        if let Some(chunk) = &self.chunk
            && chunk.segment.id() == segment.id()
            && chunk.used + needed <= chunk.claim.len()
        {
            return Ok(Reserve::Ready);
        }
        self.claim(segment, body_len)
    }

    #[cold]
    fn claim(&mut self, segment: &Arc<Segment>, body_len: usize) -> Result<Reserve> {
        if body_len > BODY_BYTES_MAX {
            return Err(Error::invalid(format!("a batch of {body_len} bytes; at most {BODY_BYTES_MAX}")));
        }
        let chunk_bytes = segment.chunk_bytes();
        let len = run_bytes(record_bytes(body_len), chunk_bytes);
        let Some(mut claim) = segment.claim(len) else {
            return Ok(Reserve::SegmentFull);
        };
        if self.segment_id != segment.id() {
            (self.segment_id, self.next_ordinal) = (segment.id(), 0);
        }
        let header = ChunkHeader {
            lane: self.number,
            ordinal: self.next_ordinal,
            slots: (len / chunk_bytes) as u32,
            base: segment.base(),
        };
        let bytes = header.encode(segment.context(), claim.start());
        claim.write(0, &bytes).at("append to", segment.path())?;
        self.next_ordinal += 1;
        self.took_chunk = true;
        self.chunk = Some(Chunk { segment: Arc::clone(segment), claim, used: CHUNK_HEADER_BYTES as u64 });
        Ok(Reserve::Ready)
    }

    /// Appends a record for the sequence numbers from `first_seqno` on. `body_crc` is `checksum::plain` of
    /// the body, computed before the lock was taken. Must follow a `reserve` for this body that was `Ready`.
    /// After an error the lane must not be used again: what it holds on disk is unknown.
    #[inline]
    pub(crate) fn append(
        &mut self,
        first_seqno: Seqno,
        count: u32,
        body: &[u8],
        body_crc: u32,
    ) -> Result<()> {
        assert!(count > 0, "a record has at least one sequence number");
        let Some(chunk) = &mut self.chunk else {
            unreachable!("an append follows a reservation");
        };
        let end = chunk.used + record_bytes(body.len());
        assert!(end <= chunk.claim.len(), "an append is no longer than its reservation");
        let header = RecordHeader { body_bytes: body.len() as u32, first_seqno, count, body_crc };
        let header = header.encode(chunk.segment.context(), chunk.claim.start() + chunk.used);
        // Zeros behind the record end the chunk; without them its end would look like a torn record.
        let terminator_end = (end + TERMINATOR_BYTES as u64).min(chunk.claim.len());
        let zeros = (terminator_end - chunk.used) as usize - RECORD_HEADER_BYTES - body.len();
        let zeros = &[0; TERMINATOR_BYTES + 7][..zeros];
        let written = if body.len() <= GATHER_BYTES_MAX {
            self.buffer.clear();
            self.buffer.extend_from_slice(&header);
            self.buffer.extend_from_slice(body);
            self.buffer.extend_from_slice(zeros);
            chunk.claim.write(chunk.used, &self.buffer)
        } else {
            // The header comes last: until then a torn record looks like the end of the chunk.
            let body_at = chunk.used + RECORD_HEADER_BYTES as u64;
            (chunk.claim.write(body_at + body.len() as u64, zeros))
                .and_then(|()| chunk.claim.write(body_at, body))
                .and_then(|()| chunk.claim.write(chunk.used, &header))
        };
        written.at("append to", chunk.segment.path())?;
        chunk.used = end;
        Ok(())
    }

    /// Whether a chunk was claimed since this was last asked: a good moment to look at the prefaulting.
    #[inline]
    pub(crate) fn took_chunk(&mut self) -> bool {
        std::mem::take(&mut self.took_chunk)
    }

    /// Lets go of the segment, so that its mapping can go. Called at a switch; a lane that is not reset
    /// notices the new segment at its next reservation.
    pub(crate) fn reset(&mut self) {
        self.chunk = None;
    }
}
