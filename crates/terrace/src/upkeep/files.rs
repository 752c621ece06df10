//! `StoreFiles`: the files of a store that nobody has open, to look at and to salvage from.

use std::path::{Path, PathBuf};

use crate::base::error::IoContext;
use crate::base::{Error, FileId, Result};
use crate::io::Env;
use crate::version::{History, Presence, State, names, probe};

/// The files of a store. Whatever is done with them, they are only read.
///
/// The store must not be open: what is being written cannot be judged. A store in use is refused with
/// [`Error::Locked`]; look at a [checkpoint](crate::Db::checkpoint) of it instead.
#[derive(Clone, Debug)]
pub struct StoreFiles {
    pub(super) env: Env,
    pub(super) dir: PathBuf,
}

/// Which manifest counts and what it says, as far as that can be found out.
pub(super) struct Registry {
    /// The manifest that was read; `None` if none could be.
    pub(super) manifest: Option<FileId>,
    /// What it says.
    pub(super) history: History,
    /// What was wrong with `CURRENT`.
    pub(super) current: Option<Error>,
}

impl Registry {
    /// Whether the state is that of the store, and not one of an earlier time.
    pub(super) fn is_whole(&self) -> bool {
        self.history.is_whole
    }

    /// The sum of the edits that were read.
    pub(super) fn state(&self) -> &State {
        &self.history.state
    }
}

impl StoreFiles {
    /// The files in `dir`. Does no I/O.
    pub fn new(dir: impl AsRef<Path>) -> Self {
        Self { env: Env::default(), dir: dir.as_ref().to_path_buf() }
    }

    /// The file system and the clock to use; default the real ones.
    pub fn env(mut self, env: Env) -> Self {
        self.env = env;
        self
    }

    /// The names in the directory, sorted. Fails if it is no store, or in use.
    pub(super) fn list(&self) -> Result<Vec<String>> {
        let fs = &*self.env.fs;
        let not_a_store =
            |detail: &str| Error::NotAStore { path: self.dir.clone(), detail: detail.to_string() };
        if !fs.exists(&self.dir).at("look for", &self.dir)? {
            return Err(not_a_store("the directory does not exist"));
        }
        let lock = self.dir.join(names::LOCK);
        if fs.is_locked(&lock).at("look at", &lock)? {
            return Err(Error::Locked { pid: self.read_pid(&lock), path: lock });
        }
        let mut listed = fs.list(&self.dir).at("list", &self.dir)?;
        listed.sort();
        let ours = |name: &String| names::is_of_store(name);
        if !listed.iter().any(ours) {
            return Err(not_a_store("it holds no file of a store"));
        }
        Ok(listed)
    }

    fn read_pid(&self, lock: &Path) -> Option<u32> {
        let file = self.env.fs.open(lock).ok()?;
        let mut bytes = vec![0; file.len().ok()?.min(16) as usize];
        file.read_exact_at(&mut bytes, 0).ok()?;
        std::str::from_utf8(&bytes).ok()?.trim().parse().ok()
    }

    /// Reads the manifest that `CURRENT` names, or else the latest one that can be read.
    pub(super) fn registry(&self, listed: &[String]) -> Registry {
        let fs = &*self.env.fs;
        let (named, current) = match probe(fs, &self.dir) {
            Ok(Presence::Store(id)) => (Some(id), None),
            Ok(Presence::Nothing) => {
                let detail = format!("it has no {} file", names::CURRENT);
                (None, Some(Error::NotAStore { path: self.dir.clone(), detail }))
            }
            Err(error) => (None, Some(error)),
        };
        let mut found: Vec<FileId> = listed.iter().filter_map(|name| names::parse_manifest(name)).collect();
        found.sort_unstable();
        let mut registry = Registry { manifest: None, history: History::default(), current };
        for id in named.into_iter().chain(found.into_iter().rev()) {
            let path = self.dir.join(names::manifest(id));
            match History::read(fs, &path, id) {
                Ok(history) if history.is_whole || !history.edits.is_empty() => {
                    let wrong = std::mem::take(&mut registry.history.wrong);
                    (registry.manifest, registry.history) = (Some(id), history);
                    registry.history.wrong.splice(0..0, wrong);
                    return registry;
                }
                Ok(history) => registry.history.wrong.extend(history.wrong),
                Err(error) => registry.history.wrong.push(error),
            }
            if named.is_some() {
                // The others are of another time, or they would have been named.
                return registry;
            }
        }
        registry
    }

    /// The numbers of the table files.
    pub(super) fn table_ids(listed: &[String]) -> Vec<FileId> {
        listed.iter().filter_map(|name| names::parse_table(name)).collect()
    }
}
