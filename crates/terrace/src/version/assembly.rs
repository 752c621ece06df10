//! `Assembly`: putting a store together in a new directory: a checkpoint, a restored backup, a salvaged store.
//!
//! Invariant: the store is built under another name, beside a mark that says so, `CURRENT` last. It loses the mark
//! and gets its own name when everything in it is durable: a directory that has the name is a whole store.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::manifest::Manifest;
use super::names;
use super::state::State;
use crate::base::error::IoContext;
use crate::base::{Error, Result};
use crate::io::{Fs, LockGuard};

/// A store that is being put together, for this process alone.
#[derive(Debug)]
pub(crate) struct Assembly {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    partial: PathBuf,
    _lock: Box<dyn LockGuard>,
}

impl Assembly {
    /// Begins a store that will be called `dir`, which must be missing or empty. Clears away what an interrupted
    /// attempt at the same name has left.
    pub(crate) fn begin(fs: &Arc<dyn Fs>, dir: &Path) -> Result<Self> {
        let Some(name) = dir.file_name() else {
            return Err(Error::invalid(format!("{} does not name a directory to make", dir.display())));
        };
        check_free(&**fs, dir)?;
        let mut name = name.to_owned();
        name.push(".partial");
        let partial = dir.with_file_name(name);
        fs.create_dir_all(&partial).at("create", &partial)?;
        let left = leftovers(&**fs, &partial)?;
        let lock = partial.join(names::LOCK);
        let content = format!("{}\n", std::process::id());
        let guard = fs.lock(&lock, content.as_bytes()).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => Error::Locked { path: lock.clone(), pid: None },
            _ => Error::io("lock", &lock, error),
        })?;
        for name in left.iter().filter(|name| ![names::LOCK, names::COPYING].contains(&name.as_str())) {
            let path = partial.join(name);
            fs.remove(&path).at("remove", &path)?;
        }
        if !left.iter().any(|name| name == names::COPYING) {
            let mark = partial.join(names::COPYING);
            fs.create(&mark).at("create", &mark)?;
        }
        fs.sync_dir(&partial).at("sync", &partial)?;
        Ok(Self { fs: Arc::clone(fs), dir: dir.to_path_buf(), partial, _lock: guard })
    }

    /// Where its files are made meanwhile.
    pub(crate) fn partial(&self) -> &Path {
        &self.partial
    }

    /// Where a file of this name is to be put. Its content must be durable before `finish`, not its name.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.partial.join(name)
    }

    /// Writes the manifest and gives the store its name, durably.
    pub(crate) fn finish(self, state: State) -> Result<()> {
        let Self { fs, dir, partial, _lock } = self;
        drop(Manifest::create(Arc::clone(&fs), &partial, state)?);
        let mark = partial.join(names::COPYING);
        fs.remove(&mark).at("remove", &mark)?;
        fs.sync_dir(&partial).at("sync", &partial)?;
        fs.rename(&partial, &dir).at("rename", &partial)?;
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs.sync_dir(parent).at("sync", parent)
    }
}

fn check_free(fs: &dyn Fs, dir: &Path) -> Result<()> {
    if !fs.exists(dir).at("look for", dir)? {
        return Ok(());
    }
    let listed = fs.list(dir).at("list", dir)?;
    match listed.first() {
        None => Ok(()),
        Some(name) => Err(Error::invalid(format!(
            "{} is not empty (it holds {name:?}); name a directory that is, or that does not exist",
            dir.display()
        ))),
    }
}

/// What lies in the place, if that is surely of an interrupted attempt.
fn leftovers(fs: &dyn Fs, partial: &Path) -> Result<Vec<String>> {
    let listed = fs.list(partial).at("list", partial)?;
    let marked = listed.iter().any(|name| name == names::COPYING);
    let foreign = listed.iter().find(|name| *name != names::LOCK && !(marked && names::is_of_copy(name)));
    match foreign {
        None => Ok(listed),
        Some(name) => {
            let place = partial.display();
            Err(Error::invalid(format!("{place} is needed for the copy but holds {name:?}; move it away")))
        }
    }
}
