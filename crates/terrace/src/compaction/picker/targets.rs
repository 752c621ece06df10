//! How large each level should be, computed from the bottom up, and how far the store is from that.
//!
//! The last level holds what there is. Each level above it may hold a tenth of the one below, down to the
//! *base level*, the one that level 0 is merged into: the shallowest whose size would still be worth having.
//! So nearly all data is in the last level, and the space taken by old versions stays near a tenth.

use super::PickerOptions;
use super::blobs::excess_bytes;
use crate::version::{LEVELS, Level, Version};

/// The last level.
pub(super) const BOTTOM: usize = LEVELS - 1;

/// Target sizes, and where level 0 goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Targets {
    /// The level that level 0 is merged into.
    pub(crate) base: usize,
    /// Target size in bytes of each level; 0 for levels that should be empty.
    pub(crate) bytes: [u64; LEVELS],
}

impl Targets {
    /// The targets for the data there is.
    pub(crate) fn new(version: &Version, options: &PickerOptions) -> Self {
        let levels = version.levels();
        let mut size = levels[1..].iter().map(Level::bytes).max().unwrap_or(0);
        let mut bytes = [0; LEVELS];
        bytes[BOTTOM] = size.max(options.base_level_bytes);
        let mut base = BOTTOM;
        while base > 1 && size > options.base_level_bytes {
            base -= 1;
            size /= options.level_ratio.max(2);
            bytes[base] = size.max(options.base_level_bytes / options.level_ratio.max(2));
        }
        // Level 0 must not pass below anything older.
        let shallowest = (1..LEVELS).find(|n| levels[*n].run().is_some());
        Self { base: base.min(shallowest.unwrap_or(base)), bytes }
    }

    /// How full a level is, in thousandths of the size at which it becomes due.
    pub(super) fn score(&self, level: usize, bytes: u64, options: &PickerOptions) -> u64 {
        let due = u128::from(self.bytes[level]) * u128::from(options.soft_percent) / 100;
        u64::try_from(u128::from(bytes) * 1000 / due.max(1)).unwrap_or(u64::MAX)
    }
}

/// An estimate of the bytes that compactions must read and write until no level is due. What is over a
/// level's target comes down with as much of the next level as the ratio of their sizes says.
pub(crate) fn pending_compaction_bytes(version: &Version, options: &PickerOptions) -> u64 {
    let levels = version.levels();
    let targets = Targets::new(version, options);
    let mut debt = 0u64;
    let mut carried = 0u64;
    if levels[0].runs().len() >= options.l0_runs {
        carried = levels[0].bytes();
        debt = carried + levels[targets.base].bytes();
    }
    for level in targets.base..BOTTOM {
        let bytes = levels[level].bytes() + carried;
        carried = bytes.saturating_sub(targets.bytes[level]);
        if carried > 0 {
            let below = u128::from(levels[level + 1].bytes());
            let moved = u128::from(carried) * below / u128::from(bytes);
            debt = debt.saturating_add(carried).saturating_add(u64::try_from(moved).unwrap_or(u64::MAX));
        }
    }
    // What is collected is less than what is written for it.
    debt.saturating_add(excess_bytes(version, options).saturating_mul(2))
}
