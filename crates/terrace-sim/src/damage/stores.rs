//! Small stores with files of every kind: some were closed, some died with writes in the log; some blocks are
//! compressed, some keys share prefixes, some keyspaces have little in them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use terrace::{Compression, CrashPolicy, Db, Durability, Env, Error, ManualClock, Options, PowerLoss};
use terrace::{SeededRng, SimFs};

use super::counting_files;

pub(super) const DIR: &str = "/store";

/// The entries of a keyspace.
pub(super) type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// The keyspaces.
pub(super) type Keyspaces = BTreeMap<String, Model>;

/// Writes beyond the last sync of a store whose process died.
const UNSYNCED: usize = 3;

/// Different keys.
const KEYS: u64 = 24;

/// A store on a disk, and what it holds.
pub(super) struct Store {
    pub(super) disk: SimFs,
    pub(super) keyspaces: Keyspaces,
    /// What it held before its last write, if no sync has followed that.
    pub(super) before_unsynced: Option<Keyspaces>,
    options: Options,
}

fn value(rng: &SeededRng) -> Vec<u8> {
    let (len, fill) = (rng.below(60), rng.below(256));
    // Half of it compresses well.
    (0..len).map(|at| if at % 2 == 0 { fill as u8 } else { rng.below(256) as u8 }).collect()
}

fn key(n: u64) -> Vec<u8> {
    format!("key{n:03}").into_bytes()
}

impl Store {
    /// The store of a seed.
    pub(super) fn new(seed: u64) -> Self {
        let rng = SeededRng::new(seed);
        let options = Options::new()
            .memory_budget(4 << 20)
            .write_buffer(256 << 10)
            .shards(if seed % 3 == 1 { 1 } else { [1, 2, 4][rng.below(3) as usize] })
            .table_bytes(64 << 10)
            .block_bytes(512)
            .filter_bits_per_key([0, 10][rng.below(2) as usize])
            .compression(if rng.chance(50) { Compression::Lz4 } else { Compression::None })
            .compression_from_level(rng.below(2) as usize)
            .durability(if rng.chance(50) { Durability::Process } else { Durability::Sync })
            .blob_from(if seed.is_multiple_of(2) { 32 } else { 0 });
        let keyspaces = ["default", "other"].map(|name| (name.to_string(), Model::new())).into();
        let mut store = Self { disk: SimFs::new(), keyspaces, before_unsynced: None, options };
        let outcome = store.fill(&rng, seed % 3);
        outcome.expect("a small store is filled on a sound disk");
        store
    }

    /// Opens the store on a copy of its disk.
    pub(super) fn open(&self, disk: &SimFs) -> Result<Db, Error> {
        let (clock, rng) = (Arc::new(ManualClock::default()), Arc::new(SeededRng::new(5)));
        self.options.clone().env(Env::inline(Arc::new(disk.clone()), clock, rng)).open(Path::new(DIR))
    }

    /// The files to damage.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        counting_files(&self.disk)
    }

    /// Every key that may be there, and one that never is.
    pub(super) fn keys() -> impl Iterator<Item = Vec<u8>> {
        (0..=KEYS).map(key)
    }

    /// Fills it, and leaves it as a close, the death of the process or a power loss does.
    fn fill(&mut self, rng: &SeededRng, end: u64) -> Result<(), Error> {
        let disk = SimFs::new();
        let db = self.open(&disk)?;
        self.write(&db, rng, 20)?;
        db.compact_all()?;
        self.write(&db, rng, 12)?;
        db.flush()?;
        self.write(&db, rng, 10)?;
        if end == 0 {
            db.close()?;
            self.disk = disk;
            return Ok(());
        }
        db.sync()?;
        // The second sync makes durable what the first one has achieved.
        self.write(&db, rng, 1)?;
        db.sync()?;
        if end == 1 {
            // With one lane, nothing but the lane itself tells of a record that is missing before these.
            for _ in 0..UNSYNCED {
                self.before_unsynced = Some(self.keyspaces.clone());
                self.write(&db, rng, 1)?;
            }
        }
        let policy =
            if end == 1 { CrashPolicy::ProcessDeath } else { CrashPolicy::PowerLoss(PowerLoss::KeepAll) };
        self.disk = disk.crash(policy, 0);
        disk.stop_at(0);
        Ok(())
    }

    fn write(&mut self, db: &Db, rng: &SeededRng, count: u64) -> Result<(), Error> {
        for _ in 0..count {
            let name = if rng.chance(80) { "default" } else { "other" };
            let keyspace = db.keyspace(name)?;
            let model = self.keyspaces.entry(name.to_string()).or_default();
            let mut batch = db.batch();
            let entries = if rng.chance(20) { 4 } else { 1 };
            for _ in 0..entries {
                let key = key(rng.below(KEYS));
                if rng.chance(15) {
                    batch.delete_in(&keyspace, &key);
                    model.remove(&key);
                } else {
                    let value = value(rng);
                    batch.put_in(&keyspace, &key, &value, terrace::WriteOptions::new());
                    model.insert(key, value);
                }
            }
            batch.commit()?;
        }
        Ok(())
    }
}
