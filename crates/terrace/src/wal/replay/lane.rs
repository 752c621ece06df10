//! The records of one lane in one segment, in order.
//!
//! One chunk is in memory at a time. A lane ends with its last chunk, or at the first place that holds
//! neither a record nor an end mark; what that means depends on the rule.

use super::scan::{ChunkAt, SegmentScan};
use super::{Damage, Rule, Torn};
use crate::base::error::IoContext;
use crate::base::{Error, Result, Seqno, checksum};
use crate::wal::format::{
    CHUNK_HEADER_BYTES, RECORD_HEADER_BYTES, RecordHeader, TERMINATOR_BYTES, record_bytes,
};

/// A record in a lane's current chunk.
pub(super) struct RecordRef<'a> {
    pub(super) last: Seqno,
    pub(super) count: u32,
    /// Where in the file.
    pub(super) offset: u64,
    pub(super) body: &'a [u8],
}

/// Reads one lane of one segment.
pub(super) struct LaneReader<'a> {
    scan: &'a SegmentScan,
    chunks: &'a [ChunkAt],
    rule: Rule,
    /// The number of chunks opened so far; the current one is the last of them.
    opened: usize,
    bytes: Vec<u8>,
    /// Where the next record starts in `bytes`.
    at: usize,
    current: Option<(usize, RecordHeader)>,
    last: Seqno,
}

/// What lies at a place of a chunk.
enum Found {
    Record(RecordHeader),
    End,
    Bad(String),
}

impl<'a> LaneReader<'a> {
    pub(super) fn new(scan: &'a SegmentScan, chunks: &'a [ChunkAt], rule: Rule) -> Self {
        let last = scan.base.unwrap_or(1).saturating_sub(1);
        Self { scan, chunks, rule, opened: 0, bytes: Vec::new(), at: 0, current: None, last }
    }

    /// The record that `advance` has found.
    pub(super) fn record(&self) -> Option<RecordRef<'_>> {
        let (at, header) = self.current?;
        let offset = self.place(at);
        let body = &self.bytes[at + RECORD_HEADER_BYTES..][..header.body_bytes as usize];
        Some(RecordRef { last: header.last_seqno(), count: header.count, offset, body })
    }

    /// Goes to the next record and returns its first sequence number; `None` at the end of the lane. An end
    /// that is not an end mark goes to `damage`.
    pub(super) fn advance(&mut self, damage: &mut Vec<Damage>) -> Result<Option<Seqno>> {
        self.current = None;
        loop {
            let found = if self.opened == 0 { Found::End } else { self.find() };
            let bad = match found {
                Found::Record(header) => {
                    self.current = Some((self.at, header));
                    self.at += record_bytes(header.body_bytes as usize) as usize;
                    self.last = header.last_seqno();
                    return Ok(Some(header.first_seqno));
                }
                Found::End => {
                    if self.rule == Rule::ProcessDeath {
                        self.check_nothing_follows("expected no record behind the end of the chunk")?;
                    }
                    match self.open_next()? {
                        None => return Ok(None),
                        Some(Ok(())) => continue,
                        Some(Err(missing)) => missing,
                    }
                }
                Found::Bad(bad) => bad,
            };
            self.end_at(bad, damage)?;
            return Ok(None);
        }
    }

    /// Opens the next chunk: `None` if there is none, an inner error if it is not the one expected.
    fn open_next(&mut self) -> Result<Option<Result<(), String>>> {
        let Some(chunk) = self.chunks.get(self.opened) else {
            return Ok(None);
        };
        if chunk.ordinal as usize != self.opened {
            let (expected, found) = (self.opened, chunk.ordinal);
            return Ok(Some(Err(format!("expected chunk {expected} of the lane next, found chunk {found}"))));
        }
        // Slots of a file whose length was checked: no more than the file is ever allocated.
        self.bytes.resize(chunk.len as usize, 0);
        self.scan.file.read_exact_at(&mut self.bytes, chunk.offset).at("read", &self.scan.path)?;
        self.opened += 1;
        self.at = CHUNK_HEADER_BYTES;
        Ok(Some(Ok(())))
    }

    fn find(&self) -> Found {
        let rest = &self.bytes[self.at.min(self.bytes.len())..];
        if rest.len() < RECORD_HEADER_BYTES || rest[..TERMINATOR_BYTES].iter().all(|byte| *byte == 0) {
            return Found::End;
        }
        let place = self.place(self.at);
        let Some(header) = RecordHeader::decode(rest, self.scan.context, place, self.last + 1) else {
            return Found::Bad("the record header does not match its checksum".into());
        };
        let body = &rest[RECORD_HEADER_BYTES..][..header.body_bytes as usize];
        if checksum::plain(body) != header.body_crc {
            let (first, last) = (header.first_seqno, header.last_seqno());
            return Found::Bad(format!("the body of record {first}..={last} does not match its checksum"));
        }
        Found::Record(header)
    }

    /// The lane ends here with something bad. After a process death that is a torn append, and so the last
    /// thing that the lane did; a power loss may have left anything beyond the horizon.
    fn end_at(&mut self, bad: String, damage: &mut Vec<Damage>) -> Result<()> {
        if self.rule == Rule::ProcessDeath {
            if self.opened < self.chunks.len() {
                let detail = format!("{bad}, but the lane goes on in a later chunk");
                return Err(Error::corruption(&self.scan.path, self.place(self.at), detail));
            }
            self.check_nothing_follows(&bad)?;
        }
        let offset = self.place(self.at);
        let torn = Torn { path: self.scan.path.clone(), offset, detail: bad };
        damage.push(Damage { torn, after: self.last });
        // Nothing behind it is read.
        self.opened = self.chunks.len();
        self.chunks = &[];
        self.at = self.bytes.len();
        Ok(())
    }

    /// Fails if a valid record header lies anywhere in the rest of the chunk.
    fn check_nothing_follows(&self, what: &str) -> Result<()> {
        let mut at = self.at + 8;
        while at + RECORD_HEADER_BYTES <= self.bytes.len() {
            let place = self.place(at);
            if let Some(header) =
                RecordHeader::decode(&self.bytes[at..], self.scan.context, place, self.last + 1)
            {
                let detail = format!("{what}, but record {} follows at {place}", header.first_seqno);
                return Err(Error::corruption(&self.scan.path, self.place(self.at), detail));
            }
            at += 8;
        }
        Ok(())
    }

    /// The offset in the file of a place in the current chunk.
    fn place(&self, at: usize) -> u64 {
        let chunk = self.chunks.get(self.opened.saturating_sub(1));
        chunk.map_or(0, |chunk| chunk.offset + at as u64)
    }
}
