//! The backup directory: its names, what generations it holds, and the files they share.
//!
//! | name | what it is |
//! |---|---|
//! | `BACKUPS` | says that this is a directory of backups |
//! | `GENERATION-nnnnnn` | describes a generation (see `generation`) |
//! | `GENERATION.tmp` | the next one while it is written |
//! | `nnnnnn-oooooooooooooooo.tbl` | a table: its number and its origin, in hex |
//! | `nnnnnn-oooooooooooooooo.blob` | a blob file, likewise |
//! | `LOCK` | locked by the process that changes the directory |

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::generation::{Content, Stored};
use crate::base::error::IoContext;
use crate::base::{Error, FileId, Result};
use crate::io::{Env, Fs, LockGuard, transfer};

const MARK: &str = "BACKUPS";
const LOCK: &str = "LOCK";
const PREFIX: &str = "GENERATION-";
const TEMP: &str = "GENERATION.tmp";
const TABLE_SUFFIX: &str = ".tbl";
const BLOB_SUFFIX: &str = ".blob";

/// The name of a file in the backup.
fn data_name(id: FileId, origin: u64, suffix: &str) -> String {
    format!("{id}-{origin:016x}{suffix}")
}

/// Whether this is such a name, spelled exactly as we would.
fn is_data_name(name: &str) -> bool {
    let parse = |suffix: &&str| {
        let (id, origin) = name.strip_suffix(*suffix)?.split_once('-')?;
        Some(data_name(FileId(id.parse().ok()?), u64::from_str_radix(origin, 16).ok()?, suffix))
    };
    [TABLE_SUFFIX, BLOB_SUFFIX].iter().filter_map(parse).any(|ours| ours == name)
}

fn generation_name(number: u64) -> String {
    format!("{PREFIX}{number:06}")
}

fn parse_generation(name: &str) -> Option<u64> {
    let number = name.strip_prefix(PREFIX)?.parse().ok()?;
    (generation_name(number) == name).then_some(number)
}

/// Everything that the generations say.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Oldest first.
    pub(super) sound: Vec<Content>,
    pub(super) damaged: Vec<(u64, Error)>,
}

impl Contents {
    /// Every file of every sound generation.
    pub(super) fn files(&self) -> impl Iterator<Item = &Stored> {
        self.sound.iter().flat_map(|content| &content.files)
    }

    /// A number that no generation has.
    pub(super) fn next_number(&self) -> u64 {
        let sound = self.sound.iter().map(|content| content.number);
        sound.chain(self.damaged.iter().map(|(number, _)| *number)).max().unwrap_or(0) + 1
    }

    /// The generation of this number.
    pub(super) fn find(&self, number: u64, dir: &Path) -> Result<&Content> {
        if let Some((_, error)) = self.damaged.iter().find(|(damaged, _)| *damaged == number) {
            return Err(error.clone());
        }
        self.sound.iter().find(|content| content.number == number).ok_or_else(|| {
            let known: Vec<_> = self.sound.iter().map(|content| content.number.to_string()).collect();
            let known = if known.is_empty() { "none".to_string() } else { known.join(", ") };
            Error::invalid(format!("no generation {number} in {}; it has: {known}", dir.display()))
        })
    }

    /// The last sound generation, unless a damaged one is later: who wants an older one has to name it.
    pub(super) fn latest(&self, dir: &Path) -> Result<&Content> {
        let sound = self.sound.last();
        let damaged = self.damaged.last().filter(|(number, _)| sound.is_none_or(|c| c.number < *number));
        match (sound, damaged) {
            (_, Some((_, error))) => Err(error.clone()),
            (Some(content), None) => Ok(content),
            (None, None) => Err(Error::invalid(format!("{} holds no generation", dir.display()))),
        }
    }
}

/// An open backup directory.
pub(super) struct Directory {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    _lock: Option<Box<dyn LockGuard>>,
}

impl Directory {
    /// A directory that is only read.
    pub(super) fn open(env: &Env, dir: &Path) -> Result<Self> {
        let mark = dir.join(MARK);
        if !env.fs.exists(&mark).at("look for", &mark)? {
            let detail = format!("it is no directory of backups: it has no file {MARK}");
            return Err(Error::invalid(format!("{}: {detail}", dir.display())));
        }
        Ok(Self { fs: Arc::clone(&env.fs), dir: dir.to_path_buf(), _lock: None })
    }

    /// A directory that nobody else changes; made if it is missing or empty.
    pub(super) fn open_for_writing(env: &Env, dir: &Path) -> Result<Self> {
        let fs = Arc::clone(&env.fs);
        fs.create_dir_all(dir).at("create", dir)?;
        let listed = fs.list(dir).at("list", dir)?;
        let marked = listed.iter().any(|name| name == MARK);
        if let Some(name) = listed.iter().find(|name| *name != LOCK).filter(|_| !marked) {
            let detail =
                format!("it is no directory of backups but holds {name:?}; name an empty or a new one");
            return Err(Error::invalid(format!("{}: {detail}", dir.display())));
        }
        let path = dir.join(LOCK);
        let content = format!("{}\n", std::process::id());
        let lock = fs.lock(&path, content.as_bytes()).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => Error::Locked { path: path.clone(), pid: None },
            _ => Error::io("lock", &path, error),
        })?;
        if !marked {
            let mark = dir.join(MARK);
            match fs.create(&mark) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => drop(made.at("create", &mark)?),
            }
            fs.sync_dir(dir).at("sync", dir)?;
        }
        Ok(Self { fs, dir: dir.to_path_buf(), _lock: Some(lock) })
    }

    /// The name of a table in the backup.
    pub(super) fn table_name(id: FileId, origin: u64) -> String {
        data_name(id, origin, TABLE_SUFFIX)
    }

    /// The name of a blob file in the backup.
    pub(super) fn blob_name(id: FileId, origin: u64) -> String {
        data_name(id, origin, BLOB_SUFFIX)
    }

    /// Reads the description of every generation.
    pub(super) fn read_all(&self) -> Result<Contents> {
        let listed = self.fs.list(&self.dir).at("list", &self.dir)?;
        let mut numbers: Vec<u64> = listed.iter().filter_map(|name| parse_generation(name)).collect();
        numbers.sort_unstable();
        let mut contents = Contents::default();
        for number in numbers {
            let path = self.dir.join(generation_name(number));
            let file = self.fs.open(&path).at("open", &path);
            match file.and_then(|file| Content::read(file, &path, number)) {
                Ok(content) => contents.sound.push(content),
                Err(error) => contents.damaged.push((number, error)),
            }
        }
        Ok(contents)
    }

    /// Removes what no generation needs; the number of files and their bytes. Where a generation cannot be read,
    /// everything stays.
    pub(super) fn clean(&self, contents: &Contents) -> Result<(u64, u64)> {
        let needed: BTreeSet<&str> = contents.files().map(|file| &file.held_as[..]).collect();
        let (mut files, mut bytes) = (0, 0);
        for name in self.fs.list(&self.dir).at("list", &self.dir)? {
            let unneeded = is_data_name(&name) && !needed.contains(&name[..]) && contents.damaged.is_empty();
            if !unneeded && name != TEMP {
                continue;
            }
            let path = self.dir.join(&name);
            if unneeded {
                let file = self.fs.open(&path).at("open", &path)?;
                bytes += file.len().at("read the length of", &path)?;
                files += 1;
            }
            self.fs.remove(&path).at("remove", &path)?;
        }
        Ok((files, bytes))
    }

    /// Whether a file is there in its full length.
    pub(super) fn has(&self, file: &Stored) -> bool {
        let opened = self.fs.open(&self.dir.join(&file.held_as));
        opened.and_then(|opened| opened.len()).is_ok_and(|len| len == file.bytes)
    }

    /// Copies a file of the store into the backup; its hash.
    pub(super) fn bring(&self, from: &Path, name: &str, tell: &mut dyn FnMut(u64)) -> Result<u64> {
        let to = self.dir.join(name);
        if self.fs.exists(&to).at("look for", &to)? {
            // Cut short, or of an interrupted run.
            self.fs.remove(&to).at("remove", &to)?;
        }
        self.copy(from, &to, tell)
    }

    fn copy(&self, from: &Path, to: &Path, tell: &mut dyn FnMut(u64)) -> Result<u64> {
        let mut hash = Xxh3::new();
        transfer::copy(&*self.fs, from, to, &mut |piece| {
            hash.update(piece);
            tell(piece.len() as u64);
        })?;
        Ok(hash.digest())
    }

    /// Copies a file of the backup to where a store is put together, and checks it.
    pub(super) fn fetch(&self, file: &Stored, to: &Path, tell: &mut dyn FnMut(u64)) -> Result<()> {
        let from = self.dir.join(&file.held_as);
        let mut bytes = 0;
        let hash = self.copy(&from, to, &mut |n| {
            bytes += n;
            tell(n);
        })?;
        check(file, &from, bytes, hash)
    }

    /// Reads a file of the backup and checks it.
    pub(super) fn check(&self, file: &Stored, tell: &mut dyn FnMut(u64)) -> Result<()> {
        let path = self.dir.join(&file.held_as);
        let (mut hash, mut bytes) = (Xxh3::new(), 0);
        transfer::read(&*self.fs, &path, &mut |piece| {
            hash.update(piece);
            bytes += piece.len() as u64;
            tell(piece.len() as u64);
            Ok(())
        })?;
        check(file, &path, bytes, hash.digest())
    }

    /// Adds a generation whose files are all there; it counts when this returns.
    pub(super) fn add(&self, content: &Content) -> Result<()> {
        let dir = &self.dir;
        // The names of the files before the name of what needs them.
        self.fs.sync_dir(dir).at("sync", dir)?;
        let (temp, path) = (dir.join(TEMP), dir.join(generation_name(content.number)));
        if self.fs.exists(&temp).at("look for", &temp)? {
            self.fs.remove(&temp).at("remove", &temp)?;
        }
        let file = self.fs.create(&temp).at("create", &temp)?;
        content.write(file, &temp)?;
        self.fs.rename(&temp, &path).at("rename", &temp)?;
        self.fs.sync_dir(dir).at("sync", dir)
    }

    /// Removes generations, durably; their files stay.
    pub(super) fn forget(&self, numbers: &[u64]) -> Result<()> {
        for number in numbers {
            let path = self.dir.join(generation_name(*number));
            self.fs.remove(&path).at("remove", &path)?;
        }
        self.fs.sync_dir(&self.dir).at("sync", &self.dir)
    }
}

fn check(file: &Stored, path: &Path, bytes: u64, hash: u64) -> Result<()> {
    if bytes != file.bytes {
        let detail = format!("expected a file of {} bytes, found {bytes}", file.bytes);
        return Err(Error::corruption(path, bytes.min(file.bytes), detail));
    }
    if hash != file.hash {
        let detail = format!("expected the checksum {:016x} of the whole file, found {hash:016x}", file.hash);
        return Err(Error::corruption(path, 0, detail));
    }
    Ok(())
}
