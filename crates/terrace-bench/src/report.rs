//! Rows of a report, as a table and as JSON lines.

use comfy_table::{CellAlignment, LineStyle, Table, presets};
use hdrhistogram::Histogram;
use serde::Serialize;

/// The result of one workload.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// Its name.
    pub workload: &'static str,
    /// Operations done.
    pub operations: u64,
    /// Wall-clock time.
    pub seconds: f64,
    /// CPU time of all threads, background work included.
    pub cpu_seconds: f64,
    /// Operations a second.
    pub per_second: f64,
    /// Latency per operation: median.
    pub p50_ns: u64,
    /// 99 of 100 were at most this long.
    pub p99_ns: u64,
    /// 999 of 1,000 were at most this long.
    pub p999_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// Share of operations that took more than 5 ms.
    pub share_over_5ms: f64,
    /// Entries found, for workloads that read.
    pub found: u64,
    /// Resident memory at the end.
    pub resident_bytes: u64,
    /// The highest resident memory of the process so far.
    pub resident_peak_bytes: u64,
    /// Bytes on disk at the end.
    pub disk_bytes: u64,
    /// Bytes written to tables ÷ bytes of user data flushed.
    pub write_amplification: f64,
    /// Bytes of tables ÷ bytes of the deepest level.
    pub space_amplification: f64,
    /// Writers' delays by back-pressure: how many, and the longest.
    pub stalls: u64,
    /// The longest delay of a writer by back-pressure.
    pub stall_max_ns: u64,
}

impl Row {
    /// Fills in the percentiles.
    pub(crate) fn with_latencies(mut self, histogram: &Histogram<u64>) -> Self {
        self.p50_ns = histogram.value_at_quantile(0.5);
        self.p99_ns = histogram.value_at_quantile(0.99);
        self.p999_ns = histogram.value_at_quantile(0.999);
        self.max_ns = histogram.max();
        self.share_over_5ms = crate::latency::share_above(histogram, 5_000_000);
        self
    }
}

/// The rows of one run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// One row a workload.
    pub rows: Vec<Row>,
}

/// The report as a table.
pub fn print_table(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()));
    table.set_header([
        "workload", "ops", "ops/s", "p50", "p99", "p99.9", "max", "CPU s", "wall s", "RSS", "disk", "W-amp",
        "S-amp",
    ]);
    for row in &report.rows {
        // A workload that only waits has no operations to time.
        let timed = |text: String| if row.max_ns == 0 { String::new() } else { text };
        table.add_row([
            row.workload.to_owned(),
            timed(row.operations.to_string()),
            timed(format!("{:.0}", row.per_second)),
            timed(time(row.p50_ns)),
            timed(time(row.p99_ns)),
            timed(time(row.p999_ns)),
            timed(time(row.max_ns)),
            format!("{:.2}", row.cpu_seconds),
            format!("{:.2}", row.seconds),
            mib(row.resident_bytes),
            mib(row.disk_bytes),
            format!("{:.2}", row.write_amplification),
            format!("{:.2}", row.space_amplification),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n")
}

/// The report as JSON lines.
pub fn print_json(report: &Report) -> String {
    // Numbers and constant names only: this cannot fail.
    report.rows.iter().map(|row| serde_json::to_string(row).unwrap_or_default() + "\n").collect()
}

/// A time span with a unit.
pub(crate) fn time(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} µs", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        _ => format!("{:.2} s", ns as f64 / 1e9),
    }
}

/// A size in MiB.
pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}
