//! The library's victim: opens the store and writes with many threads until it is killed.

use std::error::Error;
use std::path::Path;
use std::thread;
use std::time::Duration;

use terrace::{Db, Durability, SeededRng, WriteOptions};

use super::groups::{GROUPS, deletes, key, keys_in, value};
use super::ledger::{Ledger, LedgerFile};
use super::{WRITERS, ledger_path, options};

/// The first argument of an executable that is to be the victim.
pub const CHILD: &str = "kill-child";

/// The victim's life: `arguments` are the directory, the level of durability and a seed. Returns only when
/// something is wrong.
pub fn run_child(arguments: &[String]) -> Box<dyn Error> {
    match write_for_ever(arguments) {
        Ok(()) => "the writers ended".into(),
        Err(error) => error,
    }
}

fn write_for_ever(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [dir, level, seed] = arguments else { return Err("expected DIR LEVEL SEED".into()) };
    let (dir, seed) = (Path::new(dir), seed.parse::<u64>()?);
    let durability = match &level[..] {
        "process" => Durability::Process,
        "interval" => Durability::Interval(Duration::from_millis(20)),
        _ => Durability::Sync,
    };
    let db = options().durability(durability).open(dir.join("store"))?;
    let write = |writer: usize| write(&db, dir, writer, seed).map_err(|error| error.to_string());
    thread::scope(|scope| {
        let write = &write;
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
        for writer in writers {
            writer.join().map_err(|_| "a writer panicked")??;
        }
        Ok(())
    })
}

fn write(db: &Db, dir: &Path, writer: usize, seed: u64) -> Result<(), Box<dyn Error>> {
    let rng = SeededRng::new(seed ^ ((writer as u64) << 40));
    let path = ledger_path(dir, writer);
    let (mut ledger, file) = (Ledger::new(), LedgerFile::open(&path)?);
    ledger.load(&path)?;
    loop {
        let group = rng.below(GROUPS as u64) as usize;
        let version = ledger.send(group);
        file.send(group, version)?;
        let keys = (0..keys_in(group)).map(|member| key(writer, group, member));
        match (keys_in(group), deletes(version)) {
            (1, true) => db.delete(key(writer, group, 0))?,
            (1, false) => {
                let key = key(writer, group, 0);
                db.put_with(&key, value(&key, version), WriteOptions::new())?;
            }
            (_, true) => {
                let mut batch = db.batch();
                for key in keys {
                    batch.delete(&key);
                }
                batch.commit()?;
            }
            (_, false) => {
                let mut batch = db.batch();
                for key in keys {
                    batch.put(&key, value(&key, version));
                }
                batch.commit()?;
            }
        }
        file.acknowledge(group, version)?;
    }
}
