//! Running a script on a simulated disk up to the moment at which the machine stops.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use terrace::{Db, Durability, Env, Error, Fs, ManualClock, Options, SeededRng, WriteOptions};

use super::script::{Cell, Script, Step};

/// Where the store lives on the simulated disk.
pub(super) const DIR: &str = "/data/store";

/// How far a run got, and what it may rely on from there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Progress {
    /// Writes acknowledged.
    pub(super) acknowledged: usize,
    /// Writes begun; one more than acknowledged if the machine stopped inside one.
    pub(super) attempted: usize,
    /// Writes whose survival of a power loss was acknowledged, by whatever means.
    pub(super) durable: usize,
    /// Keyspace operations acknowledged.
    pub(super) registry_acknowledged: usize,
    /// Keyspace operations begun.
    pub(super) registry_attempted: usize,
}

/// The options of every store here: as small as they go, so that a short run flushes and compacts.
pub(super) fn options(fs: Arc<dyn Fs>, durability: Durability) -> Options {
    let env = Env::inline(fs, Arc::new(ManualClock::default()), Arc::new(SeededRng::new(1)));
    Options::new()
        .memory_budget(4 << 20)
        .write_buffer(256 << 10)
        .shards(4)
        .table_bytes(64 << 10)
        .block_bytes(2 << 10)
        .l0_runs(2)
        .level_ratio(3)
        .blob_from(2000)
        .durability(durability)
        .env(env)
}

/// Runs `script` on `fs` to its end, and keeps `progress` up to date for whoever watches the disk.
///
/// Fails when a step fails.
pub(super) fn run(
    script: &Script,
    fs: &Arc<dyn Fs>,
    durability: Durability,
    progress: &Mutex<Progress>,
) -> Result<(), String> {
    let mut runner = Runner { db: None, durability, progress, fs };
    for (number, step) in script.steps.iter().enumerate() {
        runner.step(step).map_err(|error| format!("step {number} failed without a crash: {error}"))?;
    }
    Ok(())
}

struct Runner<'a> {
    fs: &'a Arc<dyn Fs>,
    durability: Durability,
    db: Option<Db>,
    progress: &'a Mutex<Progress>,
}

impl Runner<'_> {
    fn step(&mut self, step: &Step) -> Result<(), Error> {
        let registry_step = matches!(step, Step::Create(_) | Step::Drop(_) | Step::Clear(_));
        {
            let mut progress = self.progress.lock();
            progress.attempted += usize::from(matches!(step, Step::Write { .. } | Step::DeleteRange { .. }));
            progress.registry_attempted += usize::from(registry_step);
        }
        let made_durable = self.act(step)?;
        let mut progress = self.progress.lock();
        progress.acknowledged = progress.attempted;
        progress.registry_acknowledged = progress.registry_attempted;
        if made_durable {
            progress.durable = progress.acknowledged;
        }
        Ok(())
    }

    /// Performs a step; `true` if it promises that everything so far survives a power loss.
    fn act(&mut self, step: &Step) -> Result<bool, Error> {
        if let Step::Open = step {
            let options = options(Arc::clone(self.fs), self.durability);
            self.db = Some(options.open(Path::new(DIR))?);
            return Ok(false);
        }
        let Some(db) = self.db.clone() else { return Err(Error::Closed) };
        match step {
            Step::Open => {}
            Step::Write { cells, raised } => {
                write(&db, cells, *raised)?;
                return Ok(*raised || self.durability == Durability::Sync);
            }
            Step::DeleteRange { cells } => {
                if let [first, ..] = &cells[..]
                    && let Some(last) = cells.last()
                {
                    db.keyspace(first.keyspace)?.delete_range(&first.key[..]..=&last.key[..])?;
                }
                return Ok(self.durability == Durability::Sync);
            }
            Step::Create(name) => return db.keyspace(name).map(|_| false),
            Step::Drop(name) => return db.drop_keyspace(name).map(|()| false),
            Step::Clear(name) => return db.keyspace(name)?.clear().map(|()| false),
            Step::Flush => db.flush()?,
            Step::CompactAll => db.compact_all()?,
            Step::CompactRange => db.compact("key010".."key060")?,
            Step::Sync => db.sync()?,
            Step::Close => {
                self.db = None;
                db.close()?;
            }
        }
        Ok(true)
    }
}

fn write(db: &Db, cells: &[Cell], raised: bool) -> Result<(), Error> {
    let how = if raised { WriteOptions::new().durability(Durability::Sync) } else { WriteOptions::new() };
    if let [cell] = cells {
        let keyspace = db.keyspace(cell.keyspace)?;
        return match cell.id {
            Some(id) => keyspace.put_with(&cell.key, super::script::value(id), how),
            None => keyspace.delete_with(&cell.key, how),
        };
    }
    let mut batch = db.batch();
    for cell in cells {
        let keyspace = db.keyspace(cell.keyspace)?;
        match cell.id {
            Some(id) => batch.put_in(&keyspace, &cell.key, super::script::value(id), WriteOptions::new()),
            None => batch.delete_in(&keyspace, &cell.key),
        };
    }
    if raised { batch.commit_with(Durability::Sync) } else { batch.commit() }.map(|_| ())
}

/// A period for [`Durability::Interval`]. Nothing happens at its end: a store without threads has no timer.
pub const INTERVAL: Duration = Duration::from_millis(100);
