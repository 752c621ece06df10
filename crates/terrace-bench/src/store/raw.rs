//! The yardstick for durable puts: what the disk does with the same bytes and no engine.
//!
//! A put appends key and value to a file whose blocks are already written, and syncs it where the durability asks
//! for that. It finds nothing again and is no store: only `put` works.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, bail};

use super::{Key, Level, Seen, SeenEntry, Setup, Store};

/// Written ahead, so that a sync has no new blocks to record; the end wraps around.
const FILE_BYTES: u64 = 64 << 20;

/// A file.
pub(super) struct Raw {
    file: File,
    end: AtomicU64,
    sync: bool,
}

impl Raw {
    /// Makes the file.
    pub(super) fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        let mut file = File::create(dir.join("raw"))?;
        let zeros = vec![0; 1 << 20];
        for _ in 0..FILE_BYTES >> 20 {
            file.write_all(&zeros)?;
        }
        file.sync_all()?;
        Ok(Self { file, end: AtomicU64::new(0), sync: setup.durability == Level::Sync })
    }
}

impl Store for Raw {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        let record = [key, value].concat();
        let at = self.end.fetch_add(record.len() as u64, Ordering::Relaxed);
        self.file.write_all_at(&record, at % (FILE_BYTES - record.len() as u64))?;
        if self.sync {
            self.file.sync_data()?;
        }
        Ok(())
    }

    fn batch(&self, _: &[(Key, &[u8])]) -> Result<()> {
        bail!("the raw file only takes single puts")
    }

    fn delete(&self, _: &[u8]) -> Result<()> {
        bail!("the raw file has nothing to delete")
    }

    fn get(&self, _: &[u8], _: Seen<'_>) -> Result<bool> {
        bail!("the raw file finds nothing again")
    }

    fn multi_get(&self, _: &[Key], _: Seen<'_>) -> Result<u64> {
        bail!("the raw file finds nothing again")
    }

    fn scan(&self, _: &[u8], _: u64, _: SeenEntry<'_>) -> Result<u64> {
        bail!("the raw file has no order")
    }

    fn prefix(&self, _: &[u8], _: SeenEntry<'_>) -> Result<u64> {
        bail!("the raw file has no order")
    }

    fn sync(&self) -> Result<()> {
        Ok(self.file.sync_data()?)
    }

    fn settle(&self) -> Result<()> {
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
