//! Terrace, as its documentation recommends it.

use std::path::Path;
use std::time::Duration;

use ::terrace::{Compression, Db, Durability, Options};
use anyhow::Result;

use super::{
    BACKGROUND_THREADS, BLOCK_BYTES, Counters, FILTER_BITS, INTERVAL_MS, Key, Level, Seen, SeenEntry, Setup,
    Store,
};

/// Filters and indexes of a few million entries; Terrace counts them in its budget, other engines beside it.
const PINNED_BYTES: u64 = 4 << 20;

/// A store.
pub(super) struct Terrace(Db);

impl Terrace {
    /// Opens the store.
    pub(super) fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        Self::open_with(options(setup), dir)
    }

    /// Opens it for data that stays in the page cache, which is lent by the kernel as LMDB's is.
    pub(super) fn open_mapped(dir: &Path, setup: &Setup) -> Result<Self> {
        Self::open_with(options(setup).map_tables(true).compression(Compression::None), dir)
    }

    fn open_with(options: Options, dir: &Path) -> Result<Self> {
        Ok(Self(options.open(dir.join("terrace"))?))
    }
}

fn options(setup: &Setup) -> Options {
    let durability = match setup.durability {
        Level::Process => Durability::Process,
        Level::Interval => Durability::Interval(Duration::from_millis(INTERVAL_MS)),
        Level::Sync => Durability::Sync,
    };
    Options::new()
        .memory_budget(budget_bytes(setup))
        .write_buffer(setup.write_buffer_bytes)
        .shards(setup.shards)
        .background_threads(BACKGROUND_THREADS)
        .block_bytes(BLOCK_BYTES)
        .filter_bits_per_key(FILTER_BITS)
        .durability(durability)
}

/// The budget that leaves `cache_bytes` for cached blocks: it also has to hold two write buffers, the resident
/// pages of the log, filters and indexes, and a sixteenth of itself for background work.
fn budget_bytes(setup: &Setup) -> u64 {
    let log = setup.write_buffer_bytes + setup.write_buffer_bytes / 4;
    (setup.cache_bytes + 2 * setup.write_buffer_bytes + log + PINNED_BYTES) * 16 / 15
}

impl Store for Terrace {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.0.put(key, value)?)
    }

    fn batch(&self, entries: &[(Key, &[u8])]) -> Result<()> {
        let mut batch = self.0.batch();
        for (key, value) in entries {
            batch.put(key, value);
        }
        batch.commit()?;
        Ok(())
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        Ok(self.0.delete(key)?)
    }

    fn get(&self, key: &[u8], seen: Seen<'_>) -> Result<bool> {
        let value = self.0.get(key)?;
        if let Some(value) = &value {
            seen(value);
        }
        Ok(value.is_some())
    }

    fn multi_get(&self, keys: &[Key], seen: Seen<'_>) -> Result<u64> {
        let values = self.0.multi_get(keys)?;
        let mut found = 0;
        for value in values.iter().flatten() {
            seen(value);
            found += 1;
        }
        Ok(found)
    }

    fn scan(&self, from: &[u8], limit: u64, seen: SeenEntry<'_>) -> Result<u64> {
        show(self.0.range(from..), limit, seen)
    }

    fn prefix(&self, prefix: &[u8], seen: SeenEntry<'_>) -> Result<u64> {
        show(self.0.prefix(prefix), u64::MAX, seen)
    }

    fn sync(&self) -> Result<()> {
        Ok(self.0.sync()?)
    }

    fn settle(&self) -> Result<()> {
        self.0.flush()?;
        Ok(self.0.wait_idle()?)
    }

    fn counters(&self) -> Counters {
        let stats = self.0.stats();
        Counters {
            write_amplification: Some(stats.write_amplification),
            read_amplification: Some(stats.read_amplification),
            filter_false_positives: Some(stats.filter.false_positives),
            filter_rejected: Some(stats.filter.rejected),
        }
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.0.close()?)
    }
}

/// Shows up to `limit` entries in place.
fn show(mut entries: ::terrace::Iter, limit: u64, seen: SeenEntry<'_>) -> Result<u64> {
    for found in 0..limit {
        let Some(entry) = entries.next_ref() else { return Ok(found) };
        let (key, value) = entry?;
        seen(key, value);
    }
    Ok(limit)
}
