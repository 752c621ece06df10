//! redb: a copy-on-write B-tree in one file.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use ::redb::{Database, Durability, ReadableDatabase as _, TableDefinition};
use anyhow::Result;

use super::{Key, Level, Seen, SeenEntry, Setup, Store, WRITE_BUFFERS};

const TABLE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("default");
/// Commits without a sync between two with one: pages are only used again after a commit that is durable.
const COMMITS_PER_SYNC: u64 = 10_000;

/// A database with one table. Every operation has a transaction of its own, as with LMDB.
pub(super) struct Redb {
    database: Database,
    sync: bool,
    commits: AtomicU64,
}

impl Redb {
    /// Opens the database.
    pub(super) fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        // It has no write buffers; their memory is cache.
        let cache_bytes = setup.cache_bytes + WRITE_BUFFERS * setup.write_buffer_bytes;
        let database =
            Database::builder().set_cache_size(cache_bytes as usize).create(dir.join("data.redb"))?;
        let store = Self { database, sync: setup.durability == Level::Sync, commits: AtomicU64::new(0) };
        store.write(|_| Ok(()))?;
        Ok(store)
    }

    /// A commit that is not durable may be lost with the process: redb has nothing between that and a sync.
    fn write(
        &self,
        change: impl FnOnce(&mut ::redb::Table<'_, &'static [u8], &'static [u8]>) -> Result<()>,
    ) -> Result<()> {
        let due = self.commits.fetch_add(1, Ordering::Relaxed).is_multiple_of(COMMITS_PER_SYNC);
        let durability = if self.sync || due { Durability::Immediate } else { Durability::None };
        self.write_with(durability, change)
    }

    fn write_with(
        &self,
        durability: Durability,
        change: impl FnOnce(&mut ::redb::Table<'_, &'static [u8], &'static [u8]>) -> Result<()>,
    ) -> Result<()> {
        let mut txn = self.database.begin_write()?;
        txn.set_durability(durability)?;
        change(&mut txn.open_table(TABLE)?)?;
        Ok(txn.commit()?)
    }
}

impl Store for Redb {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.write(|table| {
            table.insert(key, value)?;
            Ok(())
        })
    }

    fn batch(&self, entries: &[(Key, &[u8])]) -> Result<()> {
        self.write(|table| {
            for (key, value) in entries {
                table.insert(&key[..], *value)?;
            }
            Ok(())
        })
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        self.write(|table| {
            table.remove(key)?;
            Ok(())
        })
    }

    fn get(&self, key: &[u8], seen: Seen<'_>) -> Result<bool> {
        let table = self.database.begin_read()?.open_table(TABLE)?;
        let value = table.get(key)?;
        if let Some(value) = &value {
            seen(value.value());
        }
        Ok(value.is_some())
    }

    fn multi_get(&self, keys: &[Key], seen: Seen<'_>) -> Result<u64> {
        let table = self.database.begin_read()?.open_table(TABLE)?;
        let mut found = 0;
        for key in keys {
            if let Some(value) = table.get(&key[..])? {
                seen(value.value());
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan(&self, from: &[u8], limit: u64, seen: SeenEntry<'_>) -> Result<u64> {
        self.walk(from, limit, |_| true, seen)
    }

    fn prefix(&self, prefix: &[u8], seen: SeenEntry<'_>) -> Result<u64> {
        self.walk(prefix, u64::MAX, |key| key.starts_with(prefix), seen)
    }

    fn sync(&self) -> Result<()> {
        self.write_with(Durability::Immediate, |_| Ok(()))
    }

    fn settle(&self) -> Result<()> {
        self.sync()
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}

impl Redb {
    fn walk(
        &self,
        from: &[u8],
        limit: u64,
        belongs: impl Fn(&[u8]) -> bool,
        seen: SeenEntry<'_>,
    ) -> Result<u64> {
        let table = self.database.begin_read()?.open_table(TABLE)?;
        let mut found = 0;
        for entry in table.range(from..)?.take(limit as usize) {
            let (key, value) = entry?;
            if !belongs(key.value()) {
                break;
            }
            seen(key.value(), value.value());
            found += 1;
        }
        Ok(found)
    }
}
