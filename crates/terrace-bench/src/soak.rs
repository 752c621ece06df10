//! The acceptance check: a large fill, then memory, latency, disk, reopening and a full comparison.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::Result;
use serde::Serialize;

use crate::config::{Config, Workload};
use crate::report::{Report, Row, mib, time};
use crate::resources;
use crate::run::Session;
use crate::verify;

/// What the check found.
#[derive(Clone, Debug, Serialize)]
pub struct Soak {
    /// Keys put.
    pub entries: u64,
    /// The store's memory budget.
    pub budget_bytes: u64,
    /// The highest resident memory of the process.
    pub resident_peak_bytes: u64,
    /// The slowest put.
    pub put_max_ns: u64,
    /// Share of puts that took more than 5 ms.
    pub put_share_over_5ms: f64,
    /// Bytes of keys and values that a reader can see.
    pub live_bytes: u64,
    /// Bytes on disk once background work has ended.
    pub disk_bytes: u64,
    /// Seconds that opening took after a close.
    pub reopen_seconds: f64,
    /// Seconds of the full scan.
    pub scan_seconds: f64,
    /// Entries that the scan compared and found equal.
    pub verified: u64,
    /// What the scan found wrong.
    pub difference: Option<String>,
}

/// Does the workloads of `config`, lets the store settle, closes and reopens it, and compares every entry.
pub fn soak(config: &Config, mut each: impl FnMut(&Row)) -> Result<(Report, Soak)> {
    let mut session = Session::open(config.clone())?;
    let mut report = Report::default();
    let mut workloads = config.workloads.clone();
    if workloads.last() != Some(&Workload::Settle) {
        workloads.push(Workload::Settle);
    }
    for workload in workloads {
        let row = session.perform(workload)?;
        each(&row);
        report.rows.push(row);
    }
    let disk_bytes = resources::disk_bytes(session.path())?;
    let (session, reopen_seconds) = session.reopen()?;
    let started = Instant::now();
    let scanned = verify::full_scan(&session.db, config.entries, config.value_bytes, session.round);
    let scan_seconds = started.elapsed().as_secs_f64();
    let (verified, difference) = match scanned {
        Ok(count) => (count, None),
        Err(error) => (0, Some(format!("{error:#}"))),
    };
    session.close()?;
    let puts =
        || report.rows.iter().filter(|row| ["fillrandom", "fillseq", "overwrite"].contains(&row.workload));
    let put_count: u64 = puts().map(|row| row.operations).sum();
    let slow: f64 = puts().map(|row| row.share_over_5ms * row.operations as f64).sum();
    let soak = Soak {
        entries: config.entries,
        budget_bytes: config.budget_bytes(),
        resident_peak_bytes: resources::resident_bytes().1,
        put_max_ns: puts().map(|row| row.max_ns).max().unwrap_or(0),
        put_share_over_5ms: if put_count == 0 { 0.0 } else { slow / put_count as f64 },
        live_bytes: config.entries * config.entry_bytes(),
        disk_bytes,
        reopen_seconds,
        scan_seconds,
        verified,
        difference,
    };
    Ok((report, soak))
}

impl Soak {
    /// The findings as lines of text.
    pub fn to_text(&self) -> String {
        let ratio = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
        let mut out = String::new();
        let mut line = |name: &str, text: String| {
            let _ = writeln!(out, "{name:<22}{text}"); // Writing to a string cannot fail.
        };
        let memory = ratio(self.resident_peak_bytes, self.budget_bytes);
        line(
            "peak memory",
            format!(
                "{} of a budget of {} ({memory:.2}×)",
                mib(self.resident_peak_bytes),
                mib(self.budget_bytes)
            ),
        );
        line("slowest put", time(self.put_max_ns));
        line("puts over 5 ms", format!("{:.6} %", self.put_share_over_5ms * 100.0));
        let space = ratio(self.disk_bytes, self.live_bytes);
        line(
            "disk at rest",
            format!("{} for {} of live data ({space:.2}×)", mib(self.disk_bytes), mib(self.live_bytes)),
        );
        line("reopening", format!("{:.3} s", self.reopen_seconds));
        line(
            "full scan",
            match &self.difference {
                None => format!(
                    "{} of {} entries equal, in {:.1} s",
                    self.verified, self.entries, self.scan_seconds
                ),
                Some(difference) => format!("DIFFERENCE: {difference}"),
            },
        );
        out
    }

    /// The findings as one JSON line.
    pub fn to_json(&self) -> String {
        // Numbers and text only: this cannot fail.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }
}
