//! The real file system, telling a test what it is about to do: the test may hold the thread there, fail the
//! call, or panic in it. This is how an interleaving is forced that would otherwise happen once a year.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use terrace::{Env, File, Fs, LockGuard, Options, RawRegion, os_fs};

/// Called in front of an operation with its name and its path.
type Hook = dyn Fn(&str, &Path) -> io::Result<()> + Send + Sync;

/// The file system with a hook. Clones share it.
#[derive(Clone)]
pub struct HookFs {
    inner: Arc<dyn Fs>,
    hook: Arc<Mutex<Arc<Hook>>>,
}

impl fmt::Debug for HookFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookFs").finish_non_exhaustive()
    }
}

impl HookFs {
    /// The real file system with a hook that does nothing.
    pub fn new() -> Self {
        Self { inner: os_fs(false), hook: Arc::new(Mutex::new(Arc::new(|_: &str, _: &Path| Ok(())))) }
    }

    /// Replaces the hook.
    pub fn set(&self, hook: impl Fn(&str, &Path) -> io::Result<()> + Send + Sync + 'static) {
        *self.hook.lock().unwrap() = Arc::new(hook);
    }

    /// Options of a small store on this file system, which compacts only by hand.
    pub fn options(&self) -> Options {
        let mut env = Env::default();
        env.fs = Arc::new(self.clone());
        let options = Options::new().memory_budget(4 << 20).write_buffer(512 << 10).shards(2);
        options.background_compaction(false).env(env)
    }

    fn call(&self, op: &str, path: &Path) -> io::Result<()> {
        let hook = Arc::clone(&self.hook.lock().unwrap());
        hook(op, path)
    }
}

impl Fs for HookFs {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.call("create", path)?;
        self.inner.create(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.inner.open(path)
    }

    fn open_region(&self, path: &Path, len: u64) -> io::Result<Arc<dyn RawRegion>> {
        let inner = self.inner.open_region(path, len)?;
        Ok(Arc::new(HookRegion { inner, fs: self.clone(), path: path.to_path_buf() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_dir(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }

    fn lock(&self, path: &Path, content: &[u8]) -> io::Result<Box<dyn LockGuard>> {
        self.inner.lock(path, content)
    }

    fn boot_id(&self) -> u128 {
        self.inner.boot_id()
    }
}

#[derive(Debug)]
struct HookRegion {
    inner: Arc<dyn RawRegion>,
    fs: HookFs,
    path: PathBuf,
}

impl RawRegion for HookRegion {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    #[allow(unsafe_code)] // Hands the trait's contract on as it is.
    unsafe fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.fs.call("store", &self.path)?;
        // SAFETY: the caller's promise, passed on.
        unsafe { self.inner.write_at(offset, bytes) }
    }

    fn prefault(&self, range: Range<u64>) {
        self.inner.prefault(range);
    }

    fn sync(&self) -> io::Result<()> {
        self.fs.call("sync", &self.path)?;
        self.inner.sync()
    }
}

/// A place where one thread waits until the test lets it pass.
#[derive(Debug)]
pub struct Gate {
    arrived: (mpsc::SyncSender<()>, Mutex<mpsc::Receiver<()>>),
    opened: (mpsc::SyncSender<()>, Mutex<mpsc::Receiver<()>>),
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Arc<Self> {
        let channel = || {
            let (sender, receiver) = mpsc::sync_channel(1);
            (sender, Mutex::new(receiver))
        };
        Arc::new(Self { arrived: channel(), opened: channel() })
    }

    /// Waits for `open`; a few seconds at most, so that a failing test ends.
    pub fn pass(&self) {
        let _ = self.arrived.0.try_send(());
        let _ = self.opened.1.lock().unwrap().recv_timeout(Duration::from_secs(20));
    }

    /// Returns once a thread waits at the gate.
    pub fn await_arrival(&self) {
        let arrived = self.arrived.1.lock().unwrap().recv_timeout(Duration::from_secs(20));
        arrived.expect("a thread comes to the gate");
    }

    /// Lets it pass.
    pub fn open(&self) {
        let _ = self.opened.0.try_send(());
    }
}

/// Runs `body` in a thread of its own; panics if it does not end in time.
pub fn within<T: Send + 'static>(seconds: u64, what: &str, body: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(body()));
    receiver.recv_timeout(Duration::from_secs(seconds)).unwrap_or_else(|_| panic!("{what} never ended"))
}

/// Whether a path is a table's.
pub fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "tbl")
}
