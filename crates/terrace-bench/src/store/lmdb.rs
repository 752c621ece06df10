//! LMDB through heed. It reads from a mapping of the file, so its cache is the page cache, whatever the setup says.

use std::ops::Bound;
use std::path::Path;

use ::heed::types::Bytes;
use ::heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions};
use anyhow::Result;

use super::{Key, Level, Seen, SeenEntry, Setup, Store};

/// Address space for the file; it costs nothing until it is used.
const MAP_BYTES: usize = 64 << 30;
/// More than the most threads of a workload.
const MAX_READERS: u32 = 1100;

/// An environment with its unnamed database. Every operation has a transaction of its own, so that a get sees the
/// newest write, as it does with the other stores.
pub(super) struct Lmdb {
    env: Env,
    database: Database<'static, Bytes, Bytes>,
}

impl Lmdb {
    /// Opens the environment.
    pub(super) fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        // Written through the mapping, a commit lies in the page cache and survives the process. With a sync per
        // commit, the default of writing and syncing the file is as fast, and safer.
        let mut flags = match setup.durability {
            Level::Process | Level::Interval => EnvFlags::WRITE_MAP | EnvFlags::MAP_ASYNC | EnvFlags::NO_SYNC,
            Level::Sync => EnvFlags::empty(),
        };
        if setup.cold {
            flags |= EnvFlags::NO_READ_AHEAD;
        }
        let env = open_env(dir, flags)?;
        let create = env.create_databases_and_commit(env.write_txn()?, |opener, txn| {
            opener.create_database(txn, None).map(CommitOrAbort::<_, ()>::Commit)
        });
        let database = create.map_err(|error: ::heed::Error| error)?.unwrap_commit();
        Ok(Self { env, database })
    }
}

#[allow(unsafe_code)]
fn open_env(dir: &Path, flags: EnvFlags) -> Result<Env> {
    let mut options = EnvOpenOptions::new();
    options.map_size(MAP_BYTES).max_readers(MAX_READERS);
    // SAFETY: the directory belongs to this process alone, which opens it once and changes its file only through
    // LMDB; with NO_SYNC a power loss may damage a file that the benchmark deletes anyway.
    Ok(unsafe { options.flags(flags).open(dir) }?)
}

impl Store for Lmdb {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        self.database.put(&mut txn, key, value)?;
        Ok(txn.commit()?)
    }

    fn batch(&self, entries: &[(Key, &[u8])]) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        for (key, value) in entries {
            self.database.put(&mut txn, key, value)?;
        }
        Ok(txn.commit()?)
    }

    fn delete(&self, key: &[u8]) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        self.database.delete(&mut txn, key)?;
        Ok(txn.commit()?)
    }

    fn get(&self, key: &[u8], seen: Seen<'_>) -> Result<bool> {
        let txn = self.env.read_txn()?;
        let value = self.database.get(&txn, key)?;
        if let Some(value) = value {
            seen(value);
        }
        Ok(value.is_some())
    }

    fn multi_get(&self, keys: &[Key], seen: Seen<'_>) -> Result<u64> {
        let txn = self.env.read_txn()?;
        let mut found = 0;
        for key in keys {
            if let Some(value) = self.database.get(&txn, key)? {
                seen(value);
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan(&self, from: &[u8], limit: u64, seen: SeenEntry<'_>) -> Result<u64> {
        let txn = self.env.read_txn()?;
        // LMDB refuses an empty key, in a search too.
        let first = if from.is_empty() { Bound::Unbounded } else { Bound::Included(from) };
        let range = (first, Bound::Unbounded);
        show(self.database.range(&txn, &range)?.take(limit as usize), seen)
    }

    fn prefix(&self, prefix: &[u8], seen: SeenEntry<'_>) -> Result<u64> {
        let txn = self.env.read_txn()?;
        show(self.database.prefix_iter(&txn, prefix)?, seen)
    }

    fn sync(&self) -> Result<()> {
        Ok(self.env.force_sync()?)
    }

    fn settle(&self) -> Result<()> {
        // It has no background work.
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}

fn show<'a>(
    entries: impl Iterator<Item = ::heed::Result<(&'a [u8], &'a [u8])>>,
    seen: SeenEntry<'_>,
) -> Result<u64> {
    let mut found = 0;
    for entry in entries {
        let (key, value) = entry?;
        seen(key, value);
        found += 1;
    }
    Ok(found)
}
