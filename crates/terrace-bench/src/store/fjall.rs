//! fjall 3: one keyspace, LZ4 from the third level, filters as it chooses them by default (10 bits and more).

use std::path::Path;
use std::thread;
use std::time::Duration;

use ::fjall::config::BlockSizePolicy;
use ::fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use anyhow::Result;

use super::{BACKGROUND_THREADS, BLOCK_BYTES, Key, Level, Seen, SeenEntry, Setup, Store};

/// A database with one keyspace.
pub(super) struct Fjall {
    database: Database,
    keyspace: Keyspace,
    sync: bool,
}

impl Fjall {
    /// Opens the database.
    pub(super) fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        // By default a write is handed to the operating system at once, so that it survives the process.
        let database =
            Database::builder(dir).cache_size(setup.cache_bytes).worker_threads(BACKGROUND_THREADS).open()?;
        let keyspace = database.keyspace("default", || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(setup.write_buffer_bytes)
                .data_block_size_policy(BlockSizePolicy::all(BLOCK_BYTES as u32))
        })?;
        Ok(Self { database, keyspace, sync: setup.durability == Level::Sync })
    }

    /// What its documentation asks for after a write that must survive a power loss.
    fn acknowledge(&self) -> Result<()> {
        if self.sync {
            self.database.persist(PersistMode::SyncData)?;
        }
        Ok(())
    }
}

impl Store for Fjall {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.keyspace.insert(key, value)?;
        self.acknowledge()
    }

    fn batch(&self, entries: &[(Key, &[u8])]) -> Result<()> {
        let mut batch = self.database.batch();
        for (key, value) in entries {
            batch.insert(&self.keyspace, &key[..], *value);
        }
        batch.durability(self.sync.then_some(PersistMode::SyncData)).commit()?;
        Ok(())
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        self.keyspace.remove(key)?;
        self.acknowledge()
    }

    fn get(&self, key: &[u8], seen: Seen<'_>) -> Result<bool> {
        let value = self.keyspace.get(key)?;
        if let Some(value) = &value {
            seen(value);
        }
        Ok(value.is_some())
    }

    fn multi_get(&self, keys: &[Key], seen: Seen<'_>) -> Result<u64> {
        // It has no multi-get of its own.
        let mut found = 0;
        for key in keys {
            found += u64::from(self.get(key, seen)?);
        }
        Ok(found)
    }

    fn scan(&self, from: &[u8], limit: u64, seen: SeenEntry<'_>) -> Result<u64> {
        show(self.keyspace.range(from..).take(limit as usize), seen)
    }

    fn prefix(&self, prefix: &[u8], seen: SeenEntry<'_>) -> Result<u64> {
        show(self.keyspace.prefix(prefix), seen)
    }

    fn sync(&self) -> Result<()> {
        Ok(self.database.persist(PersistMode::SyncData)?)
    }

    fn settle(&self) -> Result<()> {
        self.keyspace.rotate_memtable_and_wait()?;
        let mut quiet = 0;
        while quiet < 5 {
            thread::sleep(Duration::from_millis(10));
            let busy = self.database.outstanding_flushes() > 0 || self.database.active_compactions() > 0;
            quiet = if busy { 0 } else { quiet + 1 };
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}

fn show(entries: impl Iterator<Item = ::fjall::Guard>, seen: SeenEntry<'_>) -> Result<u64> {
    let mut found = 0;
    for entry in entries {
        let (key, value) = entry.into_inner()?;
        seen(&key, &value);
        found += 1;
    }
    Ok(found)
}
