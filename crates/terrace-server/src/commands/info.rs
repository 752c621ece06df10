//! `INFO`: the server in sections and fields named as in Redis, for the tools that read them.
//!
//! Numbers of keys are the store's estimates, because exact ones take a scan.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use terrace_resp::Args;

use super::table::{Command, DANGEROUS, LOADING, STALE, all};
use super::{Flow, Handled};
use crate::context::Context;
use crate::databases::COUNT;
use crate::histogram::{Counter, Merged};
use crate::metrics::LoopMetrics;
use crate::pubsub::Kind;
use crate::shared::Shared;
use crate::system;

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
const SECTIONS: [(&str, Section, bool); 12] = [
    ("server", server, true),
    ("clients", clients, true),
    ("memory", memory, true),
    ("persistence", persistence, true),
    ("stats", stats, true),
    ("replication", replication, true),
    ("cpu", cpu, true),
    ("modules", |_, out| heading(out, "Modules"), true),
    ("commandstats", command_stats, false),
    ("errorstats", error_stats, true),
    ("latencystats", latency_stats, false),
    ("cluster", |_, out| out.push_str("# Cluster\r\ncluster_enabled:0\r\n"), true),
];

fn info(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    cx.settle();
    let named: Vec<String> =
        args.from(1).iter().map(|arg| String::from_utf8_lossy(arg).to_ascii_lowercase()).collect();
    let has = |name: &str| named.iter().any(|n| n == name);
    let everything = has("all") || has("everything");
    let default = named.is_empty() || has("default");
    let mut text = String::new();
    let mut section = |name: &str, write: Section, in_default: bool| {
        if everything || has(name) || (default && in_default) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            write(cx.shared, &mut text);
        }
    };
    for (name, write, in_default) in SECTIONS {
        section(name, write, in_default);
    }
    section("keyspace", keyspace, true);
    cx.reply.verbatim(&text);
    Ok(Flow::Done)
}

fn heading(out: &mut String, name: &str) {
    let _ = write!(out, "# {name}\r\n");
}

fn field(out: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = write!(out, "{name}:{value}\r\n");
}

/// The sum of a counter over all loops.
pub(crate) fn sum(shared: &Shared, counter: fn(&LoopMetrics) -> &Counter) -> u64 {
    shared.loops.iter().map(|handle| counter(&handle.metrics).get()).sum()
}

/// What all loops know about one command: calls, failures, nanoseconds, run times.
pub(crate) fn command_sums(shared: &Shared, index: usize) -> (u64, u64, u64, Merged) {
    let mut sums = (0, 0, 0, Merged::default());
    for handle in &shared.loops {
        let metrics = &handle.metrics.commands[index];
        sums.0 += metrics.calls.get();
        sums.1 += metrics.failed.get();
        sums.2 += metrics.total_ns.get();
        if let Some(histogram) = metrics.latency_ns() {
            sums.3.add(histogram);
        }
    }
    sums
}

/// Commands run so far.
pub(crate) fn commands_processed(shared: &Shared) -> u64 {
    let of_loop = |metrics: &LoopMetrics| metrics.commands.iter().map(|c| c.calls.get()).sum::<u64>();
    shared.loops.iter().map(|handle| of_loop(&handle.metrics)).sum()
}

/// Seconds since the server started.
pub(crate) fn uptime_s(shared: &Shared) -> u64 {
    shared.now_ms().saturating_sub(shared.started_at_ms) / 1000
}

fn server(shared: &Shared, out: &mut String) {
    let uptime = uptime_s(shared);
    heading(out, "Server");
    field(out, "redis_version", REDIS_VERSION);
    field(out, "terrace_version", env!("CARGO_PKG_VERSION"));
    field(out, "redis_mode", "standalone");
    field(out, "os", std::env::consts::OS);
    field(out, "arch_bits", usize::BITS);
    field(out, "multiplexing_api", "epoll");
    field(out, "process_id", std::process::id());
    field(out, "run_id", &shared.run_id);
    field(out, "tcp_port", shared.local_addr.port());
    field(out, "server_time_usec", shared.now_ms() * 1000);
    field(out, "uptime_in_seconds", uptime);
    field(out, "uptime_in_days", uptime / 86_400);
    field(out, "io_threads_active", u8::from(shared.loops.len() > 1));
    field(out, "io_threads", shared.loops.len());
}

fn clients(shared: &Shared, out: &mut String) {
    let all = shared.clients.all();
    let largest = |bytes: fn(&crate::registry::ClientInfo) -> usize| all.iter().map(|c| bytes(c)).max();
    let input = largest(|c| c.input_bytes.load(Ordering::Relaxed));
    let output = largest(|c| c.output_bytes.load(Ordering::Relaxed));
    heading(out, "Clients");
    field(out, "connected_clients", shared.clients.len());
    field(out, "maxclients", shared.settings.max_clients());
    field(out, "client_recent_max_input_buffer", input.unwrap_or(0));
    field(out, "client_recent_max_output_buffer", output.unwrap_or(0));
    field(out, "blocked_clients", shared.pause.waiting());
    field(out, "tracking_clients", shared.tracker.totals().clients);
    field(out, "pubsub_clients", all.iter().filter(|client| client.is_subscriber()).count());
}

fn memory(shared: &Shared, out: &mut String) {
    let resident = system::resident_bytes();
    let stats = shared.databases.store().stats();
    heading(out, "Memory");
    field(out, "used_memory", resident);
    field(out, "used_memory_human", human(resident));
    field(out, "used_memory_rss", resident);
    field(out, "used_memory_rss_human", human(resident));
    field(out, "total_system_memory", system::total_memory_bytes());
    field(out, "maxmemory", 0);
    field(out, "maxmemory_policy", "noeviction");
    field(out, "terrace_memtable_bytes", stats.memtable.active_bytes + stats.memtable.sealed_bytes);
    field(out, "terrace_cache_bytes", stats.cache.used_bytes);
    field(out, "terrace_pinned_bytes", stats.cache.pinned_bytes);
}

fn human(bytes: u64) -> String {
    let units = [(1u64 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    match units.iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => format!("{:.2}{unit}", bytes as f64 / *size as f64),
        None => format!("{bytes}B"),
    }
}

fn persistence(shared: &Shared, out: &mut String) {
    let stats = shared.databases.store().stats();
    heading(out, "Persistence");
    field(out, "loading", 0);
    field(out, "async_loading", 0);
    field(out, "rdb_changes_since_last_save", stats.last_seqno.saturating_sub(stats.log.durable_seqno));
    field(out, "rdb_bgsave_in_progress", 0);
    field(out, "rdb_last_save_time", shared.started_at_ms / 1000);
    field(out, "rdb_last_bgsave_status", "ok");
    field(out, "aof_enabled", 1);
    field(out, "aof_rewrite_in_progress", 0);
    let failed = stats.background_error.is_some();
    field(out, "aof_last_write_status", if failed { "err" } else { "ok" });
    field(out, "terrace_log_segments", stats.log.segments);
    field(out, "terrace_log_syncs", stats.log.syncs);
    field(out, "terrace_last_seqno", stats.last_seqno);
    field(out, "terrace_durable_seqno", stats.log.durable_seqno);
}

fn stats(shared: &Shared, out: &mut String) {
    heading(out, "Stats");
    field(out, "total_connections_received", sum(shared, |m| &m.accepted));
    field(out, "total_commands_processed", commands_processed(shared));
    field(out, "total_net_input_bytes", sum(shared, |m| &m.bytes_in));
    field(out, "total_net_output_bytes", sum(shared, |m| &m.bytes_out));
    field(out, "rejected_connections", sum(shared, |m| &m.rejected));
    field(out, "expired_keys", shared.expired_keys.load(Ordering::Relaxed));
    field(out, "evicted_keys", 0);
    field(out, "keyspace_hits", sum(shared, |m| &m.hits));
    field(out, "keyspace_misses", sum(shared, |m| &m.misses));
    field(out, "pubsub_channels", shared.hub.len(Kind::Channel));
    field(out, "pubsub_patterns", shared.hub.len(Kind::Pattern));
    field(out, "pubsubshard_channels", shared.hub.len(Kind::Shard));
    let tracked = shared.tracker.totals();
    field(out, "tracking_total_keys", tracked.keys);
    field(out, "tracking_total_items", tracked.items);
    field(out, "tracking_total_prefixes", tracked.prefixes);
    field(out, "terrace_scheduled_expiries", shared.schedule.len());
    field(out, "client_output_buffer_limit_disconnections", sum(shared, |m| &m.output_limit_closes));
    field(out, "total_error_replies", sum(shared, |m| &m.errors));
    field(out, "terrace_conflicts_retried", sum(shared, |m| &m.conflicts));
    field(out, "terrace_wakeups", sum(shared, |m| &m.wakeups));
}

fn replication(shared: &Shared, out: &mut String) {
    heading(out, "Replication");
    field(out, "role", "master");
    field(out, "connected_slaves", 0);
    field(out, "master_replid", &shared.run_id);
    field(out, "master_repl_offset", 0);
}

fn cpu(_: &Shared, out: &mut String) {
    let (system, user) = system::cpu_seconds();
    heading(out, "CPU");
    field(out, "used_cpu_sys", format_args!("{system:.6}"));
    field(out, "used_cpu_user", format_args!("{user:.6}"));
}

fn command_stats(shared: &Shared, out: &mut String) {
    heading(out, "Commandstats");
    for (index, command) in all().iter().enumerate() {
        let (calls, failed, total_ns, _) = command_sums(shared, index);
        if calls > 0 {
            let (us, name) = (total_ns / 1000, command.name);
            let per_call = total_ns as f64 / 1000.0 / calls as f64;
            let _ = write!(
                out,
                "cmdstat_{name}:calls={calls},usec={us},usec_per_call={per_call:.2},rejected_calls=0,\
                 failed_calls={failed}\r\n"
            );
        }
    }
}

fn error_stats(shared: &Shared, out: &mut String) {
    heading(out, "Errorstats");
    let errors = sum(shared, |m| &m.errors);
    if errors > 0 {
        field(out, "errorstat_ERR", format_args!("count={errors}"));
    }
}

fn latency_stats(shared: &Shared, out: &mut String) {
    heading(out, "Latencystats");
    for (index, command) in all().iter().enumerate() {
        let (calls, _, _, times) = command_sums(shared, index);
        if calls > 0 {
            let us = |share: f64| times.quantile(share) as f64 / 1000.0;
            let name = command.name;
            let _ = write!(
                out,
                "latency_percentiles_usec_{name}:p50={:.3},p99={:.3},p99.9={:.3}\r\n",
                us(0.5),
                us(0.99),
                us(0.999)
            );
        }
    }
}

fn keyspace(shared: &Shared, out: &mut String) {
    heading(out, "Keyspace");
    for index in 0..COUNT {
        let keys = shared.databases.find(index).map_or(0, terrace::Keyspace::approximate_len);
        if keys > 0 {
            let _ = write!(out, "db{index}:keys={keys},expires=0,avg_ttl=0\r\n");
        }
    }
}
