//! `STATS`: everything that is counted, as one JSON object.

use serde_json::{Value, json};
use terrace::Stats;
use terrace_resp::Args;

use super::info::{command_sums, commands_processed, sum, uptime_s};
use super::table::{Command, LOADING, STALE, all};
use super::{Flow, Handled};
use crate::context::Context;
use crate::histogram::{Histogram, Merged};
use crate::metrics::LoopMetrics;
use crate::shared::Shared;

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] = &[Command::new(
    "stats",
    1,
    "server",
    "terrace 0.1.0",
    stats,
    "Returns the statistics of server and store as a JSON object.",
)
.flags(LOADING | STALE)];

fn stats(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.settle();
    cx.reply.verbatim(&report(cx.shared).to_string());
    Ok(Flow::Done)
}

/// All statistics of server and store.
pub(crate) fn report(shared: &Shared) -> Value {
    let (hits, misses) = (sum(shared, |m| &m.hits), sum(shared, |m| &m.misses));
    json!({
        "uptime_s": uptime_s(shared),
        "connected_clients": shared.clients.len(),
        "commands_processed": commands_processed(shared),
        "keyspace": { "hits": hits, "misses": misses, "hit_rate": ratio(hits, misses) },
        "network": { "bytes_in": sum(shared, |m| &m.bytes_in), "bytes_out": sum(shared, |m| &m.bytes_out) },
        "errors": sum(shared, |m| &m.errors),
        "conflicts_retried": sum(shared, |m| &m.conflicts),
        "parks": sum(shared, |m| &m.parks),
        "wakeups": sum(shared, |m| &m.wakeups),
        "loops": shared.loops.len(),
        "group_commits": sizes(shared, "writes", |metrics| &metrics.group_sizes),
        "group_lookups": sizes(shared, "reads", |metrics| &metrics.lookup_sizes),
        "commands": commands(shared),
        "store": store(&shared.databases.store().stats()),
    })
}

fn ratio(hits: u64, misses: u64) -> f64 {
    if hits + misses == 0 { 0.0 } else { hits as f64 / (hits + misses) as f64 }
}

/// What a histogram of sizes shows, each quantile under `name` with its suffix.
fn sizes(shared: &Shared, name: &str, of: fn(&LoopMetrics) -> &Histogram) -> Value {
    let mut sizes = Merged::default();
    shared.loops.iter().for_each(|handle| sizes.add(of(&handle.metrics)));
    let mut object = serde_json::Map::new();
    object.insert("count".into(), sizes.total().into());
    for (suffix, share) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)] {
        object.insert(format!("{name}_{suffix}"), sizes.quantile(share).into());
    }
    Value::Object(object)
}

fn commands(shared: &Shared) -> Value {
    let mut object = serde_json::Map::new();
    for (index, command) in all().iter().enumerate() {
        let sums = command_sums(shared, index, command, command);
        let (calls, failed, total_ns, times) = (sums.calls, sums.failed, sums.total_ns, &sums.times);
        if calls == 0 {
            continue;
        }
        let us = |share: f64| times.quantile(share) as f64 / 1000.0;
        let value = json!({
            "calls": calls,
            "failed": failed,
            "mean_us": total_ns as f64 / 1000.0 / calls as f64,
            "p50_us": us(0.5),
            "p95_us": us(0.95),
            "p99_us": us(0.99),
        });
        object.insert(command.name.into(), value);
    }
    Value::Object(object)
}

fn store(stats: &Stats) -> Value {
    let level = |level: &terrace::LevelStats| {
        json!({
            "runs": level.runs,
            "tables": level.tables,
            "bytes": level.bytes,
            "entries": level.entries,
            "compactions": level.compactions,
            "read_bytes": level.read_bytes,
            "written_bytes": level.written_bytes,
        })
    };
    let (log, memtable, cache, blobs) = (&stats.log, &stats.memtable, &stats.cache, &stats.blobs);
    let (filter, stalls) = (&stats.filter, &stats.stalls);
    json!({
        "levels": stats.levels.iter().map(level).collect::<Vec<_>>(),
        "blobs": {
            "files": blobs.files, "bytes": blobs.bytes, "records": blobs.records,
            "garbage_bytes": blobs.garbage_bytes,
        },
        "log": {
            "segments": log.segments, "appended_bytes": log.appended_bytes, "syncs": log.syncs,
            "durable_seqno": log.durable_seqno,
        },
        "memtable": {
            "active_bytes": memtable.active_bytes, "active_entries": memtable.active_entries,
            "sealed": memtable.sealed, "sealed_bytes": memtable.sealed_bytes, "flushes": memtable.flushes,
        },
        "cache": {
            "capacity_bytes": cache.capacity_bytes, "used_bytes": cache.used_bytes,
            "pinned_bytes": cache.pinned_bytes, "hits": cache.hits, "misses": cache.misses,
        },
        "filter": {
            "rejected": filter.rejected, "found": filter.found, "false_positives": filter.false_positives,
        },
        "stalls": { "count": stalls.count, "total_ns": stalls.total_ns, "max_ns": stalls.max_ns },
        "flushed_bytes": stats.flushed_bytes,
        "write_amplification": stats.write_amplification,
        "read_amplification": stats.read_amplification,
        "space_amplification": stats.space_amplification,
        "entries": stats.entries,
        "last_seqno": stats.last_seqno,
        "snapshots": stats.snapshots,
        "background_error": stats.background_error,
        "damage": stats.damage,
    })
}
