//! The store: what ties log, memtables, tables and background work into one, and its public face.
//!
//! Start at [`Db`]; the write path is in `write` and `seal`, the read path in `read` and `iter`, the way to
//! disk in `flush` and `compact`, the way back in `open` and `recovery`.

mod aside;
mod atomic;
mod batch;
mod checkpoint;
mod clock;
mod compact;
mod core;
mod counters;
mod flush;
mod handle;
mod iter;
mod keyspace;
mod keyspace_ops;
mod keyspaces;
mod level_options;
mod merged;
mod multi_get;
mod open;
mod options;
mod poison;
mod range_delete;
mod read;
mod read_debt;
mod read_only;
mod recovery;
mod scheduled;
mod seal;
mod shards;
mod skipping;
mod snapshot;
mod snapshots;
mod stall;
mod stats;
mod stepped;
mod super_version;
mod syncer;
mod transact;
mod transaction;
mod types;
mod validate;
mod work;
mod write;

use std::fmt;
use std::ops::{Deref, RangeBounds};
use std::path::Path;
use std::sync::Arc;

use crate::base::Result;
use handle::Handle;

pub(crate) use checkpoint::Frozen;

pub use batch::{Batch, MAX_BATCH_BYTES, MAX_BATCH_ENTRIES};
pub use iter::Iter;
pub use keyspace::Keyspace;
pub use options::{Compression, DEFAULT_MEMORY_BUDGET_BYTES, Durability, Options, RecoveryProgress};
#[cfg(any(test, feature = "testing"))]
pub use scheduled::BackgroundStep;
pub use snapshot::Snapshot;
pub use stats::{BlobStats, CacheStats, FilterStats, LevelStats, LogStats, MemtableStats, StallStats, Stats};
pub use transact::MAX_TRANSACTION_ATTEMPTS;
pub use transaction::{MAX_TRANSACTION_READS, Savepoint, Transaction, TransactionIter};
pub use types::{Entry, Stamp, WriteOptions};

/// An open store.
///
/// A `Db` dereferences to its default [`Keyspace`], which has the operations on keys; the store-wide ones are
/// here. It is cheap to clone and safe to share between threads. The directory is let go when the last clone
/// (and the last keyspace handle) is dropped, or by [`Db::close`], which also reports errors.
///
/// ```
/// # fn main() -> terrace::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// let db = terrace::Db::open(dir.path().join("data"))?;
/// db.put("user:1", "Alice")?;
/// db.put("user:2", "Bob")?;
/// assert_eq!(db.get("user:1")?.as_deref(), Some(&b"Alice"[..]));
/// for entry in db.prefix("user:").rev() {
///     let (key, value) = entry?;
///     println!("{key:?} = {value:?}");
/// }
/// db.close()
/// # }
/// ```
#[derive(Clone)]
pub struct Db {
    default: Keyspace,
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db").field("path", &self.path()).finish_non_exhaustive()
    }
}

impl Deref for Db {
    type Target = Keyspace;

    fn deref(&self) -> &Keyspace {
        &self.default
    }
}

impl Db {
    /// Opens the store in a directory with the default options, creating it if it is missing or empty.
    ///
    /// Writes that were in the log only are recovered; this takes time in proportion to the log (at most a few
    /// write buffers), not to the data.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Options::new().open(path)
    }

    pub(crate) fn open_with(path: &Path, options: Options) -> Result<Self> {
        Self::of(open::open(path, options)?)
    }

    fn of(core: Arc<core::Core>) -> Result<Self> {
        let default = core.open_keyspace(keyspaces::DEFAULT_KEYSPACE);
        let default = default.inspect_err(|_| drop(core.shut_down()))?;
        let handle = Arc::new(Handle { core, default });
        Ok(Self { default: handle.default_keyspace() })
    }

    /// Opens the store in a directory to read it only, also while another process has it open; see
    /// [`Options::open_read_only`].
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self> {
        Options::new().open_read_only(path)
    }

    pub(crate) fn open_read_only_with(path: &Path, options: &Options) -> Result<Self> {
        Self::of(read_only::open_read_only(path, options)?)
    }

    /// A moment of the store, for whoever copies it; see `checkpoint`.
    pub(crate) fn freeze(&self) -> Result<Frozen> {
        self.handle().core.freeze()
    }

    fn handle(&self) -> &Arc<Handle> {
        &self.default.handle
    }

    /// An empty batch: writes that are applied together or not at all.
    pub fn batch(&self) -> Batch {
        Batch::new(self.handle())
    }

    /// The keyspace of this name (1 to 255 bytes), created if there is none. Every store has one that is
    /// called `default`.
    pub fn keyspace(&self, name: &str) -> Result<Keyspace> {
        let state = self.handle().core.open_keyspace(name)?;
        Ok(Keyspace { handle: Arc::clone(self.handle()), state })
    }

    /// The keyspace of this name, if it exists.
    pub fn find_keyspace(&self, name: &str) -> Option<Keyspace> {
        let state = self.handle().core.keyspaces.find(name)?;
        Some(Keyspace { handle: Arc::clone(self.handle()), state })
    }

    /// The names of all keyspaces, sorted.
    pub fn keyspaces(&self) -> Vec<String> {
        self.handle().core.keyspaces.names()
    }

    /// Drops a keyspace and all that is in it, at once, whatever its size. Its handles fail from then on.
    pub fn drop_keyspace(&self, name: &str) -> Result<()> {
        self.handle().core.drop_keyspace(name)
    }

    /// The time by which expiry is judged, in milliseconds since the Unix epoch: the wall clock's, but never
    /// earlier than one seen before, also before a reopening.
    pub fn now_ms(&self) -> u64 {
        self.handle().core.clock.now_ms()
    }

    /// A consistent view of everything written so far.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.handle())
    }

    /// Writes the memtable to tables and waits for it. Not needed for durability; see [`Db::sync`].
    pub fn flush(&self) -> Result<()> {
        let core = &self.handle().core;
        core.check_open()?;
        core.flush_all()
    }

    /// Flushes, then compacts the tables that overlap `range` of the default keyspace into the deepest level,
    /// which drops old versions, tombstones and expired entries. Waits for the end.
    pub fn compact<K: AsRef<[u8]>>(&self, range: impl RangeBounds<K>) -> Result<()> {
        let bounds = (range.start_bound().map(AsRef::as_ref), range.end_bound().map(AsRef::as_ref));
        self.handle().core.compact_keyspace_range(&self.default.state, bounds)
    }

    /// As [`Db::compact`], over everything in all keyspaces.
    pub fn compact_all(&self) -> Result<()> {
        self.handle().core.compact_range(&[], None)
    }

    /// Waits until the flushes and compactions that are due have ended. What is in the memtable stays there.
    pub fn wait_idle(&self) -> Result<()> {
        self.handle().core.wait_idle()
    }

    /// Reads every table, past the cache, and checks every block, the order of the keys, the filters and the
    /// summaries; reads every blob file and checks every value and every pointer to one. Takes time in proportion to the data; reads and writes go on meanwhile.
    pub fn verify(&self) -> Result<()> {
        let core = &self.handle().core;
        core.check_open()?;
        let version = Arc::clone(&core.current().version);
        version.verify()
    }

    /// Makes an openable copy of the store in `dir`, which must be missing or empty: a store of its own, that holds
    /// every write acknowledged before the call and, of those that are made meanwhile, all up to some moment.
    ///
    /// Writes the memtable to tables and gives these a second name (a hard link) in the copy, so it takes seconds
    /// at most for a store of any size, and no space until the store's own compactions replace what is shared.
    /// Across file systems the tables are copied. Reads and writes go on. The copy appears under its name at
    /// once and whole, or not at all; a copy that a crash interrupts is left beside it as `dir` with `.partial`
    /// at the end, which is no store, and which the next checkpoint of that name replaces.
    pub fn checkpoint(&self, dir: impl AsRef<Path>) -> Result<()> {
        self.handle().core.checkpoint(dir.as_ref())
    }

    /// Makes every write acknowledged so far survive a power loss. Concurrent calls share one sync of the log.
    pub fn sync(&self) -> Result<()> {
        let core = &self.handle().core;
        core.check_open()?;
        core.sync_to(core.last_seqno())
    }

    /// How long a write that comes now would have to wait for the store to catch up; zero when it is admitted (or
    /// refused) at once. For threads that must not be held up: they do other things for this long, at most a tenth
    /// of a second, ask again, and then commit a batch [`Batch::without_delay`]. One load of a flag when there is
    /// no pressure, otherwise two short locks.
    pub fn write_delay(&self) -> std::time::Duration {
        self.handle().core.write_delay()
    }

    /// Calls `then` once the write numbered `seqno` (from [`Batch::commit`]) survives a power loss, or with
    /// the reason why that will not happen: at once in the calling thread if it does already, otherwise from a
    /// background thread. Concurrent requests share one sync. `then` should be quick, and hold no [`Db`].
    pub fn when_durable(&self, seqno: u64, then: impl FnOnce(Result<()>) + Send + 'static) {
        let core = &self.handle().core;
        if let Err(error) = core.check_open().and_then(|()| core.poison.check()) {
            return then(Err(error));
        }
        if core.syncer.register(seqno, Box::new(then)) {
            if core.env.spawn.is_some() {
                core.work.sync_wanted();
            } else {
                // The callback has heard of a failure already.
                let _ = core.sync_to(seqno);
            }
        }
    }

    /// Ends background work, flushes, and lets go of the directory. Afterwards every operation, on every clone,
    /// fails with [`crate::Error::Closed`]; closing again does nothing.
    pub fn close(&self) -> Result<()> {
        self.handle().core.shut_down()
    }

    /// What the store holds and has done.
    pub fn stats(&self) -> Stats {
        self.handle().core.stats()
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.handle().core.dir
    }
}
