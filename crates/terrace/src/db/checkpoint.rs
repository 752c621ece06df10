//! Checkpoints: an openable copy of the store as of one moment, made of hard links while writes go on.
//!
//! A moment is taken by flushing: then the state of the manifest says it all, and there is no log to copy. The
//! version of that moment is held for as long as its files are needed, which keeps them from being deleted.
//!
//! Invariant: a copy is built under another name, beside a mark that says so, `CURRENT` last. It loses the mark
//! and gets its own name when everything in it is durable: a directory that has the name of a copy is a whole one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::core::Core;
use crate::base::error::IoContext;
use crate::base::{Error, KeyspaceId, Result};
use crate::io::{Fs, LockGuard, transfer};
use crate::version::{Manifest, State, Version, names};

/// The store as of one moment: what it consists of, and what keeps the files of that from being deleted.
pub(crate) struct Frozen {
    /// The sum of the manifest's edits. Everything up to its `flushed_seqno` is in its tables, nothing else is.
    pub(crate) state: State,
    _held: Arc<Version>,
}

impl Core {
    /// A moment that has everything acknowledged before the call, and nothing without what came before it.
    pub(crate) fn freeze(&self) -> Result<Frozen> {
        self.check_open()?;
        loop {
            let before = self.registry();
            self.flush_all()?;
            let manifest = self.manifest.lock();
            self.check_held()?;
            let mut state = manifest.state().clone();
            // A keyspace that was made or dropped after the flush is newer than writes that are not in tables yet.
            if before == (state.keyspaces.clone(), state.next_keyspace_id) {
                state.clock_ms = state.clock_ms.max(self.clock.now_ms());
                return Ok(Frozen { state, _held: Arc::clone(&self.current().version) });
            }
        }
    }

    /// The keyspaces, and the first number that none of them has had.
    fn registry(&self) -> (BTreeMap<KeyspaceId, String>, u32) {
        let manifest = self.manifest.lock();
        (manifest.state().keyspaces.clone(), manifest.state().next_keyspace_id)
    }

    /// Makes a copy of the store in `dir`, which must not exist.
    pub(super) fn checkpoint(&self, dir: &Path) -> Result<()> {
        let fs = &*self.env.fs;
        let place = Place::new(dir)?;
        check_free(fs, dir)?;
        let building = place.begin(fs)?;
        let frozen = self.freeze()?;
        for name in frozen.state.files() {
            let (from, to) = (self.dir.join(&name), place.partial.join(&name));
            // Why there can be no link does not matter: the copy works, or says what is wrong.
            if fs.link(&from, &to).is_err() {
                transfer::copy(fs, &from, &to, &mut |_| ())?;
            }
        }
        drop(Manifest::create(Arc::clone(&self.env.fs), &place.partial, frozen.state)?);
        place.finish(fs, dir)?;
        drop(building);
        Ok(())
    }
}

fn check_free(fs: &dyn Fs, dir: &Path) -> Result<()> {
    if fs.exists(dir).at("look for", dir)? {
        let detail = "it exists already; a copy is made in a directory that does not";
        return Err(Error::invalid(format!("{}: {detail}", dir.display())));
    }
    Ok(())
}

/// Where a copy is built, and where its name is recorded.
struct Place {
    partial: PathBuf,
    parent: PathBuf,
}

impl Place {
    fn new(dir: &Path) -> Result<Self> {
        let name = dir.file_name().ok_or_else(|| {
            Error::invalid(format!("{:?} does not name a directory to make", dir.display().to_string()))
        })?;
        let mut name = name.to_owned();
        name.push(".partial");
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new(".")).to_path_buf();
        Ok(Self { partial: dir.with_file_name(name), parent })
    }

    /// Takes the place for this copy alone and clears away what an interrupted one has left there.
    fn begin(&self, fs: &dyn Fs) -> Result<Box<dyn LockGuard>> {
        let partial = &self.partial;
        fs.create_dir_all(partial).at("create", partial)?;
        let leftovers = self.leftovers(fs)?;
        let lock = partial.join(names::LOCK);
        let content = format!("{}\n", std::process::id());
        let guard = fs.lock(&lock, content.as_bytes()).map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => Error::Locked { path: lock.clone(), pid: None },
            _ => Error::io("lock", &lock, error),
        })?;
        for name in leftovers.iter().filter(|name| ![names::LOCK, names::COPYING].contains(&name.as_str())) {
            let path = partial.join(name);
            fs.remove(&path).at("remove", &path)?;
        }
        if !leftovers.iter().any(|name| name == names::COPYING) {
            let mark = partial.join(names::COPYING);
            fs.create(&mark).at("create", &mark)?;
        }
        fs.sync_dir(partial).at("sync", partial)?;
        Ok(guard)
    }

    /// What lies in the place, if that is surely of an interrupted copy.
    fn leftovers(&self, fs: &dyn Fs) -> Result<Vec<String>> {
        let listed = fs.list(&self.partial).at("list", &self.partial)?;
        let marked = listed.iter().any(|name| name == names::COPYING);
        let foreign = listed.iter().find(|name| *name != names::LOCK && !(marked && names::is_of_copy(name)));
        match foreign {
            None => Ok(listed),
            Some(name) => {
                let place = self.partial.display();
                let detail = format!("{place} is needed to make the copy but holds {name:?}; move it away");
                Err(Error::invalid(detail))
            }
        }
    }

    /// Gives the copy its name, durably.
    fn finish(&self, fs: &dyn Fs, dir: &Path) -> Result<()> {
        let mark = self.partial.join(names::COPYING);
        fs.remove(&mark).at("remove", &mark)?;
        fs.sync_dir(&self.partial).at("sync", &self.partial)?;
        fs.rename(&self.partial, dir).at("rename", &self.partial)?;
        fs.sync_dir(&self.parent).at("sync", &self.parent)
    }
}
