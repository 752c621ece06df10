//! Terrace: a sharded LSM key-value store.
#![warn(missing_docs)]
#![allow(dead_code, unused_imports, missing_docs, clippy::all, clippy::pedantic)] // Removed once the layers meet.

mod base;
mod compaction;
mod db;
mod io;
mod memtable;
mod record;
mod table;
mod version;
mod wal;

pub use base::error::{Action, Error, Result};
pub use base::slice::{NotSlice, Slice};
pub use db::{
    Batch, CacheStats, Compression, Db, Durability, Entry, FilterStats, Iter, Keyspace, LevelStats, LogStats,
    MemtableStats, Options, Snapshot, StallStats, Stamp, Stats, WriteOptions,
};
pub use io::{Clock, Env, File, Fs, Join, LockGuard, RawRegion, Rng, Spawn};
