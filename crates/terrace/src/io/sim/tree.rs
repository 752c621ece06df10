//! The names on the simulated disk: finding, making, moving and removing them as programs see it.
//!
//! Every change is recorded as pending; `dir` knows what of it survives. A path is a list of
//! names from the root: there are no symbolic links and no current directory.

use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;

use super::dir::{DirOp, Entry, NodeId, Place, ROOT};
use super::file::FileNode;
use super::state::State;

impl State {
    pub(super) fn lookup(&self, path: &Path) -> io::Result<Entry> {
        self.lookup_names(&names(path))
    }

    fn lookup_names(&self, names: &[String]) -> io::Result<Entry> {
        let mut entry = Entry::Dir(ROOT);
        for name in names {
            let Entry::Dir(dir) = entry else { return Err(Errno::NOTDIR.into()) };
            entry = *self.names.entries(dir).get(name).ok_or(Errno::NOENT)?;
        }
        Ok(entry)
    }

    pub(super) fn lookup_dir(&self, path: &Path) -> io::Result<NodeId> {
        match self.lookup(path)? {
            Entry::Dir(dir) => Ok(dir),
            Entry::File(_) => Err(Errno::NOTDIR.into()),
        }
    }

    pub(super) fn lookup_file(&self, path: &Path) -> io::Result<NodeId> {
        match self.lookup(path)? {
            Entry::File(file) => Ok(file),
            Entry::Dir(_) => Err(Errno::ISDIR.into()),
        }
    }

    /// The directory that holds the last name of `path`, and that name, which need not exist.
    pub(super) fn place(&self, path: &Path) -> io::Result<Place> {
        let mut names = names(path);
        let name = names.pop().ok_or(Errno::INVAL)?;
        match self.lookup_names(&names)? {
            Entry::Dir(dir) => Ok(Place { dir, name }),
            Entry::File(_) => Err(Errno::NOTDIR.into()),
        }
    }

    /// Makes an empty file; `AlreadyExists` if the name is taken.
    pub(super) fn create(&mut self, path: &Path) -> io::Result<NodeId> {
        let place = self.place(path)?;
        if self.names.entries(place.dir).contains_key(&place.name) {
            return Err(Errno::EXIST.into());
        }
        let id = self.new_id();
        self.files.insert(id, FileNode::default());
        self.names.change(DirOp { entry: Entry::File(id), from: None, to: Some(place) });
        Ok(id)
    }

    /// The file of this name, made if there is none.
    pub(super) fn open_or_create(&mut self, path: &Path) -> io::Result<NodeId> {
        match self.lookup_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.create(path),
            found => found,
        }
    }

    /// Makes an empty directory where there is nothing.
    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        let place = self.place(path)?;
        let entry = Entry::Dir(self.new_id());
        self.names.change(DirOp { entry, from: None, to: Some(place) });
        Ok(())
    }

    /// Gives a file a second name; `AlreadyExists` if that is taken.
    pub(super) fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let entry = Entry::File(self.lookup_file(from)?);
        let place = self.place(to)?;
        if self.names.entries(place.dir).contains_key(&place.name) {
            return Err(Errno::EXIST.into());
        }
        self.names.change(DirOp { entry, from: None, to: Some(place) });
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let entry = Entry::File(self.lookup_file(path)?);
        let place = self.place(path)?;
        self.names.change(DirOp { entry, from: Some(place), to: None });
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let entry = self.lookup(from)?;
        let (from_place, to_place) = (self.place(from)?, self.place(to)?);
        let target = self.names.entries(to_place.dir).get(&to_place.name).copied();
        match (entry, target) {
            _ if target == Some(entry) => return Ok(()),
            (Entry::File(_), Some(Entry::Dir(_))) => return Err(Errno::ISDIR.into()),
            (Entry::Dir(_), Some(Entry::Dir(dir))) if self.names.entries(dir).is_empty() => {}
            (Entry::Dir(_), Some(_)) => return Err(Errno::NOTEMPTY.into()),
            (Entry::Dir(_), None) if names(to).starts_with(&names(from)) => return Err(Errno::INVAL.into()),
            _ => {}
        }
        self.names.change(DirOp { entry, from: Some(from_place), to: Some(to_place) });
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, dir: NodeId) {
        if !self.ignore_sync_dir {
            self.names.sync(dir);
            self.sweep();
        }
    }

    /// Forgets the files that have no name left anywhere and no open handle.
    pub(super) fn sweep(&mut self) {
        let referenced: BTreeSet<Entry> = self.names.referenced().collect();
        self.files.retain(|id, file| file.handles > 0 || referenced.contains(&Entry::File(*id)));
    }

    /// Every file that has a name, by path.
    pub(super) fn named_files(&self) -> Vec<(PathBuf, NodeId)> {
        let mut found = Vec::new();
        let mut to_visit = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, dir)) = to_visit.pop() {
            for (name, entry) in self.names.entries(dir) {
                match entry {
                    Entry::File(file) => found.push((path.join(name), *file)),
                    Entry::Dir(dir) => to_visit.push((path.join(name), *dir)),
                }
            }
        }
        found.sort();
        found
    }
}

/// The names along `path` from the root. A relative path starts at the root too.
pub(super) fn names(path: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_string_lossy().into_owned()),
            Component::ParentDir => drop(names.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    names
}
