//! The verbs of the command line, one file each: its flags and what it does.

mod backup;
mod bench;
mod compact;
mod count;
mod del;
mod dump;
mod export;
mod flush;
mod get;
mod import;
mod inspect;
mod ping;
mod put;
mod repair;
mod scan;
mod serve;
mod shell;
mod stats;
mod verify;

use anyhow::Result;

use crate::exit::Code;

/// A verb with its flags.
#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Run a server that speaks the Redis protocol.
    Serve(serve::Serve),
    /// Ask whether a server is there.
    Ping(ping::Ping),
    /// Print the value of a key.
    Get(get::Get),
    /// Set a key to a value.
    Put(put::Put),
    /// Remove keys.
    Del(del::Del),
    /// List entries in key order.
    Scan(scan::Scan),
    /// Count entries.
    Count(count::Count),
    /// Show what the store holds and has done.
    Stats(stats::Stats),
    /// Make everything written so far survive a power loss.
    Flush(flush::Flush),
    /// Reorganise everything down to the bottom level.
    Compact(compact::Compact),
    /// Load entries from JSON lines, CSV or TSV.
    Import(import::Import),
    /// Write all entries as JSON lines, CSV or TSV.
    Export(export::Export),
    /// Read, set and list keys at a prompt.
    Shell(shell::Shell),
    /// Keep generations of a store in a directory of their own.
    Backup(backup::Backup),
    /// Check every checksum and every invariant of a store that nobody has open.
    Verify(verify::Verify),
    /// Salvage what is sound of a damaged store into a new one.
    Repair(repair::Repair),
    /// Show what a store that nobody has open consists of.
    Inspect(inspect::Inspect),
    /// Show what one file of a store holds.
    Dump(dump::Dump),
    /// Measure the engine on this machine, or check it.
    Bench(bench::Bench),
}

impl Verb {
    /// Runs it.
    pub(crate) fn run(self) -> Result<Code> {
        match self {
            Self::Serve(verb) => verb.run(),
            Self::Ping(verb) => verb.run(),
            Self::Get(verb) => verb.run(),
            Self::Put(verb) => verb.run(),
            Self::Del(verb) => verb.run(),
            Self::Scan(verb) => verb.run(),
            Self::Count(verb) => verb.run(),
            Self::Stats(verb) => verb.run(),
            Self::Flush(verb) => verb.run(),
            Self::Compact(verb) => verb.run(),
            Self::Import(verb) => verb.run(),
            Self::Export(verb) => verb.run(),
            Self::Shell(verb) => verb.run(),
            Self::Backup(verb) => verb.run(),
            Self::Verify(verb) => verb.run(),
            Self::Repair(verb) => verb.run(),
            Self::Inspect(verb) => verb.run(),
            Self::Dump(verb) => verb.run(),
            Self::Bench(verb) => verb.run(),
        }
    }
}
