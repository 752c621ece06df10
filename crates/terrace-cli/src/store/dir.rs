//! A store in a directory that this process opens for the length of one verb.

use std::path::Path;

use anyhow::Result;
use terrace::{Db, Entry, Keyspace, Options, WriteOptions};

use super::range::Bounds;
use super::{Access, Range, Store, Visit, refuse_hash};
use crate::codec::Record;
use crate::exit::{self, Code, Failure};
use crate::figures;

/// The open store and the keyspace that the verb works in.
pub(super) struct DirStore {
    db: Db,
    keyspace: Keyspace,
}

impl DirStore {
    /// Opens the directory; creates store and keyspace only with [`Access::Create`].
    pub(super) fn open(dir: &Path, keyspace: Option<&str>, access: Access) -> Result<Self> {
        let create = access == Access::Create;
        if !create && !dir.is_dir() {
            let why = if dir.exists() { "it is not a directory" } else { "no such directory" };
            return Err(Failure::error(Code::Store, format!("no store at {}: {why}", dir.display())));
        }
        let options = Options::new().create_if_missing(create);
        let db = if access == Access::Read { options.open_read_only(dir) } else { options.open(dir) };
        let db = db.map_err(exit::explain_open)?;
        let keyspace = match (keyspace, create) {
            (None, _) => Keyspace::clone(&db),
            (Some(name), true) => db.keyspace(name)?,
            (Some(name), false) => db.find_keyspace(name).ok_or_else(|| {
                let known = db.keyspaces().join(", ");
                Failure::error(
                    Code::Store,
                    format!("no keyspace {name:?} in {}; it has: {known}", dir.display()),
                )
            })?,
        };
        Ok(Self { db, keyspace })
    }

    /// Whether the server has kept hashes in this keyspace: their fields are in one beside it.
    fn has_hashes(&self) -> bool {
        let name = self.keyspace.name();
        let fields = if name == "default" { "hash-fields".into() } else { format!("{name}-hash-fields") };
        self.db.find_keyspace(&fields).is_some()
    }

    fn iter(&self, bounds: Bounds) -> terrace::Iter {
        self.keyspace.range::<Vec<u8>>(bounds)
    }
}

/// The tag that the server gives to hashes. A program may use it as it likes, so it says something only where there is
/// a keyspace of fields.
const HASH_TAG: u8 = 1;

fn record(key: &[u8], entry: &Entry, keys_only: bool) -> Record {
    let value = if keys_only { Vec::new() } else { entry.value.to_vec() };
    Record { key: key.to_vec(), value, expires_at_ms: entry.expires_at_ms, tag: entry.tag, keyspace: None }
}

impl Store for DirStore {
    fn get(&mut self, key: &[u8]) -> Result<Option<Record>> {
        Ok(self.keyspace.get_entry(key)?.map(|entry| record(key, &entry, false)))
    }

    fn write(&mut self, batch: &[Record]) -> Result<()> {
        let mut writes = self.db.batch();
        for record in batch {
            let mut options = WriteOptions::new().tag(record.tag);
            if let Some(at) = record.expires_at_ms {
                options = options.expires_at_ms(at);
            }
            let named = record.keyspace.as_deref().map(|name| self.db.keyspace(name)).transpose()?;
            let keyspace = named.as_ref().unwrap_or(&self.keyspace);
            writes.put_in(keyspace, &record.key, &record.value, options);
        }
        writes.commit()?;
        Ok(())
    }

    fn delete(&mut self, keys: &[Vec<u8>]) -> Result<u64> {
        let mut distinct = keys.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let mut found = 0;
        let mut writes = self.db.batch();
        for key in &distinct {
            if self.keyspace.contains(key)? {
                found += 1;
                writes.delete_in(&self.keyspace, key);
            }
        }
        if found > 0 {
            writes.commit()?;
        }
        Ok(found)
    }

    fn scan(&mut self, range: &Range, visit: &mut Visit) -> Result<()> {
        let Some(bounds) = range.bounds() else { return Ok(()) };
        let mut entries = self.iter(bounds);
        for _ in 0..range.limit.unwrap_or(u64::MAX) {
            let next = if range.reverse { entries.next_back_entry() } else { entries.next_entry() };
            let Some(next) = next else { break };
            let (key, entry) = next?;
            if !visit(record(&key, &entry, range.keys_only))? {
                break;
            }
        }
        Ok(())
    }

    fn dump(&mut self, visit: &mut Visit) -> Result<()> {
        let has_hashes = self.has_hashes();
        self.scan(&Range::default(), &mut |record| {
            if has_hashes && record.tag == HASH_TAG {
                return Err(refuse_hash(&record.key, "--all takes them along"));
            }
            visit(record)
        })
    }

    fn dump_all(&mut self, visit: &mut Visit) -> Result<()> {
        let snapshot = self.db.snapshot();
        for name in self.db.keyspaces() {
            // Dropped meanwhile by nobody: this process has the store to itself.
            let Some(keyspace) = self.db.find_keyspace(&name) else { continue };
            let mut entries = snapshot.range_in::<&[u8]>(&keyspace, ..);
            while let Some(next) = entries.next_entry() {
                let (key, entry) = next?;
                if !visit(Record { keyspace: Some(name.clone()), ..record(&key, &entry, false) })? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, range: &Range) -> Result<u64> {
        let Some(bounds) = range.bounds() else { return Ok(0) };
        let mut entries = self.iter(bounds);
        let mut count = 0;
        while let Some(next) = entries.next_entry() {
            next?;
            count += 1;
        }
        Ok(count)
    }

    fn estimate(&mut self) -> Result<u64> {
        Ok(self.keyspace.approximate_len())
    }

    fn stats(&mut self) -> Result<serde_json::Value> {
        Ok(figures::to_json(&self.db))
    }

    fn flush(&mut self) -> Result<()> {
        Ok(self.db.flush()?)
    }

    fn compact(&mut self) -> Result<()> {
        Ok(self.db.compact_all()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.db.close()?)
    }
}
