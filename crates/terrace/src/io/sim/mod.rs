//! `SimFs`: a strict file system in memory, for deterministic crash tests.
//!
//! It keeps no promise beyond those of [`Fs`]: data is safe from a power loss after a sync of its file, a name
//! after a sync of its directory, and everything written is safe from the death of the process. A crash makes
//! a *clone* of the disk as the next process would find it; the original runs on.
//!
//! It does not simulate threads, time or failing hardware; see `manual` for a clock and `fault` for failures.

mod content;
mod crash;
mod dir;
mod file;
mod handle;
#[cfg(test)]
mod model_tests;
mod state;
#[cfg(test)]
mod tests;
mod tree;
mod watch;

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

pub use self::crash::{CrashPolicy, PowerLoss};
pub use self::watch::Moment;

use self::content::Content;
use self::dir::{Entry, NodeId};
use self::handle::{Handle, SimFile, SimLock, SimRegion};
use self::state::{SimulatedDeath, State};
use self::tree::names;
use self::watch::Watcher;
use super::{File, Fs, LockGuard, RawRegion};

/// A file system in memory that can crash. Clones are handles to the same disk.
///
/// Paths are absolute; a relative one starts at the root as well. Only the root exists at first.
///
/// Every call that changes something is an *operation*, counted whether it succeeds or not: create, open of a
/// region, write, store, sync, rename, remove, directory sync, lock, and each directory made (and its
/// parent's sync) by `create_dir_all`. [`SimFs::stop_at`] makes the machine die at one of them, so that a
/// test can run a workload up to there and then look at what [`SimFs::crash`] leaves.
#[derive(Clone, Default)]
pub struct SimFs {
    shared: Arc<Mutex<State>>,
}

impl fmt::Debug for SimFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("SimFs");
        if let Some(state) = self.shared.try_lock() {
            out.field("files", &state.files.len()).field("operations", &state.operations);
        }
        out.finish_non_exhaustive()
    }
}

/// Crashing.
impl SimFs {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// The disk as the next process would find it, were this one to go down now. `self` runs on unharmed.
    ///
    /// The clone starts alive, unlocked, with operations counted from zero, and with this disk's capacity and
    /// switches. The same history, `policy` and `seed` give the same clone.
    pub fn crash(&self, policy: CrashPolicy, seed: u64) -> Self {
        let next = self.shared.lock().crash(policy, seed);
        Self { shared: Arc::new(Mutex::new(next)) }
    }

    /// The number of operations performed.
    pub fn operations(&self) -> u64 {
        self.shared.lock().operations
    }

    /// Lets `operations` operations happen (counted from the start of this disk, not from now) and stops the
    /// machine at the next one: that one and every later call fails, reads included.
    pub fn stop_at(&self, operations: u64) {
        self.shared.lock().stop_at = Some(operations);
    }

    /// Whether the machine has stopped.
    pub fn is_stopped(&self) -> bool {
        self.shared.lock().stopped
    }

    /// Whether `error` says that the simulated machine had stopped, rather than anything about a file.
    pub fn is_death(error: &io::Error) -> bool {
        error.get_ref().is_some_and(<dyn Error + Send + Sync>::is::<SimulatedDeath>)
    }
}

/// Watching, limiting and sabotage.
impl SimFs {
    /// Starts (or ends, and forgets) the log of operations. Off at first.
    pub fn log_operations(&self, on: bool) {
        self.shared.lock().log = on.then(Vec::new);
    }

    /// The logged operations, oldest first, one line each: the schedule of a failing test.
    pub fn operation_log(&self) -> Vec<String> {
        self.shared.lock().log.clone().unwrap_or_default()
    }

    /// Has `watch` shown every operation just before it happens, in the thread of the call. It may crash the disk
    /// there ([`Moment::crash`]) but must not call this disk. Replaces an earlier one.
    pub fn watch(&self, watch: impl Fn(&Moment<'_>) + Send + Sync + 'static) {
        self.shared.lock().watcher = Some(Watcher(Arc::new(watch)));
    }

    /// Limits the size of all files together: beyond it writes and preallocations fail with `StorageFull`.
    pub fn set_capacity(&self, bytes: u64) {
        self.shared.lock().capacity_bytes = Some(bytes);
    }

    /// Makes file and region syncs do nothing and claim success: a planted bug for the tests' tests.
    pub fn ignore_sync(&self, on: bool) {
        self.shared.lock().ignore_sync = on;
    }

    /// Makes directory syncs do nothing and claim success: a planted bug for the tests' tests.
    pub fn ignore_sync_dir(&self, on: bool) {
        self.shared.lock().ignore_sync_dir = on;
    }
}

/// Looking at files and damaging them behind the store's back. None of this counts as an operation, and all
/// of it works on a stopped machine.
impl SimFs {
    /// The content of a file as a program would read it.
    pub fn read_all(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        let state = self.shared.lock();
        let id = state.lookup_file(path.as_ref())?;
        Ok(state.file(id).current().to_vec())
    }

    /// Gives a file this content, durably; makes the file if it does not exist. Open handles see the change.
    /// Makes the names in its directory durable too.
    pub fn overwrite(&self, path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.shared.lock();
        let id = state.open_or_create(path.as_ref())?;
        state.file_mut(id).overwrite(Content::from_bytes(bytes));
        state.settle_parent(path.as_ref())
    }

    /// Removes a file, durably. Makes the names in its directory durable too.
    pub fn remove_durably(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let mut state = self.shared.lock();
        state.remove(path.as_ref())?;
        state.settle_parent(path.as_ref())
    }

    /// The paths of all files, sorted.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.shared.lock().named_files().into_iter().map(|(path, _)| path).collect()
    }

    /// The lengths of all files together, removed ones included while they are open.
    pub fn total_bytes(&self) -> u64 {
        self.shared.lock().total_bytes()
    }

    /// The identity of the file that `path` names now.
    pub(super) fn file_id(&self, path: &Path) -> Option<NodeId> {
        self.shared.lock().lookup_file(path).ok()
    }

    /// Loses a file's unsynced data as a kernel does after a failed sync: readers still see it, no later sync
    /// will write it.
    pub(super) fn forget_pending(&self, id: NodeId) {
        if let Some(file) = self.shared.lock().files.get_mut(&id) {
            file.forget_pending();
        }
    }
}

impl State {
    /// Makes the names beside `path` durable, whatever the switches say.
    fn settle_parent(&mut self, path: &Path) -> io::Result<()> {
        let dir = self.place(path)?.dir;
        let ignored = std::mem::take(&mut self.ignore_sync_dir);
        self.sync_dir(dir);
        self.ignore_sync_dir = ignored;
        Ok(())
    }
}

impl Fs for SimFs {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut state = self.shared.lock();
        state.begin(format_args!("create {}", path.display()))?;
        let id = state.create(path)?;
        let handle = Handle::open(&self.shared, &mut state, id, path);
        Ok(Arc::new(SimFile { handle, writable: true }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut state = self.shared.lock();
        state.check_alive()?;
        let id = state.lookup_file(path)?;
        let handle = Handle::open(&self.shared, &mut state, id, path);
        Ok(Arc::new(SimFile { handle, writable: false }))
    }

    fn open_region(&self, path: &Path, len: u64) -> io::Result<Arc<dyn RawRegion>> {
        let mut state = self.shared.lock();
        state.begin(format_args!("open region {} of {len}", path.display()))?;
        let id = state.open_or_create(path)?;
        state.preallocate(id, len)?;
        let len = state.file(id).current().len();
        let handle = Handle::open(&self.shared, &mut state, id, path);
        Ok(Arc::new(SimRegion { handle, len }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.shared.lock();
        state.begin(format_args!("rename {} to {}", from.display(), to.display()))?;
        state.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.shared.lock();
        state.begin(format_args!("link {} to {}", from.display(), to.display()))?;
        state.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.shared.lock();
        state.begin(format_args!("remove {}", path.display()))?;
        state.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.shared.lock();
        state.check_alive()?;
        let id = state.lookup_dir(dir)?;
        let files = state.names.entries(id).iter().filter(|(_, entry)| matches!(entry, Entry::File(_)));
        Ok(files.map(|(name, _)| name.clone()).collect())
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.shared.lock();
        state.check_alive()?;
        let mut made_in = Vec::new();
        let mut path = PathBuf::from("/");
        for name in names(dir) {
            let parent = state.lookup_dir(&path)?;
            path.push(name);
            match state.lookup_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    state.begin(format_args!("create dir {}", path.display()))?;
                    state.create_dir(&path)?;
                    made_in.push((parent, path.clone()));
                }
                found => drop(found?),
            }
        }
        for (parent, path) in made_in {
            state.begin(format_args!("sync dir above {}", path.display()))?;
            state.sync_dir(parent);
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.shared.lock();
        state.begin(format_args!("sync dir {}", dir.display()))?;
        let id = state.lookup_dir(dir)?;
        state.sync_dir(id);
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.shared.lock();
        state.check_alive()?;
        match state.lookup(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn lock(&self, path: &Path, content: &[u8]) -> io::Result<Box<dyn LockGuard>> {
        let mut state = self.shared.lock();
        state.begin(format_args!("lock {}", path.display()))?;
        let id = state.lock(path, content)?;
        let handle = Handle::open(&self.shared, &mut state, id, path);
        Ok(Box::new(SimLock { handle }))
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        let state = self.shared.lock();
        state.check_alive()?;
        Ok(state.lookup_file(path).is_ok_and(|id| state.locked.contains(&id)))
    }

    fn boot_id(&self) -> u128 {
        self.shared.lock().boot_id
    }
}
