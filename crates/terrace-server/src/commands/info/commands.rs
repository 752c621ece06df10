//! The sections about commands: how often, how long, with which errors.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{field, heading};
use crate::commands::table::{Command, all, full_name};
use crate::histogram::Merged;
use crate::metrics::LoopMetrics;
use crate::shared::Shared;

/// What all loops know about one command.
#[derive(Default)]
pub(crate) struct Sums {
    /// How often it ran.
    pub(crate) calls: u64,
    /// How often it was refused before it ran.
    pub(crate) rejected: u64,
    /// How often it answered with an error.
    pub(crate) failed: u64,
    /// Its run times together.
    pub(crate) total_ns: u64,
    /// Its run times.
    pub(crate) times: Merged,
}

/// The sums of the command at this index of the table, or of its subcommand `runs`.
pub(crate) fn sums(shared: &Shared, index: usize, command: &'static Command, runs: &'static Command) -> Sums {
    let mut sums = Sums::default();
    sums.add(shared, index, command, runs);
    sums
}

impl Sums {
    fn add(&mut self, shared: &Shared, index: usize, command: &'static Command, runs: &'static Command) {
        for handle in &shared.loops {
            let Some(metrics) = handle.metrics.seen(index, command, runs) else { continue };
            self.calls += metrics.calls.get();
            self.rejected += metrics.rejected.get();
            self.failed += metrics.failed.get();
            self.total_ns += metrics.total_ns.get();
            if let Some(histogram) = metrics.latency_ns() {
                self.times.add(histogram);
            }
        }
    }
}

/// Commands run so far.
pub(crate) fn commands_processed(shared: &Shared) -> u64 {
    shared.loops.iter().map(|handle| LoopMetrics::calls(&handle.metrics)).sum()
}

/// Calls `with` for every command and subcommand. `DEBUG` is one command, because in Redis it has no subcommands.
fn for_each(shared: &Shared, mut with: impl FnMut(&str, &Sums)) {
    for (index, command) in all().iter().enumerate() {
        if command.name == "debug" {
            let mut sums = Sums::default();
            let parts = std::iter::once(*command).chain(command.subcommands);
            parts.for_each(|part| sums.add(shared, index, command, part));
            if sums.calls + sums.rejected > 0 {
                with(command.name, &sums);
            }
            continue;
        }
        let own = std::iter::once((*command, None));
        for (runs, parent) in own.chain(command.subcommands.iter().map(|sub| (sub, Some(*command)))) {
            let sums = sums(shared, index, command, runs);
            if sums.calls + sums.rejected > 0 {
                with(&full_name(runs, parent), &sums);
            }
        }
    }
}

pub(super) fn command_stats(shared: &Shared, out: &mut String) {
    heading(out, "Commandstats");
    for_each(shared, |name, sums| {
        let us = sums.total_ns / 1000;
        let per_call = sums.total_ns as f64 / 1000.0 / sums.calls.max(1) as f64;
        let _ = write!(
            out,
            "cmdstat_{name}:calls={},usec={us},usec_per_call={per_call:.2},rejected_calls={},failed_calls={}\r\n",
            sums.calls, sums.rejected, sums.failed
        );
    });
}

pub(super) fn error_stats(shared: &Shared, out: &mut String) {
    heading(out, "Errorstats");
    let mut codes: BTreeMap<String, u64> = BTreeMap::new();
    for handle in &shared.loops {
        for (code, count) in handle.metrics.error_codes() {
            *codes.entry(code).or_default() += count;
        }
    }
    for (code, count) in codes {
        field(out, &format!("errorstat_{code}"), format_args!("count={count}"));
    }
}

pub(super) fn latency_stats(shared: &Shared, out: &mut String) {
    heading(out, "Latencystats");
    if !shared.settings.tracks_latency() {
        return;
    }
    let shown = shared.settings.get("latency-tracking-info-percentiles");
    for_each(shared, |name, sums| {
        if sums.calls == 0 {
            return;
        }
        let percentile = |text: &str| {
            let share = text.parse::<f64>().unwrap_or(0.0) / 100.0;
            format!("p{text}={:.3}", sums.times.quantile(share) as f64 / 1000.0)
        };
        let list: Vec<String> = shown.split_whitespace().map(percentile).collect();
        field(out, &format!("latency_percentiles_usec_{name}"), list.join(","));
    });
}
