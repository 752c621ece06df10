//! Everything that reaches outside the process: files, time, randomness, threads.
//!
//! The rest of the engine sees only the traits here, so the same code runs on the real system (`os`), on a
//! simulated one that loses what was not synced (`sim`), and under injected faults (`fault`).

pub(crate) mod env;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod fault;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod manual;
pub(crate) mod os;
mod os_map;
mod os_region;
pub(crate) mod region;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod sim;
#[cfg(test)]
mod tests;
pub(crate) mod transfer;

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use env::Env;
pub use region::RawRegion;
pub(crate) use region::{Claim, Region};

/// A file system. All paths are absolute or relative to the process's directory, as with `std::fs`.
///
/// What an implementation must promise: data is durable after [`File::sync`]; the *name* of a created,
/// renamed or removed file is durable after [`Fs::sync_dir`] on its directory. Nothing else is.
pub trait Fs: Send + Sync + Debug {
    /// Creates a file for reading and writing; fails with `AlreadyExists` if there is one.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Opens an existing file for reading.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Opens an existing file that nobody changes or cuts any more, for reading through a mapping where the system
    /// has them; otherwise as `open`. A read that the device refuses may then be a signal instead of an error.
    fn open_mapped(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.open(path)
    }
    /// Opens (or creates) a log region of at least `len` bytes for writing: preallocated, and mapped where
    /// the system can do that safely. An existing file keeps its content.
    fn open_region(&self, path: &Path, len: u64) -> io::Result<Arc<dyn RawRegion>>;
    /// The same for a region whose every write is followed by a sync before anybody relies on it: written with a call
    /// each where a mapping would cost more. The kernel protects each mapped page anew at every sync of it, tells all
    /// processors so, and takes a fault at the next store.
    fn open_synced_region(&self, path: &Path, len: u64) -> io::Result<Arc<dyn RawRegion>> {
        self.open_region(path, len)
    }
    /// Renames a file, replacing the target if there is one, in one atomic step.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name in the same file system, as a hard link. Nothing requires that this works:
    /// callers copy where it fails, which is what happens by default.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _ = (from, to);
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The names of the files in a directory, in no particular order. Subdirectories are left out.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Creates a directory and its missing parents, durably.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Whether a file or directory of this name exists.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Takes an exclusive lock on a file (created if missing) and writes `content` into it. The lock lasts
    /// until the guard is dropped or the process dies. `WouldBlock` means that somebody else holds it.
    fn lock(&self, path: &Path, content: &[u8]) -> io::Result<Box<dyn LockGuard>>;
    /// Whether somebody holds the lock of a file. Changes nothing; a file system that cannot tell says no.
    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        let _ = path;
        Ok(false)
    }
    /// A value that changes when the machine restarts, so that recovery can tell a dead process from a
    /// lost power supply. Zero when the system does not say.
    fn boot_id(&self) -> u128;
}

/// Holds a file lock until dropped.
pub trait LockGuard: Send + Sync + Debug {}

/// An open file. Dropping it closes it.
pub trait File: Send + Sync + Debug {
    /// Fills `buf` from `offset`; `UnexpectedEof` if the file ends before.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;
    /// Does the same and says `true` if the bytes are in memory. If the device would be waited for, or nobody can tell,
    /// `buf` is worth nothing, and the system may begin to bring the bytes in: who needs many calls this for each of
    /// them before waiting for the first.
    fn try_read_exact_at(&self, buf: &mut [u8], offset: u64) -> bool {
        let _ = (buf, offset);
        false
    }
    /// Writes all of `buf` at `offset`, extending the file as needed.
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;
    /// Makes the data (and the length needed to read it) durable.
    fn sync(&self) -> io::Result<()>;
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// The whole content, if the file is read through a mapping (see [`Fs::open_mapped`]).
    fn mapped(&self) -> Option<&[u8]> {
        None
    }
    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Time.
pub trait Clock: Send + Sync + Debug {
    /// Wall-clock milliseconds since the Unix epoch. May jump in both directions.
    fn now_ms(&self) -> u64;
    /// Monotonic nanoseconds since some fixed instant.
    fn monotonic_ns(&self) -> u64;
    /// Waits. A simulated clock moves instead.
    fn sleep(&self, duration: Duration);
}

/// Randomness for seeds; nothing secret is made of it.
pub trait Rng: Send + Sync + Debug {
    /// Sixty-four random bits.
    fn next_u64(&self) -> u64;
}

/// Threads for background work.
pub trait Spawn: Send + Sync + Debug {
    /// Starts a named thread at background priority.
    fn spawn(&self, name: &str, body: Box<dyn FnOnce() + Send>) -> io::Result<Box<dyn Join>>;
    /// Runs tasks side by side, at background priority, and returns when all have ended. A panic in one of
    /// them is passed on.
    fn run_all<'a>(&self, tasks: Vec<Box<dyn FnOnce() + Send + 'a>>);
    /// The number of cores, at least 1.
    fn cores(&self) -> usize;
}

/// A started thread.
pub trait Join: Send + Sync {
    /// Waits for its end; `false` if it panicked.
    fn join(self: Box<Self>) -> bool;
}
