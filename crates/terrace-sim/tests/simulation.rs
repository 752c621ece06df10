//! Seeds of the simulation: each is one run, byte for byte, and keeps every promise; and the simulation finds a
//! disk that lies.
//!
//! `trust seeds` runs as many as there is time for.

use terrace::SimFs;
use terrace_sim::simulation::{STEPS, Steps, run, run_on, shrink};

#[test]
fn a_seed_is_one_run_byte_for_byte() {
    for seed in 1..=12 {
        let steps = Steps::up_to(STEPS);
        let [first, second] = [0, 1].map(|_| run(seed, &steps, true));
        assert_eq!(first.tally.violations(), 0, "{:?}", first.tally.described());
        assert_ne!(first.digest, 0);
        assert_eq!(first.digest, second.digest, "seed {seed}");
        assert_eq!(first.tally.to_string(), second.tally.to_string(), "seed {seed}");
        assert_ne!(first.digest, run(seed + 1000, &steps, true).digest);
    }
}

#[test]
fn a_store_on_a_failing_machine_keeps_its_promises() {
    let mut sum = terrace_sim::tally::Tally::default();
    for seed in 100..160 {
        sum.merge(run(seed, &Steps::up_to(STEPS), false).tally);
    }
    assert_eq!(sum.violations(), 0, "{:#?}", sum.described());
    println!("{sum}");
    for kind in ["process_deaths", "losses_of_all_unsynced", "crashes_in_recovery", "reopenings_after_faults"]
    {
        assert!(sum.count(kind) > 20, "{kind}: {sum}");
    }
    assert!(sum.count("background_steps") > 1_000, "{sum}");
}

/// The first seed whose run on such a disk breaks a promise.
fn caught(sabotage: fn(&SimFs)) -> Option<u64> {
    (1..60).find(|seed| violates(sabotage, *seed, &Steps::up_to(STEPS)))
}

fn violates(sabotage: fn(&SimFs), seed: u64, steps: &Steps) -> bool {
    let disk = SimFs::new();
    sabotage(&disk);
    run_on(disk, seed, steps, false).tally.violations() > 0
}

#[test]
fn a_disk_that_does_not_sync_is_caught_and_the_run_made_smaller() {
    let lies: fn(&SimFs) = |disk| disk.ignore_sync(true);
    let seed = caught(lies).expect("a seed finds it");
    let few = shrink(&Steps::up_to(STEPS), 120, |steps| violates(lies, seed, steps));
    println!("seed {seed}: {few}");
    assert!(few.len() < 100 && violates(lies, seed, &few), "{few}");
    assert!(caught(|disk| disk.ignore_sync_dir(true)).is_some());
}
