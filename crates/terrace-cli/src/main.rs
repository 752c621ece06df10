//! The `terrace` binary: a server, a command line and a benchmark on one directory format.
//!
//! This file reads the command line, calls one verb and turns its result into an exit code ([`exit`]). A verb
//! never calls `std::process::exit`: an open store must be dropped, whatever happens.

mod codec;
mod exit;
mod figures;
mod memory;
mod progress;
mod store;
mod table;
mod units;
mod verbs;

use std::process::ExitCode;

use clap::Parser;

use verbs::Verb;

/// Threads of a server and of a compaction free what others allocated; mimalloc is good at that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A sharded, durable key-value store: server, command line and benchmark.
#[derive(Parser)]
#[command(name = "terrace", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the key is not there (get)
  2  wrong usage
  3  the store refused: missing, locked, damaged, full
  4  input or output outside the store: a bad line, an unreadable file
  5  the server cannot start, cannot be reached or answered with an error
  6  a check found damage or a difference (verify, inspect, backup list, backup verify,
     bench --verify), or a repair could not save everything";

fn main() -> ExitCode {
    match Cli::parse().verb.run() {
        Ok(code) => ExitCode::from(code as u8),
        // The reader has seen enough.
        Err(error) if exit::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("terrace: {}", exit::in_words(&error));
            ExitCode::from(exit::code_of(&error) as u8)
        }
    }
}
