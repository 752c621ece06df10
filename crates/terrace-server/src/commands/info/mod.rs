//! `INFO`: the server in sections and fields named as in Redis, for the tools that read them.
//!
//! Numbers of keys are the store's estimates, because exact ones take a scan. Fields whose subject does not exist here
//! (replicas, forks, eviction) are there with the value that says so, because exporters look for them.

mod commands;
mod sections;

use std::fmt::Write;

use terrace_resp::Args;

use super::table::{Command, DANGEROUS, LOADING, STALE};
use super::{Flow, Handled};
use crate::context::Context;
use crate::histogram::Counter;
use crate::metrics::LoopMetrics;
use crate::shared::Shared;

pub(crate) use commands::{commands_processed, sums as command_sums};

/// The version of Redis whose commands and replies are offered.
pub(crate) const REDIS_VERSION: &str = "7.4.0";

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] = &[Command::new(
    "info",
    -1,
    "server",
    "1.0.0",
    info,
    "Returns information and statistics about the server.",
)
.flags(LOADING | STALE | DANGEROUS)];

type Section = fn(&Shared, &mut String);

/// Name, writer, and whether it is shown when no section is named.
const SECTIONS: [(&str, Section, bool); 13] = [
    ("server", sections::server, true),
    ("clients", sections::clients, true),
    ("memory", sections::memory, true),
    ("persistence", sections::persistence, true),
    ("stats", sections::stats, true),
    ("replication", sections::replication, true),
    ("cpu", sections::cpu, true),
    ("modules", |_, out| heading(out, "Modules"), true),
    ("commandstats", commands::command_stats, false),
    ("errorstats", commands::error_stats, true),
    ("latencystats", commands::latency_stats, false),
    ("cluster", |_, out| out.push_str("# Cluster\r\ncluster_enabled:0\r\n"), true),
    ("keyspace", sections::keyspace, true),
];

fn info(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    cx.settle();
    let named: Vec<String> =
        args.from(1).iter().map(|arg| String::from_utf8_lossy(arg).to_ascii_lowercase()).collect();
    let has = |name: &str| named.iter().any(|n| n == name);
    let everything = has("everything");
    // As in Redis, `all` leaves out what modules add.
    let all = everything || has("all");
    let default = named.is_empty() || has("default");
    let mut text = String::new();
    for (name, write, in_default) in SECTIONS {
        if has(name) || everything || (all && name != "modules") || (default && in_default) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            write(cx.shared, &mut text);
        }
    }
    cx.reply.verbatim(&text);
    Ok(Flow::Done)
}

fn heading(out: &mut String, name: &str) {
    let _ = write!(out, "# {name}\r\n");
}

fn field(out: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = write!(out, "{name}:{value}\r\n");
}

/// Fields that are always 0 here.
fn zeros(out: &mut String, names: &[&str]) {
    for name in names {
        field(out, name, 0);
    }
}

/// A number of bytes, and the same for people.
fn bytes(out: &mut String, name: &str, value: u64) {
    field(out, name, value);
    field(out, &format!("{name}_human"), human(value));
}

/// A number of bytes for people.
pub(super) fn human(bytes: u64) -> String {
    let units = [(1u64 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    match units.iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => format!("{:.2}{unit}", bytes as f64 / *size as f64),
        None => format!("{bytes}B"),
    }
}

/// The sum of a counter over all loops.
pub(crate) fn sum(shared: &Shared, counter: fn(&LoopMetrics) -> &Counter) -> u64 {
    shared.loops.iter().map(|handle| counter(&handle.metrics).get()).sum()
}

/// Seconds since the server started.
pub(crate) fn uptime_s(shared: &Shared) -> u64 {
    shared.now_ms().saturating_sub(shared.started_at_ms) / 1000
}
