//! How the tables of a level are written: what the options say of the store as a whole, cut to one level.

use super::core::Core;
use super::options::Options;
use crate::compaction::output::{Relocate, Separation, Threshold};
use crate::table::{Compression, TableOptions};
use crate::version::{Blobs, LEVELS};

/// The last level, which holds most of the data.
const BOTTOM: usize = LEVELS - 1;

/// A blob file is cut at this length.
const BLOB_FILE_BYTES: u64 = 64 << 20;

/// A level gets at most so many filter bits per key more than the last one.
const EXTRA_FILTER_BITS_MAX: usize = 4;

impl Core {
    /// How tables of a level are written.
    pub(super) fn table_options(&self, level: usize) -> TableOptions {
        TableOptions { origin: self.origin, ..table_options(&self.options, level) }
    }

    /// Which values go to blob files, and how they are written there: once and for long, so as the deeper levels are.
    pub(super) fn separation<'a>(&self, blobs: &'a Blobs) -> Separation<'a> {
        Separation {
            from: self.blob_threshold(),
            compression: value_compression(&self.options),
            target_file_bytes: BLOB_FILE_BYTES,
            blobs,
            relocate: Relocate::Nothing,
        }
    }

    /// Asked anew for each output, because keyspaces come, go and get new numbers.
    fn blob_threshold(&self) -> Threshold {
        let bytes = |from: Option<usize>| from.unwrap_or(usize::MAX);
        let own = self.options.blob_from_in.iter().filter_map(|(name, from)| {
            let id = self.keyspaces.find(name)?.id().ok()?;
            Some((id, bytes(*from)))
        });
        Threshold::new(bytes(self.options.blob_from), own.collect())
    }
}

/// That of the level above the last, since what comes to the last level alone is compacted with time to spare.
fn value_compression(options: &Options) -> Compression {
    table_options(options, BOTTOM - 1).compression
}

fn table_options(options: &Options, level: usize) -> TableOptions {
    let inherited =
        if level >= options.compression_from_level { options.compression } else { Compression::None };
    let at_bottom = options.bottom_compression.filter(|_| level == BOTTOM);
    TableOptions {
        block_bytes: options.block_bytes,
        compression: at_bottom.unwrap_or(inherited),
        filter_bits_per_key: filter_bits(options.filter_bits_per_key, level),
        origin: 0,
    }
}

/// Filter bits per key at a level, one more for each level above the last. A lookup of an absent key asks a
/// filter in every level and every run of level 0, but nearly all keys are in the last level: bits above it
/// save as many reads and cost little memory.
fn filter_bits(bits_per_key: u8, level: usize) -> u8 {
    match bits_per_key {
        0 => 0,
        bits => bits.saturating_add((BOTTOM - level).min(EXTRA_FILTER_BITS_MAX) as u8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Filter bits of a whole tree per key of it, from the keys of each level, the last level first.
    fn bits_in_all(bits_per_key: u8, keys: &[(usize, f64)]) -> f64 {
        let bits = |(level, keys): &(usize, f64)| f64::from(filter_bits(bits_per_key, *level)) * keys;
        keys.iter().map(bits).sum::<f64>() / keys.iter().map(|(_, keys)| keys).sum::<f64>()
    }

    #[test]
    fn filters_grow_upwards_and_zero_stays_zero() {
        let bits = |of: u8| (0..LEVELS).map(|level| filter_bits(of, level)).collect::<Vec<_>>();
        assert_eq!(bits(10), [14, 14, 14, 13, 12, 11, 10]);
        assert_eq!(bits(0), [0; LEVELS]);
    }

    #[test]
    fn the_extra_filter_bits_are_at_most_three_in_a_hundred() {
        // Level 0 holds four write buffers when it is compacted, and the base level is full at eight.
        for trees in [
            &[(6, 80.0), (5, 8.0), (0, 4.0)][..],
            &[(6, 800.0), (5, 80.0), (4, 8.0), (0, 4.0)],
            &[(6, 8000.0), (5, 800.0), (4, 80.0), (3, 8.0), (0, 4.0)],
        ] {
            let bits = bits_in_all(10, trees);
            assert!((10.0..=10.3).contains(&bits), "{bits} for {trees:?}");
        }
    }

    #[test]
    fn compression_begins_at_its_level_and_the_last_level_may_have_its_own() {
        let kinds = |options: Options| {
            (0..LEVELS).map(|level| table_options(&options, level).compression).collect::<Vec<_>>()
        };
        let (none, lz4) = (Compression::None, Compression::Lz4);
        assert_eq!(kinds(Options::new()), [lz4; LEVELS]);
        let from_second = Options::new().compression_from_level(2);
        assert_eq!(kinds(from_second), [none, none, lz4, lz4, lz4, lz4, lz4]);
        let own = Options::new().compression(none).bottom_compression(lz4).compression_from_level(7);
        assert_eq!(kinds(own), [none, none, none, none, none, none, lz4]);
    }
}
