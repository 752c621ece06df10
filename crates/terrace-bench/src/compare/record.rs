//! `Record`: what one run of one store measured, one JSON line.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::case::Case;
use crate::store::Engine;

/// The result of one run. A figure that an engine or the system cannot tell is absent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The store.
    pub store: Engine,
    /// Which round, counted from 1.
    pub round: u32,
    /// What was done.
    #[serde(flatten)]
    pub case: Case,
    /// What was measured; absent when the run failed.
    #[serde(flatten)]
    pub figures: Option<Figures>,
    /// Why the run failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What one run measured.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Operations done.
    pub operations: u64,
    /// Time that they took.
    pub wall_seconds: f64,
    /// Operations a second; for `open`, openings a second.
    pub per_second: f64,
    /// Operations a second of the thread that works beside (the writer of `readwhilewriting`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beside_per_second: Option<f64>,
    /// CPU time of all threads, per operation, with the background work that the operations caused.
    pub cpu_us_per_op: f64,
    /// Latency of a step (an operation, a batch, a multi-get or a scan): median.
    pub p50_ns: u64,
    /// 99 of 100 were at most this long.
    pub p99_ns: u64,
    /// 999 of 1,000 were at most this long.
    pub p999_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// The longest time in which no thread ended a step, in whole milliseconds.
    pub longest_pause_ms: u64,
    /// Time until the work in the background was over, after a workload that writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settle_seconds: Option<f64>,
    /// Bytes that the process had written to disk ÷ bytes of keys and values put, log and background work included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_amplification: Option<f64>,
    /// The same as the engine counts it: tables only, without the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine_write_amplification: Option<f64>,
    /// Bytes read from the device per operation.
    pub device_read_bytes_per_op: f64,
    /// Tables probed per get that found its key in a table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_amplification: Option<f64>,
    /// Bytes on disk ÷ bytes of keys and values that the store holds; absent where deletions make it unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub space_amplification: Option<f64>,
    /// The highest resident memory while the workload ran. A mapped file counts with the pages that were touched.
    pub peak_rss_bytes: u64,
    /// Bytes that the directory takes on disk.
    pub disk_bytes: u64,
    /// Look-ups that passed a filter in vain, of those that asked one in vain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter_false_positive_share: Option<f64>,
    /// Time to open the store.
    pub open_ms: f64,
    /// Entries that were looked up after the run and compared.
    pub verified: u64,
}

/// The records of a file of JSON lines.
pub fn read_records(path: &Path) -> Result<Vec<Record>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let record = |(at, line): (usize, &str)| {
        serde_json::from_str(line).with_context(|| format!("{}, line {}", path.display(), at + 1))
    };
    text.lines().enumerate().map(record).collect()
}
