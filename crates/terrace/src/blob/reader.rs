//! `BlobFile`: reads of values out of one blob file.
//!
//! Opening does no I/O; the first use opens the file and checks its header. A value is one read of its record, which
//! is verified as a whole: checksums, place, and that it is the value of the key whose pointer led here. Values are
//! not cached: those that are read often are in the page cache of the system, and a copy of one is cheap beside it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::format::{FOOTER_BYTES, HEADER_BYTES, RECORD_HEADER_BYTES, RecordHeader, check_header};
use super::scan::scan_file;
use super::{BlobMeta, Piece, Pointer, blob_path};
use crate::base::compression::{Compression, decompress};
use crate::base::error::IoContext;
use crate::base::{Error, FileId, Result, Slice, checksum};
use crate::io::{File, Fs};

/// An open blob file.
#[derive(Debug)]
pub(crate) struct BlobFile {
    meta: BlobMeta,
    path: PathBuf,
    fs: Arc<dyn Fs>,
    file: OnceLock<Arc<dyn File>>,
    /// Held while opening, so that a crowd at a new file opens it once.
    opening: Mutex<()>,
    obsolete: AtomicBool,
}

/// A record as it was read and verified.
#[derive(Debug)]
pub(crate) struct Stored {
    header: RecordHeader,
    bytes: Vec<u8>,
}

impl Stored {
    /// The number of its compression.
    pub(crate) fn compression(&self) -> u8 {
        self.header.compression
    }

    /// The value as it is stored.
    pub(crate) fn stored(&self) -> &[u8] {
        &self.bytes[RECORD_HEADER_BYTES + self.header.key_bytes..]
    }

    /// The value; the text says what is wrong with it.
    pub(crate) fn value(&self) -> Result<Slice, String> {
        if self.compression() == Compression::None as u8 {
            return Ok(Slice::copy_from(self.stored()));
        }
        decompress(self.compression(), self.stored()).map(Slice::from)
    }
}

impl BlobFile {
    /// A handle on the file that `meta` describes. Does no I/O.
    pub(crate) fn open(fs: Arc<dyn Fs>, dir: &Path, meta: BlobMeta) -> Self {
        Self {
            path: blob_path(dir, meta.id),
            meta,
            fs,
            file: OnceLock::new(),
            opening: Mutex::new(()),
            obsolete: AtomicBool::new(false),
        }
    }

    /// A handle on a file that may be damaged: its header and its length are not looked at, and every record that is
    /// sound in itself can be read. For salvage.
    pub(crate) fn open_damaged(fs: Arc<dyn Fs>, dir: &Path, id: FileId) -> Result<Self> {
        let path = blob_path(dir, id);
        let file = fs.open(&path).at("open", &path)?;
        // Wherever the records end, it is not beyond the file.
        let file_bytes = file.len().at("read the length of", &path)? + FOOTER_BYTES as u64;
        let opened = Self::open(fs, dir, BlobMeta { id, file_bytes, records: 0 });
        opened.file.get_or_init(|| file);
        Ok(opened)
    }

    /// What the manifest knows of the file.
    pub(crate) fn meta(&self) -> &BlobMeta {
        &self.meta
    }

    /// Its path.
    #[cfg(test)]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Which opening of a store has written it. Reads the file at each call.
    pub(crate) fn origin(&self) -> Result<u64> {
        read_origin(&*self.fs, &self.path, self.meta.id)
    }

    fn file(&self) -> Result<&Arc<dyn File>> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let _alone = self.opening.lock();
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let file = self.fs.open(&self.path).at("open", &self.path)?;
        let (expected, found) = (self.meta.file_bytes, file.len().at("read the length of", &self.path)?);
        if found != expected {
            let detail = format!("expected a blob file of {expected} bytes, found {found}");
            return Err(Error::corruption(&self.path, found.min(expected), detail));
        }
        check_header(&self.path, self.meta.id, &read_header(&*file, &self.path)?)?;
        Ok(self.file.get_or_init(|| file))
    }

    /// Opens the file now, so that it can be read even when its name is gone.
    pub(crate) fn hold(&self) -> Result<()> {
        self.file().map(|_| ())
    }

    /// The value of `key`, to which `pointer` points.
    pub(crate) fn read(&self, key: &[u8], pointer: &Pointer) -> Result<Slice> {
        self.value(pointer, &self.read_stored(key, pointer)?)
    }

    /// The same if that takes no wait for the device; else the system may begin to bring the value in.
    pub(crate) fn try_read(&self, key: &[u8], pointer: &Pointer) -> Result<Option<Slice>> {
        let mut bytes = self.room_for(pointer, pointer.record_bytes)?;
        if !self.file()?.try_read_exact_at(&mut bytes, pointer.offset) {
            return Ok(None);
        }
        self.value(pointer, &self.checked(key, pointer, bytes)?).map(Some)
    }

    fn value(&self, pointer: &Pointer, stored: &Stored) -> Result<Slice> {
        let corrupt = |detail: String| self.corrupt(pointer, &detail);
        let value = stored.value().map_err(corrupt)?;
        if value.len() as u64 != pointer.value_bytes {
            let (expected, found) = (pointer.value_bytes, value.len());
            return Err(corrupt(format!("expected a value of {expected} bytes, found {found}")));
        }
        Ok(value)
    }

    /// The same as it is stored, verified.
    pub(crate) fn read_stored(&self, key: &[u8], pointer: &Pointer) -> Result<Stored> {
        let bytes = self.read_front(pointer, pointer.record_bytes)?;
        self.checked(key, pointer, bytes)
    }

    fn checked(&self, key: &[u8], pointer: &Pointer, bytes: Vec<u8>) -> Result<Stored> {
        let header = self.check_front(key, pointer, &bytes)?;
        if checksum::plain(&bytes[RECORD_HEADER_BYTES..]) != header.sum {
            return Err(self.corrupt(pointer, "the record does not match its checksum"));
        }
        Ok(Stored { header, bytes })
    }

    /// Checks that `pointer` leads to a record of `key`, without reading its value.
    pub(crate) fn check_pointer(&self, key: &[u8], pointer: &Pointer) -> Result<()> {
        let bytes = self.read_front(pointer, (RECORD_HEADER_BYTES + key.len()) as u64)?;
        self.check_front(key, pointer, &bytes).map(|_| ())
    }

    /// Checks every byte of the file; the first thing that is wrong is the error.
    pub(crate) fn verify(&self) -> Result<()> {
        // The open file: its name may be gone where the store is only read.
        let meta = scan_file(&**self.file()?, &self.path, self.meta.id, &mut |piece| match piece {
            Piece::Record { .. } => Ok(()),
            Piece::Damage(error) => Err(error),
        })?;
        match meta {
            Some(found) if found == self.meta => Ok(()),
            found => {
                let detail = format!("expected {:?}, found {found:?}", self.meta);
                Err(Error::corruption(&self.path, 0, detail))
            }
        }
    }

    /// As many zeros as bytes are to be read of a record, which must lie within the file.
    fn room_for(&self, pointer: &Pointer, bytes: u64) -> Result<Vec<u8>> {
        let data_end = self.meta.file_bytes.saturating_sub(FOOTER_BYTES as u64);
        let end = pointer.offset.checked_add(pointer.record_bytes);
        let inside = pointer.offset >= HEADER_BYTES as u64 && end.is_some_and(|end| end <= data_end);
        if !inside || bytes > pointer.record_bytes {
            let (from, to) = (HEADER_BYTES, data_end);
            let detail =
                format!("expected a record within bytes {from} to {to}, found a pointer {pointer:?}");
            return Err(Error::corruption(&self.path, pointer.offset, detail));
        }
        Ok(vec![0; bytes as usize])
    }

    /// The first bytes of a record, or all of it.
    fn read_front(&self, pointer: &Pointer, bytes: u64) -> Result<Vec<u8>> {
        let mut record = self.room_for(pointer, bytes)?;
        let file = self.file()?;
        match file.read_exact_at(&mut record, pointer.offset) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Err(self.corrupt(pointer, "expected a record, found the end of the file"))
            }
            result => result.at("read", &self.path).map(|()| record),
        }
    }

    fn check_front(&self, key: &[u8], pointer: &Pointer, bytes: &[u8]) -> Result<RecordHeader> {
        let header = RecordHeader::parse(bytes, self.meta.id, pointer.offset)
            .map_err(|detail| self.corrupt(pointer, detail))?;
        if header.record_bytes() != pointer.record_bytes {
            let (expected, found) = (pointer.record_bytes, header.record_bytes());
            return Err(
                self.corrupt(pointer, &format!("expected a record of {expected} bytes, found {found}"))
            );
        }
        let found = &bytes[RECORD_HEADER_BYTES..][..header.key_bytes.min(bytes.len() - RECORD_HEADER_BYTES)];
        if found != key {
            let (expected, found) = (key.escape_ascii(), found.escape_ascii());
            return Err(self.corrupt(pointer, &format!("expected the key \"{expected}\", found \"{found}\"")));
        }
        Ok(header)
    }

    fn corrupt(&self, pointer: &Pointer, detail: &str) -> Error {
        Error::corruption(&self.path, pointer.offset, detail)
    }

    /// Marks the file as no longer part of the store: it goes when the last handle does.
    pub(crate) fn delete_on_drop(&self) {
        self.obsolete.store(true, Ordering::Release);
    }
}

impl Drop for BlobFile {
    fn drop(&mut self) {
        if self.obsolete.load(Ordering::Acquire) {
            // A file that stays is an orphan, which the next opening removes.
            let _ = self.fs.remove(&self.path);
        }
    }
}

fn read_header(file: &dyn File, path: &Path) -> Result<[u8; HEADER_BYTES]> {
    let mut header = [0; HEADER_BYTES];
    match file.read_exact_at(&mut header, 0) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            Err(Error::corruption(path, 0, "expected the header of a blob file, found the end of the file"))
        }
        result => result.at("read", path).map(|()| header),
    }
}

/// Which opening of a store has written the blob file `id`.
pub(crate) fn read_origin(fs: &dyn Fs, path: &Path, id: FileId) -> Result<u64> {
    let file = fs.open(path).at("open", path)?;
    check_header(path, id, &read_header(&*file, path)?)
}
