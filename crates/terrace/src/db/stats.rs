//! `Stats`: what the store has done and what it holds, as plain numbers.

/// A snapshot of the store's counters. Counters run from the opening of the store.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// One entry per level, level 0 first.
    pub levels: Vec<LevelStats>,
    /// The blob files, which hold large values.
    pub blobs: BlobStats,
    /// The write-ahead log.
    pub log: LogStats,
    /// The memtables.
    pub memtable: MemtableStats,
    /// The block cache.
    pub cache: CacheStats,
    /// The table filters.
    pub filter: FilterStats,
    /// Delays of writers by back-pressure.
    pub stalls: StallStats,
    /// Bytes of keys and values that flushes have taken out of memory.
    pub flushed_bytes: u64,
    /// Bytes written to tables and blob files ÷ bytes of flushed user data: how often each byte was written, without the
    /// log. Zero before the first flush.
    pub write_amplification: f64,
    /// Tables probed per point read that found its key in a table. 1 when filters never err.
    pub read_amplification: f64,
    /// Bytes of tables and blob files ÷ bytes of the deepest level and of the values that it points to: 1 when nothing
    /// is stored twice and nothing is garbage. Zero when there are no tables.
    pub space_amplification: f64,
    /// Estimated number of entries, old versions and tombstones included.
    pub entries: u64,
    /// Range deletes that compaction has still to apply, those in memory not counted.
    pub range_deletes: u64,
    /// The sequence number of the newest write.
    pub last_seqno: u64,
    /// Live snapshots and iterators.
    pub snapshots: u64,
    /// Compactions that run now.
    pub compactions_running: u64,
    /// Estimated bytes that compaction still has to move until every level has its size.
    pub compaction_pending_bytes: u64,
    /// Why the store refuses writes until it is reopened, or else the failure of background work that is being
    /// retried, if there is either.
    pub background_error: Option<String>,
    /// What compaction could not read and has set aside, with the files and the reasons: tables and blob files that are
    /// damaged or missing. Compaction goes on beside them; they are tried again in a compaction by hand and when the
    /// store is opened again. Empty in a sound store.
    pub damage: Vec<String>,
}

/// One level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LevelStats {
    /// Runs (level 0 may have several).
    pub runs: u64,
    /// Table files.
    pub tables: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Their entries, tombstones included.
    pub entries: u64,
    /// Compactions (flushes for level 0) that wrote into this level.
    pub compactions: u64,
    /// Bytes that those compactions read, blob files included.
    pub read_bytes: u64,
    /// Bytes that those compactions wrote, blob files included.
    pub written_bytes: u64,
}

/// The blob files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlobStats {
    /// Files.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// The values in them, those that nothing points to included.
    pub records: u64,
    /// Bytes of values to which no table points any more, until they are collected.
    pub garbage_bytes: u64,
}

/// The write-ahead log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogStats {
    /// Segments that hold unflushed writes.
    pub segments: u64,
    /// Bytes of records appended.
    pub appended_bytes: u64,
    /// Syncs done.
    pub syncs: u64,
    /// The newest sequence number known to survive a power loss.
    pub durable_seqno: u64,
}

/// The memtables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemtableStats {
    /// Memory of the active memtable.
    pub active_bytes: u64,
    /// Entries in the active memtable.
    pub active_entries: u64,
    /// Sealed memtables that wait for their flush.
    pub sealed: u64,
    /// Their memory.
    pub sealed_bytes: u64,
    /// Flushes done.
    pub flushes: u64,
}

/// The block cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// What the cache may hold now, in bytes.
    pub capacity_bytes: u64,
    /// What it holds.
    pub used_bytes: u64,
    /// Filters and indexes of open tables, outside the cache's capacity and inside the memory budget.
    pub pinned_bytes: u64,
    /// Look-ups answered from the cache.
    pub hits: u64,
    /// Look-ups that read the disk.
    pub misses: u64,
}

/// The table filters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FilterStats {
    /// Look-ups that a filter ended.
    pub rejected: u64,
    /// Look-ups that passed a filter and found the key.
    pub found: u64,
    /// Look-ups that passed a filter in vain.
    pub false_positives: u64,
}

/// Delays of writers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StallStats {
    /// Writes that were delayed.
    pub count: u64,
    /// Their delays together, in nanoseconds.
    pub total_ns: u64,
    /// The longest one, in nanoseconds.
    pub max_ns: u64,
}
