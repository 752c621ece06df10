//! `compare`: Terrace and its peers side by side, every run in a process of its own.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use terrace_bench::Distribution;
use terrace_bench::compare::{
    Case, Plan, Record, Run, Summary, Task, chart, compare, issue, markdown, quick, read_records, run_one,
};
use terrace_bench::store::{Engine, Level};

/// Measures Terrace and other stores with the same workloads, interleaved, and writes stores.jsonl, stores.md and
/// stores.svg. Build with --features peers for all stores.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Compare {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Command {
    /// Makes the table and the chart again from stores.jsonl.
    Render {
        /// The directory with stores.jsonl.
        #[arg(long, default_value = "docs/benchmarks")]
        out: PathBuf,
    },
    /// Does one run and prints its figures; the comparison starts itself with this.
    #[command(hide = true)]
    Run {
        /// What to do, as JSON.
        run: String,
    },
}

#[derive(Args)]
struct Options {
    /// A set of cases; the other options on workloads make cases of their own instead.
    #[arg(long, value_enum)]
    preset: Option<Preset>,
    /// Where the results go.
    #[arg(long, default_value = "docs/benchmarks")]
    out: PathBuf,
    /// Where the stores are made, on a disk; by default the directory for temporary files.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Stores, separated by commas; by default all that this build has, and the raw file as a yardstick.
    #[arg(long, value_delimiter = ',', value_parser = Engine::parse)]
    stores: Vec<Engine>,
    /// How often every case is measured.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Only cases whose titles contain this.
    #[arg(long)]
    only: Option<String>,
    /// Workloads, separated by commas.
    #[arg(long, value_delimiter = ',', value_parser = Task::parse)]
    workloads: Vec<Task>,
    /// Numbers of threads, separated by commas.
    #[arg(long, value_delimiter = ',')]
    threads: Vec<usize>,
    /// Sizes of values in bytes, separated by commas.
    #[arg(long, value_delimiter = ',')]
    value_bytes: Vec<usize>,
    /// Numbers of shards, separated by commas; for the stores that have them.
    #[arg(long, value_delimiter = ',')]
    shards: Vec<usize>,
    /// Durability levels, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',')]
    durability: Vec<DurabilityLevel>,
    /// How YCSB chooses keys.
    #[arg(long, value_enum, value_delimiter = ',')]
    distribution: Vec<Keys>,
    /// Entries to fill in or to load.
    #[arg(long)]
    entries: Option<u64>,
    /// Seconds of a run.
    #[arg(long)]
    seconds: Option<f64>,
    /// Memory for cached blocks in MiB.
    #[arg(long)]
    cache_mib: Option<u64>,
    /// Size of a write buffer in MiB.
    #[arg(long)]
    write_buffer_mib: Option<u64>,
    /// Chooses the order of keys.
    #[arg(long)]
    seed: Option<u64>,
    /// Asks the kernel to forget the files before every run, and tells the stores not to read ahead.
    #[arg(long)]
    cold: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Preset {
    /// The cases that the project measures itself by.
    Issue,
    /// The same, small and short.
    Quick,
}

#[derive(Clone, Copy, ValueEnum)]
enum DurabilityLevel {
    Process,
    Interval,
    Sync,
}

#[derive(Clone, Copy, ValueEnum)]
enum Keys {
    Uniform,
    Zipfian,
}

fn main() -> Result<()> {
    let Compare { command, options } = Compare::parse();
    match command {
        Some(Command::Run { run }) => {
            let run: Run = serde_json::from_str(&run).context("the run is no JSON of a run")?;
            println!("{}", serde_json::to_string(&run_one(&run)?)?);
            Ok(())
        }
        Some(Command::Render { out }) => render(&out, &read_records(&out.join("stores.jsonl"))?),
        None => measure(&options),
    }
}

fn measure(options: &Options) -> Result<()> {
    let built = || Engine::ALL.map(|(engine, _)| engine).into_iter().filter(|engine| engine.built());
    let engines = if options.stores.is_empty() { built().collect() } else { options.stores.clone() };
    if let Some(absent) = engines.iter().find(|engine| !engine.built()) {
        bail!(
            "this build has no {0}: build with --features peer-{0}, or --features peers for all",
            absent.name()
        );
    }
    let plan = Plan {
        cases: cases(options),
        engines,
        rounds: options.rounds,
        dir: options.dir.clone().unwrap_or_else(std::env::temp_dir),
        program: std::env::current_exe()?,
    };
    fs::create_dir_all(&options.out)?;
    let lines = options.out.join("stores.jsonl");
    let mut file = File::create(&lines).with_context(|| format!("cannot write {}", lines.display()))?;
    let mut records = Vec::new();
    compare(&plan, |record| {
        tell(record);
        writeln!(file, "{}", serde_json::to_string(record)?)?;
        records.push(record.clone());
        Ok(())
    })?;
    render(&options.out, &records)?;
    print!("{}", markdown(&Summary::of(&records)));
    Ok(())
}

fn tell(record: &Record) {
    let result = match (&record.figures, &record.error) {
        (Some(figures), _) => format!("{:.0}/s", figures.per_second),
        (None, error) => format!("failed: {}", error.as_deref().unwrap_or("for no reason given")),
    };
    eprintln!("{}, round {}, {}: {result}", record.case.title(), record.round, record.store.name());
}

fn render(out: &Path, records: &[Record]) -> Result<()> {
    let summary = Summary::of(records);
    let write = |name: &str, text: String| {
        let path = out.join(name);
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
        file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
    };
    write("stores.md", markdown(&summary))?;
    write("stores.svg", chart(&summary))
}

/// The preset's cases, or every combination of what was given.
fn cases(options: &Options) -> Vec<Case> {
    let preset = options.preset.or(options.workloads.is_empty().then_some(Preset::Issue));
    let mut cases: Vec<Case> = match preset {
        Some(Preset::Issue) => issue(),
        Some(Preset::Quick) => quick(),
        None => options.workloads.iter().map(|task| Case::of(*task)).collect(),
    };
    vary(&mut cases, &options.threads, |case, threads| case.threads = *threads);
    vary(&mut cases, &options.value_bytes, |case, bytes| case.value_bytes = *bytes);
    vary(&mut cases, &options.shards, |case, shards| case.setup.shards = *shards);
    vary(&mut cases, &options.durability, |case, level| {
        case.setup.durability = match level {
            DurabilityLevel::Process => Level::Process,
            DurabilityLevel::Interval => Level::Interval,
            DurabilityLevel::Sync => Level::Sync,
        };
    });
    vary(&mut cases, &options.distribution, |case, keys| {
        case.distribution = match keys {
            Keys::Uniform => Distribution::Uniform,
            Keys::Zipfian => Distribution::Zipfian,
        };
    });
    for case in &mut cases {
        case.entries = options.entries.unwrap_or(case.entries);
        case.seconds = options.seconds.unwrap_or(case.seconds);
        case.seed = options.seed.unwrap_or(case.seed);
        case.setup.cache_bytes = options.cache_mib.map_or(case.setup.cache_bytes, |mib| mib << 20);
        case.setup.write_buffer_bytes =
            options.write_buffer_mib.map_or(case.setup.write_buffer_bytes, |mib| mib << 20);
        case.setup.cold |= options.cold;
    }
    cases.retain(|case| options.only.as_ref().is_none_or(|only| case.title().contains(only)));
    cases
}

/// Replaces every case by one for each of the values, if there are any.
fn vary<T>(cases: &mut Vec<Case>, values: &[T], set: impl Fn(&mut Case, &T)) {
    if values.is_empty() {
        return;
    }
    let with = |case: &Case, value: &T| {
        let mut case = case.clone();
        set(&mut case, value);
        case
    };
    *cases = cases.iter().flat_map(|case| values.iter().map(move |value| with(case, value))).collect();
}
