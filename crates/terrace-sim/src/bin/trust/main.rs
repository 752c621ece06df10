//! `trust`: the parts of the harness as commands, each bounded in time and ended by one line of counters.
//!
//! `trust PART [--minutes N] [--jobs N] [--from-seed N] [--seeds N]` prints `trust PART name=number …
//! violations=number seconds=number` and ends with status 1 if there was a violation; what was wrong goes to
//! standard error, with the command that does it again.

mod arguments;
mod parts;

use std::process::ExitCode;
use std::time::Instant;

use terrace_sim::kill::{CHILD, run_child};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [first, rest @ ..] = &words[..]
        && first == CHILD
    {
        eprintln!("the victim: {}", run_child(rest));
        return ExitCode::FAILURE;
    }
    let arguments = match arguments::parse(words.into_iter()) {
        Ok(arguments) => arguments,
        Err(detail) => {
            eprintln!("{detail}\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    let start = Instant::now();
    // Panics of the store are caught and reported with the seed; the traces would bury that.
    std::panic::set_hook(Box::new(|_| {}));
    let tally = parts::run(&arguments);
    for detail in tally.described() {
        eprintln!("{detail}");
    }
    println!("trust {} {tally} seconds={}", arguments.part, start.elapsed().as_secs());
    if tally.violations() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
