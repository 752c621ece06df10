//! Real kills: a process writes with many threads or connections, gets SIGKILL at a random moment, and what it
//! has acknowledged must be there.
//!
//! The keys form groups; every write gives all keys of one group the same new version, as one batch. A writer
//! knows of each group the version it has sent last and the one that was acknowledged last (`ledger`). After a
//! kill, a scan of the store must find in each group one version, on all its keys, that lies between the two.
//! Values follow from key and version, so every byte is checked.
//!
//! This covers the death of the process on a real file system. What a power loss costs is the business of the
//! simulated disk.

mod child;
mod groups;
mod ledger;
mod server;

use std::io;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::Duration;

use terrace::{Db, Options, Rng, SeededRng};

pub use self::child::{CHILD, run_child};

use self::groups::Check;
use self::ledger::Ledger;
use self::server::Clients;
use crate::tally::Tally;

/// Who is killed.
#[derive(Clone, Debug)]
pub enum Victim {
    /// A program that uses the library: this executable, started again with [`CHILD`] as its first argument.
    Library,
    /// `terrace serve`, from this executable.
    Server(PathBuf),
}

/// The levels of durability that survive the death of the process, as `terrace serve` calls them.
const LEVELS: [&str; 3] = ["process", "interval", "sync"];
/// Cycles on one store before a new one is made.
const CYCLES_PER_STORE: u64 = 60;
/// Threads of the library's victim, connections to the server's.
const WRITERS: usize = 8;

/// Options of the stores here: small buffers, so that kills meet flushes and compactions.
fn options() -> Options {
    Options::new().memory_budget(64 << 20).write_buffer(2 << 20).table_bytes(1 << 20).blob_from(64)
}

/// Makes a store, kills its process time and again, and checks it each time. One seed is one store.
pub fn cycles(victim: &Victim, seed: u64, goes_on: impl Fn() -> bool) -> Tally {
    let mut tally = Tally::default();
    let outcome = try_cycles(victim, seed, &goes_on, &mut tally);
    if let Err(error) = outcome {
        tally.violation(format!("seed {seed}, {victim:?}: {error}"));
    }
    tally
}

fn try_cycles(
    victim: &Victim,
    seed: u64,
    goes_on: &impl Fn() -> bool,
    tally: &mut Tally,
) -> Result<(), String> {
    let text = |error: io::Error| error.to_string();
    let rng = SeededRng::new(seed);
    let dir = tempfile::tempdir().map_err(text)?;
    let store = dir.path().join("store");
    let mut ledgers: Vec<Ledger> = (0..WRITERS).map(|_| Ledger::new()).collect();
    for cycle in 0..CYCLES_PER_STORE {
        if !goes_on() {
            break;
        }
        let level = LEVELS[((seed + cycle) % 3) as usize];
        let life = Duration::from_millis(20 + rng.below(300));
        match victim {
            Victim::Library => live_and_die_as_library(dir.path(), level, life, rng.next_u64(), &mut ledgers),
            Victim::Server(program) => Clients::new(program, &store, level)
                .and_then(|clients| clients.write_until_killed(life, &rng, &mut ledgers)),
        }
        .map_err(|error| format!("cycle {cycle}: {error}"))?;
        let check = check_store(&store, &mut ledgers).map_err(|detail| {
            format!("cycle {cycle}, level {level}: {detail}; the store is lost with its directory")
        })?;
        tally.add("cycles", 1);
        tally.add(format!("cycles_{level}"), 1);
        tally.add("checked", check.keys);
        tally.add("batches_whole", check.groups);
        tally.add("lost_unacknowledged", check.unacknowledged_lost);
        tally.add("kept_unacknowledged", check.unacknowledged_kept);
    }
    for ledger in &ledgers {
        tally.add("acknowledged", ledger.acknowledged_keys());
    }
    Ok(())
}

/// Starts the child, lets it live for a while, and reads its ledgers.
fn live_and_die_as_library(
    dir: &Path,
    level: &str,
    life: Duration,
    seed: u64,
    ledgers: &mut [Ledger],
) -> Result<(), String> {
    for (writer, ledger) in ledgers.iter().enumerate() {
        ledger.store(&ledger_path(dir, writer)).map_err(|error| error.to_string())?;
    }
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let child = std::process::Command::new(program)
        .args([CHILD, &dir.to_string_lossy(), level, &seed.to_string()])
        .spawn();
    let child = child.map_err(|error| error.to_string())?;
    thread::sleep(life);
    kill(child)?;
    for (writer, ledger) in ledgers.iter_mut().enumerate() {
        ledger.load(&ledger_path(dir, writer)).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn ledger_path(dir: &Path, writer: usize) -> PathBuf {
    dir.join(format!("ledger{writer}"))
}

/// Kills a process that must still be alive.
fn kill(mut child: Child) -> Result<(), String> {
    let ended = child.try_wait().map_err(|error| error.to_string())?;
    let killed = child.kill().and_then(|()| child.wait());
    match (ended, killed) {
        (Some(status), _) => Err(format!("the victim ended by itself: {status}")),
        (None, Err(error)) => Err(format!("cannot kill: {error}")),
        (None, Ok(_)) => Ok(()),
    }
}

/// Opens the store, compares everything with the ledgers, and brings these up to date.
fn check_store(store: &Path, ledgers: &mut [Ledger]) -> Result<Check, String> {
    let db: Db = options().open(store).map_err(|error| format!("does not open: {error}"))?;
    let check = groups::check(&db, ledgers)?;
    db.close().map_err(|error| format!("does not close: {error}"))?;
    Ok(check)
}
