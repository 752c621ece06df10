//! `instructions`: counts the instructions of the hot paths and refuses growth.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use clap::{Parser, Subcommand};
use terrace_bench::instructions::{Baseline, Path, Verdict, compiler, count, valgrind_works};

/// Counts the instructions of the hot paths with valgrind. Build it with --release.
#[derive(Parser)]
struct Instructions {
    #[command(subcommand)]
    command: Command,
    /// The committed counts.
    #[arg(long, global = true, default_value = "crates/terrace-bench/instructions.json")]
    baseline: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Fails when a path takes over 5 % more instructions than in the baseline (25 % with another compiler).
    Check,
    /// Makes the current counts the baseline.
    Update,
    /// Does one path; the counting starts this program with it.
    #[command(hide = true)]
    Run {
        #[arg(value_parser = Path::parse)]
        path: Path,
        times: u64,
        dir: PathBuf,
    },
}

fn main() -> Result<()> {
    let Instructions { command, baseline } = Instructions::parse();
    if let Command::Run { path, times, dir } = command {
        return path.perform(&dir, times);
    }
    ensure!(valgrind_works(), "valgrind is not installed");
    let compiler = compiler()?;
    if matches!(command, Command::Update) {
        let mut counts = Baseline { compiler, ..Baseline::default() };
        for (path, name) in Path::ALL {
            let found = count(&std::env::current_exe()?, path)?;
            println!("{name:12} {found:9.1}");
            counts.instructions.insert(name.to_owned(), (found * 10.0).round() / 10.0);
        }
        return counts.write(&baseline);
    }
    check(&Baseline::read(&baseline)?, &compiler)
}

fn check(baseline: &Baseline, compiler: &str) -> Result<()> {
    if compiler != baseline.compiler {
        println!(
            "the baseline is of {}, this is {compiler}: only growth over 25 % counts",
            baseline.compiler
        );
    }
    let mut grown = Vec::new();
    for (path, name) in Path::ALL {
        let found = count(&std::env::current_exe()?, path)?;
        let (verdict, change) = match baseline.judge(compiler, path, found) {
            Verdict::Fine(change) => ("", format!("{:+.1} %", change * 100.0)),
            Verdict::Grown(change, _) => (" GROWN", format!("{:+.1} %", change * 100.0)),
            Verdict::New => (" NOT IN THE BASELINE", String::new()),
        };
        println!("{name:12} {found:9.1} {change:>9}{verdict}");
        if !verdict.is_empty() {
            grown.push(name);
        }
    }
    if !grown.is_empty() {
        bail!(
            "more instructions than the baseline allows: {}. If that is worth what it buys, say so in the change and \
             run `cargo run --release -p terrace-bench --bin instructions -- update`",
            grown.join(", ")
        );
    }
    Ok(())
}
