//! The same operations under different options give the same answers.
//!
//! A seed makes a herd: stores with 1, 16 and 64 shards and otherwise random options, on simulated disks, and one on
//! the real file system with its threads. All get the same operations (`operation`), and after each one all must have
//! answered alike, entry for entry and error for error. Flushes, compactions, syncs and reopenings come to one store
//! at a time, so that the same entry lies in a memtable here and in a table of the last level there. No model takes
//! part: which answer is right is the business of `workload`.

mod operation;

use std::sync::Arc;
use std::time::Duration;

use terrace::{Clock, Db, Env, Error, ManualClock, Options, Rng, SeededRng, SimFs, Snapshot};

use self::operation::{Answer, Operation, Upkeep};
use crate::tally::Tally;
use crate::workload::{StillClock, random_options};

/// Operations of one herd.
const STEPS: u64 = 1_200;
/// Stores on simulated disks; one more is on the real file system.
const SIMULATED: u64 = 4;
/// Snapshots that are held at a time.
const SNAPSHOTS: usize = 3;

/// One store of a herd.
struct Twin {
    options: Options,
    dir: std::path::PathBuf,
    db: Db,
    /// The same moments in every twin.
    snapshots: Vec<Snapshot>,
}

impl Twin {
    fn new(env: Env, dir: std::path::PathBuf, rng: &SeededRng, shards: usize) -> Result<Self, Error> {
        let options = random_options(rng).0.shards(shards).env(env);
        let db = options.clone().open(&dir)?;
        Ok(Self { options, dir, db, snapshots: Vec::new() })
    }

    fn upkeep(&mut self, upkeep: Upkeep) -> Result<(), Error> {
        match upkeep {
            Upkeep::Flush => self.db.flush(),
            Upkeep::Compact => self.db.compact_all(),
            Upkeep::Sync => self.db.sync(),
            Upkeep::Reopen => {
                self.db.close()?;
                self.db = self.options.clone().open(&self.dir)?;
                Ok(())
            }
        }
    }
}

/// Runs the herd of a seed.
pub fn alike(seed: u64) -> Tally {
    let mut tally = Tally::default();
    tally.add("herds", 1);
    match tempfile::tempdir() {
        Ok(real) => {
            if let Err(detail) = run(seed, real.path(), &mut tally) {
                tally.violation(format!("{detail}\n  replay: trust alike --from-seed {seed} --seeds 1"));
            }
        }
        Err(error) => tally.violation(format!("seed {seed}: no directory for a store: {error}")),
    }
    tally
}

fn run(seed: u64, real: &std::path::Path, tally: &mut Tally) -> Result<(), String> {
    let rng = SeededRng::new(seed);
    let clock = Arc::new(ManualClock::default());
    let mut twins = herd(&rng, &clock, real).map_err(|error| format!("seed {seed}: no herd: {error}"))?;
    for step in 1..=STEPS {
        match rng.below(100) {
            0..=1 => clock.advance(Duration::from_millis(rng.below(3_000))),
            2..=5 => {
                let (at, upkeep) = (rng.below(twins.len() as u64) as usize, Upkeep::draw(&rng));
                if upkeep == Upkeep::Reopen {
                    for twin in &mut twins {
                        twin.snapshots.clear();
                    }
                }
                let done = twins[at].upkeep(upkeep);
                done.map_err(|error| format!("seed {seed}, step {step}: {upkeep:?} of {at}: {error}"))?;
                tally.add("upkeep", 1);
            }
            6..=7 => {
                for twin in &mut twins {
                    if twin.snapshots.len() == SNAPSHOTS {
                        twin.snapshots.remove(0);
                    }
                    twin.snapshots.push(twin.db.snapshot());
                }
            }
            _ => {
                let operation = Operation::draw(&rng, step);
                let answers = twins.iter().map(|twin| operation.apply(&twin.db, &twin.snapshots));
                compare(&answers.collect::<Vec<_>>(), &operation, &twins)
                    .map_err(|detail| format!("seed {seed}, step {step}: {detail}"))?;
                tally.add("answers", twins.len() as u64);
            }
        }
    }
    for (at, twin) in twins.into_iter().enumerate() {
        drop(twin.snapshots);
        twin.db.close().map_err(|error| format!("seed {seed}: closing {at}: {error}"))?;
    }
    Ok(())
}

fn herd(rng: &SeededRng, clock: &Arc<ManualClock>, real: &std::path::Path) -> Result<Vec<Twin>, Error> {
    let still = || -> Arc<dyn Clock> { Arc::new(StillClock::new(clock)) };
    let mut twins = Vec::new();
    for n in 0..SIMULATED {
        let source: Arc<dyn Rng> = Arc::new(SeededRng::new(rng.next_u64()));
        let env = Env::inline(Arc::new(SimFs::new()), still(), source);
        twins.push(Twin::new(env, "/store".into(), rng, [1, 16, 64, 2][n as usize % 4])?);
    }
    let mut env = Env::default();
    env.clock = still();
    let shards = [1, 16, 64][rng.below(3) as usize];
    twins.push(Twin::new(env, real.join("store"), rng, shards)?);
    Ok(twins)
}

/// Whether all have answered alike; if not, who differs from the first.
fn compare(answers: &[Answer], operation: &Operation, twins: &[Twin]) -> Result<(), String> {
    let Some((first, others)) = answers.split_first() else { return Ok(()) };
    match others.iter().position(|other| other != first) {
        None => Ok(()),
        Some(at) => {
            let (found, options) = (&others[at], [&twins[0].options, &twins[at + 1].options]);
            Err(format!("{operation:?}: {first:?} and {found:?} under {options:#?}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_under_different_options_answer_alike() {
        let mut tally = Tally::default();
        for seed in 1..=6 {
            tally.merge(alike(seed));
        }
        assert_eq!(tally.violations(), 0, "{:?}", tally.described());
        assert!(tally.count("answers") > 6 * STEPS, "{tally}");
    }

    /// A herd that never disagrees would prove nothing.
    #[test]
    fn a_store_that_missed_a_write_is_found() {
        let (rng, clock) = (SeededRng::new(1), Arc::new(ManualClock::default()));
        let real = tempfile::tempdir().unwrap();
        let twins = herd(&rng, &clock, real.path()).unwrap();
        twins[3].db.put("k000", "only here").unwrap();
        let answers = |operation: &Operation| {
            let all: Vec<_> = twins.iter().map(|twin| operation.apply(&twin.db, &[])).collect();
            compare(&all, operation, &twins)
        };
        let get = |key: &str| Operation::Get { keyspace: 0, keys: vec![key.into()], snapshot: None };
        assert_eq!(answers(&get("k001")), Ok(()));
        assert!(answers(&get("k000")).is_err());
    }
}
