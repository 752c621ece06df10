//! `Store`: what the comparison does with a store, and an adapter per engine.
//!
//! An adapter is the few lines that a competent user of that engine would write: its best way to put, get and scan,
//! and the settings that its documentation recommends for the memory and the durability given in [`Setup`]. Every
//! setting that is not the engine's default says why it is there. Adapters measure nothing.

#[cfg(feature = "peer-fjall")]
mod fjall;
#[cfg(feature = "peer-lmdb")]
mod lmdb;
mod raw;
#[cfg(feature = "peer-redb")]
mod redb;
#[cfg(feature = "peer-rocksdb")]
mod rocksdb;
#[cfg(feature = "peer-sled")]
mod sled;
#[cfg(feature = "peer-surrealkv")]
mod surrealkv;
mod terrace;

use std::path::Path;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::keys::KEY_BYTES;

/// A key of the benchmark.
pub(crate) type Key = [u8; KEY_BYTES];
/// Is shown each value found.
pub(crate) type Seen<'a> = &'a mut dyn FnMut(&[u8]);
/// Is shown each entry found, in key order.
pub(crate) type SeenEntry<'a> = &'a mut dyn FnMut(&[u8], &[u8]);

/// An open store, used by many threads at once.
pub(crate) trait Store: Send + Sync {
    /// Puts one entry, with the durability that the store was opened with.
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()>;
    /// Puts all entries or none.
    fn batch(&self, entries: &[(Key, &[u8])]) -> Result<()>;
    /// Deletes one key.
    fn delete(&self, key: &[u8]) -> Result<()>;
    /// Shows the value of a key; whether there is one.
    fn get(&self, key: &[u8], seen: Seen<'_>) -> Result<bool>;
    /// Shows the values of many keys as of one moment, if the engine can; how many there are.
    fn multi_get(&self, keys: &[Key], seen: Seen<'_>) -> Result<u64>;
    /// Shows at most `limit` entries from `from` on; how many there were.
    fn scan(&self, from: &[u8], limit: u64, seen: SeenEntry<'_>) -> Result<u64>;
    /// Shows the entries whose keys start with `prefix`; how many there were.
    fn prefix(&self, prefix: &[u8], seen: SeenEntry<'_>) -> Result<u64>;
    /// Makes everything put so far survive a power loss.
    fn sync(&self) -> Result<()>;
    /// Ends the background work, as far as the engine has a way to ask for it.
    fn settle(&self) -> Result<()>;
    /// What the engine knows about its own work.
    fn counters(&self) -> Counters {
        Counters::default()
    }
    /// Closes the store so that the next opening has nothing to repair.
    fn close(self: Box<Self>) -> Result<()>;
}

/// What an engine can tell about itself; `None` where it cannot.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    /// Bytes written to tables ÷ bytes of user data flushed.
    pub(crate) write_amplification: Option<f64>,
    /// Tables probed per read that found its key in a table.
    pub(crate) read_amplification: Option<f64>,
    /// Look-ups that passed a filter in vain.
    pub(crate) filter_false_positives: Option<u64>,
    /// Look-ups that a filter ended.
    pub(crate) filter_rejected: Option<u64>,
}

/// What an acknowledged write survives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The death of the process, as far as the engine offers it without a sync per write.
    Process,
    /// As `Process`, and a power loss costs at most about the last 100 ms.
    Interval,
    /// A power loss.
    Sync,
}

/// The period of [`Level::Interval`].
pub(crate) const INTERVAL_MS: u64 = 100;

/// What every engine is given alike.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Setup {
    /// Memory for cached blocks, in bytes.
    pub cache_bytes: u64,
    /// Memory of one write buffer, in bytes. LSM trees may have four, the others get four as more cache.
    pub write_buffer_bytes: u64,
    /// Shards of the memtable, for the engines that have them.
    pub shards: usize,
    /// Durability of every write.
    pub durability: Level,
    /// Whether the data is larger than the page cache, so that reading ahead at random places is waste.
    pub cold: bool,
}

/// Write buffers that may exist at once; Terrace has this number built in.
#[cfg_attr(not(feature = "peers"), allow(dead_code))]
pub(crate) const WRITE_BUFFERS: u64 = 4;
/// Threads for background work: the machine of the comparison has two cores.
pub(crate) const BACKGROUND_THREADS: usize = 2;
/// Bytes of a data block of the LSM trees.
pub(crate) const BLOCK_BYTES: usize = 8 << 10;
/// Filter bits per key.
pub(crate) const FILTER_BITS: u8 = 10;

/// An engine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Terrace.
    Terrace,
    /// Terrace with its tables uncompressed and mapped: for data that stays in the page cache.
    #[serde(rename = "terrace-mapped")]
    TerraceMapped,
    /// `RocksDB`, as its Rust binding builds it.
    RocksDb,
    /// fjall 3.
    Fjall,
    /// LMDB through heed.
    Lmdb,
    /// redb.
    Redb,
    /// `SurrealKV`.
    SurrealKv,
    /// sled.
    Sled,
    /// No engine: a `pwrite` into a preallocated file, and an `fdatasync` where the durability asks for it.
    Raw,
}

impl Engine {
    /// All of them with their names.
    pub const ALL: [(Self, &'static str); 9] = [
        (Self::Terrace, "terrace"),
        (Self::TerraceMapped, "terrace-mapped"),
        (Self::RocksDb, "rocksdb"),
        (Self::Fjall, "fjall"),
        (Self::Lmdb, "lmdb"),
        (Self::Redb, "redb"),
        (Self::SurrealKv, "surrealkv"),
        (Self::Sled, "sled"),
        (Self::Raw, "raw"),
    ];

    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(engine, _)| *engine == self).map_or("", |(_, name)| name)
    }

    /// The engine of this name.
    pub fn parse(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(_, known)| *known == name);
        let known = || Self::ALL.map(|(_, name)| name).join(", ");
        found.map(|(engine, _)| *engine).ok_or_else(|| format!("no store {name:?}; there are {}", known()))
    }

    /// Whether this build contains it.
    pub fn built(self) -> bool {
        match self {
            Self::Terrace | Self::TerraceMapped | Self::Raw => true,
            Self::RocksDb => cfg!(feature = "peer-rocksdb"),
            Self::Fjall => cfg!(feature = "peer-fjall"),
            Self::Lmdb => cfg!(feature = "peer-lmdb"),
            Self::Redb => cfg!(feature = "peer-redb"),
            Self::SurrealKv => cfg!(feature = "peer-surrealkv"),
            Self::Sled => cfg!(feature = "peer-sled"),
        }
    }

    /// Whether it is a store to compare with, and not Terrace or the yardstick.
    pub fn is_peer(self) -> bool {
        !matches!(self, Self::Terrace | Self::TerraceMapped | Self::Raw)
    }

    /// Whether it syncs every [`INTERVAL_MS`] by itself; the others are told to.
    pub(crate) fn syncs_itself(self) -> bool {
        matches!(self, Self::Terrace | Self::TerraceMapped | Self::Sled)
    }

    /// Opens, and if need be creates, the store in `dir`, which exists.
    pub(crate) fn open(self, dir: &Path, setup: &Setup) -> Result<Box<dyn Store>> {
        Ok(match self {
            Self::Terrace => Box::new(terrace::Terrace::open(dir, setup)?),
            Self::TerraceMapped => Box::new(terrace::Terrace::open_mapped(dir, setup)?),
            Self::Raw => Box::new(raw::Raw::open(dir, setup)?),
            #[cfg(feature = "peer-rocksdb")]
            Self::RocksDb => Box::new(rocksdb::Rocks::open(dir, setup)?),
            #[cfg(feature = "peer-fjall")]
            Self::Fjall => Box::new(fjall::Fjall::open(dir, setup)?),
            #[cfg(feature = "peer-lmdb")]
            Self::Lmdb => Box::new(lmdb::Lmdb::open(dir, setup)?),
            #[cfg(feature = "peer-redb")]
            Self::Redb => Box::new(redb::Redb::open(dir, setup)?),
            #[cfg(feature = "peer-surrealkv")]
            Self::SurrealKv => Box::new(surrealkv::Surreal::open(dir, setup)?),
            #[cfg(feature = "peer-sled")]
            Self::Sled => Box::new(sled::Sled::open(dir, setup)?),
            #[allow(unreachable_patterns)]
            absent => bail!("this build has no {0}: build with --features peer-{0}", absent.name()),
        })
    }
}
