//! Backups: generations of a store in a directory of their own, each a whole store, each costing what is new in it.
//!
//! Tables and blob files never change, so one that an earlier generation has brought is not copied again. What a file is
//! called in the backup is its number and its origin, which no other content has (see `TableOptions::origin`).
//! The directory is flat; `catalog` knows its names, `generation` the file that describes one generation.
//!
//! Invariants: a generation exists from the moment its file has its name, and everything it names is durable by
//! then. A file goes only after every generation that names it is durably gone. What is unfinished is invisible,
//! and cleared away by the next run.

mod catalog;
mod generation;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use self::catalog::Directory;
use self::generation::{Content, Stored};
use crate::base::{Error, Result};
use crate::blob::BlobFile;
use crate::db::Db;
use crate::io::Env;
use crate::table::Table;
use crate::upkeep::progress::{Progress, Tally};
use crate::version::{Assembly, names};

/// One generation of a backup: the store as of one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Generation {
    /// Its number; later ones are larger.
    pub number: u64,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// It holds every write up to this sequence number.
    pub last_seqno: u64,
    /// Its tables and blob files.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Those that had to be copied when it was made.
    pub new_files: u64,
    /// Their size in bytes: what the generation cost.
    pub new_bytes: u64,
}

/// What a backup directory holds.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Catalog {
    /// The sound generations, oldest first.
    pub generations: Vec<Generation>,
    /// Why the others cannot be read, by their number.
    pub damaged: Vec<(u64, Error)>,
}

/// What pruning has removed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Pruned {
    /// The generations that are gone.
    pub generations: Vec<u64>,
    /// Files that no generation needs any more.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

/// A file that never changes, and is copied once.
enum DataFile<'a> {
    Table(&'a Table),
    Blob(&'a BlobFile),
}

impl DataFile<'_> {
    /// Its name in the store, that in the backup, and its length.
    fn describe(&self) -> Result<(String, String, u64)> {
        Ok(match self {
            Self::Table(table) => {
                let meta = table.meta();
                (names::table(meta.id), Directory::table_name(meta.id, table.origin()?), meta.file_bytes)
            }
            Self::Blob(blob) => {
                let meta = blob.meta();
                (names::blob(meta.id), Directory::blob_name(meta.id, blob.origin()?), meta.file_bytes)
            }
        })
    }

    /// Checks all of it.
    fn verify(&self) -> Result<()> {
        match self {
            Self::Table(table) => table.verify(),
            Self::Blob(blob) => blob.verify(),
        }
    }
}

/// A directory of backups.
///
/// ```
/// # fn main() -> terrace::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let (data, copies, restored) = (dir.path().join("data"), dir.path().join("b"), dir.path().join("r"));
/// let db = terrace::Db::open(&data)?;
/// db.put("user:1", "Alice")?;
/// let backups = terrace::Backups::new(&copies);
/// let first = backups.create(&db, |_| ())?;
/// db.put("user:1", "Bob")?;
/// backups.create(&db, |_| ())?; // Copies only what is new.
/// backups.restore(Some(first.number), &restored, |_| ())?;
/// assert_eq!(terrace::Db::open(&restored)?.get("user:1")?.as_deref(), Some(&b"Alice"[..]));
/// # db.close()
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Backups {
    env: Env,
    dir: PathBuf,
}

impl Backups {
    /// The backups in `dir`, which [`Backups::create`] makes if it is missing. Does no I/O.
    pub fn new(dir: impl AsRef<Path>) -> Self {
        Self { env: Env::default(), dir: dir.as_ref().to_path_buf() }
    }

    /// The file system and the clock to use; default the real ones.
    pub fn env(mut self, env: Env) -> Self {
        self.env = env;
        self
    }

    /// Makes a new generation of an open store: every write acknowledged before the call, and of those made
    /// meanwhile all up to some moment. Reads and writes go on.
    ///
    /// Files that are not in the backup yet are checked, block by block, and copied; so it takes time and space
    /// in proportion to what is new. Fails with [`Error::Corruption`] at a damaged file. A call that fails or is
    /// interrupted leaves no generation.
    pub fn create(&self, db: &Db, mut progress: impl FnMut(Progress)) -> Result<Generation> {
        let directory = Directory::open_for_writing(&self.env, &self.dir)?;
        let contents = directory.read_all()?;
        directory.clean(&contents)?;
        let known: BTreeMap<&str, &Stored> = contents.files().map(|file| (&file.held_as[..], file)).collect();
        let frozen = db.freeze()?;
        let mut files = Vec::new();
        let mut fresh: Vec<(usize, DataFile<'_>)> = Vec::new();
        let tables = frozen.version.tables().map(|(_, table)| DataFile::Table(table));
        for data in tables.chain(frozen.version.blobs().files().map(|blob| DataFile::Blob(blob))) {
            let (name, held_as, bytes) = data.describe()?;
            let reusable = known.get(&held_as[..]).filter(|file| directory.has(file));
            let (hash, is_new) = (reusable.map_or(0, |file| file.hash), reusable.is_none());
            if is_new {
                fresh.push((files.len(), data));
            }
            files.push(Stored { name, held_as, bytes, hash, is_new });
        }
        let mut tally = Tally::new(fresh.iter().map(|(at, _)| files[*at].bytes), &mut progress);
        for (at, data) in fresh {
            data.verify()?;
            let file = &mut files[at];
            file.hash = directory.bring(&db.path().join(&file.name), &file.held_as, &mut |n| tally.add(n))?;
            tally.file_done();
        }
        let created_at_ms = self.env.clock.now_ms();
        let content = Content { number: contents.next_number(), created_at_ms, state: frozen.state, files };
        directory.add(&content)?;
        Ok(content.summary())
    }

    /// The generations. Reads their descriptions, not their tables.
    pub fn list(&self) -> Result<Catalog> {
        let contents = Directory::open(&self.env, &self.dir)?.read_all()?;
        let generations = contents.sound.iter().map(Content::summary).collect();
        Ok(Catalog { generations, damaged: contents.damaged })
    }

    /// Reads every file of one generation, or of all, and compares it with the checksum it was stored under.
    /// Returns what is wrong, one error for each file and for each generation whose description is damaged, and
    /// goes on after each. Takes time in proportion to the bytes.
    pub fn verify(&self, generation: Option<u64>, mut progress: impl FnMut(Progress)) -> Result<Vec<Error>> {
        let directory = Directory::open(&self.env, &self.dir)?;
        let contents = directory.read_all()?;
        let chosen: Vec<&Content> = match generation {
            Some(number) => vec![contents.find(number, &self.dir)?],
            None => contents.sound.iter().collect(),
        };
        let mut wrong = Vec::new();
        if generation.is_none() {
            wrong.extend(contents.damaged.iter().map(|(_, error)| error.clone()));
        }
        let files: BTreeMap<&str, &Stored> =
            chosen.iter().flat_map(|content| &content.files).map(|file| (&file.held_as[..], file)).collect();
        let mut tally = Tally::new(files.values().map(|file| file.bytes), &mut progress);
        for file in files.values() {
            if let Err(error) = directory.check(file, &mut |n| tally.add(n)) {
                wrong.push(error);
            }
            tally.file_done();
        }
        Ok(wrong)
    }

    /// Puts a generation (the latest if none is named) back together as a store in `dir`, which must be missing or
    /// empty. Every file is checked while it is copied. The store appears under its name whole or not at all.
    pub fn restore(
        &self,
        generation: Option<u64>,
        dir: impl AsRef<Path>,
        mut progress: impl FnMut(Progress),
    ) -> Result<Generation> {
        let directory = Directory::open(&self.env, &self.dir)?;
        let contents = directory.read_all()?;
        let content = match generation {
            Some(number) => contents.find(number, &self.dir)?,
            None => contents.latest(&self.dir)?,
        };
        let assembly = Assembly::begin(&self.env.fs, dir.as_ref())?;
        let mut tally = Tally::new(content.files.iter().map(|file| file.bytes), &mut progress);
        for file in &content.files {
            directory.fetch(file, &assembly.place(&file.name), &mut |n| tally.add(n))?;
            tally.file_done();
        }
        assembly.finish(content.state.clone())?;
        Ok(content.summary())
    }

    /// Removes all generations but the last `keep` (at least 1), then the files that only those needed. Damaged
    /// generations stay, and with them all files, since nobody knows which are theirs.
    pub fn prune(&self, keep: usize) -> Result<Pruned> {
        if keep == 0 {
            return Err(Error::invalid("prune keeps 1 generation or more; remove the directory for none"));
        }
        let directory = Directory::open_for_writing(&self.env, &self.dir)?;
        let mut contents = directory.read_all()?;
        let gone = contents.sound.len().saturating_sub(keep);
        let gone: Vec<u64> = contents.sound.drain(..gone).map(|content| content.number).collect();
        directory.forget(&gone)?;
        let (files, bytes) = directory.clean(&contents)?;
        Ok(Pruned { generations: gone, files, bytes })
    }
}
