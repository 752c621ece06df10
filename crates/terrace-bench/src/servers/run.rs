//! Which runs there are, in which order; and one run.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::case::{ServerCase, Verb};
use super::check::Client;
use super::load::{Done, Order, load};
use super::process::{Kind, Programs, Running};
use super::record::{ServerFigures, ServerRecord};
use super::request::Template;
use crate::resources;
use crate::zipf::Chooser;

/// Depth and time limit of loading.
const LOADING_DEPTH: usize = 64;
const LOADING_SECONDS: f64 = 600.0;

/// What a comparison of servers does.
#[derive(Clone, Debug)]
pub struct ServerPlan {
    /// The loads.
    pub cases: Vec<ServerCase>,
    /// The servers.
    pub servers: Vec<Kind>,
    /// How often.
    pub rounds: u32,
    /// Where to make the servers' directories; on a disk.
    pub dir: PathBuf,
    /// Where the programs are.
    pub programs: Programs,
}

/// Does all runs of a plan: for each case round after round, and within a round one server after another, each
/// freshly started. `each` is told of every record as soon as it is there. A run that fails leaves a record with the
/// reason, and the comparison goes on.
pub fn compare_servers(plan: &ServerPlan, mut each: impl FnMut(&ServerRecord) -> Result<()>) -> Result<()> {
    for case in &plan.cases {
        case.check().map_err(anyhow::Error::msg)?;
    }
    for case in &plan.cases {
        for round in 1..=plan.rounds {
            for turn in 0..plan.servers.len() {
                let server = plan.servers[(turn + round as usize - 1) % plan.servers.len()];
                let dir = TempDir::with_prefix_in("terrace-servers-", &plan.dir)?;
                let (figures, error) = match run(plan, server, case, dir.path()) {
                    Ok(figures) => (Some(figures), None),
                    Err(error) => (None, Some(format!("{error:#}"))),
                };
                each(&ServerRecord { server, round, case: case.clone(), figures, error })?;
                dir.close().context("cannot remove the directory of the server")?;
            }
        }
    }
    Ok(())
}

/// Starts a server, drives it, measures it, stops it.
fn run(plan: &ServerPlan, kind: Kind, case: &ServerCase, dir: &Path) -> Result<ServerFigures> {
    let server = Running::start(&plan.programs, kind, case, dir)?;
    prepare(server.address, case)?;
    server.wait_until_idle();
    let before = server.resident_bytes().0;
    let idle = super::idle::open(server.address, case.idle)?;
    server.wait_until_idle();
    let grown = server.resident_bytes().0 as i64 - before as i64;
    let (server_before, client_before) = (server.cpu_seconds(), resources::cpu_seconds());
    let done = perform(server.address, case)?;
    let (server_cpu, client_cpu) = (server.cpu_seconds(), resources::cpu_seconds());
    let (server_rss_bytes, server_peak_rss_bytes) = server.resident_bytes();
    let verified = verify(server.address, case, &done)?;
    super::idle::check(&idle)?;
    let requests = done.requests.max(1) as f64;
    let figures = ServerFigures {
        requests: done.requests,
        wall_seconds: done.seconds,
        per_second: done.requests as f64 / done.seconds,
        server_cpu_us: (server_cpu - server_before) * 1e6 / requests,
        client_cpu_us: (client_cpu - client_before) * 1e6 / requests,
        p50_ns: done.latencies.value_at_quantile(0.5),
        p99_ns: done.latencies.value_at_quantile(0.99),
        p999_ns: done.latencies.value_at_quantile(0.999),
        max_ns: done.latencies.max(),
        server_rss_bytes,
        server_peak_rss_bytes,
        idle_connection_bytes: (case.idle > 0).then(|| grown / case.idle as i64),
        disk_bytes: resources::disk_bytes(dir)?,
        verified,
    };
    server.stop()?;
    Ok(figures)
}

/// What [`drive`] did.
#[derive(Clone, Copy, Debug)]
pub struct Driven {
    /// Requests that were answered.
    pub requests: u64,
    /// Keys that were looked up and compared.
    pub verified: u64,
}

/// Loads, drives and checks a server that runs already at `address`.
pub fn drive(address: SocketAddr, case: &ServerCase) -> Result<Driven> {
    case.check().map_err(anyhow::Error::msg)?;
    prepare(address, case)?;
    let done = perform(address, case)?;
    Ok(Driven { requests: done.requests, verified: verify(address, case, &done)? })
}

/// Loads what the case reads.
fn prepare(address: SocketAddr, case: &ServerCase) -> Result<()> {
    if !case.verb.reads() {
        return Ok(());
    }
    let loading = ServerCase {
        depth: LOADING_DEPTH,
        connections: case.connections.min(16).max(case.threads),
        seconds: LOADING_SECONDS,
        rate: None,
        ..case.clone()
    };
    load(address, &loading, &Template::loading(case.verb, case.value_bytes), Order::Each)
        .context("loading")?;
    Ok(())
}

fn perform(address: SocketAddr, case: &ServerCase) -> Result<Done> {
    let order = match case.verb {
        Verb::Fill => Order::Each,
        _ => Order::Random(Chooser::new(case.distribution, case.keys)),
    };
    load(address, case, &Template::of(case.verb, case.value_bytes), order)
}

/// Looks up a sample of what was written or read. Returns the number of keys.
fn verify(address: SocketAddr, case: &ServerCase, done: &Done) -> Result<u64> {
    // A counter has no value that follows from its key, and the values of a hash are read as they were loaded.
    if matches!(case.verb, Verb::Incr | Verb::Hmget) {
        return Ok(0);
    }
    Client::connect(address)?.check_values(&done.samples, case.value_bytes).context("after the run")?;
    Ok(done.samples.len() as u64)
}
