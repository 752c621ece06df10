//! The log on the real file system, with a machine id that a test can change and syncs that it can fail.

mod crash;
mod operation;
mod random;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{Lane, ReplayReport, Reserve, Segment, Wal, WalOptions, Writer, record_bytes, replay};
use crate::base::{Error, FileId, Result, Seqno, checksum};
use crate::io::os::OsFs;
use crate::io::{Env, File, Fs, LockGuard, RawRegion};

/// The real file system of a machine that can be "restarted" and whose disk can fail.
#[derive(Debug)]
struct TestFs {
    inner: OsFs,
    boot: AtomicU64,
    fail_sync: Arc<AtomicBool>,
    region_syncs: Arc<AtomicU64>,
}

#[derive(Debug)]
struct TestRegion {
    inner: Arc<dyn RawRegion>,
    fail_sync: Arc<AtomicBool>,
    syncs: Arc<AtomicU64>,
}

#[allow(unsafe_code)]
impl RawRegion for TestRegion {
    fn len(&self) -> u64 {
        self.inner.len()
    }
    unsafe fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.inner.write_at(offset, bytes) }
    }
    fn prefault(&self, range: std::ops::Range<u64>) {
        self.inner.prefault(range);
    }
    fn sync(&self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        if self.fail_sync.load(Ordering::Relaxed) {
            return Err(io::Error::other("the disk is gone"));
        }
        self.inner.sync()
    }
}

impl Fs for TestFs {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.inner.create(path)
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.inner.open(path)
    }
    fn open_region(&self, path: &Path, len: u64) -> io::Result<Arc<dyn RawRegion>> {
        Ok(Arc::new(TestRegion {
            inner: self.inner.open_region(path, len)?,
            fail_sync: Arc::clone(&self.fail_sync),
            syncs: Arc::clone(&self.region_syncs),
        }))
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
        u128::from(self.boot.load(Ordering::Relaxed))
    }
}

/// What was written as one record.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Batch {
    first: Seqno,
    count: u32,
    body: Vec<u8>,
}

/// A log, its lanes, and what was written to it: a small stand-in for the engine.
struct Rig {
    dir: tempfile::TempDir,
    fs: Arc<TestFs>,
    env: Env,
    options: WalOptions,
    wal: Wal,
    lanes: Vec<Lane>,
    active: Arc<Segment>,
    last: Seqno,
    written: Vec<Batch>,
}

const SMALL: WalOptions = WalOptions {
    segment_bytes: 32 << 10,
    chunk_bytes: 1 << 10,
    recycle_limit: 2,
    prefault_bytes: 8 << 10,
    synced: false,
};

impl Rig {
    fn new(lanes: u16) -> Self {
        Self::with(lanes, SMALL, false)
    }

    fn with(lanes: u16, options: WalOptions, unmapped_log: bool) -> Self {
        let fs = Arc::new(TestFs {
            inner: OsFs { unmapped_log },
            boot: AtomicU64::new(1),
            fail_sync: Arc::default(),
            region_syncs: Arc::default(),
        });
        let env = Env { fs: Arc::clone(&fs) as Arc<dyn Fs>, ..Env::default() };
        let dir = tempfile::tempdir().unwrap();
        let (wal, active) = start(&env, dir.path(), options, FileId(0), 0);
        let lanes = (0..lanes).map(Lane::new).collect();
        Self { dir, fs, env, options, wal, lanes, active, last: 0, written: Vec::new() }
    }

    /// Writes a record, switching segments when the active one is full.
    fn write(&mut self, lane: usize, count: u32, body: &[u8]) -> Seqno {
        while self.lanes[lane].reserve(&self.active, body.len()).unwrap() == Reserve::SegmentFull {
            self.switch(record_bytes(body.len()));
        }
        let first = self.last + 1;
        self.lanes[lane].append(first, count, body, checksum::plain(body)).unwrap();
        self.last += u64::from(count);
        self.written.push(Batch { first, count, body: body.to_vec() });
        first
    }

    fn switch(&mut self, min_bytes: u64) {
        self.wal.prepare(min_bytes).unwrap();
        self.active = self.wal.switch(self.last + 1).unwrap();
        self.lanes.iter_mut().for_each(Lane::reset);
    }

    fn sync(&self) {
        self.wal.sync(self.last).unwrap();
    }

    /// The machine restarts.
    fn reboot(&self) {
        self.fs.boot.fetch_add(1, Ordering::Relaxed);
    }

    fn replay(&self, flushed: Seqno) -> Result<(Vec<Batch>, ReplayReport)> {
        replay_dir(&self.env, self.dir.path(), flushed)
    }

    /// Replays, forgets the old log as recovery does, and starts a new one.
    fn recover(&mut self) -> ReplayReport {
        let (_, report) = self.replay(0).unwrap();
        report.remove_files(&self.env, self.dir.path()).unwrap();
        (self.wal, self.active) =
            start(&self.env, self.dir.path(), self.options, report.max_id(), report.last_seqno);
        self.lanes = (0..self.lanes.len() as u16).map(Lane::new).collect();
        self.last = report.last_seqno;
        self.written.clear();
        report
    }

    fn files(&self) -> Vec<String> {
        let mut names = self.env.fs.list(self.dir.path()).unwrap();
        names.sort();
        names
    }

    fn active_path(&self) -> PathBuf {
        self.dir.path().join(format!("{}.wal", self.active.id()))
    }
}

fn start(env: &Env, dir: &Path, options: WalOptions, above: FileId, last: Seqno) -> (Wal, Arc<Segment>) {
    let ids = AtomicU64::new(above.0 + 1);
    let wal = Wal::new(env, dir, options, move || FileId(ids.fetch_add(1, Ordering::Relaxed)));
    wal.prepare(0).unwrap();
    let active = wal.switch(last + 1).unwrap();
    (wal, active)
}

fn replay_dir(env: &Env, dir: &Path, flushed: Seqno) -> Result<(Vec<Batch>, ReplayReport)> {
    let mut found = Vec::new();
    let report = replay(env, dir, FileId(0), flushed, Writer::None, &mut |first, count, body| {
        found.push(Batch { first, count, body: body.to_vec() });
        Ok(())
    })?;
    Ok((found, report))
}

fn is_corruption<T>(result: &Result<T>) -> bool {
    matches!(result, Err(Error::Corruption { .. }))
}

/// Changes a file's bytes in place.
fn patch(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}
