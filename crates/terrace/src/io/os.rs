//! The real system. The only module that uses `std::fs`, the system clock and threads.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the traits of `io` meet the system here"
)]

use std::collections::hash_map::RandomState;
use std::fs::{self, OpenOptions};
use std::hash::BuildHasher;
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{Advice, FlockOperation, fadvise, flock};
use rustix::io::{ReadWriteFlags, preadv2};

use super::os_map::open_mapped;
use super::os_region::open_region;
use super::{Clock, File, Fs, Join, LockGuard, RawRegion, Rng, Spawn};

/// The file system of the operating system.
#[derive(Debug, Default)]
pub(crate) struct OsFs {
    /// Write the log with positioned writes even where mapping is possible.
    pub(crate) unmapped_log: bool,
}

/// The real file system for tests; with `unmapped_log`, log regions are written, never mapped.
#[cfg(any(test, feature = "testing"))]
pub fn os_fs(unmapped_log: bool) -> Arc<dyn Fs> {
    Arc::new(OsFs { unmapped_log })
}

#[derive(Debug)]
pub(super) struct OsFile(pub(super) fs::File);

impl File for OsFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }

    fn try_read_exact_at(&self, buf: &mut [u8], offset: u64) -> bool {
        let expected = buf.len();
        let mut parts = [io::IoSliceMut::new(buf)];
        let found = preadv2(&self.0, &mut parts, offset, ReadWriteFlags::NOWAIT);
        let is_there = found.is_ok_and(|found| found == expected);
        if !is_there {
            // Advice; where it fails, the read that follows says why.
            let _ = fadvise(&self.0, offset, NonZeroU64::new(expected as u64), Advice::WillNeed);
        }
        is_there
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(buf, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

impl Fs for OsFs {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Arc::new(OsFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(OsFile(fs::File::open(path)?)))
    }

    fn open_mapped(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        open_mapped(path)
    }

    fn open_region(&self, path: &Path, len: u64) -> io::Result<Arc<dyn RawRegion>> {
        open_region(path, len, self.unmapped_log)
    }

    fn open_synced_region(&self, path: &Path, len: u64) -> io::Result<Arc<dyn RawRegion>> {
        open_region(path, len, true)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(names)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        // Every directory made here, and the one that holds the topmost of them, must be synced: a name is
        // durable only once its parent is.
        let mut missing = Vec::new();
        let mut current = Some(dir);
        while let Some(path) = current.filter(|p| !p.as_os_str().is_empty() && !p.exists()) {
            missing.push(path);
            current = path.parent();
        }
        fs::create_dir_all(dir)?;
        for path in missing.iter().rev() {
            let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            self.sync_dir(parent)?;
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn lock(&self, path: &Path, content: &[u8]) -> io::Result<Box<dyn LockGuard>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        file.set_len(0)?;
        file.write_all_at(content, 0)?;
        Ok(Box::new(OsLock { file }))
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        match fs::File::open(path) {
            // Shared, and given back at once: this must not keep anybody from taking the lock for long.
            Ok(file) => match flock(&file, FlockOperation::NonBlockingLockShared) {
                Err(error) if error == rustix::io::Errno::WOULDBLOCK => Ok(true),
                outcome => outcome.map(|()| false).map_err(io::Error::from),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn boot_id(&self) -> u128 {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
        u128::from_str_radix(&digits, 16).unwrap_or(0)
    }
}

/// The lock is the kernel's, tied to the open file: it goes with the process, however that ends.
#[derive(Debug)]
struct OsLock {
    file: fs::File,
}

impl Drop for OsLock {
    /// Closing the file would do, were there no copies of it: a process that another thread is just starting has
    /// one until it runs its own program, and the lock would be held as long.
    fn drop(&mut self) {
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

impl LockGuard for OsLock {}

/// The system's clocks.
#[derive(Debug)]
pub(crate) struct OsClock {
    start: Instant,
}

impl Default for OsClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for OsClock {
    fn now_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
    }

    fn monotonic_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    fn sleep(&self, duration: Duration) {
        thread::sleep(duration);
    }
}

/// Seeds from the standard library's per-process random state.
#[derive(Debug)]
pub(crate) struct OsRng;

impl Rng for OsRng {
    fn next_u64(&self) -> u64 {
        RandomState::new().hash_one(std::process::id())
    }
}

/// The system's threads, at low priority.
#[derive(Debug)]
pub(crate) struct OsSpawn;

/// Background threads give way to foreground ones, yet still move on a busy machine.
const BACKGROUND_NICE: i32 = 5;

/// On Linux the priority belongs to the thread. Failing to lower it costs latency, not safety.
fn lower_priority() {
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), BACKGROUND_NICE);
}

struct OsJoin(thread::JoinHandle<()>);

impl Join for OsJoin {
    fn join(self: Box<Self>) -> bool {
        self.0.join().is_ok()
    }
}

impl Spawn for OsSpawn {
    fn spawn(&self, name: &str, body: Box<dyn FnOnce() + Send>) -> io::Result<Box<dyn Join>> {
        let lowered = move || {
            lower_priority();
            body();
        };
        Ok(Box::new(OsJoin(thread::Builder::new().name(name.to_string()).spawn(lowered)?)))
    }

    fn run_all<'a>(&self, tasks: Vec<Box<dyn FnOnce() + Send + 'a>>) {
        thread::scope(|scope| {
            for task in tasks {
                scope.spawn(|| {
                    lower_priority();
                    task();
                });
            }
        });
    }

    fn cores(&self) -> usize {
        thread::available_parallelism().map_or(1, usize::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store was closed while another thread started a process, and could not be opened again for a moment: the
    /// new process had inherited the locked file. Found by the kill tests, which start processes side by side.
    #[test]
    fn a_lock_that_is_let_go_is_free_although_a_child_has_inherited_its_file() {
        let path = tempfile::tempdir().unwrap().keep().join("LOCK");
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
        flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
        let inherited = file.try_clone().unwrap();
        let lock = OsLock { file };
        assert!(OsFs::default().is_locked(&path).unwrap());
        drop(lock);
        drop(OsFs::default().lock(&path, b"1").unwrap());
        drop(inherited);
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
