//! `BlobWriter`: appends records to a new blob file.
//!
//! The file counts as written only when `finish` has returned; syncing the directory is the caller's, once for all
//! the files that it made. A large value is written from where it lies; of what it is compressed to there is one copy.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::format::{FOOTER_BYTES, HEADER_BYTES, RecordHeader, pointer_to, push_footer, push_header};
use super::{BlobMeta, Pointer, Stored, blob_path};
use crate::base::compression::{Compression, compress};
use crate::base::error::IoContext;
use crate::base::{FileId, Result, checksum};
use crate::io::{File, Fs};

/// Output is gathered into writes of about this size.
const WRITE_BYTES: usize = 256 << 10;

/// Writes one blob file. After an error, `abandon` it.
#[derive(Debug)]
pub(crate) struct BlobWriter {
    fs: Arc<dyn Fs>,
    file: Arc<dyn File>,
    path: PathBuf,
    id: FileId,
    compression: Compression,
    /// What is not in the file yet.
    out: Vec<u8>,
    written_bytes: u64,
    records: u64,
    compressed: Vec<u8>,
}

impl BlobWriter {
    /// Creates the blob file `id`, which must not exist yet.
    pub(crate) fn create(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        id: FileId,
        compression: Compression,
        origin: u64,
    ) -> Result<Self> {
        let path = blob_path(dir, id);
        let file = fs.create(&path).at("create", &path)?;
        let mut out = Vec::new();
        push_header(&mut out, id, origin);
        let fs = Arc::clone(fs);
        let compressed = Vec::new();
        Ok(Self { fs, file, path, id, compression, out, written_bytes: 0, records: 0, compressed })
    }

    /// Appends a value.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) -> Result<Pointer> {
        let mut compressed = std::mem::take(&mut self.compressed);
        compressed.clear();
        let kind = compress(&mut compressed, value, self.compression);
        let stored = if kind == Compression::None { value } else { &compressed };
        let pointer = self.append(key, kind as u8, stored, value.len() as u64)?;
        compressed.clear();
        compressed.shrink_to(WRITE_BYTES);
        self.compressed = compressed;
        Ok(pointer)
    }

    /// Appends a value of another blob file as it is stored there.
    pub(crate) fn add_stored(&mut self, key: &[u8], value: &Stored, value_bytes: u64) -> Result<Pointer> {
        self.append(key, value.compression(), value.stored(), value_bytes)
    }

    fn append(&mut self, key: &[u8], compression: u8, stored: &[u8], value_bytes: u64) -> Result<Pointer> {
        let sum = checksum::plain_append(checksum::plain(key), stored);
        let header = RecordHeader { key_bytes: key.len(), compression, stored_bytes: stored.len(), sum };
        let offset = self.offset();
        header.push(&mut self.out, self.id, offset);
        self.out.extend_from_slice(key);
        if stored.len() < WRITE_BYTES {
            self.out.extend_from_slice(stored);
        } else {
            self.write_out()?;
            self.file.write_all_at(stored, self.written_bytes).at("write", &self.path)?;
            self.written_bytes += stored.len() as u64;
        }
        self.records += 1;
        if self.out.len() >= WRITE_BYTES {
            self.write_out()?;
        }
        Ok(pointer_to(self.id, offset, &header, value_bytes))
    }

    fn offset(&self) -> u64 {
        self.written_bytes + self.out.len() as u64
    }

    /// How long the file would be if it were finished now.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.offset() + FOOTER_BYTES as u64
    }

    fn write_out(&mut self) -> Result<()> {
        self.file.write_all_at(&self.out, self.written_bytes).at("write", &self.path)?;
        self.written_bytes += self.out.len() as u64;
        self.out.clear();
        self.out.shrink_to(2 * WRITE_BYTES);
        Ok(())
    }

    /// Writes what remains and syncs the file. On an error the file is removed as far as that is possible.
    pub(crate) fn finish(mut self) -> Result<BlobMeta> {
        debug_assert!(self.offset() > HEADER_BYTES as u64, "a blob file has records");
        let offset = self.offset();
        push_footer(&mut self.out, self.id, offset, self.records);
        let written = self.write_out().and_then(|()| self.file.sync().at("sync", &self.path));
        match written {
            Ok(()) => Ok(BlobMeta { id: self.id, file_bytes: self.written_bytes, records: self.records }),
            Err(error) => {
                self.abandon();
                Err(error)
            }
        }
    }

    /// Gives up and removes the file. What cannot be removed now is an orphan that the next opening removes.
    pub(crate) fn abandon(self) {
        let _ = self.fs.remove(&self.path);
    }
}
