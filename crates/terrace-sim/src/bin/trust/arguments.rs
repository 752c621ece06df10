//! The command line of `trust`.

use std::time::Duration;

use terrace_sim::simulation::Steps;
use terrace_sim::spread::Limits;

/// What to print when the command line makes no sense.
pub(crate) const USAGE: &str = "\
usage: trust PART [--minutes N] [--jobs N] [--from-seed N] [--seeds N] [--steps LIST]
  seeds    deterministic simulation: random operations, faults and crashes against a model
  crash    every operation of a workload x every kind of crash, and crashes inside recovery
  damage   every bit flipped, every length cut, files swapped, emptied, doubled and deleted
  errors   every call of every kind made to fail
  alike    the same operations under different options, answers compared
  linear   concurrent histories checked for linearizability
  kill     real processes killed with SIGKILL, and everything acknowledged looked for;
           `trust kill PATH` names the terrace executable, by default the one beside this one
  fuzz     every decoder fed with mutations of the committed corpus
  --minutes    begin nothing after this time; 1 if not given
  --jobs       threads; as many as there are cores if not given
  --from-seed  the first seed; 1 if not given
  --seeds      how many seeds at most
  --steps      seeds: only these steps of the run, such as 1-5,9; as a failing seed prints it";

/// The command line.
#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    pub(crate) part: String,
    pub(crate) limits: Limits,
    /// Steps of a simulated run that is to be replayed.
    pub(crate) steps: Option<Steps>,
    /// What follows that is for the part itself.
    pub(crate) rest: Vec<String>,
}

/// Reads the command line.
pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let part = words.next().ok_or("no part named")?;
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let limits = Limits { time: Duration::from_secs(60), jobs, from_seed: 1, seeds: u64::MAX };
    let mut arguments = Arguments { part, limits, steps: None, rest: Vec::new() };
    while let Some(word) = words.next() {
        if !word.starts_with("--") {
            arguments.rest.push(word);
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let number = |value: &str| value.parse().map_err(|_| format!("{word} {value}: not a number"));
        let limits = &mut arguments.limits;
        match &word[..] {
            "--minutes" => {
                let minutes: f64 = value.parse().map_err(|_| format!("{word} {value}: not a number"))?;
                limits.time = Duration::try_from_secs_f64(minutes * 60.0).map_err(|e| e.to_string())?;
            }
            "--jobs" => limits.jobs = number(&value)? as usize,
            "--from-seed" => limits.from_seed = number(&value)?,
            "--seeds" => limits.seeds = number(&value)?,
            "--steps" => arguments.steps = Some(value.parse()?),
            _ => return Err(format!("unknown option {word}")),
        }
    }
    Ok(arguments)
}
