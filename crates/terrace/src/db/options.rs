//! `Options`: everything that can be set about a store, each with unit, default, range and trade-off.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::Db;
use crate::base::merge::{MAX_OPERATOR_NAME_BYTES, MergeOperator};
use crate::base::{Error, Result, SharedOperator};
use crate::io::Env;
pub use crate::table::Compression;

/// Default of [`Options::memory_budget`]: 256 MiB.
pub const DEFAULT_MEMORY_BUDGET_BYTES: u64 = 256 << 20;
/// Upper limit of the default of [`Options::write_buffer`]: 64 MiB. What is in the log must be replayed and
/// flushed before a store that died is open again, so this is what bounds that time.
pub(crate) const DEFAULT_WRITE_BUFFER_MAX_BYTES: u64 = 64 << 20;
/// Default of [`Options::shards`].
pub(crate) const DEFAULT_SHARDS: usize = 16;
/// Default of [`Options::block_bytes`]: 8 KiB.
pub(crate) const DEFAULT_BLOCK_BYTES: usize = 8 << 10;
/// Default of [`Options::table_bytes`]: 32 MiB.
pub(crate) const DEFAULT_TABLE_BYTES: u64 = 32 << 20;
/// Default of [`Options::filter_bits_per_key`]: about 1 % false positives.
pub(crate) const DEFAULT_FILTER_BITS_PER_KEY: u8 = 10;
/// Default of [`Options::level_ratio`].
pub(crate) const DEFAULT_LEVEL_RATIO: u32 = 10;
/// Default of [`Options::l0_runs`].
pub(crate) const DEFAULT_L0_RUNS: usize = 4;
/// Default of [`Options::l0_limit`].
pub(crate) const DEFAULT_L0_LIMIT: usize = 32;
/// Default of [`Options::compression_from_level`].
pub(crate) const DEFAULT_COMPRESSION_FROM_LEVEL: usize = 0;
/// Default of [`Options::blob_from`]: 4 KiB.
pub(crate) const DEFAULT_BLOB_FROM_BYTES: usize = 4 << 10;
/// The shortest values that can be kept in blob files; a pointer to one takes half as much.
pub(crate) const MIN_BLOB_FROM_BYTES: usize = 32;
/// The smallest memory budget, 4 MiB.
pub(crate) const MIN_MEMORY_BUDGET_BYTES: u64 = 4 << 20;

/// What a write survives once it is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// Nothing but a clean close or a flush: there is no log.
    Memory,
    /// The death of the process (`kill -9`), not a power loss. The default of the library.
    Process,
    /// As `Process`, and a power loss costs at most the writes of the last period.
    Interval(Duration),
    /// A power loss: acknowledged after the log is synced.
    Sync,
}

impl Durability {
    /// Orders the levels by what they survive.
    pub(crate) fn rank(self) -> u8 {
        match self {
            Self::Memory => 0,
            Self::Process => 1,
            Self::Interval(_) => 2,
            Self::Sync => 3,
        }
    }
}

/// Settings of a store; the defaults make a good one.
///
/// ```
/// # fn main() -> terrace::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// let db = terrace::Options::new().memory_budget(64 << 20).open(dir.path().join("data"))?;
/// # db.close()
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    pub(crate) memory_budget_bytes: u64,
    pub(crate) write_buffer_bytes: Option<u64>,
    pub(crate) shards: usize,
    pub(crate) durability: Durability,
    pub(crate) block_bytes: usize,
    pub(crate) table_bytes: u64,
    pub(crate) filter_bits_per_key: u8,
    pub(crate) compression: Compression,
    pub(crate) bottom_compression: Option<Compression>,
    pub(crate) compression_from_level: usize,
    pub(crate) blob_from: Option<usize>,
    pub(crate) blob_from_in: BTreeMap<String, Option<usize>>,
    pub(crate) map_tables: bool,
    pub(crate) level_ratio: u32,
    pub(crate) l0_runs: usize,
    pub(crate) l0_limit: usize,
    pub(crate) background_compaction: bool,
    pub(crate) background_threads: usize,
    pub(crate) create_if_missing: bool,
    pub(crate) on_recovery: Option<RecoveryObserver>,
    pub(crate) merge_operator: Option<SharedOperator>,
    pub(crate) env: Env,
}

/// How far the recovery of the log has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct RecoveryProgress {
    /// Writes replayed so far.
    pub entries: u64,
    /// Their size in bytes, as laid out in the log.
    pub bytes: u64,
}

/// Who is told of recovery's progress.
#[derive(Clone)]
pub(crate) struct RecoveryObserver(pub(crate) Arc<dyn Fn(RecoveryProgress) + Send + Sync>);

impl fmt::Debug for RecoveryObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryObserver")
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            memory_budget_bytes: DEFAULT_MEMORY_BUDGET_BYTES,
            write_buffer_bytes: None,
            shards: DEFAULT_SHARDS,
            durability: Durability::Process,
            block_bytes: DEFAULT_BLOCK_BYTES,
            table_bytes: DEFAULT_TABLE_BYTES,
            filter_bits_per_key: DEFAULT_FILTER_BITS_PER_KEY,
            compression: Compression::Lz4,
            bottom_compression: None,
            compression_from_level: DEFAULT_COMPRESSION_FROM_LEVEL,
            blob_from: Some(DEFAULT_BLOB_FROM_BYTES),
            blob_from_in: BTreeMap::new(),
            map_tables: false,
            level_ratio: DEFAULT_LEVEL_RATIO,
            l0_runs: DEFAULT_L0_RUNS,
            l0_limit: DEFAULT_L0_LIMIT,
            background_compaction: true,
            background_threads: 0,
            create_if_missing: true,
            on_recovery: None,
            merge_operator: None,
            env: Env::default(),
        }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Memory for everything: memtables, cache, filters, indexes, compaction. Bytes; default 256 MiB, at
    /// least 4 MiB. More memory means fewer reads from disk and fewer, larger flushes.
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.memory_budget_bytes = bytes;
        self
    }

    /// Size at which the memtable is sealed and flushed. Bytes; default an eighth of the memory budget, at most
    /// 64 MiB; from 256 KiB to a quarter of the budget. Larger buffers write less in total, take longer to recover
    /// and preallocate more of the log.
    pub fn write_buffer(mut self, bytes: u64) -> Self {
        self.write_buffer_bytes = Some(bytes);
        self
    }

    /// Shards of the memtable; a power of two from 1 to 256, default 16. More shards let more threads write
    /// at once and make range reads a little slower.
    pub fn shards(mut self, count: usize) -> Self {
        self.shards = count;
        self
    }

    /// What an acknowledged write survives, unless the write asks for more. Default [`Durability::Process`].
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Target size of a data block before compression. Bytes; default 8 KiB, from 512 to 1 MiB. Small
    /// blocks read less per look-up; large ones compress better.
    pub fn block_bytes(mut self, bytes: usize) -> Self {
        self.block_bytes = bytes;
        self
    }

    /// Target size of a table file. Bytes; default 32 MiB, from 64 KiB to 4 GiB. Small tables make
    /// compactions short; large ones make fewer files.
    pub fn table_bytes(mut self, bytes: u64) -> Self {
        self.table_bytes = bytes;
        self
    }

    /// Filter bits per key in the last level; default 10 (1 % false positives), 0 to 32. The small levels above
    /// get up to 4 more. More bits mean fewer needless reads and less memory for the cache; zero writes no
    /// filters.
    pub fn filter_bits_per_key(mut self, bits: u8) -> Self {
        self.filter_bits_per_key = bits;
        self
    }

    /// Compression of tables. Default [`Compression::Lz4`].
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Compression of the last level, which holds most of the data and is rewritten least; default that of
    /// [`Options::compression`] and from the level given there. A stronger one takes less space, and longer to
    /// compact and to read. Tables that only move down keep what they have.
    pub fn bottom_compression(mut self, compression: Compression) -> Self {
        self.bottom_compression = Some(compression);
        self
    }

    /// The first level that is compressed; default 0, which is all of them, up to 7, which is none. A higher one saves
    /// the processor the compression of what is about to be rewritten, and costs the disk what that takes more.
    pub fn compression_from_level(mut self, level: usize) -> Self {
        self.compression_from_level = level;
        self
    }

    /// Length from which on values are kept in blob files beside the tables, which then hold pointers only. Bytes;
    /// default 4 KiB; 0 keeps all values in the tables; otherwise 32 or more. Compaction moves pointers instead of
    /// values, so much less is written; reading such a value takes one more read of a file, and garbage may take up to
    /// a fifth of the store before it is collected. Values that are there already stay where they are until they are
    /// compacted.
    pub fn blob_from(mut self, bytes: usize) -> Self {
        self.blob_from = (bytes > 0).then_some(bytes);
        self
    }

    /// The same for one keyspace. To be given at each opening, as all options.
    pub fn blob_from_in(mut self, keyspace: impl Into<String>, bytes: usize) -> Self {
        self.blob_from_in.insert(keyspace.into(), (bytes > 0).then_some(bytes));
        self
    }

    /// Whether table files are read through mappings instead of system calls, where the file system has them;
    /// default `false`. Reads that miss the cache get cheaper while the files are in the page cache; most of all with
    /// [`Compression::None`], because uncompressed blocks are read in place, and are all the time as fast as cached
    /// ones. In return an I/O error, or a file that somebody else cuts while the store is open, is no [`Error::Io`]
    /// any more but a signal (`SIGBUS`) that ends the process, and the kernel may count mapped pages as the process's:
    /// they are not in the memory budget. Blocks are checked against their checksums when they are first read, and
    /// again after they have left the cache. The log is not concerned.
    ///
    /// [`Error::Io`]: crate::Error::Io
    pub fn map_tables(mut self, on: bool) -> Self {
        self.map_tables = on;
        self
    }

    /// How many times larger each level is than the one above; default 10, 2 to 100. A small ratio writes
    /// less and takes more space and reads.
    pub fn level_ratio(mut self, ratio: u32) -> Self {
        self.level_ratio = ratio;
        self
    }

    /// Runs in level 0 that start a compaction; default 4, 1 to 64. More runs write less and read slower.
    pub fn l0_runs(mut self, runs: usize) -> Self {
        self.l0_runs = runs;
        self
    }

    /// Runs in level 0 at which writers stop and wait; default 32, above `l0_runs`, at most 256. Delays begin
    /// at 60 % of it.
    pub fn l0_limit(mut self, runs: usize) -> Self {
        self.l0_limit = runs;
        self
    }

    /// Whether tables are compacted in the background; default `true`. Without it, only
    /// [`Db::compact`] reorganises, and level 0 grows without a limit.
    pub fn background_compaction(mut self, on: bool) -> Self {
        self.background_compaction = on;
        self
    }

    /// Compaction threads; default 0, which means the number of cores less one (at least 1). At most 64.
    pub fn background_threads(mut self, threads: usize) -> Self {
        self.background_threads = threads;
        self
    }

    /// Whether a missing or empty directory becomes a new store; default `true`.
    pub fn create_if_missing(mut self, create: bool) -> Self {
        self.create_if_missing = create;
        self
    }

    /// Called while the log is being replayed, every 65,536 writes and at the end; not at all when the log is
    /// empty. Runs in the opening thread, which waits for it. Default: nobody.
    pub fn on_recovery(mut self, observer: impl Fn(RecoveryProgress) + Send + Sync + 'static) -> Self {
        self.on_recovery = Some(RecoveryObserver(Arc::new(observer)));
        self
    }

    /// What [`Keyspace::merge`] does in this store; default: nothing, merging is refused. The store remembers the name
    /// of its first operator and opens with no other one ([`Error::WrongMergeOperator`]). Opened without it, it works
    /// but for merging and for reading keys that were merged into. [`IntegerAdd`] and [`Append`] come with the library,
    /// and need not be given again.
    ///
    /// [`Keyspace::merge`]: crate::Keyspace::merge
    /// [`Error::WrongMergeOperator`]: crate::Error::WrongMergeOperator
    /// [`IntegerAdd`]: crate::IntegerAdd
    /// [`Append`]: crate::Append
    pub fn merge_operator(mut self, operator: impl MergeOperator) -> Self {
        self.merge_operator = Some(SharedOperator(Arc::new(operator)));
        self
    }

    /// The file system, clock, randomness and threads to run on; default the real ones.
    pub fn env(mut self, env: Env) -> Self {
        self.env = env;
        self
    }

    /// Opens the store in `path` with these options.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Db> {
        Db::open_with(path.as_ref(), self)
    }

    /// Opens the store in `path` as it is now, to read it only: every write fails with [`Error::ReadOnly`].
    ///
    /// Needs no lock, changes nothing in the directory and starts no thread, so another process may have the store open
    /// and write to it. What is seen does not move: all writes acknowledged before the call, and of those made during it
    /// all up to some number. Opening again shows what came since.
    ///
    /// The part of the log that is not in tables yet is read into memory, whatever the memory budget: a few write
    /// buffers at most. Each table takes an open file, whose space returns to the disk only when this handle is
    /// dropped. If the writer flushes during each of several attempts, this fails with [`Error::Io`].
    ///
    /// [`Error::ReadOnly`]: crate::Error::ReadOnly
    /// [`Error::Io`]: crate::Error::Io
    pub fn open_read_only(self, path: impl AsRef<Path>) -> Result<Db> {
        Db::open_read_only_with(path.as_ref(), &self)
    }

    /// The memtable size that is in force.
    pub(crate) fn effective_write_buffer(&self) -> u64 {
        self.write_buffer_bytes.unwrap_or((self.memory_budget_bytes / 8).min(DEFAULT_WRITE_BUFFER_MAX_BYTES))
    }

    /// Checks every option against its range.
    pub(crate) fn validate(&self) -> Result<()> {
        let check = |ok: bool, name: &str, found: u64, range: &str| {
            if ok {
                Ok(())
            } else {
                Err(Error::invalid(format!("option {name} is {found}; it takes {range}")))
            }
        };
        let budget = self.memory_budget_bytes;
        check(budget >= MIN_MEMORY_BUDGET_BYTES, "memory_budget", budget, "4 MiB or more")?;
        let buffer = self.effective_write_buffer();
        let fits = (256 << 10..=budget / 4).contains(&buffer);
        check(fits, "write_buffer", buffer, "256 KiB to a quarter of the memory budget")?;
        let shards = self.shards;
        let power = shards.is_power_of_two() && shards <= 256;
        check(power, "shards", shards as u64, "a power of two from 1 to 256")?;
        let block = self.block_bytes;
        check((512..=1 << 20).contains(&block), "block_bytes", block as u64, "512 to 1,048,576")?;
        let table = self.table_bytes;
        check((64 << 10..=4 << 30).contains(&table), "table_bytes", table, "64 KiB to 4 GiB")?;
        let bits = u64::from(self.filter_bits_per_key);
        check(bits <= 32, "filter_bits_per_key", bits, "0 to 32")?;
        let from = self.compression_from_level;
        check(from <= 7, "compression_from_level", from as u64, "0 to 7")?;
        for blob_from in self.blob_from_in.values().chain([&self.blob_from]).flatten() {
            check(*blob_from >= MIN_BLOB_FROM_BYTES, "blob_from", *blob_from as u64, "0, or 32 or more")?;
        }
        let ratio = self.level_ratio;
        check((2..=100).contains(&ratio), "level_ratio", u64::from(ratio), "2 to 100")?;
        let runs = self.l0_runs;
        check((1..=64).contains(&runs), "l0_runs", runs as u64, "1 to 64")?;
        let limit = self.l0_limit;
        check(limit > runs && limit <= 256, "l0_limit", limit as u64, "more than l0_runs, at most 256")?;
        let threads = self.background_threads;
        check(threads <= 64, "background_threads", threads as u64, "0 to 64")?;
        if let Some(operator) = &self.merge_operator {
            let name = operator.0.name().len();
            let fits = (1..=MAX_OPERATOR_NAME_BYTES).contains(&name);
            check(fits, "merge_operator (bytes of the name)", name as u64, "1 to 255")?;
        }
        if let Durability::Interval(period) = self.durability {
            let ms = period.as_millis() as u64;
            check((1..=3_600_000).contains(&ms), "durability interval (ms)", ms, "1 ms to 1 hour")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_limits_are_checked() {
        Options::new().validate().unwrap();
        let refused: Vec<Options> = vec![
            Options::new().memory_budget(1),
            Options::new().write_buffer(1),
            Options::new().write_buffer(1 << 40),
            Options::new().shards(0),
            Options::new().shards(3),
            Options::new().shards(512),
            Options::new().block_bytes(1),
            Options::new().table_bytes(1),
            Options::new().blob_from(31),
            Options::new().filter_bits_per_key(33),
            Options::new().compression_from_level(8),
            Options::new().level_ratio(1),
            Options::new().l0_runs(0),
            Options::new().l0_limit(4),
            Options::new().background_threads(65),
            Options::new().durability(Durability::Interval(Duration::ZERO)),
        ];
        for options in refused {
            assert!(matches!(options.validate(), Err(Error::InvalidInput(_))), "{options:?}");
        }
    }
}
