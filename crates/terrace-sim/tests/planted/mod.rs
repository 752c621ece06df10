//! File systems with a planted bug, to see whether the crash explorer finds it.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use terrace::{File, Fs, LockGuard, RawRegion, SimFs};

/// What a careless store would do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bug {
    /// An edit of the manifest that was claimed to be durable reaches the file only after the next change of
    /// the directory, such as the removal of the files that the edit makes obsolete, or before the next edit; and
    /// so does the mark that it was synced. Header and snapshot of a new manifest are written as they should be.
    LateEdits,
    /// The directory is not synced after tables were made in it.
    ForgottenTables,
}

/// A sound disk under a store with a bug.
#[derive(Debug)]
pub(crate) struct Careless {
    bug: Bug,
    disk: SimFs,
    held: Arc<Mutex<Vec<Held>>>,
    table_made: AtomicBool,
}

#[derive(Debug)]
struct Held {
    file: Arc<dyn File>,
    bytes: Vec<u8>,
    offset: u64,
}

impl Careless {
    fn over(disk: &SimFs, bug: Bug) -> Arc<dyn Fs> {
        let (disk, table_made) = (disk.clone(), AtomicBool::new(false));
        Arc::new(Self { bug, disk, held: Arc::default(), table_made })
    }
}

pub(crate) fn with_late_edits(disk: &SimFs) -> Arc<dyn Fs> {
    Careless::over(disk, Bug::LateEdits)
}

pub(crate) fn with_forgotten_tables(disk: &SimFs) -> Arc<dyn Fs> {
    Careless::over(disk, Bug::ForgottenTables)
}

fn is_manifest(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("MANIFEST-"))
}

/// Writes what was held back.
fn release(held: &Mutex<Vec<Held>>) -> io::Result<()> {
    for late in std::mem::take(&mut *held.lock().expect("nobody panics with the lock")) {
        late.file.write_all_at(&late.bytes, late.offset)?;
        late.file.sync()?;
    }
    Ok(())
}

impl Fs for Careless {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = self.disk.create(path)?;
        release(&self.held)?;
        if path.extension().is_some_and(|end| end == "tbl") {
            self.table_made.store(true, Ordering::Relaxed);
        }
        if self.bug != Bug::LateEdits || !is_manifest(path) {
            return Ok(file);
        }
        Ok(Arc::new(LateFile { file, held: Arc::clone(&self.held), synced: Mutex::new(false) }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        release(&self.held)?;
        self.disk.open(path)
    }

    fn open_region(&self, path: &Path, len: u64) -> io::Result<Arc<dyn RawRegion>> {
        self.disk.open_region(path, len)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)?;
        release(&self.held)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)?;
        release(&self.held)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.bug == Bug::ForgottenTables && self.table_made.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        self.disk.sync_dir(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }

    fn lock(&self, path: &Path, content: &[u8]) -> io::Result<Box<dyn LockGuard>> {
        self.disk.lock(path, content)
    }

    fn boot_id(&self) -> u128 {
        self.disk.boot_id()
    }
}

/// An edit takes two writes.
const EDIT_AND_MARK: usize = 2;

#[derive(Debug)]
struct LateFile {
    file: Arc<dyn File>,
    held: Arc<Mutex<Vec<Held>>>,
    /// Whether header and snapshot are through.
    synced: Mutex<bool>,
}

impl File for LateFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        if !*self.synced.lock().expect("nobody panics with the lock") {
            release(&self.held)?;
            return self.file.write_all_at(buf, offset);
        }
        if self.held.lock().expect("nobody panics with the lock").len() == EDIT_AND_MARK {
            release(&self.held)?;
        }
        let late = Held { file: Arc::clone(&self.file), bytes: buf.to_vec(), offset };
        self.held.lock().expect("nobody panics with the lock").push(late);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        *self.synced.lock().expect("nobody panics with the lock") = true;
        // Claims success for what is held back as well.
        self.file.sync()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

/// A disk that forgets directory syncs.
pub(crate) fn without_directory_syncs(disk: &SimFs) -> Arc<dyn Fs> {
    disk.ignore_sync_dir(true);
    Arc::new(disk.clone())
}

/// A disk that forgets file syncs.
pub(crate) fn without_syncs(disk: &SimFs) -> Arc<dyn Fs> {
    disk.ignore_sync(true);
    Arc::new(disk.clone())
}
