//! The simulated disk behind every handle: whether it is alive, the files' contents, the test's switches.
//!
//! Every call that changes something starts with [`State::begin`], which counts it, and refuses it once the
//! simulated machine is dead. Paths are resolved in `tree`; what survives a crash is decided in `crash`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

use super::dir::{Dirs, Entries, Entry, Names, NodeId, ROOT};
use super::file::{Change, FileNode};
use super::watch::Watcher;

/// Boot ids count up from here; zero would mean that the system does not say.
const FIRST_BOOT_ID: u128 = 0x7E77_ACE0;

/// The error of every call on a machine that has died.
#[derive(Debug, thiserror::Error)]
#[error("the simulated machine has stopped")]
pub(super) struct SimulatedDeath;

/// Everything the handles share. Maps are ordered, so that the same seed always makes the same choices.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) names: Names,
    pub(super) files: BTreeMap<NodeId, FileNode>,
    /// The files whose lock is held.
    pub(super) locked: BTreeSet<NodeId>,
    pub(super) boot_id: u128,
    next_id: NodeId,
    pub(super) capacity_bytes: Option<u64>,
    pub(super) ignore_sync: bool,
    pub(super) ignore_sync_dir: bool,
    /// Operations performed so far.
    pub(super) operations: u64,
    /// The machine dies instead of performing the operation after this many.
    pub(super) stop_at: Option<u64>,
    pub(super) stopped: bool,
    /// What was done, when the test wants to know.
    pub(super) log: Option<Vec<String>>,
    /// Who is shown every operation beforehand. Not handed on to what a crash leaves.
    pub(super) watcher: Option<Watcher>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            names: Names::durable(Dirs::from([(ROOT, Entries::new())])),
            files: BTreeMap::new(),
            locked: BTreeSet::new(),
            boot_id: FIRST_BOOT_ID,
            next_id: ROOT + 1,
            capacity_bytes: None,
            ignore_sync: false,
            ignore_sync_dir: false,
            operations: 0,
            stop_at: None,
            stopped: false,
            log: None,
            watcher: None,
        }
    }
}

/// Life and death.
impl State {
    /// Counts and logs an operation that changes something; fails if the machine is dead or dies now.
    pub(super) fn begin(&mut self, what: fmt::Arguments<'_>) -> io::Result<()> {
        if !self.stopped && self.stop_at.is_some_and(|limit| self.operations >= limit) {
            self.stopped = true;
            self.note(format_args!("stopped before: {what}"));
        }
        self.check_alive()?;
        self.show(what);
        let number = self.operations;
        self.note(format_args!("{number}: {what}"));
        self.operations += 1;
        Ok(())
    }

    fn note(&mut self, line: fmt::Arguments<'_>) {
        if let Some(log) = &mut self.log {
            log.push(line.to_string());
        }
    }

    /// Fails if the machine is dead.
    pub(super) fn check_alive(&self) -> io::Result<()> {
        if self.stopped { Err(io::Error::other(SimulatedDeath)) } else { Ok(()) }
    }

    /// An empty disk with this one's switches and numbering.
    pub(super) fn empty_with_settings(&self) -> Self {
        Self {
            next_id: self.next_id,
            capacity_bytes: self.capacity_bytes,
            ignore_sync: self.ignore_sync,
            ignore_sync_dir: self.ignore_sync_dir,
            log: self.log.as_ref().map(|_| Vec::new()),
            ..Self::default()
        }
    }

    /// Starts counting anew, alive.
    pub(super) fn restart_counters(&mut self) {
        self.operations = 0;
        self.stop_at = None;
        self.stopped = false;
        self.watcher = None;
        self.log = self.log.as_ref().map(|_| Vec::new());
    }

    /// An id that no file or directory ever had.
    pub(super) fn new_id(&mut self) -> NodeId {
        self.next_id += 1;
        self.next_id - 1
    }
}

/// Contents.
impl State {
    pub(super) fn file(&self, id: NodeId) -> &FileNode {
        self.files.get(&id).expect("a named or open file exists")
    }

    pub(super) fn file_mut(&mut self, id: NodeId) -> &mut FileNode {
        self.files.get_mut(&id).expect("a named or open file exists")
    }

    /// The bytes that files take, including those that only an open handle keeps.
    pub(super) fn total_bytes(&self) -> u64 {
        let named: BTreeSet<Entry> =
            self.names.current().values().flat_map(|entries| entries.values().copied()).collect();
        let counts = |id: &NodeId, file: &FileNode| file.handles > 0 || named.contains(&Entry::File(*id));
        self.files.iter().filter(|(id, file)| counts(id, file)).map(|(_, file)| file.current().len()).sum()
    }

    /// The length that this file may grow to.
    fn len_limit(&self, id: NodeId) -> u64 {
        let free = self.capacity_bytes.map_or(u64::MAX, |bytes| bytes.saturating_sub(self.total_bytes()));
        self.file(id).current().len().saturating_add(free)
    }

    /// Writes `bytes`; on a full disk as many of them as fit, as the system does, and then fails.
    pub(super) fn write(&mut self, id: NodeId, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64).ok_or(Errno::FBIG)?;
        let mut fitting = bytes;
        if end > self.file(id).current().len() {
            let fits = self.len_limit(id).saturating_sub(offset).min(bytes.len() as u64);
            fitting = &bytes[..fits as usize];
        }
        if !fitting.is_empty() {
            self.file_mut(id).change(Change::Write { offset, bytes: Arc::from(fitting) });
        }
        if fitting.len() < bytes.len() { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }

    /// Allocates blocks of zeros up to `len`, all or nothing; never shortens.
    pub(super) fn preallocate(&mut self, id: NodeId, len: u64) -> io::Result<()> {
        if len <= self.file(id).current().len() {
            return Ok(());
        }
        if len > self.len_limit(id) {
            return Err(Errno::NOSPC.into());
        }
        self.file_mut(id).change(Change::SetLen(len));
        Ok(())
    }

    pub(super) fn sync_file(&mut self, id: NodeId) {
        if !self.ignore_sync {
            self.file_mut(id).sync();
        }
    }

    /// Brings part of a file's medium up to date.
    pub(super) fn sync_file_range(&mut self, id: NodeId, range: &Range<u64>) {
        if !self.ignore_sync {
            self.file_mut(id).sync_range(range);
        }
    }

    /// Takes the lock of a file and replaces the content by `content`.
    pub(super) fn lock(&mut self, path: &Path, content: &[u8]) -> io::Result<NodeId> {
        let id = self.open_or_create(path)?;
        if !self.locked.insert(id) {
            return Err(Errno::WOULDBLOCK.into());
        }
        self.file_mut(id).change(Change::SetLen(0));
        let written = self.write(id, 0, content);
        if written.is_err() {
            self.locked.remove(&id);
        }
        written.map(|()| id)
    }
}
