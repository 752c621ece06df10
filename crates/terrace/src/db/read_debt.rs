//! What reads pay for runs of level 0 that nothing else would merge yet.
//!
//! A few runs may lie in level 0 for as long as nobody writes, and every scan merges them anew. So the tables count
//! the scans and the gets that had to look at them in vain, and when these have cost as much as the merge would, it
//! is due: the rule of who rents skis until he could have bought them (Karp and others, "Competitive randomized
//! algorithms for non-uniform problems", 1990). The counters begin anew with each table and with each opening of the
//! store. The picker decides; here is the price list.

use super::core::Core;
use crate::version::Version;

/// Another run costs a scan its opening, a seek and comparisons: 0.5 µs with 10 entries, 2 µs with 100. A compaction
/// gets through a quarter of so many bytes in that time, but nobody waits for it.
const SCAN_BYTES: u64 = 1024;

/// And a get the look into a filter.
const GET_BYTES: u64 = 64;

/// What reads have paid for the runs in level 0.
pub(super) fn read_debt_bytes(version: &Version) -> u64 {
    let tables = version.levels()[0].tables();
    tables
        .map(|table| {
            let filter = table.filter_stats();
            table.scans() * SCAN_BYTES + (filter.rejected + filter.false_positives) * GET_BYTES
        })
        .sum()
}

impl Core {
    /// Counts a scan with each run of level 0 that it has to merge.
    #[inline]
    pub(super) fn scan_begins(&self, version: &Version) {
        let firsts = version.levels()[0].runs().iter().filter_map(|run| run.tables().first());
        // No `any`: each one counts.
        if firsts.fold(false, |due, table| table.count_scan() | due) {
            self.work.compacting();
        }
    }
}
