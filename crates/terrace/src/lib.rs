//! Terrace: an ordered, persistent, concurrent key-value store that you embed.
//!
//! Writes land in a memtable of independent shards, each with a lock of its own, and in a log that survives
//! the death of the process without a system call per write; in the background they settle down the levels
//! of a log-structured merge tree. One memory budget covers everything.
//!
//! # A tour
//!
//! ```
//! use std::time::Duration;
//! use terrace::{Db, Durability, WriteOptions};
//!
//! # fn main() -> terrace::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("data");
//! let db = Db::open(&path)?; // Creates the directory if it is missing.
//! db.put("user:1", "Alice")?;
//! assert_eq!(db.get("user:1")?.as_deref(), Some(&b"Alice"[..]));
//!
//! // Several writes as one.
//! let mut batch = db.batch();
//! batch.put("user:2", "Bob").delete("user:1");
//! batch.commit()?;
//!
//! // An entry that disappears, written so that it survives a power loss at once.
//! let minute = WriteOptions::new().ttl(Duration::from_secs(60)).durability(Durability::Sync);
//! db.put_with("session:9", "token", minute)?;
//!
//! // Key order, from both ends; a snapshot does not move.
//! let snapshot = db.snapshot();
//! db.put("user:3", "Carol")?;
//! assert_eq!(db.prefix("user:").count(), 2);
//! assert_eq!(snapshot.prefix("user:").count(), 1);
//!
//! // Reading, computing and writing in one step.
//! assert_eq!(db.increment("visits", 1)?, 1);
//!
//! // Many reads and writes in one step, whatever others do meanwhile.
//! db.transaction(|tx| -> terrace::Result<()> {
//!     let users = tx.prefix("user:").count();
//!     tx.put("users", users.to_string())
//! })?;
//!
//! // Keys that live apart, and go at once.
//! let sessions = db.keyspace("sessions")?;
//! sessions.put("a", "1")?;
//! db.drop_keyspace("sessions")?;
//! db.close()
//! # }
//! ```
//!
//! # Limits
//!
//! A key has 1 to 65,535 bytes, a value up to 512 MiB, a batch up to [`MAX_BATCH_ENTRIES`] entries and
//! [`MAX_BATCH_BYTES`]. Keys are ordered bytewise. One process at a time has a directory open.
//!
//! # Durability
//!
//! [`Durability`] names what an acknowledged write survives; it is chosen for the store and may be raised for
//! a single write. After a failed write or sync of the log the store refuses writes until it is reopened;
//! reads go on.
//!
//! # Features
//!
//! `testing` adds a simulated file system, fault injection and a manual clock, for tests of programs built on
//! Terrace.
//!
//! `zstd` adds `Compression::Zstd`, for the level that holds most of the data and is rewritten least
//! ([`Options::bottom_compression`]). It builds the zstd library and needs a C compiler. A store written with it
//! is read only by builds with it; others refuse its blocks with an error that says so.
#![cfg_attr(test, allow(clippy::disallowed_methods, clippy::disallowed_types))]

mod base;
mod blob;
mod compaction;
mod db;
mod io;
mod memtable;
mod record;
mod table;
mod upkeep;
mod version;
mod wal;

pub use base::error::{Action, Error, Result};
pub use base::merge::{Append, IntegerAdd, MergeOperator};
pub use base::slice::{NotSlice, Slice};
pub use db::{
    Batch, BlobStats, CacheStats, Compression, DEFAULT_MEMORY_BUDGET_BYTES, Db, Durability, Entry,
    FilterStats, Iter, Keyspace, LevelStats, LogStats, MAX_BATCH_BYTES, MAX_BATCH_ENTRIES,
    MAX_TRANSACTION_ATTEMPTS, MAX_TRANSACTION_READS, MemtableStats, Options, RecoveryProgress, Savepoint,
    Snapshot, StallStats, Stamp, Stats, Transaction, TransactionIter, WriteOptions,
};
pub use io::{Clock, Env, File, Fs, Join, LockGuard, RawRegion, Rng, Spawn};

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use upkeep::fuzzing;
pub use upkeep::{
    StoreFiles,
    backup::{Backups, Catalog, Generation, Pruned},
    dump::DumpLine,
    finding::{Finding, KeyAt, KeyRange},
    inspect::{BlobInfo, EditSummary, Inspection, SegmentInfo, TableInfo},
    progress::Progress,
    repair::Salvage,
    verify::Verification,
};

#[cfg(any(test, feature = "testing"))]
pub use db::BackgroundStep;
#[cfg(any(test, feature = "testing"))]
pub use io::{
    fault::{Fault, FaultFs, FaultOp, FaultRule},
    manual::{ManualClock, SeededRng},
    os::os_fs,
    sim::{CrashPolicy, Moment, PowerLoss, SimFs},
};
