//! The file that describes one generation: the state of the store, and where each of its files is.
//!
//! It is a log of records (see `record`) under the generation's number, each with one byte in front that tells
//! its kind:
//!
//! ```text
//! 1 header    "TERRABAK" | u32 LE format version | u64 LE number | u64 LE creation, ms since the epoch
//! 2 snapshot  the fields of an edit that makes the whole state (see `version::edit`)
//! 3 file      name in the store and name in the backup, each with its length as a varint before it
//!             | varint bytes | u64 LE XXH3-64 of the whole file | byte: 1 if this generation brought it
//! 4 end       varint number of files
//! ```
//!
//! The file gets its name when all of it is durable, so one without an end is damaged.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::Generation;
use crate::base::varint::{push_prefixed, push_u64, take_prefixed, take_u64};
use crate::base::{Error, FileId, Result};
use crate::io::File;
use crate::record::{RecordReader, RecordWriter};
use crate::version::{Edit, State};

/// The version of the format of a backup directory that this build reads and writes.
pub(super) const FORMAT_VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"TERRABAK";
const HEADER: u8 = 1;
const SNAPSHOT: u8 = 2;
const FILE: u8 = 3;
const END: u8 = 4;

/// A file of the store, as the backup has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Stored {
    /// Its name in the store.
    pub(super) name: String,
    /// Its name in the backup.
    pub(super) held_as: String,
    /// Its length.
    pub(super) bytes: u64,
    /// XXH3-64 of the whole file.
    pub(super) hash: u64,
    /// Whether it was copied for this generation.
    pub(super) is_new: bool,
}

/// What a generation consists of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Content {
    pub(super) number: u64,
    pub(super) created_at_ms: u64,
    pub(super) state: State,
    pub(super) files: Vec<Stored>,
}

impl Content {
    /// The public view of it.
    pub(super) fn summary(&self) -> Generation {
        let new = || self.files.iter().filter(|file| file.is_new);
        Generation {
            number: self.number,
            created_at_ms: self.created_at_ms,
            last_seqno: self.state.flushed_seqno,
            files: self.files.len() as u64,
            bytes: self.files.iter().map(|file| file.bytes).sum(),
            new_files: new().count() as u64,
            new_bytes: new().map(|file| file.bytes).sum(),
        }
    }

    /// Writes the description into an empty file and makes its content durable.
    pub(super) fn write(&self, file: Arc<dyn File>, path: &Path) -> Result<()> {
        let mut writer = RecordWriter::new(file, path, FileId(self.number), 0);
        let mut header = vec![HEADER];
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        header.extend_from_slice(&self.number.to_le_bytes());
        header.extend_from_slice(&self.created_at_ms.to_le_bytes());
        writer.append(&header)?;
        let mut snapshot = vec![SNAPSHOT];
        self.state.snapshot().encode(&mut snapshot);
        writer.append(&snapshot)?;
        for file in &self.files {
            let mut record = vec![FILE];
            push_prefixed(&mut record, file.name.as_bytes());
            push_prefixed(&mut record, file.held_as.as_bytes());
            push_u64(&mut record, file.bytes);
            record.extend_from_slice(&file.hash.to_le_bytes());
            record.push(u8::from(file.is_new));
            writer.append(&record)?;
        }
        let mut end = vec![END];
        push_u64(&mut end, self.files.len() as u64);
        writer.append(&end)?;
        writer.sync()
    }

    /// Reads the description of generation `number` and checks that it is whole and agrees with itself.
    pub(super) fn read(file: Arc<dyn File>, path: &Path, number: u64) -> Result<Self> {
        let mut reader = RecordReader::new(file, path, FileId(number), 0)?;
        let corrupt = |offset, detail: &str| Error::corruption(path, offset, detail);
        let header = reader.next()?.ok_or_else(|| corrupt(0, "expected a header record, found none"))?;
        let created_at_ms = read_header(&header, path, number)?;
        let (mut state, mut files) = (None, Vec::new());
        loop {
            let offset = reader.end();
            let Some(record) = reader.next()? else {
                return Err(corrupt(offset, "expected an end record, found none that is sound"));
            };
            let bad = || corrupt(offset, "a record is malformed");
            let (kind, mut rest) = record.split_first().ok_or_else(bad)?;
            match *kind {
                SNAPSHOT if state.is_none() => {
                    let edit = Edit::decode(rest).map_err(|detail| corrupt(offset, &detail))?;
                    let mut whole = State::default();
                    whole.apply(&edit).map_err(|detail| corrupt(offset, &detail))?;
                    state = Some(whole);
                }
                FILE => files.push(take_file(&mut rest).ok_or_else(bad)?),
                END if take_u64(&mut rest) == Some(files.len() as u64) => break,
                _ => return Err(bad()),
            }
        }
        let state = state.ok_or_else(|| corrupt(reader.end(), "expected a snapshot record, found none"))?;
        let named: BTreeSet<_> = files.iter().map(|file| file.name.clone()).collect();
        if named != state.files().collect() {
            return Err(corrupt(0, "the files are not those of the snapshot"));
        }
        Ok(Self { number, created_at_ms, state, files })
    }
}

/// Checks a header; the time of creation.
fn read_header(record: &[u8], path: &Path, number: u64) -> Result<u64> {
    let corrupt = |detail: &str| Error::corruption(path, 0, detail);
    let rest = record.strip_prefix(&[HEADER]).and_then(|rest| rest.strip_prefix(MAGIC));
    let rest = rest.ok_or_else(|| corrupt("expected a header record with the magic TERRABAK"))?;
    let short = || corrupt("the header record is too short");
    let (version, rest) = rest.split_first_chunk().ok_or_else(short)?;
    let found = u32::from_le_bytes(*version);
    if found != FORMAT_VERSION {
        return Err(Error::UnsupportedVersion { path: path.to_path_buf(), found, supported: FORMAT_VERSION });
    }
    let (own, rest) = rest.split_first_chunk().ok_or_else(short)?;
    if u64::from_le_bytes(*own) != number {
        return Err(corrupt("the header names another generation than the file"));
    }
    let created = rest.first_chunk().ok_or_else(short)?;
    Ok(u64::from_le_bytes(*created))
}

fn take_file(input: &mut &[u8]) -> Option<Stored> {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_string);
    // A name that leads out of the directory is not one of ours.
    let plain = |name: &String| !name.contains(['/', '\0']) && !name.is_empty();
    let name = text(take_prefixed(input)?).filter(plain)?;
    let held_as = text(take_prefixed(input)?).filter(plain)?;
    let bytes = take_u64(input)?;
    let (hash, rest) = input.split_first_chunk()?;
    let (is_new, rest) = rest.split_first()?;
    *input = rest;
    let hash = u64::from_le_bytes(*hash);
    input.is_empty().then_some(Stored { name, held_as, bytes, hash, is_new: *is_new == 1 })
}
