//! RocksDB through the crate `rocksdb`, built from the source that the crate brings.

use std::path::Path;

use ::rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DataBlockIndexType, Options, PrefixRange, ReadOptions,
    WaitForCompactOptions, WriteBatch, WriteOptions,
};
use anyhow::{Context as _, Result};

use super::{
    BACKGROUND_THREADS, BLOCK_BYTES, FILTER_BITS, Key, Level, Seen, SeenEntry, Setup, Store, WRITE_BUFFERS,
};

/// A database with its default column family.
pub(super) struct Rocks {
    db: DB,
    write: WriteOptions,
    read: ReadOptions,
}

impl Rocks {
    /// Opens the database.
    pub(super) fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_write_buffer_size(setup.write_buffer_bytes as usize);
        options.set_max_write_buffer_number(WRITE_BUFFERS as i32);
        options.increase_parallelism(BACKGROUND_THREADS as i32);
        // The log's write of one group overlaps the memtable's of the one before; worth it with many threads.
        options.set_enable_pipelined_write(true);
        // As its tuning guide has it: the upper levels are rewritten often and stay as they are, the rest gets LZ4.
        let (none, lz4) = (DBCompressionType::None, DBCompressionType::Lz4);
        options.set_compression_per_level(&[none, none, lz4, lz4, lz4, lz4, lz4]);
        options.set_block_based_table_factory(&table_options(setup));
        let mut write = WriteOptions::default();
        write.set_sync(setup.durability == Level::Sync);
        let db = DB::open(&options, dir)?;
        Ok(Self { db, write, read: ReadOptions::default() })
    }
}

fn table_options(setup: &Setup) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    // Its own recommendation for caches under concurrency. Filters and indexes stay outside it, which is the
    // default and the fastest, so that all of it holds blocks.
    table.set_block_cache(&Cache::new_hyper_clock_cache(setup.cache_bytes as usize, 0));
    table.set_block_size(BLOCK_BYTES);
    table.set_bloom_filter(f64::from(FILTER_BITS), false);
    // A hash index in each block: measured by its authors as a gain for point reads, and no loss for others.
    table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    table.set_data_block_hash_ratio(0.75);
    table
}

impl Store for Rocks {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.db.put_opt(key, value, &self.write)?)
    }

    fn batch(&self, entries: &[(Key, &[u8])]) -> Result<()> {
        let mut batch = WriteBatch::default();
        for (key, value) in entries {
            batch.put(key, value);
        }
        Ok(self.db.write_opt(batch, &self.write)?)
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        Ok(self.db.delete_opt(key, &self.write)?)
    }

    fn get(&self, key: &[u8], seen: Seen<'_>) -> Result<bool> {
        let value = self.db.get_pinned_opt(key, &self.read)?;
        if let Some(value) = &value {
            seen(value);
        }
        Ok(value.is_some())
    }

    fn multi_get(&self, keys: &[Key], seen: Seen<'_>) -> Result<u64> {
        let family = self.db.cf_handle("default").context("no default column family")?;
        let mut found = 0;
        for value in self.db.batched_multi_get_cf_opt(&family, keys, false, &self.read) {
            if let Some(value) = value? {
                seen(&value);
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan(&self, from: &[u8], limit: u64, seen: SeenEntry<'_>) -> Result<u64> {
        self.walk(ReadOptions::default(), from, limit, seen)
    }

    fn prefix(&self, prefix: &[u8], seen: SeenEntry<'_>) -> Result<u64> {
        let mut read = ReadOptions::default();
        read.set_iterate_range(PrefixRange(prefix));
        self.walk(read, prefix, u64::MAX, seen)
    }

    fn sync(&self) -> Result<()> {
        Ok(self.db.flush_wal(true)?)
    }

    fn settle(&self) -> Result<()> {
        self.db.flush()?;
        Ok(self.db.wait_for_compact(&WaitForCompactOptions::default())?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.db.flush()?)
    }
}

impl Rocks {
    /// The raw iterator lends key and value without copies.
    fn walk(&self, read: ReadOptions, from: &[u8], limit: u64, seen: SeenEntry<'_>) -> Result<u64> {
        let mut iter = self.db.raw_iterator_opt(read);
        let mut found = 0;
        iter.seek(from);
        while found < limit {
            let Some((key, value)) = iter.item() else { break };
            seen(key, value);
            found += 1;
            iter.next();
        }
        iter.status()?;
        Ok(found)
    }
}
