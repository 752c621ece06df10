//! `compare-servers`: Terrace and other servers of the Redis protocol under the same load, interleaved.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use terrace_bench::Distribution;
use terrace_bench::servers::{
    Kind, Programs, ServerCase, ServerPlan, ServerRecord, Verb, compare_servers, issue, quick,
    read_server_records, server_chart, server_markdown,
};
use terrace_bench::store::Level;

/// Drives Terrace and the Redis servers that are installed with the same load, and writes servers.jsonl, servers.md
/// and servers.svg.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct CompareServers {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Command {
    /// Makes the tables and the chart again from servers.jsonl.
    Render {
        /// The directory with servers.jsonl.
        #[arg(long, default_value = "docs/benchmarks")]
        out: PathBuf,
    },
}

#[derive(Args)]
struct Options {
    /// A set of loads; --load makes loads of your own instead.
    #[arg(long, value_enum)]
    preset: Option<Preset>,
    /// Where the results go.
    #[arg(long, default_value = "docs/benchmarks")]
    out: PathBuf,
    /// Where the servers' directories are made, on a disk; by default the directory for temporary files.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The program terrace; by default the one beside this program.
    #[arg(long)]
    terrace: Option<PathBuf>,
    /// Servers, separated by commas; by default all that are installed.
    #[arg(long, value_delimiter = ',', value_parser = Kind::parse)]
    servers: Vec<Kind>,
    /// How often every load is measured.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Only loads whose titles contain this.
    #[arg(long)]
    only: Option<String>,
    /// Loads, separated by commas: set, fill, get, incr, mset, mget, hmget.
    #[arg(long, value_delimiter = ',', value_parser = Verb::parse)]
    load: Vec<Verb>,
    /// Requests that a connection sends before it waits, separated by commas.
    #[arg(long, value_delimiter = ',')]
    depth: Vec<usize>,
    /// Numbers of connections, separated by commas.
    #[arg(long, value_delimiter = ',')]
    connections: Vec<usize>,
    /// Sizes of values in bytes, separated by commas.
    #[arg(long, value_delimiter = ',')]
    value_bytes: Vec<usize>,
    /// Also the same with a sync before each reply.
    #[arg(long)]
    sync: bool,
    /// Popular keys more often than others, as YCSB chooses them.
    #[arg(long)]
    zipfian: bool,
    /// Requests a second of an open loop.
    #[arg(long)]
    rate: Option<f64>,
    /// Connections beside those, which are silent.
    #[arg(long, default_value_t = 0)]
    idle: usize,
    /// Threads of the load generator.
    #[arg(long)]
    client_threads: Option<usize>,
    /// Keys.
    #[arg(long)]
    keys: Option<u64>,
    /// Seconds of a run.
    #[arg(long)]
    seconds: Option<f64>,
    /// Memory of a server that has a limit, in MiB.
    #[arg(long)]
    memory_mib: Option<u64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Preset {
    /// The loads that the project measures itself by.
    Issue,
    /// The same, small and short.
    Quick,
}

fn main() -> Result<()> {
    let CompareServers { command, options } = CompareServers::parse();
    match command {
        Some(Command::Render { out }) => render(&out, &read_server_records(&out.join("servers.jsonl"))?),
        None => measure(&options),
    }
}

fn measure(options: &Options) -> Result<()> {
    let beside = || std::env::current_exe().map(|own| own.with_file_name("terrace"));
    let terrace = options.terrace.clone().map_or_else(beside, Ok)?;
    ensure!(
        terrace.is_file(),
        "there is no {}: build it with `cargo build --release -p terrace-cli`, or give --terrace",
        terrace.display()
    );
    let programs = Programs::find(fs::canonicalize(terrace)?);
    let servers = if options.servers.is_empty() { programs.installed() } else { options.servers.clone() };
    eprintln!("servers: {}", servers.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", "));
    let plan = ServerPlan {
        cases: cases(options),
        servers,
        rounds: options.rounds,
        dir: options.dir.clone().unwrap_or_else(std::env::temp_dir),
        programs,
    };
    fs::create_dir_all(&options.out)?;
    let lines = options.out.join("servers.jsonl");
    let mut file = File::create(&lines).with_context(|| format!("cannot write {}", lines.display()))?;
    let mut records = Vec::new();
    compare_servers(&plan, |record| {
        tell(record);
        writeln!(file, "{}", serde_json::to_string(record)?)?;
        records.push(record.clone());
        Ok(())
    })?;
    render(&options.out, &records)?;
    print!("{}", server_markdown(&records));
    Ok(())
}

fn tell(record: &ServerRecord) {
    let result = match (&record.figures, &record.error) {
        (Some(figures), _) => format!("{:.0}/s", figures.per_second),
        (None, error) => format!("failed: {}", error.as_deref().unwrap_or("for no reason given")),
    };
    eprintln!("{}, round {}, {}: {result}", record.case.title(), record.round, record.server.name());
}

fn render(out: &Path, records: &[ServerRecord]) -> Result<()> {
    let write = |name: &str, text: String| {
        let path = out.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    write("servers.md", server_markdown(records))?;
    write("servers.svg", server_chart(records))
}

/// The preset's loads, or every combination of what was given.
fn cases(options: &Options) -> Vec<ServerCase> {
    let preset = options.preset.or(options.load.is_empty().then_some(Preset::Issue));
    let mut cases: Vec<ServerCase> = match preset {
        Some(Preset::Issue) => issue(),
        Some(Preset::Quick) => quick(),
        None => options.load.iter().map(|verb| ServerCase { verb: *verb, ..ServerCase::default() }).collect(),
    };
    vary(&mut cases, &options.depth, |case, depth| case.depth = *depth);
    vary(&mut cases, &options.connections, |case, connections| case.connections = *connections);
    vary(&mut cases, &options.value_bytes, |case, bytes| case.value_bytes = *bytes);
    if options.sync {
        vary(&mut cases, &[Level::Interval, Level::Sync], |case, level| case.durability = *level);
    }
    for case in &mut cases {
        if options.zipfian {
            case.distribution = Distribution::Zipfian;
        }
        case.rate = options.rate.or(case.rate);
        case.idle = options.idle;
        case.threads = options.client_threads.unwrap_or(case.threads);
        case.keys = options.keys.unwrap_or(case.keys);
        case.seconds = options.seconds.unwrap_or(case.seconds);
        case.memory_bytes = options.memory_mib.map_or(case.memory_bytes, |mib| mib << 20);
    }
    cases.retain(|case| options.only.as_ref().is_none_or(|only| case.title().contains(only)));
    cases
}

/// Replaces every case by one for each of the values, if there are any.
fn vary<T>(cases: &mut Vec<ServerCase>, values: &[T], set: impl Fn(&mut ServerCase, &T)) {
    if values.is_empty() {
        return;
    }
    let with = |case: &ServerCase, value: &T| {
        let mut case = case.clone();
        set(&mut case, value);
        case
    };
    *cases = cases.iter().flat_map(|case| values.iter().map(|value| with(case, value))).collect();
}
