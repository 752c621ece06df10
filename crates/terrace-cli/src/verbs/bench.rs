//! `terrace bench`: measures the engine on this machine, or checks that everything put comes back.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Result;
use terrace_bench::{Config, Report, Workload, print_json, print_table, run, soak};

use super::serve::DurabilityLevel;
use crate::exit::Code;
use crate::units;

/// Flags of `bench`.
#[derive(clap::Args)]
pub(crate) struct Bench {
    /// The number of keys.
    #[arg(long, value_name = "N", default_value_t = 10_000_000)]
    entries: u64,
    /// The size of a value; half of it is compressible.
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    value_bytes: usize,
    /// Threads that put and get.
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Operations of each reading workload.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    gets: u64,
    /// Keys of the working set of readwarm; by default as many as fit in an eighth of the memory budget.
    #[arg(long, value_name = "N")]
    working_set: Option<u64>,
    /// The store's memory budget, such as 512M; by default the engine's own.
    #[arg(long, value_name = "SIZE", value_parser = units::parse_memory)]
    memory: Option<u64>,
    /// The store's durability; by default the engine's own.
    #[arg(long, value_enum)]
    durability: Option<DurabilityLevel>,
    /// The period of --durability interval.
    #[arg(long, value_name = "MS", default_value_t = 100)]
    interval_ms: u64,
    /// The directory, which is kept; by default a temporary one, removed afterwards.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// What to do, in order, separated by commas: fillrandom, fillseq, overwrite, settle, readwarm, readrandom,
    /// readmissing, multiget, scan100, fullscan.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = Workload::parse,
        default_value = "fillrandom,settle,readwarm")]
    workload: Vec<Workload>,
    /// Chooses the random order.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Afterwards close and reopen the store and compare every entry with what was put.
    #[arg(long)]
    verify: bool,
    /// JSON lines instead of a table.
    #[arg(long)]
    json: bool,
}

impl Bench {
    pub(crate) fn run(self) -> Result<Code> {
        let config = self.config();
        let show = |report: &Report| if self.json { print_json(report) } else { print_table(report) };
        let told = |row: &terrace_bench::Row| eprintln!("{}: {:.1} s", row.workload, row.seconds);
        if !self.verify {
            let report = run(&config, told)?;
            write!(io::stdout(), "{}", show(&report))?;
            return Ok(Code::Done);
        }
        let (report, found) = soak(&config, told)?;
        let text = if self.json { found.to_json() } else { format!("\n{}", found.to_text()) };
        write!(io::stdout(), "{}{text}", show(&report))?;
        Ok(if found.difference.is_none() { Code::Done } else { Code::Difference })
    }

    fn config(&self) -> Config {
        let durability = self.durability.map(|level| level.with_interval_ms(self.interval_ms));
        Config {
            entries: self.entries,
            value_bytes: self.value_bytes,
            threads: self.threads,
            gets: self.gets,
            working_set: self.working_set,
            memory_bytes: self.memory,
            durability,
            dir: self.dir.clone(),
            workloads: self.workload.clone(),
            seed: self.seed,
        }
    }
}
