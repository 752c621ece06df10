//! `Manifest`: the durable log of edits, which says what the store consists of.
//!
//! A manifest file is a log of records (see `record`), each with one byte in front that tells its kind:
//!
//! ```text
//! 1 header   "TERRACE\0" | u32 LE format version | u64 LE manifest number | u64 LE reserved length of the file;
//!            the first record, once
//! 2 edit     the fields of an edit (see `edit`); the first is a snapshot of all that was before
//! 3 settled  empty; says that the edit before it was synced
//! ```
//!
//! An edit is durable when `append` returns. What a crash leaves of an edit that was never acknowledged is a
//! torn tail and is dropped. The settled record is what tells that tail from a damaged edit that had been
//! acknowledged: the latter has a valid record behind it. It is synced before the next edit is written, so a
//! crash never leaves a later record without an earlier one.
//!
//! A file has its reserved length, the rest of it zeros, before `CURRENT` names it, and what is recorded stays within
//! that length. So a file that is shorter was cut by somebody, wherever the cut lies; no crash does that. Only if
//! no new file can be made does the old one grow beyond its length.
//!
//! A file is only ever appended to by the process that made it: opening and growth both write a new one,
//! with a snapshot, and swap `CURRENT`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::current::{self, Presence};
use super::edit::Edit;
use super::names;
use super::state::State;
use crate::base::error::IoContext;
use crate::base::{Error, FileId, Result};
use crate::io::Fs;
use crate::record::{RECORD_HEADER_BYTES, RecordReader, RecordWriter};

/// The version of the format of the whole directory that this build reads and writes.
pub(crate) const FORMAT_VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"TERRACE\0";
pub(super) const HEADER: u8 = 1;
pub(super) const EDIT: u8 = 2;
pub(super) const SETTLED: u8 = 3;

/// The least reserved length.
const RESERVED_BYTES_MIN: u64 = 64 << 10;
/// The reserved length is at least so many times the snapshot.
const RESERVED_FACTOR: u64 = 4;
/// The length of a header's payload.
const HEADER_BYTES: usize = 1 + MAGIC.len() + 4 + 8 + 8;

/// The open manifest of a store. One edit at a time.
pub(crate) struct Manifest {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    id: FileId,
    writer: RecordWriter,
    /// The sum of all edits, from which a rewrite starts.
    state: State,
    /// An edit that would end behind this begins a new file.
    room_bytes: u64,
    /// Something was appended after the last sync.
    unsynced: bool,
    /// The tail of the file holds part of a record that certainly does not count: an edit that failed for want
    /// of space, or a failed mark behind a durable edit. The next edit begins a new file.
    tail_torn: bool,
    /// The failure that left the state on disk unknown.
    poison: Option<Arc<Error>>,
}

impl Manifest {
    /// Makes the first manifest of a store in `dir`, which must exist and hold none.
    pub(crate) fn create(fs: Arc<dyn Fs>, dir: &Path, state: State) -> Result<Self> {
        Self::begin(fs, dir, FileId(1), state)
    }

    /// Reads the state of the store in `dir` and begins a new manifest with it. Does not delete the old one:
    /// it is an orphan (see `names::orphans`). Changes nothing if `check` has something against the state.
    pub(crate) fn recover(
        fs: Arc<dyn Fs>,
        dir: &Path,
        check: &dyn Fn(&State) -> Result<()>,
    ) -> Result<(Self, State)> {
        let (current, state) = Self::read(&*fs, dir)?;
        check(&state)?;
        // Whoever made this CURRENT may have died before its name was durable. Nothing is built on it until it is.
        fs.sync_dir(dir).at("sync", dir)?;
        let listed = fs.list(dir).at("list", dir)?;
        let largest = listed.iter().filter_map(|name| names::parse_manifest(name)).max();
        let next = FileId(largest.max(Some(current)).map_or(0, |id| id.0).saturating_add(1));
        let manifest = Self::begin(fs, dir, next, state.clone())?;
        Ok((manifest, state))
    }

    /// The manifest of the store in `dir` as it is now, for who only reads: it refuses every edit.
    pub(crate) fn frozen(fs: Arc<dyn Fs>, dir: &Path) -> Result<Self> {
        let (id, state) = Self::read(&*fs, dir)?;
        let path = dir.join(names::manifest(id));
        let writer = RecordWriter::new(fs.open(&path).at("open", &path)?, &path, id, 0);
        let poison = Some(Arc::new(Error::ReadOnly { path: dir.to_path_buf() }));
        let dir = dir.to_path_buf();
        Ok(Self { fs, dir, id, writer, state, room_bytes: 0, unsynced: false, tail_torn: false, poison })
    }

    /// Reads the state of the store in `dir` without changing anything.
    pub(crate) fn read(fs: &dyn Fs, dir: &Path) -> Result<(FileId, State)> {
        let Presence::Store(id) = current::probe(fs, dir)? else {
            let detail = format!("it has no {} file", names::CURRENT);
            return Err(Error::NotAStore { path: dir.to_path_buf(), detail });
        };
        let path = dir.join(names::manifest(id));
        let file = fs.open(&path).at("open", &path)?;
        let len = file.len().at("read the length of", &path)?;
        let mut reader = RecordReader::new(file, &path, id, 0)?;
        let Some(header) = reader.next()? else {
            return Err(Error::corruption(&path, 0, "expected a header record, found none"));
        };
        check_length(&path, len, check_header(&path, id, &header)?)?;
        let mut state = State::default();
        let mut edits = 0;
        loop {
            let offset = reader.end();
            let Some(record) = reader.next()? else { break };
            let bad = |detail: String| Error::corruption(&path, offset, detail);
            match record.split_first() {
                Some((&EDIT, fields)) => {
                    state.apply(&Edit::decode(fields).map_err(bad)?).map_err(bad)?;
                    edits += 1;
                }
                Some((&SETTLED, [])) => {}
                other => {
                    return Err(bad(format!("unknown record kind {:?}", other.map(|(kind, _)| *kind))));
                }
            }
        }
        if edits == 0 {
            // The snapshot was synced before CURRENT named this file, so its absence is no torn tail.
            return Err(Error::corruption(&path, reader.end(), "expected a snapshot edit, found none"));
        }
        Ok((id, state))
    }

    /// The number of the current manifest file.
    pub(crate) fn id(&self) -> FileId {
        self.id
    }

    /// Whether a failure has left the state on disk unknown.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.poison.is_some()
    }

    /// The sum of all edits.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// The length of the current file.
    #[cfg(test)]
    pub(crate) fn file_bytes(&self) -> u64 {
        self.writer.offset()
    }

    /// Records an edit; durable when this returns.
    ///
    /// Unless `is_poisoned` afterwards, the edit is certainly not recorded when this fails: after `Error::Full` a
    /// later one may succeed, and an edit that contradicts the state is `Error::InvalidInput`. Otherwise the edit
    /// may be found at the next opening or not, so no file it names may be deleted.
    pub(crate) fn append(&mut self, edit: &Edit) -> Result<()> {
        if let Some(cause) = &self.poison {
            return Err(Error::Poisoned { cause: Arc::clone(cause) });
        }
        self.state.check(edit).map_err(Error::invalid)?;
        let mut record = vec![EDIT];
        edit.encode(&mut record);
        let end = self.writer.offset() + record_bytes(record.len()) + record_bytes(1);
        if self.tail_torn || end > self.room_bytes {
            let mut state = self.state.clone();
            state.apply(edit).map_err(Error::invalid)?;
            match self.rewrite(state) {
                Err(error) if self.tail_torn || self.is_poisoned() => return Err(error),
                // The old file is good, and there may be room behind it.
                Err(_) => {}
                Ok(()) => return Ok(()),
            }
        }
        self.sync_if_needed()?;
        self.write(&record)?;
        self.sync_if_needed()?;
        self.state.apply(edit).map_err(Error::invalid)?;
        // The edit is durable. What follows is upkeep: its failure neither takes the edit back nor leaves
        // anything in doubt, it only spoils the tail of this file.
        self.unsynced = true;
        self.tail_torn = self.writer.append(&[SETTLED]).is_err();
        Ok(())
    }

    fn write(&mut self, record: &[u8]) -> Result<()> {
        self.unsynced = true;
        let result = self.writer.append(record);
        match &result {
            Ok(()) => {}
            // The write stopped short, so the record's checksum cannot match: it is not there.
            Err(Error::Full { .. }) => self.tail_torn = true,
            Err(error) => self.poison(error),
        }
        result
    }

    fn sync_if_needed(&mut self) -> Result<()> {
        if !self.unsynced {
            return Ok(());
        }
        self.writer.sync().inspect_err(|error| self.poison(error))?;
        self.unsynced = false;
        Ok(())
    }

    /// Begins a new file with `state` and takes its place. As long as `CURRENT` was not touched, a failure
    /// leaves the old file in use.
    fn rewrite(&mut self, state: State) -> Result<()> {
        let old = self.id;
        let next = FileId(old.0 + 1);
        let leftover = self.dir.join(names::manifest(next));
        let result = write_file(&*self.fs, &self.dir, next, &state)
            .and_then(|started| current::prepare(&*self.fs, &self.dir, next).map(|()| started));
        let (writer, reserved_bytes) = match result {
            Ok(started) => started,
            Err(error) => {
                let _ = self.fs.remove(&leftover);
                // Not again at every edit.
                self.room_bytes = self.room_bytes.max(self.writer.offset()) * 2;
                return Err(error);
            }
        };
        current::swap(&*self.fs, &self.dir).inspect_err(|error| self.poison(error))?;
        self.id = next;
        self.writer = writer;
        self.state = state;
        self.unsynced = false;
        self.tail_torn = false;
        self.room_bytes = reserved_bytes;
        // A failure leaves an orphan for the next opening.
        let _ = self.fs.remove(&self.dir.join(names::manifest(old)));
        Ok(())
    }

    fn begin(fs: Arc<dyn Fs>, dir: &Path, id: FileId, state: State) -> Result<Self> {
        let (writer, room_bytes) = write_file(&*fs, dir, id, &state)?;
        current::prepare(&*fs, dir, id)?;
        current::swap(&*fs, dir)?;
        Ok(Self {
            fs,
            dir: dir.to_path_buf(),
            id,
            writer,
            state,
            room_bytes,
            unsynced: false,
            tail_torn: false,
            poison: None,
        })
    }

    fn poison(&mut self, error: &Error) {
        self.poison.get_or_insert_with(|| Arc::new(error.clone()));
    }
}

/// The length in the file of a record with so long a payload.
fn record_bytes(payload_bytes: usize) -> u64 {
    (RECORD_HEADER_BYTES + payload_bytes) as u64
}

/// Writes manifest `id` with a header and a snapshot, reserves its length, and syncs it. It counts only once
/// `CURRENT` names it.
fn write_file(fs: &dyn Fs, dir: &Path, id: FileId, state: &State) -> Result<(RecordWriter, u64)> {
    let path = dir.join(names::manifest(id));
    if fs.exists(&path).at("look for", &path)? {
        // Left by an attempt that failed before CURRENT named it.
        fs.remove(&path).at("remove", &path)?;
    }
    let file = fs.create(&path).at("create", &path)?;
    let mut snapshot = vec![EDIT];
    state.snapshot().encode(&mut snapshot);
    let snapshot_bytes = record_bytes(HEADER_BYTES) + record_bytes(snapshot.len());
    let reserved_bytes = RESERVED_BYTES_MIN.max(RESERVED_FACTOR * snapshot_bytes);
    // A hole costs nothing, and the records of edits fill it.
    file.write_all_at(&[0], reserved_bytes - 1).at("reserve the length of", &path)?;
    let mut writer = RecordWriter::new(file, &path, id, 0);
    let mut header = vec![HEADER];
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    header.extend_from_slice(&id.0.to_le_bytes());
    header.extend_from_slice(&reserved_bytes.to_le_bytes());
    writer.append(&header)?;
    writer.append(&snapshot)?;
    writer.append(&[SETTLED])?;
    writer.sync()?;
    // The name too, before CURRENT can name it: a power loss may keep the later of two directory changes.
    fs.sync_dir(dir).at("sync", dir)?;
    Ok((writer, reserved_bytes))
}

/// Checks a file's length against the one that its header names.
pub(super) fn check_length(path: &Path, found: u64, reserved: u64) -> Result<()> {
    if found >= reserved {
        return Ok(());
    }
    let detail = format!(
        "expected at least {reserved} bytes, found {found}: the end was cut off, and perhaps the last changes with \
         it; restore a backup, or have `terrace repair` salvage the rest into a new store"
    );
    Err(Error::corruption(path, found, detail))
}

/// Checks a header record; the reserved length of the file.
pub(super) fn check_header(path: &Path, id: FileId, record: &[u8]) -> Result<u64> {
    let Some(rest) = record.strip_prefix(&[HEADER]).and_then(|rest| rest.strip_prefix(MAGIC)) else {
        return Err(Error::corruption(path, 0, "expected a header record with the magic TERRACE"));
    };
    let Some((version, rest)) = rest.split_first_chunk() else {
        return Err(Error::corruption(path, 0, "the header record has no format version"));
    };
    let found = u32::from_le_bytes(*version);
    if found != FORMAT_VERSION {
        let path = path.to_path_buf();
        return Err(Error::UnsupportedVersion { path, found, supported: FORMAT_VERSION });
    }
    let Some(length) = rest.strip_prefix(&id.0.to_le_bytes()) else {
        return Err(Error::corruption(path, 0, format!("the header does not name manifest {id}")));
    };
    let Ok(length) = length.try_into() else {
        return Err(Error::corruption(path, 0, "the header has no length of the file"));
    };
    Ok(u64::from_le_bytes(length))
}

#[cfg(test)]
mod tests;
