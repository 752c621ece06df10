//! Appends records to a file.
//!
//! Contract with the reader: at most one record is unsynced at a time, or nobody depends on the file before
//! its next sync (a snapshot that becomes current only after it was synced). Pages may reach the disk in
//! any order, so a crash with two unsynced records could leave the second without the first, which the
//! reader must call damage.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{PAYLOAD_BYTES_MAX, RECORD_HEADER_BYTES, frame};
use crate::base::error::IoContext;
use crate::base::{Error, FileId, Result, checksum};
use crate::io::File;

/// An append-only log of records.
#[derive(Debug)]
pub(crate) struct RecordWriter {
    file: Arc<dyn File>,
    path: PathBuf,
    id: FileId,
    offset: u64,
    buffer: Vec<u8>,
}

impl RecordWriter {
    /// Writes into `file` from `offset` on: 0 for a new file, else the `end` of a reader that has read all.
    /// After a torn tail it is cleaner to start a new file than to write over the rest of the old one.
    pub(crate) fn new(file: Arc<dyn File>, path: &Path, id: FileId, offset: u64) -> Self {
        Self { file, path: path.to_path_buf(), id, offset, buffer: Vec::new() }
    }

    /// Appends one record with a single write; not durable before `sync`. After an error nothing is known
    /// about the record: it may or may not be found when the file is read.
    pub(crate) fn append(&mut self, payload: &[u8]) -> Result<()> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            let len = payload.len();
            return Err(Error::invalid(format!("a record of {len} bytes; at most {PAYLOAD_BYTES_MAX}")));
        }
        self.buffer.clear();
        self.buffer.resize(RECORD_HEADER_BYTES, 0);
        self.buffer[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        self.buffer[8..12].copy_from_slice(&checksum::plain(payload).to_le_bytes());
        frame::seal(self.id.0, self.offset, &mut self.buffer);
        self.buffer.extend_from_slice(payload);
        self.file.write_all_at(&self.buffer, self.offset).at("append to", &self.path)?;
        self.offset += self.buffer.len() as u64;
        Ok(())
    }

    /// Makes everything appended so far durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync().at("sync", &self.path)
    }

    /// Where the next record goes, which is the number of bytes in the log.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }
}
