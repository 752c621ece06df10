//! One function for each part: what a seed of it does.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use terrace::Durability;
use terrace_sim::crash::Exploration;
use terrace_sim::damage::damage_all;
use terrace_sim::errors::Errors;
use terrace_sim::kill::{Victim, cycles};
use terrace_sim::linear::histories;
use terrace_sim::metamorphic::alike;
use terrace_sim::simulation::{self, STEPS, Steps, shrink};
use terrace_sim::spread::spread;
use terrace_sim::tally::Tally;

use crate::arguments::Arguments;

/// Runs a part to its end.
pub(crate) fn run(arguments: &Arguments) -> Tally {
    match &arguments.part[..] {
        "seeds" => spread(&arguments.limits, |seed| seeds(seed, arguments.steps.as_ref())),
        "damage" => spread(&arguments.limits, damage_all),
        "errors" => spread(&arguments.limits, |seed| {
            Errors { seed: seed / 2, durability: durability(seed % 2), stride: 1 }.inject_all()
        }),
        "alike" => spread(&arguments.limits, alike),
        "linear" => spread(&arguments.limits, histories),
        "kill" => kill(arguments),
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

/// Tries before a failing run counts as small enough.
const SHRINKING: usize = 300;

fn seeds(seed: u64, only: Option<&Steps>) -> Tally {
    let steps = only.cloned().unwrap_or_else(|| Steps::up_to(STEPS));
    let mut tally = simulation::run(seed, &steps, false).tally;
    if tally.violations() > 0 {
        let fails = |steps: &Steps| simulation::run(seed, steps, false).tally.violations() > 0;
        let few = if only.is_some() { steps } else { shrink(&steps, SHRINKING, fails) };
        let detail = simulation::run(seed, &few, false).tally.described().join("; ");
        tally.violation(format!(
            "made smaller: {detail}\n  replay: trust seeds --from-seed {seed} --seeds 1 --steps {few}"
        ));
    }
    tally
}

/// Half of the stores are a program's, half a server's.
fn kill(arguments: &Arguments) -> Tally {
    let beside = std::env::current_exe().map(|path| path.with_file_name("terrace")).unwrap_or_default();
    let server = arguments.rest.first().map_or(beside, PathBuf::from);
    let start = Instant::now();
    spread(&arguments.limits, |seed| {
        let victim = if seed % 2 == 0 { Victim::Library } else { Victim::Server(server.clone()) };
        cycles(&victim, seed, || start.elapsed() < arguments.limits.time)
    })
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
