//! `scan`: every record of a blob file, one after the other, going on behind whatever is damaged.
//!
//! Where the header of a record is sound, the next record follows it, whatever is wrong with its value. Otherwise the
//! next one begins at the first place behind whose header matches its checksum, which is bound to that place.

use std::path::Path;

use super::format::{
    FOOTER_BYTES, HEADER_BYTES, RECORD_HEADER_BYTES, RecordHeader, check_header, parse_footer,
};
use super::{BlobMeta, blob_path};
use crate::base::error::IoContext;
use crate::base::{Error, FileId, Result, checksum};
use crate::io::{File, Fs};

/// How much is read at a time.
const WINDOW_BYTES: usize = 1 << 20;

/// A record that was found, or damage in the place of one.
#[derive(Debug)]
pub(crate) enum Piece<'a> {
    /// A sound record.
    Record {
        /// Its offset.
        offset: u64,
        /// Its length.
        record_bytes: u64,
        /// The internal key.
        key: &'a [u8],
        /// The length of the value as it is stored.
        stored_bytes: usize,
        /// The number of its compression.
        compression: u8,
    },
    /// Bytes that are no sound record, and what is wrong with them.
    Damage(Error),
}

/// Shows every record and all damage to `see`; what the footer says, where that is sound. Fails only where the file
/// cannot be read, or where `see` does.
pub(crate) fn scan(
    fs: &dyn Fs,
    dir: &Path,
    id: FileId,
    see: &mut dyn FnMut(Piece<'_>) -> Result<()>,
) -> Result<Option<BlobMeta>> {
    let path = blob_path(dir, id);
    let file = fs.open(&path).at("open", &path)?;
    scan_file(&*file, &path, id, see)
}

/// The same of a file that is open already.
pub(super) fn scan_file(
    file: &dyn File,
    path: &Path,
    id: FileId,
    see: &mut dyn FnMut(Piece<'_>) -> Result<()>,
) -> Result<Option<BlobMeta>> {
    let len = file.len().at("read the length of", path)?;
    let mut scan = Scan { file, path, id, end: len, window: Vec::new(), window_at: 0 };
    if len < (HEADER_BYTES + FOOTER_BYTES) as u64 {
        let detail = format!("expected a blob file, found {len} bytes");
        see(Piece::Damage(Error::corruption(path, len, detail)))?;
        return Ok(None);
    }
    if let Some(Err(error)) = scan.bytes(0, HEADER_BYTES)?.first_chunk().map(|h| check_header(path, id, h)) {
        see(Piece::Damage(error))?;
    }
    let footer_at = len - FOOTER_BYTES as u64;
    let footer = scan.bytes(footer_at, FOOTER_BYTES)?.first_chunk();
    let footer = footer.map(|footer| parse_footer(path, id, footer_at, footer));
    // Without a sound footer nobody knows where the records end.
    scan.end = if matches!(footer, Some(Ok(_))) { footer_at } else { len };
    let records = scan.records(see)?;
    match footer {
        Some(Ok(meta)) if records.is_none_or(|records| records == meta.records) => Ok(Some(meta)),
        Some(Ok(meta)) => {
            let (expected, found) = (meta.records, records.unwrap_or(0));
            let detail = format!("expected {expected} records, found {found}");
            see(Piece::Damage(Error::corruption(path, footer_at, detail)))?;
            Ok(None)
        }
        Some(Err(error)) => see(Piece::Damage(error)).map(|()| None),
        None => Ok(None),
    }
}

struct Scan<'a> {
    file: &'a dyn File,
    path: &'a Path,
    id: FileId,
    /// Where the records end.
    end: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl Scan<'_> {
    /// So many bytes at `at`, or those up to the end.
    fn bytes(&mut self, at: u64, bytes: usize) -> Result<&[u8]> {
        let bytes = bytes.min((self.end - at.min(self.end)) as usize);
        let inside = at >= self.window_at && at + bytes as u64 <= self.window_at + self.window.len() as u64;
        if !inside {
            let take = (self.end - at).min(bytes.max(WINDOW_BYTES) as u64) as usize;
            self.window.resize(take, 0);
            self.window.shrink_to(WINDOW_BYTES);
            self.window_at = at;
            self.file.read_exact_at(&mut self.window, at).at("read", self.path)?;
        }
        Ok(&self.window[(at - self.window_at) as usize..][..bytes])
    }

    /// Every record; their number, if nothing was damaged.
    fn records(&mut self, see: &mut dyn FnMut(Piece<'_>) -> Result<()>) -> Result<Option<u64>> {
        let (mut at, mut records, mut sound) = (HEADER_BYTES as u64, 0, true);
        while at < self.end {
            let (path, id, end) = (self.path, self.id, self.end);
            let header = RecordHeader::parse(self.bytes(at, RECORD_HEADER_BYTES)?, id, at);
            let header = header.and_then(|header| {
                let is_inside = at + header.record_bytes() <= end;
                is_inside.then_some(header).ok_or("the record is longer than the rest of the file")
            });
            match header {
                Ok(header) => {
                    let record_bytes = header.record_bytes();
                    let body = &self.bytes(at, record_bytes as usize)?[RECORD_HEADER_BYTES..];
                    if checksum::plain(body) == header.sum {
                        records += 1;
                        let (key, stored_bytes) = (&body[..header.key_bytes], header.stored_bytes);
                        let compression = header.compression;
                        see(Piece::Record { offset: at, record_bytes, key, stored_bytes, compression })?;
                    } else {
                        sound = false;
                        let detail = "the record does not match its checksum";
                        see(Piece::Damage(Error::corruption(path, at, detail)))?;
                    }
                    at += record_bytes;
                }
                Err(detail) => {
                    sound = false;
                    see(Piece::Damage(Error::corruption(path, at, detail)))?;
                    at = self.next_header(at + 1)?;
                }
            }
        }
        Ok(sound.then_some(records))
    }

    /// The first place from `at` on where the header of a record is sound; the end if there is none.
    fn next_header(&mut self, mut at: u64) -> Result<u64> {
        while at + (RECORD_HEADER_BYTES as u64) <= self.end {
            let id = self.id;
            if RecordHeader::parse(self.bytes(at, RECORD_HEADER_BYTES)?, id, at).is_ok() {
                return Ok(at);
            }
            at += 1;
        }
        Ok(self.end)
    }
}
