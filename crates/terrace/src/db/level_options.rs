//! How the tables of a level are written: what the options say of the store as a whole, cut to one level.

use super::core::Core;
use super::options::Options;
use crate::table::{Compression, TableOptions};
use crate::version::LEVELS;

/// The last level, which holds most of the data.
const BOTTOM: usize = LEVELS - 1;

impl Core {
    /// How tables of a level are written.
    pub(super) fn table_options(&self, level: usize) -> TableOptions {
        table_options(&self.options, level)
    }
}

fn table_options(options: &Options, level: usize) -> TableOptions {
    let inherited =
        if level >= options.compression_from_level { options.compression } else { Compression::None };
    let at_bottom = options.bottom_compression.filter(|_| level == BOTTOM);
    TableOptions {
        block_bytes: options.block_bytes,
        compression: at_bottom.unwrap_or(inherited),
        filter_bits_per_key: options.filter_bits_per_key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compression_begins_at_its_level_and_the_last_level_may_have_its_own() {
        let kinds = |options: Options| {
            (0..LEVELS).map(|level| table_options(&options, level).compression).collect::<Vec<_>>()
        };
        let (none, lz4) = (Compression::None, Compression::Lz4);
        assert_eq!(kinds(Options::new()), [none, none, lz4, lz4, lz4, lz4, lz4]);
        let own = Options::new().compression(none).bottom_compression(lz4).compression_from_level(7);
        assert_eq!(kinds(own), [none, none, none, none, none, none, lz4]);
    }
}
