//! A store is cut at every operation of its file system, under every kind of loss, and must keep its promises;
//! and the explorer that says so must find planted bugs.
//!
//! `TERRACE_CRASH_FULL=1` stops at every operation of the workload and of every recovery; `trust crash` does so for many workloads.
//! In between: `TERRACE_CRASH_STRIDE=1` stops at every operation of the workload, `TERRACE_CRASH_INNER=n` crashes
//! the recovery at n of these points, `TERRACE_CRASH_SEED=n` makes another workload.

mod planted;

use std::path::Path;
use std::sync::Arc;

use terrace::{CrashPolicy, Durability, Env, Fs, ManualClock, Options, PowerLoss, SeededRng, SimFs};
use terrace_sim::crash::{Exploration, INTERVAL, Report};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn exploration(durability: Durability) -> Exploration {
    let mut exploration = Exploration::new(durability);
    exploration.seed = number("TERRACE_CRASH_SEED").unwrap_or(1);
    if number("TERRACE_CRASH_FULL").is_none() {
        exploration.stride = number("TERRACE_CRASH_STRIDE").unwrap_or(40) as usize;
        exploration.inner_points = number("TERRACE_CRASH_INNER").unwrap_or(6) as usize;
        (exploration.dice, exploration.inner_stride) = (2, 9);
    }
    exploration
}

fn explore(durability: Durability) -> Report {
    let report = exploration(durability).explore(2);
    println!("{durability:?}: {report}");
    report
}

fn keeps_its_promises(durability: Durability) {
    let report = explore(durability);
    assert_eq!(report.violations, 0, "{report}");
    assert!(report.points >= 100 && report.crashes >= report.points * CrashPolicy::ALL.len(), "{report}");
    assert!(report.inner_crashes >= 50, "{report}");
}

#[test]
fn a_store_without_a_log_keeps_what_was_flushed() {
    keeps_its_promises(Durability::Memory);
}

#[test]
fn a_process_store_keeps_acknowledged_writes_through_the_death_of_the_process() {
    keeps_its_promises(Durability::Process);
}

#[test]
fn an_interval_store_keeps_what_was_synced_through_a_power_loss() {
    keeps_its_promises(Durability::Interval(INTERVAL));
}

#[test]
fn a_sync_store_keeps_acknowledged_writes_through_a_power_loss() {
    keeps_its_promises(Durability::Sync);
}

/// The explorer found that a process which died between making the store's directory and syncing the one above
/// left a trap: the next process took the directory for settled, and a power loss took the store with it,
/// durable writes and all.
#[test]
fn a_store_in_a_directory_that_a_dead_process_had_made_survives_a_power_loss() {
    let dir = Path::new("/data/store");
    let sim = SimFs::new();
    sim.stop_at(2);
    sim.create_dir_all(dir).unwrap_err();
    let sim = sim.crash(CrashPolicy::ProcessDeath, 0);
    assert!(sim.exists(dir).unwrap());
    let open = |sim: &SimFs| {
        let (clock, rng) = (Arc::new(ManualClock::default()), Arc::new(SeededRng::new(1)));
        Options::new().env(Env::inline(Arc::new(sim.clone()), clock, rng)).open(dir).unwrap()
    };
    let db = open(&sim);
    db.put("key", "value").unwrap();
    db.sync().unwrap();
    let left = sim.crash(CrashPolicy::PowerLoss(PowerLoss::LoseUnsynced), 0);
    assert_eq!(open(&left).get("key").unwrap().as_deref(), Some(&b"value"[..]));
}

/// Explores a small script with and without a planted bug; the first must fail and the second must not.
fn is_caught(durability: Durability, plant: impl Fn(&mut Exploration)) {
    let mut exploration = Exploration { length: 16, stride: 40, dice: 1, ..Exploration::new(durability) };
    exploration.inner_points = 0;
    let sound = exploration.explore(2);
    assert_eq!(sound.violations, 0, "without the bug: {sound}");
    plant(&mut exploration);
    let sick = exploration.explore(2);
    println!("{durability:?}: {sick}");
    assert!(sick.violations > 0, "the planted bug was not found: {sick}");
}

#[test]
fn a_dropped_directory_sync_is_caught() {
    is_caught(Durability::Sync, |exploration| exploration.file_system = planted::without_directory_syncs);
    is_caught(Durability::Process, |exploration| exploration.file_system = planted::with_forgotten_tables);
}

#[test]
fn a_dropped_sync_is_caught() {
    is_caught(Durability::Sync, |exploration| exploration.file_system = planted::without_syncs);
}

#[test]
fn a_reordered_manifest_edit_is_caught() {
    is_caught(Durability::Process, |exploration| exploration.file_system = planted::with_late_edits);
}
