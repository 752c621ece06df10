//! `CURRENT`: which manifest counts.
//!
//! The file is one line of text, `MANIFEST-000012 8f3a01cd`: the name and the CRC-32C of the name in hex, so
//! that a flipped bit cannot lead to an older manifest. It is replaced, never rewritten: a temporary file is
//! written and synced, renamed over it, and the directory is synced.

use std::path::Path;

use super::names;
use crate::base::error::IoContext;
use crate::base::{Error, FileId, Result, checksum};
use crate::io::Fs;

/// More than any valid content.
const CURRENT_BYTES_MAX: u64 = 64;

/// What was found in a directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Presence {
    /// Nothing, or what an interrupted creation leaves before the store exists.
    Nothing,
    /// A store whose manifest has this number.
    Store(FileId),
}

/// Finds out whether `dir`, which must exist, holds a store.
pub(crate) fn probe(fs: &dyn Fs, dir: &Path) -> Result<Presence> {
    let path = dir.join(names::CURRENT);
    if fs.exists(&path).at("look for", &path)? {
        return Ok(Presence::Store(read(fs, &path)?));
    }
    let listed = fs.list(dir).at("list", dir)?;
    let first = names::manifest(FileId(1));
    let from_creation =
        |name: &&String| [names::LOCK, names::CURRENT_TEMP, first.as_str()].contains(&name.as_str());
    match listed.iter().find(|name| !from_creation(name)) {
        None => Ok(Presence::Nothing),
        Some(name) => Err(Error::NotAStore {
            path: dir.to_path_buf(),
            detail: format!("it has no {} file but holds {name:?}", names::CURRENT),
        }),
    }
}

fn read(fs: &dyn Fs, path: &Path) -> Result<FileId> {
    let file = fs.open(path).at("open", path)?;
    let len = file.len().at("read the length of", path)?;
    if len > CURRENT_BYTES_MAX {
        let detail = format!("expected at most {CURRENT_BYTES_MAX} bytes, found {len}");
        return Err(Error::corruption(path, 0, detail));
    }
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, 0).at("read", path)?;
    let parse = || {
        let text = std::str::from_utf8(&bytes).ok()?;
        let id = names::parse_manifest(text.split_once(' ')?.0)?;
        (content(id) == text).then_some(id)
    };
    parse().ok_or_else(|| {
        let expected = "expected the name of a manifest and its checksum";
        Error::corruption(path, 0, format!("{expected}, found {:?}", String::from_utf8_lossy(&bytes)))
    })
}

fn content(id: FileId) -> String {
    let name = names::manifest(id);
    format!("{name} {:08x}\n", checksum::plain(name.as_bytes()))
}

/// Writes and syncs the next `CURRENT` beside the present one. A failure changes nothing that counts.
pub(super) fn prepare(fs: &dyn Fs, dir: &Path, id: FileId) -> Result<()> {
    let temp = dir.join(names::CURRENT_TEMP);
    if fs.exists(&temp).at("look for", &temp)? {
        fs.remove(&temp).at("remove", &temp)?;
    }
    let file = fs.create(&temp).at("create", &temp)?;
    file.write_all_at(content(id).as_bytes(), 0).at("write", &temp)?;
    file.sync().at("sync", &temp)
}

/// Puts the prepared `CURRENT` in place, durably. After a failure it is unknown which one counts.
pub(super) fn swap(fs: &dyn Fs, dir: &Path) -> Result<()> {
    let (temp, path) = (dir.join(names::CURRENT_TEMP), dir.join(names::CURRENT));
    fs.rename(&temp, &path).at("rename", &temp)?;
    fs.sync_dir(dir).at("sync", dir)
}
