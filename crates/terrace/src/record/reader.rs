//! Reads the records of a file back, and tells a torn tail from damage.
//!
//! A torn tail is what a crash leaves: an incomplete or bad last record with nothing valid after it, beyond
//! what is known to be durable. It ends the log without an error. A bad record that is followed by a valid
//! one, or that lies in the durable part, was complete once: that is damage and an `Error::Corruption`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{RECORD_HEADER_BYTES, frame};
use crate::base::error::IoContext;
use crate::base::{Error, FileId, Result, checksum};
use crate::io::File;

const HEADER_BYTES: u64 = RECORD_HEADER_BYTES as u64;

/// How much is read at a time while looking for a valid record behind a bad one.
const SCAN_BYTES: u64 = 64 << 10;
/// Reserved room is passed over in pieces: a frame that is sealed does not begin with four zeros.
const ZEROS: [u8; 256] = [0; 256];

/// Reads an append-only log of records from its start.
#[derive(Debug)]
pub(crate) struct RecordReader {
    file: Arc<dyn File>,
    path: PathBuf,
    id: FileId,
    len: u64,
    offset: u64,
    durable_bytes: u64,
    torn: bool,
}

/// What lies at an offset.
enum Found {
    Record(Vec<u8>),
    Bad(&'static str),
}

impl RecordReader {
    /// Reads `file`, which was written under the number `id`. Bytes below `durable_bytes` are known to have
    /// been synced (0 if nothing is known), so whatever is wrong there is damage and not a torn tail.
    pub(crate) fn new(file: Arc<dyn File>, path: &Path, id: FileId, durable_bytes: u64) -> Result<Self> {
        let len = file.len().at("read the length of", path)?;
        Ok(Self { file, path: path.to_path_buf(), id, len, offset: 0, durable_bytes, torn: false })
    }

    /// The next payload; `None` at the end of the log, which may be a torn tail (see `torn_bytes`).
    #[allow(clippy::should_implement_trait)] // It is fallible and stays ended once it has ended.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>> {
        if self.torn {
            return Ok(None);
        }
        if self.offset >= self.len {
            if self.offset < self.durable_bytes {
                return Err(self.damaged("the file ends before its durable part"));
            }
            return Ok(None);
        }
        match self.read(self.offset)? {
            Found::Record(payload) => {
                self.offset += HEADER_BYTES + payload.len() as u64;
                Ok(Some(payload))
            }
            Found::Bad(why) if self.offset < self.durable_bytes => Err(self.damaged(why)),
            Found::Bad(why) => match self.find_valid_after()? {
                Some(next) => Err(self.damaged(&format!("{why}, but a valid record follows at {next}"))),
                None => {
                    self.torn = true;
                    Ok(None)
                }
            },
        }
    }

    /// The end of the last valid record read.
    pub(crate) fn end(&self) -> u64 {
        self.offset
    }

    /// How many bytes of a torn tail follow the last valid record; 0 until `next` has returned `None`.
    #[cfg(test)]
    pub(crate) fn torn_bytes(&self) -> u64 {
        if self.torn { self.len - self.offset } else { 0 }
    }

    fn damaged(&self, why: &str) -> Error {
        Error::corruption(&self.path, self.offset, why)
    }

    /// Reads whatever lies at `offset`. The length is believed once its frame's checksum is right, and even
    /// then only if the payload fits the file.
    fn read(&self, offset: u64) -> Result<Found> {
        let rest = self.len - offset;
        if rest < HEADER_BYTES {
            return Ok(Found::Bad("expected a record header, found the end of the file"));
        }
        let mut header = [0; RECORD_HEADER_BYTES];
        self.file.read_exact_at(&mut header, offset).at("read", &self.path)?;
        if !frame::is_sealed(self.id.0, offset, &header) {
            return Ok(Found::Bad("the record header does not match its checksum"));
        }
        let payload_bytes = u64::from(frame::u32_at(&header, 4));
        if payload_bytes > rest - HEADER_BYTES {
            return Ok(Found::Bad("the record is longer than the rest of the file"));
        }
        let mut payload = vec![0; payload_bytes as usize];
        self.file.read_exact_at(&mut payload, offset + HEADER_BYTES).at("read", &self.path)?;
        if checksum::plain(&payload) != frame::u32_at(&header, 8) {
            return Ok(Found::Bad("the payload does not match its checksum"));
        }
        Ok(Found::Record(payload))
    }

    /// Looks at every later byte for the start of a valid record. The header is tested in a window; only
    /// where it is sealed is the payload read too, so that chance (one in 2^32 per byte) proves nothing.
    fn find_valid_after(&self) -> Result<Option<u64>> {
        let mut window_start = self.offset + 1;
        let mut window = Vec::new();
        while window_start + HEADER_BYTES <= self.len {
            let window_bytes = (self.len - window_start).min(SCAN_BYTES + HEADER_BYTES - 1);
            window.resize(window_bytes as usize, 0);
            self.file.read_exact_at(&mut window, window_start).at("read", &self.path)?;
            let mut at = 0;
            while let Some(header) = window.get(at..at + RECORD_HEADER_BYTES) {
                if window.get(at..at + ZEROS.len()) == Some(&ZEROS) {
                    at += ZEROS.len() - 3;
                    continue;
                }
                let offset = window_start + at as u64;
                if frame::is_sealed(self.id.0, offset, header)
                    && matches!(self.read(offset)?, Found::Record(_))
                {
                    return Ok(Some(offset));
                }
                at += 1;
            }
            window_start += window_bytes - (HEADER_BYTES - 1);
        }
        Ok(None)
    }
}
