//! What is open on the simulated disk: files, log regions, locks.
//!
//! A handle belongs to the file, not to its name: it goes on working after a rename or removal.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::io::Errno;

use super::dir::NodeId;
use super::state::State;
use crate::io::{File, LockGuard, RawRegion};

/// Keeps a file's content alive while it is open.
pub(super) struct Handle {
    shared: Arc<Mutex<State>>,
    id: NodeId,
    /// The name it was opened under, for the operation log.
    path: PathBuf,
}

impl Handle {
    /// Opens file `id` in `state`, which `shared` guards.
    pub(super) fn open(shared: &Arc<Mutex<State>>, state: &mut State, id: NodeId, path: &Path) -> Self {
        state.file_mut(id).handles += 1;
        Self { shared: Arc::clone(shared), id, path: path.to_path_buf() }
    }

    fn write(&self, kind: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.shared.lock();
        state.begin(format_args!("{kind} {} {offset}+{}", self.path.display(), bytes.len()))?;
        state.write(self.id, offset, bytes)
    }

    fn sync(&self, kind: &str) -> io::Result<()> {
        let mut state = self.shared.lock();
        state.begin(format_args!("{kind} {}", self.path.display()))?;
        state.sync_file(self.id);
        Ok(())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.lock().file_mut(self.id).handles -= 1;
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Handle").field(&self.path).finish()
    }
}

#[derive(Debug)]
pub(super) struct SimFile {
    pub(super) handle: Handle,
    pub(super) writable: bool,
}

impl File for SimFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.handle.shared.lock();
        state.check_alive()?;
        state.file(self.handle.id).current().read_exact(buf, offset)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        if !self.writable {
            return Err(Errno::BADF.into());
        }
        self.handle.write("write", offset, buf)
    }

    fn sync(&self) -> io::Result<()> {
        self.handle.sync("sync")
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.handle.shared.lock();
        state.check_alive()?;
        Ok(state.file(self.handle.id).current().len())
    }
}

/// Stores go through the one lock of the simulated disk, so overlapping ones would do no harm here.
#[derive(Debug)]
pub(super) struct SimRegion {
    pub(super) handle: Handle,
    pub(super) len: u64,
}

impl RawRegion for SimRegion {
    fn len(&self) -> u64 {
        self.len
    }

    #[allow(unsafe_code)] // Only because the trait asks for it.
    unsafe fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64);
        assert!(end.is_some_and(|end| end <= self.len), "a store stays inside its region");
        self.handle.write("store", offset, bytes)
    }

    fn prefault(&self, _range: Range<u64>) {}

    fn sync(&self) -> io::Result<()> {
        self.handle.sync("sync region")
    }

    fn sync_range(&self, range: Range<u64>) -> io::Result<()> {
        let mut state = self.handle.shared.lock();
        state.begin(format_args!("sync {range:?} of region {}", self.handle.path.display()))?;
        state.sync_file_range(self.handle.id, &range);
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct SimLock {
    pub(super) handle: Handle,
}

impl LockGuard for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.handle.shared.lock().locked.remove(&self.handle.id);
    }
}
