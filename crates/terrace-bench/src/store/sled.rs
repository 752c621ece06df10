//! sled 0.34, the release that its users have; a log-structured B-tree.

use std::path::Path;

use ::sled::{Batch, Config, Db, Mode};
use anyhow::Result;

use super::{INTERVAL_MS, Key, Level, Seen, SeenEntry, Setup, Store, WRITE_BUFFERS};

/// A database with its default tree.
pub(super) struct Sled {
    db: Db,
    sync: bool,
}

impl Sled {
    /// Opens the database.
    pub(super) fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        let sync = setup.durability == Level::Sync;
        // It has no write buffers to set; their memory is cache. Writes wait in the process for a flush, so the
        // death of the process costs up to a period as well: it has nothing between that and a sync.
        let db = Config::new()
            .path(dir.join("sled"))
            .cache_capacity(setup.cache_bytes + WRITE_BUFFERS * setup.write_buffer_bytes)
            .mode(Mode::HighThroughput)
            .flush_every_ms(if sync { None } else { Some(INTERVAL_MS) })
            .open()?;
        Ok(Self { db, sync })
    }

    fn acknowledge(&self) -> Result<()> {
        if self.sync {
            self.db.flush()?;
        }
        Ok(())
    }
}

impl Store for Sled {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.db.insert(key, value)?;
        self.acknowledge()
    }

    fn batch(&self, entries: &[(Key, &[u8])]) -> Result<()> {
        let mut batch = Batch::default();
        for (key, value) in entries {
            batch.insert(&key[..], *value);
        }
        self.db.apply_batch(batch)?;
        self.acknowledge()
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        self.db.remove(key)?;
        self.acknowledge()
    }

    fn get(&self, key: &[u8], seen: Seen<'_>) -> Result<bool> {
        let value = self.db.get(key)?;
        if let Some(value) = &value {
            seen(value);
        }
        Ok(value.is_some())
    }

    fn multi_get(&self, keys: &[Key], seen: Seen<'_>) -> Result<u64> {
        let mut found = 0;
        for key in keys {
            found += u64::from(self.get(key, seen)?);
        }
        Ok(found)
    }

    fn scan(&self, from: &[u8], limit: u64, seen: SeenEntry<'_>) -> Result<u64> {
        show(self.db.range(from..).take(limit as usize), seen)
    }

    fn prefix(&self, prefix: &[u8], seen: SeenEntry<'_>) -> Result<u64> {
        show(self.db.scan_prefix(prefix), seen)
    }

    fn sync(&self) -> Result<()> {
        self.db.flush()?;
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        self.sync()
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}

fn show(
    entries: impl Iterator<Item = ::sled::Result<(::sled::IVec, ::sled::IVec)>>,
    seen: SeenEntry<'_>,
) -> Result<u64> {
    let mut found = 0;
    for entry in entries {
        let (key, value) = entry?;
        seen(&key, &value);
        found += 1;
    }
    Ok(found)
}
