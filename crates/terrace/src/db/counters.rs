//! Counters of what the store has done, and their assembly into `Stats`.

use std::sync::atomic::{AtomicU64, Ordering};

use super::core::Core;
use super::stats::{
    BlobStats, CacheStats, FilterStats, LevelStats, LogStats, MemtableStats, StallStats, Stats,
};
use crate::table::FilterStats as TableFilterStats;
use crate::version::{LEVELS, Version};

#[derive(Debug, Default)]
struct LevelCounters {
    compactions: AtomicU64,
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
}

/// Counters of background work; nothing here is touched by a read or a write.
#[derive(Debug, Default)]
pub(super) struct Counters {
    levels: [LevelCounters; LEVELS],
    flushes: AtomicU64,
    flushed_bytes: AtomicU64,
    syncs: AtomicU64,
    /// What the filters of tables that are gone have done: rejected, found, false positives.
    retired_filters: [AtomicU64; 3],
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Counters {
    /// A flush wrote `user_bytes` of keys and values as `written` bytes of tables.
    pub(super) fn flushed(&self, user_bytes: u64, written: u64) {
        add(&self.flushes, 1);
        add(&self.flushed_bytes, user_bytes);
        self.compacted(0, 0, written);
    }

    /// A compaction (or flush) into `level` read and wrote this much.
    pub(super) fn compacted(&self, level: usize, read: u64, written: u64) {
        let counters = &self.levels[level];
        add(&counters.compactions, 1);
        add(&counters.read_bytes, read);
        add(&counters.written_bytes, written);
    }

    /// A table goes; its filter's counts stay in the sum.
    pub(super) fn retire_filter(&self, stats: TableFilterStats) {
        for (sum, n) in self.retired_filters.iter().zip([stats.rejected, stats.found, stats.false_positives])
        {
            add(sum, n);
        }
    }

    /// The log was synced.
    pub(super) fn synced(&self) {
        add(&self.syncs, 1);
    }
}

fn blob_stats(version: &Version) -> BlobStats {
    let mut stats = BlobStats::default();
    for blob in version.blobs().iter() {
        stats.files += 1;
        stats.bytes += blob.meta.file_bytes;
        stats.records += blob.meta.records;
        stats.garbage_bytes += blob.garbage_bytes();
    }
    stats
}

impl Core {
    /// All statistics.
    pub(super) fn stats(&self) -> Stats {
        let state = self.shards.state_full();
        let levels = self.level_stats();
        let blobs = blob_stats(&state.version);
        let bytes = levels.iter().map(|l| l.bytes).sum::<u64>() + blobs.bytes;
        let deepest = state.version.levels().iter().rev().find(|l| l.bytes() > 0);
        let deepest = deepest.map_or(0, |l| l.bytes() + l.blob_bytes());
        let written: u64 = levels.iter().map(|l| l.written_bytes).sum();
        let ratio = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        let filter = self.filter_stats();
        let cache = self.cache.stats();
        let probes = filter.found + filter.false_positives;
        let (count, total_ns, max_ns) = self.stall.counts();
        let in_memory: usize = state.sealed.iter().map(|s| s.memtable.entries()).sum();
        Stats {
            entries: levels.iter().map(|l| l.entries).sum::<u64>()
                + (in_memory + state.active.entries()) as u64,
            levels,
            blobs,
            log: self.log_stats(),
            memtable: MemtableStats {
                active_bytes: state.active.bytes() as u64,
                active_entries: state.active.entries() as u64,
                sealed: state.sealed.len() as u64,
                sealed_bytes: state.sealed_bytes(),
                flushes: get(&self.counters.flushes),
            },
            cache: CacheStats {
                capacity_bytes: cache.capacity_bytes,
                used_bytes: cache.used_bytes,
                pinned_bytes: cache.pinned_bytes,
                hits: cache.hits,
                misses: cache.misses,
            },
            filter,
            stalls: StallStats { count, total_ns, max_ns },
            flushed_bytes: get(&self.counters.flushed_bytes),
            write_amplification: ratio(written, get(&self.counters.flushed_bytes)),
            read_amplification: ratio(probes, filter.found),
            space_amplification: ratio(bytes, deepest),
            range_deletes: state.version.range_deletes().list().len() as u64,
            last_seqno: self.last_seqno(),
            snapshots: self.shards.snapshots().count() as u64,
            compactions_running: self.compactions.running() as u64,
            compaction_pending_bytes: self.pending_compaction_bytes(&state.version),
            background_error: self
                .poison
                .check()
                .err()
                .map(|e| e.to_string())
                .or_else(|| self.work.error_text()),
            damage: self.compactions.aside.reasons(),
        }
    }

    fn level_stats(&self) -> Vec<LevelStats> {
        let state = self.current();
        let levels = state.version.levels().iter().zip(&self.counters.levels);
        let stats = levels.map(|(level, counters)| LevelStats {
            runs: level.runs().len() as u64,
            tables: level.tables().count() as u64,
            bytes: level.bytes(),
            entries: level.tables().map(|t| t.meta().entries).sum(),
            compactions: get(&counters.compactions),
            read_bytes: get(&counters.read_bytes),
            written_bytes: get(&counters.written_bytes),
        });
        stats.collect()
    }

    fn log_stats(&self) -> LogStats {
        let Some(wal) = &self.wal else { return LogStats::default() };
        let stats = wal.stats();
        LogStats {
            segments: stats.segments_live as u64,
            appended_bytes: stats.appended_bytes,
            syncs: get(&self.counters.syncs),
            durable_seqno: self.syncer.durable(),
        }
    }

    fn filter_stats(&self) -> FilterStats {
        let [rejected, found, false_positives] = self.counters.retired_filters.each_ref().map(get);
        let mut sum = FilterStats { rejected, found, false_positives };
        for (_, table) in self.current().version.tables() {
            let stats = table.filter_stats();
            sum.rejected += stats.rejected;
            sum.found += stats.found;
            sum.false_positives += stats.false_positives;
        }
        sum
    }
}
