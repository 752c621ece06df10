//! One function for each part: what a seed of it does.

use std::time::Duration;

use terrace::Durability;
use terrace_sim::crash::Exploration;
use terrace_sim::spread::spread;
use terrace_sim::tally::Tally;

use crate::arguments::Arguments;

/// Runs a part to its end.
pub(crate) fn run(arguments: &Arguments) -> Tally {
    match &arguments.part[..] {
        "crash" => spread(&arguments.limits, crash),
        other => {
            let mut tally = Tally::default();
            tally.violation(format!("there is no part {other}"));
            tally
        }
    }
}

/// The levels of durability in turn.
fn durability(seed: u64) -> Durability {
    let interval = Durability::Interval(Duration::from_millis(100));
    [Durability::Process, Durability::Sync, interval, Durability::Memory][(seed % 4) as usize]
}

fn crash(seed: u64) -> Tally {
    let mut exploration = Exploration::new(durability(seed));
    (exploration.seed, exploration.length) = (seed, 8 + seed % 24);
    (exploration.dice, exploration.inner_points) = (2, 30);
    let report = exploration.explore(1);
    let mut tally = Tally::default();
    tally.add("operations", report.operations as u64);
    tally.add("points", report.points as u64);
    tally.add("crashes", report.crashes as u64);
    tally.add("crashes_in_recovery", report.inner_crashes as u64);
    for example in &report.examples {
        tally.violation(format!("{example}\n  replay: trust crash --from-seed {seed} --seeds 1"));
    }
    tally
}
