//! One segment as found on disk: its header, its horizon, and where each lane's chunks lie.
//!
//! Chunk headers are looked for in every slot, because a chunk that was claimed but never started leaves a
//! hole with valid chunks behind it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::error::IoContext;
use crate::base::{Error, FileId, Result, Seqno};
use crate::io::{Env, File};
use crate::wal::files::Name;
use crate::wal::format::{
    BadHeader, CHUNK_HEADER_BYTES, CHUNKS_START, ChunkHeader, FORMAT_VERSION, HEADER_BYTES, HORIZON_BYTES,
    HORIZON_OFFSETS, HorizonSlot, RECORD_HEADER_BYTES, RecordHeader, SegmentHeader,
};

/// Where a chunk lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChunkAt {
    pub(super) offset: u64,
    pub(super) len: u64,
    pub(super) ordinal: u32,
}

/// A segment that was opened and whose chunk headers were read.
pub(super) struct SegmentScan {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn File>,
    pub(super) header: SegmentHeader,
    pub(super) context: u64,
    /// The first sequence number that may be here; `None` if no lane has started a chunk.
    pub(super) base: Option<Seqno>,
    pub(super) horizon: Seqno,
    pub(super) clock_ms: u64,
    /// The chunks of each lane, in the order in which they were claimed.
    pub(super) lanes: BTreeMap<u16, Vec<ChunkAt>>,
    /// A slot without a valid chunk header but with a valid record.
    lost_chunk: Option<u64>,
}

impl SegmentScan {
    /// Opens the segment called `id` and reads what is needed to find its records.
    pub(super) fn open(env: &Env, dir: &Path, id: FileId) -> Result<Self> {
        let path = Name::Segment(id).path(dir);
        let file = env.fs.open(&path).at("open", &path)?;
        let header = read_header(&*file, &path, id)?;
        let context = header.context();
        let mut scan = Self {
            path,
            file,
            header,
            context,
            base: None,
            horizon: 0,
            clock_ms: header.clock_ms,
            lanes: BTreeMap::new(),
            lost_chunk: None,
        };
        scan.read_horizon()?;
        scan.find_chunks()?;
        Ok(scan)
    }

    /// After a process death nothing is lost, so a record in a slot without a chunk header is damage.
    pub(super) fn check_no_lost_chunk(&self) -> Result<()> {
        match self.lost_chunk {
            Some(offset) => {
                let detail = "the chunk header does not match its checksum, but a valid record follows";
                Err(Error::corruption(&self.path, offset, detail))
            }
            None => Ok(()),
        }
    }

    fn read(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.file.read_exact_at(buf, offset).at("read", &self.path)
    }

    fn read_horizon(&mut self) -> Result<()> {
        for offset in HORIZON_OFFSETS {
            let mut frame = [0; HORIZON_BYTES];
            self.read(&mut frame, offset)?;
            if let Some(slot) = HorizonSlot::decode(&frame, self.context, offset) {
                self.horizon = self.horizon.max(slot.horizon);
                self.clock_ms = self.clock_ms.max(slot.clock_ms);
            }
        }
        Ok(())
    }

    fn find_chunks(&mut self) -> Result<()> {
        let slot_bytes = u64::from(self.header.chunk_bytes);
        let mut offset = CHUNKS_START;
        while self.header.file_bytes - offset >= slot_bytes {
            let mut head = [0; CHUNK_HEADER_BYTES + RECORD_HEADER_BYTES];
            self.read(&mut head, offset)?;
            let Some(chunk) = ChunkHeader::decode(&head[..CHUNK_HEADER_BYTES], self.context, offset) else {
                self.note_lost_chunk(&head, offset);
                offset += slot_bytes;
                continue;
            };
            let len = u64::from(chunk.slots) * slot_bytes;
            let base_differs = self.base.is_some_and(|base| base != chunk.base);
            if len > self.header.file_bytes - offset || base_differs {
                let detail = format!("the chunk header is sealed but makes no sense: {chunk:?}");
                return Err(Error::corruption(&self.path, offset, detail));
            }
            self.base = Some(chunk.base);
            let at = ChunkAt { offset, len, ordinal: chunk.ordinal };
            self.lanes.entry(chunk.lane).or_default().push(at);
            offset += len;
        }
        Ok(())
    }

    /// Remembers a slot whose header is bad although its first record is there: no crash of a process leaves
    /// that, because the header is stored before the record.
    fn note_lost_chunk(&mut self, head: &[u8], offset: u64) {
        let place = offset + CHUNK_HEADER_BYTES as u64;
        let room = self.header.file_bytes - place;
        let first = RecordHeader::decode_within(&head[CHUNK_HEADER_BYTES..], room, self.context, place, 1);
        if first.is_some() && self.lost_chunk.is_none() {
            self.lost_chunk = Some(offset);
        }
    }
}

/// Reads the header of a segment. A `.wal` file gets its name after its header is durable, so there is no
/// crash that explains a bad one.
fn read_header(file: &dyn File, path: &Path, id: FileId) -> Result<SegmentHeader> {
    let len = file.len().at("read the length of", path)?;
    if len < CHUNKS_START {
        let detail = format!("expected a segment of at least {CHUNKS_START} bytes, found {len}");
        return Err(Error::corruption(path, 0, detail));
    }
    let mut frame = [0; HEADER_BYTES];
    file.read_exact_at(&mut frame, 0).at("read", path)?;
    let header = SegmentHeader::decode(&frame, id).map_err(|bad| match bad {
        BadHeader::Version(found) => {
            Error::UnsupportedVersion { path: path.to_path_buf(), found, supported: FORMAT_VERSION }
        }
        BadHeader::Damaged(detail) => Error::corruption(path, 0, detail),
    })?;
    if header.file_bytes < CHUNKS_START || header.file_bytes > len {
        let detail = format!("expected a segment of {} bytes, found {len}", header.file_bytes);
        return Err(Error::corruption(path, len, detail));
    }
    Ok(header)
}
