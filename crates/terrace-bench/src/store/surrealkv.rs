//! SurrealKV: an LSM tree with transactions; its commits are futures.

use std::path::Path;

use ::surrealkv::{CompressionType, Durability, LSMIterator as _, Mode, Options, Tree, TreeBuilder};
use anyhow::Result;
use tokio::runtime::Runtime;

use super::{BACKGROUND_THREADS, BLOCK_BYTES, Key, Level, Seen, SeenEntry, Setup, Store, WRITE_BUFFERS};

/// A tree, and the runtime on which its background tasks live.
pub(super) struct Surreal {
    tree: Tree,
    runtime: Runtime,
    durability: Durability,
}

impl Surreal {
    /// Opens the tree.
    pub(super) fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(BACKGROUND_THREADS)
            .enable_all()
            .build()?;
        let mut options = Options::new()
            .with_path(dir.to_path_buf())
            .with_block_size(BLOCK_BYTES)
            .with_max_memtable_size(setup.write_buffer_bytes as usize)
            .with_block_cache_capacity(setup.cache_bytes)
            // As the others, with the fast compression that it has.
            .with_compression_per_level(vec![
                CompressionType::None,
                CompressionType::None,
                CompressionType::SnappyCompression,
            ])
            // Without it a sync per commit also has to make the file's new length durable.
            .with_wal_preallocation(true);
        // All the write buffers that the others may have, one of them active.
        options.memtable_stall_threshold = WRITE_BUFFERS as usize - 1;
        let durability = match setup.durability {
            Level::Process | Level::Interval => Durability::Eventual,
            Level::Sync => Durability::Immediate,
        };
        let inside = runtime.enter();
        let tree = TreeBuilder::with_options(options).build()?;
        drop(inside);
        Ok(Self { tree, runtime, durability })
    }

    fn write(
        &self,
        change: impl FnOnce(&mut ::surrealkv::Transaction) -> ::surrealkv::Result<()>,
    ) -> Result<()> {
        let mut txn = self.tree.begin_with_mode(Mode::WriteOnly)?;
        txn.set_durability(self.durability);
        change(&mut txn)?;
        Ok(self.runtime.block_on(txn.commit())?)
    }

    fn walk(&self, from: &[u8], end: &[u8], limit: u64, seen: SeenEntry<'_>) -> Result<u64> {
        let txn = self.tree.begin_with_mode(Mode::ReadOnly)?;
        let mut iter = txn.range(from, end)?;
        let mut found = 0;
        let mut valid = iter.seek_first()?;
        while valid && found < limit {
            seen(iter.key().user_key(), &iter.value_ref()?);
            found += 1;
            valid = iter.next()?;
        }
        Ok(found)
    }
}

impl Store for Surreal {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.write(|txn| txn.set(key, value))
    }

    fn batch(&self, entries: &[(Key, &[u8])]) -> Result<()> {
        self.write(|txn| entries.iter().try_for_each(|(key, value)| txn.set(&key[..], *value)))
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        self.write(|txn| txn.delete(key))
    }

    fn get(&self, key: &[u8], seen: Seen<'_>) -> Result<bool> {
        let value = self.tree.begin_with_mode(Mode::ReadOnly)?.get(key)?;
        if let Some(value) = &value {
            seen(value);
        }
        Ok(value.is_some())
    }

    fn multi_get(&self, keys: &[Key], seen: Seen<'_>) -> Result<u64> {
        let txn = self.tree.begin_with_mode(Mode::ReadOnly)?;
        let mut found = 0;
        for key in keys {
            if let Some(value) = txn.get(&key[..])? {
                seen(&value);
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan(&self, from: &[u8], limit: u64, seen: SeenEntry<'_>) -> Result<u64> {
        self.walk(from, &[0xff; 17], limit, seen)
    }

    fn prefix(&self, prefix: &[u8], seen: SeenEntry<'_>) -> Result<u64> {
        // The digits of a key are far from the largest byte, so the successor of the last one ends the prefix.
        let mut end = prefix.to_vec();
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        self.walk(prefix, &end, u64::MAX, seen)
    }

    fn sync(&self) -> Result<()> {
        Ok(self.tree.flush_wal(true)?)
    }

    fn settle(&self) -> Result<()> {
        // It has no way to ask for this; the caller waits until the process is quiet.
        self.sync()
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.runtime.block_on(self.tree.close())?)
    }
}
