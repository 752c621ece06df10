//! `FaultFs`: a file system that fails on request, over any other.
//!
//! A rule names an operation, a part of the path and the call at which it strikes. What is opened through
//! the wrapper goes through the rules as well. It invents no faults of its own: with no rule it is
//! transparent.

mod rule;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

pub use self::rule::{Fault, FaultOp, FaultRule};

use super::sim::SimFs;
use super::{File, Fs, LockGuard, RawRegion};

#[derive(Debug, Default)]
struct Rules {
    /// Each with the number of calls that it has matched.
    rules: Vec<(FaultRule, u64)>,
    calls: BTreeMap<FaultOp, u64>,
}

/// A file system that fails on request. Clones share their rules.
#[derive(Clone, Debug)]
pub struct FaultFs {
    inner: Arc<dyn Fs>,
    /// The inner file system again, when it can lose the data of a failed sync.
    sim: Option<SimFs>,
    rules: Arc<Mutex<Rules>>,
    watch: Watch,
}

/// Asked about a call: whether it shall fail, and how.
type Watcher = dyn Fn(FaultOp, &Path) -> Option<Fault> + Send + Sync;

#[derive(Clone, Default)]
struct Watch(Arc<Mutex<Option<Arc<Watcher>>>>);

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl FaultFs {
    /// Wraps `inner`; without rules it changes nothing.
    pub fn new(inner: Arc<dyn Fs>) -> Self {
        Self { inner, sim: None, rules: Arc::default(), watch: Watch::default() }
    }

    /// Wraps a simulated disk, which lets [`Fault::FailedSync`] lose data.
    pub fn over_sim(sim: &SimFs) -> Self {
        Self { sim: Some(sim.clone()), ..Self::new(Arc::new(sim.clone())) }
    }

    /// Adds a rule. Where several strike at the same call, the one added first decides.
    pub fn add(&self, rule: FaultRule) {
        self.rules.lock().rules.push((rule, 0));
    }

    /// Has `watcher` asked about every call that no rule strikes, in the thread of the call and before it. It may
    /// also hold the thread there, which is how a test forces an interleaving. Replaces an earlier one.
    pub fn watch(&self, watcher: impl Fn(FaultOp, &Path) -> Option<Fault> + Send + Sync + 'static) {
        *self.watch.0.lock() = Some(Arc::new(watcher));
    }

    /// Removes all rules; the call counters stay.
    pub fn clear(&self) {
        self.rules.lock().rules.clear();
    }

    /// How often `op` has been called, failing calls included.
    pub fn calls(&self, op: FaultOp) -> u64 {
        self.rules.lock().calls.get(&op).copied().unwrap_or(0)
    }

    /// Counts a call; the fault that strikes it, if any.
    fn strike(&self, op: FaultOp, paths: &[&Path]) -> Option<Fault> {
        self.strike_by_rule(op, paths).or_else(|| {
            let watcher = self.watch.0.lock().clone()?;
            watcher(op, paths.first()?)
        })
    }

    fn strike_by_rule(&self, op: FaultOp, paths: &[&Path]) -> Option<Fault> {
        let mut rules = self.rules.lock();
        *rules.calls.entry(op).or_default() += 1;
        let mut struck = None;
        for (rule, matched) in &mut rules.rules {
            if !rule.matches(op, paths) {
                continue;
            }
            *matched += 1;
            if *matched == rule.nth || (rule.and_later && *matched > rule.nth) {
                struck = struck.or(Some(rule.fault));
            }
        }
        struck
    }

    fn check(&self, op: FaultOp, paths: &[&Path]) -> io::Result<()> {
        self.strike(op, paths).map_or(Ok(()), |fault| Err(fault.error()))
    }

    fn opened<T: ?Sized>(&self, inner: Arc<T>, path: &Path) -> Opened<T> {
        let file_id = self.sim.as_ref().and_then(|sim| sim.file_id(path));
        Opened { inner, fs: self.clone(), path: path.to_path_buf(), file_id }
    }
}

impl Fs for FaultFs {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.check(FaultOp::Create, &[path])?;
        Ok(Arc::new(self.opened(self.inner.create(path)?, path)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.check(FaultOp::OpenRead, &[path])?;
        Ok(Arc::new(self.opened(self.inner.open(path)?, path)))
    }

    fn open_mapped(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.check(FaultOp::OpenRead, &[path])?;
        Ok(Arc::new(self.opened(self.inner.open_mapped(path)?, path)))
    }

    fn open_region(&self, path: &Path, len: u64) -> io::Result<Arc<dyn RawRegion>> {
        self.check(FaultOp::OpenRegion, &[path])?;
        Ok(Arc::new(self.opened(self.inner.open_region(path, len)?, path)))
    }

    fn open_synced_region(&self, path: &Path, len: u64) -> io::Result<Arc<dyn RawRegion>> {
        self.check(FaultOp::OpenRegion, &[path])?;
        Ok(Arc::new(self.opened(self.inner.open_synced_region(path, len)?, path)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check(FaultOp::Rename, &[from, to])?;
        self.inner.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check(FaultOp::Link, &[from, to])?;
        self.inner.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.check(FaultOp::Remove, &[path])?;
        self.inner.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.check(FaultOp::List, &[dir])?;
        self.inner.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.check(FaultOp::SyncDir, &[dir])?;
        self.inner.sync_dir(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }

    fn lock(&self, path: &Path, content: &[u8]) -> io::Result<Box<dyn LockGuard>> {
        self.inner.lock(path, content)
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.inner.is_locked(path)
    }

    fn boot_id(&self) -> u128 {
        self.inner.boot_id()
    }
}

/// A file or region opened through the wrapper.
#[derive(Debug)]
struct Opened<T: ?Sized> {
    inner: Arc<T>,
    fs: FaultFs,
    path: PathBuf,
    /// Which file of the simulated disk this is, whatever it is called by now.
    file_id: Option<u64>,
}

impl<T: ?Sized> Opened<T> {
    fn check(&self, op: FaultOp) -> io::Result<()> {
        self.fs.check(op, &[&self.path])
    }

    /// Writes through `write`, or a part and then fails.
    fn write(&self, op: FaultOp, bytes: &[u8], write: impl Fn(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let Some(fault) = self.fs.strike(op, &[&self.path]) else { return write(bytes) };
        if let Fault::ShortWrite(len) = fault {
            write(&bytes[..len.min(bytes.len())])?;
        }
        Err(fault.error())
    }

    fn sync(&self, op: FaultOp, sync: impl Fn() -> io::Result<()>) -> io::Result<()> {
        let Some(fault) = self.fs.strike(op, &[&self.path]) else { return sync() };
        if let (Fault::FailedSync, Some(sim), Some(id)) = (fault, &self.fs.sim, self.file_id) {
            sim.forget_pending(id);
        }
        Err(fault.error())
    }
}

impl File for Opened<dyn File> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.check(FaultOp::Read)?;
        self.inner.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.write(FaultOp::Write, buf, |part| self.inner.write_all_at(part, offset))
    }

    fn sync(&self) -> io::Result<()> {
        Opened::sync(self, FaultOp::Sync, || self.inner.sync())
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
}

impl RawRegion for Opened<dyn RawRegion> {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    #[allow(unsafe_code)] // Hands the trait's contract on as it is.
    unsafe fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write(FaultOp::RegionWrite, bytes, |part| {
            // SAFETY: the caller keeps the whole range inside the region and to itself; `part` is at its
            // start and no longer.
            unsafe { self.inner.write_at(offset, part) }
        })
    }

    fn prefault(&self, range: Range<u64>) {
        self.inner.prefault(range);
    }

    fn sync(&self) -> io::Result<()> {
        Opened::sync(self, FaultOp::RegionSync, || self.inner.sync())
    }

    fn release(&self) {
        self.inner.release();
    }

    fn sync_range(&self, range: Range<u64>) -> io::Result<()> {
        Opened::sync(self, FaultOp::RegionSync, || self.inner.sync_range(range.clone()))
    }
}
