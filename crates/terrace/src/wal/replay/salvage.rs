//! Salvage: every record of a segment whose checksums hold, whatever lies between them.
//!
//! Replay judges; this does not. It looks for records at every place where one can be, believes what its checksum
//! covers, and says where something is that should be a record and is not.

use std::path::Path;

use super::Torn;
use crate::base::error::IoContext;
use crate::base::{FileId, Result, Seqno, checksum};
use crate::io::Env;
use crate::wal::files::Name;
use crate::wal::format::{
    BadHeader, CHUNK_HEADER_BYTES, CHUNKS_START, ChunkHeader, HEADER_BYTES, HORIZON_BYTES, HORIZON_OFFSETS,
    HorizonSlot, RECORD_HEADER_BYTES, RecordHeader, SegmentHeader, TERMINATOR_BYTES, record_bytes,
};

/// What one segment holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Survey {
    /// Its number.
    pub(crate) id: FileId,
    /// The length of the file.
    pub(crate) bytes: u64,
    /// Sound records, and the bytes that they take.
    pub(crate) records: u64,
    /// Bytes of these, headers included.
    pub(crate) record_bytes: u64,
    /// Chunks begun.
    pub(crate) chunks: u64,
    /// The smallest and the largest sequence number in it; 0 if it has no record.
    pub(crate) first_seqno: Seqno,
    /// See above.
    pub(crate) last_seqno: Seqno,
    /// Everything up to here was durable when it was last said.
    pub(crate) horizon: Seqno,
    /// The latest time that it has seen.
    pub(crate) clock_ms: u64,
    /// Places that hold neither a record nor nothing.
    pub(crate) wrong: Vec<Torn>,
}

/// A record as salvage finds it: its offset, first sequence number, count and body.
pub(crate) struct Piece<'a> {
    /// Where in the file.
    pub(crate) offset: u64,
    /// Its first sequence number.
    pub(crate) first: Seqno,
    /// How many it has.
    pub(crate) count: u32,
    /// The entries.
    pub(crate) body: &'a [u8],
}

/// The numbers of the segments in `dir`, ascending.
pub(crate) fn segments(env: &Env, dir: &Path) -> Result<Vec<FileId>> {
    Ok(super::list(env, dir)?.0)
}

/// Whether a file is called as segments are.
pub(crate) fn is_segment_name(name: &str) -> bool {
    matches!(Name::parse(name), Some(Name::Segment(_)))
}

/// The path of a segment.
pub(crate) fn segment_path(dir: &Path, id: FileId) -> std::path::PathBuf {
    Name::Segment(id).path(dir)
}

/// Reads the segment in the file `path`, which is called `id`, and hands every sound record to `visit`, in the
/// order of their offsets. Fails only where the file cannot be read.
pub(crate) fn survey(
    env: &Env,
    path: &Path,
    id: FileId,
    visit: &mut dyn FnMut(&Piece<'_>) -> Result<()>,
) -> Result<Survey> {
    let file = env.fs.open(path).at("open", path)?;
    let bytes = file.len().at("read the length of", path)?;
    let mut survey = Survey { id, bytes, ..Survey::default() };
    let mut content = vec![0; bytes as usize]; // No more than the file has.
    file.read_exact_at(&mut content, 0).at("read", path)?;
    let Some(header) = survey.read_header(path, &content) else { return Ok(survey) };
    survey.clock_ms = header.clock_ms;
    survey.read_horizon(path, &content, header.context());
    survey.read_records(path, &content, &header, visit)?;
    Ok(survey)
}

impl Survey {
    fn note(&mut self, path: &Path, offset: u64, detail: impl Into<String>) {
        self.wrong.push(Torn { path: path.to_path_buf(), offset, detail: detail.into() });
    }

    /// The header, if need be with one bit put right: without it, nothing else can be told from garbage.
    fn read_header(&mut self, path: &Path, content: &[u8]) -> Option<SegmentHeader> {
        let Some(frame) = content.first_chunk::<HEADER_BYTES>().filter(|_| self.bytes >= CHUNKS_START) else {
            self.note(path, 0, format!("expected a segment of at least {CHUNKS_START} bytes"));
            return None;
        };
        let bad = match SegmentHeader::decode(frame, self.id) {
            Ok(header) => return Some(header),
            Err(BadHeader::Version(found)) => format!("the segment header has the format version {found}"),
            Err(BadHeader::Damaged(detail)) => detail.to_string(),
        };
        self.note(path, 0, bad);
        (0..HEADER_BYTES * 8).find_map(|bit| {
            let mut mended = *frame;
            mended[bit / 8] ^= 1 << (bit % 8);
            SegmentHeader::decode(&mended, self.id).ok()
        })
    }

    fn read_horizon(&mut self, path: &Path, content: &[u8], context: u64) {
        for offset in HORIZON_OFFSETS {
            let frame = &content[offset as usize..][..HORIZON_BYTES];
            match HorizonSlot::decode(frame, context, offset) {
                Some(slot) => {
                    self.horizon = self.horizon.max(slot.horizon);
                    self.clock_ms = self.clock_ms.max(slot.clock_ms);
                }
                None if frame.iter().all(|byte| *byte == 0) => {}
                None => self.note(path, offset, "a horizon slot is neither empty nor valid"),
            }
        }
    }

    fn read_records(
        &mut self,
        path: &Path,
        content: &[u8],
        header: &SegmentHeader,
        visit: &mut dyn FnMut(&Piece<'_>) -> Result<()>,
    ) -> Result<()> {
        let (context, slot) = (header.context(), u64::from(header.chunk_bytes));
        let mut at = CHUNKS_START as usize;
        // Where the next record is due, if it is known: behind a chunk header or another record.
        let mut due = None;
        let mut chunk_end = 0;
        while at + CHUNK_HEADER_BYTES <= content.len() {
            let at_slot = (at as u64 - CHUNKS_START).is_multiple_of(slot);
            let chunk = ChunkHeader::decode(&content[at..][..CHUNK_HEADER_BYTES], context, at as u64);
            if let Some(chunk) = chunk.filter(|_| at_slot) {
                self.chunks += 1;
                chunk_end = at as u64 + u64::from(chunk.slots) * slot;
                at += CHUNK_HEADER_BYTES;
                due = Some(at);
                continue;
            }
            let rest = &content[at..];
            let record = RecordHeader::decode(rest, context, at as u64, 1);
            let body = record.map(|record| &rest[RECORD_HEADER_BYTES..][..record.body_bytes as usize]);
            match (record, body) {
                (Some(record), Some(body)) if checksum::plain(body) == record.body_crc => {
                    if due != Some(at) {
                        self.note(
                            path,
                            at as u64,
                            "a record lies where none is expected, behind something damaged",
                        );
                    }
                    let (first, offset) = (record.first_seqno, at as u64);
                    visit(&Piece { offset, first, count: record.count, body })?;
                    self.count(&record);
                    at += record_bytes(body.len()) as usize;
                    due = Some(at);
                }
                (record, _) => {
                    let no_room = at as u64 + RECORD_HEADER_BYTES as u64 > chunk_end;
                    let ended = no_room || rest[..TERMINATOR_BYTES].iter().all(|byte| *byte == 0);
                    if due == Some(at) && !ended {
                        let what = if record.is_some() { "the body of a record" } else { "a record header" };
                        self.note(path, at as u64, format!("{what} does not match its checksum"));
                    }
                    at += 8;
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, record: &RecordHeader) {
        self.records += 1;
        self.record_bytes += record_bytes(record.body_bytes as usize);
        let first = if self.first_seqno == 0 { u64::MAX } else { self.first_seqno };
        self.first_seqno = first.min(record.first_seqno);
        self.last_seqno = self.last_seqno.max(record.last_seqno());
    }
}
