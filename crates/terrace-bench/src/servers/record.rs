//! `ServerRecord`: what one run of one server measured, one JSON line.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::case::ServerCase;
use super::process::Kind;

/// The result of one run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ServerRecord {
    /// The server.
    pub server: Kind,
    /// Which round, counted from 1.
    pub round: u32,
    /// The load.
    #[serde(flatten)]
    pub case: ServerCase,
    /// What was measured; absent when the run failed.
    #[serde(flatten)]
    pub figures: Option<ServerFigures>,
    /// Why the run failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What one run measured.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ServerFigures {
    /// Requests that were answered.
    pub requests: u64,
    /// From the first request to the last reply.
    pub wall_seconds: f64,
    /// Requests a second.
    pub per_second: f64,
    /// CPU time of the server per request.
    pub server_cpu_us: f64,
    /// CPU time of the load generator per request.
    pub client_cpu_us: f64,
    /// Latency of a request: median. In an open loop, from the time at which it was due.
    pub p50_ns: u64,
    /// 99 of 100 were at most this long.
    pub p99_ns: u64,
    /// 999 of 1,000 were at most this long.
    pub p999_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// Resident memory of the server after the load.
    pub server_rss_bytes: u64,
    /// Its highest resident memory.
    pub server_peak_rss_bytes: u64,
    /// What its resident memory grew by for each idle connection, in bytes; absent without idle ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_connection_bytes: Option<i64>,
    /// Bytes that its directory takes on disk.
    pub disk_bytes: u64,
    /// Keys that were looked up afterwards and compared.
    pub verified: u64,
}

/// The records of a file of JSON lines.
pub fn read_server_records(path: &Path) -> Result<Vec<ServerRecord>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let record = |(at, line): (usize, &str)| {
        serde_json::from_str(line).with_context(|| format!("{}, line {}", path.display(), at + 1))
    };
    text.lines().enumerate().map(record).collect()
}
