//! The counters in Prometheus's text exposition format, version 0.0.4.
//!
//! Names end in their unit, and counters in `_total`. Labels take only values from this program (command names,
//! level numbers), so none needs escaping.

use std::fmt::{Display, Write};
use std::sync::atomic::Ordering;

use crate::commands::info::{command_sums, commands_processed, sum, uptime_s};
use crate::commands::table;
use crate::shared::Shared;
use crate::system;

/// The format's media type.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const NS_PER_S: f64 = 1e9;

/// Writes metrics, each with its heading.
struct Exposition {
    text: String,
}

impl Exposition {
    fn heading(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: impl Display, value: impl Display) {
        let _ = writeln!(self.text, "{name}{labels} {value}");
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.heading(name, "counter", help);
        self.sample(name, "", value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.heading(name, "gauge", help);
        self.sample(name, "", value);
    }
}

/// All metrics of a server.
pub(super) fn render(shared: &Shared) -> String {
    let mut out = Exposition { text: String::with_capacity(16 << 10) };
    server(shared, &mut out);
    commands(shared, &mut out);
    let stats = shared.databases.store().stats();
    levels(&stats, &mut out);
    store(&stats, &mut out);
    out.text
}

fn server(shared: &Shared, out: &mut Exposition) {
    out.heading("terrace_build_info", "gauge", "The version that runs.");
    out.sample("terrace_build_info", format_args!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")), 1);
    out.gauge("terrace_uptime_seconds", "Time since the start.", uptime_s(shared));
    out.gauge("process_resident_memory_bytes", "Resident memory.", system::resident_bytes());
    out.gauge("terrace_connected_clients", "Open connections.", shared.clients.len());
    out.gauge("terrace_max_clients", "Connections served at once, at most.", shared.settings.max_clients());
    out.counter("terrace_connections_total", "Connections accepted.", sum(shared, |m| &m.accepted));
    let rejected = sum(shared, |m| &m.rejected);
    out.counter("terrace_connections_rejected_total", "Connections refused for maxclients.", rejected);
    out.counter("terrace_received_bytes_total", "Bytes received from clients.", sum(shared, |m| &m.bytes_in));
    out.counter("terrace_sent_bytes_total", "Bytes sent to clients.", sum(shared, |m| &m.bytes_out));
    out.counter("terrace_keyspace_hits_total", "Look-ups that found a key.", sum(shared, |m| &m.hits));
    out.counter("terrace_keyspace_misses_total", "Look-ups that found none.", sum(shared, |m| &m.misses));
    out.counter("terrace_errors_total", "Commands answered with an error.", sum(shared, |m| &m.errors));
    let conflicts = sum(shared, |m| &m.conflicts);
    out.counter("terrace_conflicts_total", "Conditional commits that were tried again.", conflicts);
    let parked = shared.parked.load(Ordering::Relaxed);
    out.gauge("terrace_parked_clients", "Clients whose writes wait for the store.", parked);
    out.counter("terrace_parks_total", "Times a write waited for the store.", sum(shared, |m| &m.parks));
    out.counter("terrace_loop_wakeups_total", "Times an event loop woke up.", sum(shared, |m| &m.wakeups));
    let saved_s = shared.saves.last_s();
    out.gauge(
        "terrace_last_save_timestamp_seconds",
        "When SAVE or BGSAVE last succeeded; 0 if never.",
        saved_s,
    );
    let failed = u8::from(shared.saves.has_failed());
    out.gauge("terrace_last_save_failed", "1 if the last SAVE or BGSAVE failed.", failed);
    out.counter("terrace_commands_processed_total", "Commands run.", commands_processed(shared));
}

fn commands(shared: &Shared, out: &mut Exposition) {
    let run: Vec<_> = table::all()
        .iter()
        .enumerate()
        .map(|(index, command)| (command.name, command_sums(shared, index, command, command)))
        .filter(|(_, sums)| sums.calls > 0)
        .collect();
    out.heading("terrace_commands_total", "counter", "Runs of a command.");
    for (name, sums) in &run {
        out.sample("terrace_commands_total", format_args!("{{command=\"{name}\"}}"), sums.calls);
    }
    out.heading("terrace_commands_failed_total", "counter", "Runs of a command that ended in an error.");
    for (name, sums) in &run {
        out.sample("terrace_commands_failed_total", format_args!("{{command=\"{name}\"}}"), sums.failed);
    }
    let seconds = "terrace_command_duration_seconds";
    out.heading(seconds, "summary", "Time a command took on its event loop.");
    for (name, sums) in &run {
        for share in [0.5, 0.95, 0.99, 0.999] {
            let labels = format_args!("{{command=\"{name}\",quantile=\"{share}\"}}").to_string();
            out.sample(seconds, labels, sums.times.quantile(share) as f64 / NS_PER_S);
        }
        let labels = format!("{{command=\"{name}\"}}");
        out.sample("terrace_command_duration_seconds_sum", &labels, sums.total_ns as f64 / NS_PER_S);
        out.sample("terrace_command_duration_seconds_count", &labels, sums.calls);
    }
}

fn levels(stats: &terrace::Stats, out: &mut Exposition) {
    type Of = fn(&terrace::LevelStats) -> u64;
    let metrics: [(&str, &str, &str, Of); 6] = [
        ("terrace_level_tables", "gauge", "Tables of a level.", |l| l.tables),
        ("terrace_level_bytes", "gauge", "Size of a level's tables.", |l| l.bytes),
        ("terrace_level_entries", "gauge", "Entries of a level, tombstones included.", |l| l.entries),
        ("terrace_level_compactions_total", "counter", "Compactions into a level.", |l| l.compactions),
        ("terrace_level_read_bytes_total", "counter", "Bytes those compactions read.", |l| l.read_bytes),
        ("terrace_level_written_bytes_total", "counter", "Bytes those compactions wrote.", |l| {
            l.written_bytes
        }),
    ];
    for (name, kind, help, of) in metrics {
        out.heading(name, kind, help);
        for (level, stats) in stats.levels.iter().enumerate() {
            out.sample(name, format_args!("{{level=\"{level}\"}}"), of(stats));
        }
    }
}

fn store(stats: &terrace::Stats, out: &mut Exposition) {
    let (log, memtable, cache) = (&stats.log, &stats.memtable, &stats.cache);
    let (filter, stalls) = (&stats.filter, &stats.stalls);
    out.gauge("terrace_entries", "Estimated entries, old versions and tombstones included.", stats.entries);
    out.gauge("terrace_last_seqno", "The newest write's sequence number.", stats.last_seqno);
    out.gauge("terrace_durable_seqno", "The newest write that survives a power loss.", log.durable_seqno);
    out.gauge("terrace_blob_files", "Blob files, which hold large values.", stats.blobs.files);
    out.gauge("terrace_blob_bytes", "Size of the blob files.", stats.blobs.bytes);
    let garbage = stats.blobs.garbage_bytes;
    out.gauge("terrace_blob_garbage_bytes", "Bytes of values in blob files that nothing points to.", garbage);
    out.gauge("terrace_log_segments", "Log segments that hold unflushed writes.", log.segments);
    out.counter("terrace_log_appended_bytes_total", "Bytes appended to the log.", log.appended_bytes);
    out.counter("terrace_log_syncs_total", "Syncs of the log.", log.syncs);
    out.gauge("terrace_memtable_active_bytes", "Memory of the active memtable.", memtable.active_bytes);
    out.gauge("terrace_memtable_sealed_bytes", "Memory of sealed memtables.", memtable.sealed_bytes);
    out.counter("terrace_flushes_total", "Memtables written out.", memtable.flushes);
    out.counter("terrace_flushed_bytes_total", "Bytes of user data written out.", stats.flushed_bytes);
    out.gauge("terrace_cache_capacity_bytes", "What the block cache may hold.", cache.capacity_bytes);
    out.gauge("terrace_cache_used_bytes", "What the block cache holds.", cache.used_bytes);
    out.gauge("terrace_cache_pinned_bytes", "Filters and indexes of open tables.", cache.pinned_bytes);
    out.counter("terrace_cache_hits_total", "Blocks found in the cache.", cache.hits);
    out.counter("terrace_cache_misses_total", "Blocks read from disk.", cache.misses);
    out.counter("terrace_filter_rejected_total", "Look-ups that a filter ended.", filter.rejected);
    let wrong = filter.false_positives;
    out.counter("terrace_filter_false_positives_total", "Look-ups that passed a filter in vain.", wrong);
    out.counter("terrace_stalls_total", "Writes delayed by back-pressure.", stalls.count);
    let stalled = stalls.total_ns as f64 / NS_PER_S;
    out.counter("terrace_stall_seconds_total", "Their delays together.", stalled);
    out.gauge("terrace_compactions_running", "Compactions that run now.", stats.compactions_running);
    let pending = stats.compaction_pending_bytes;
    out.gauge("terrace_compaction_pending_bytes", "Bytes that compaction still has to move.", pending);
    out.gauge(
        "terrace_write_amplification",
        "Bytes of tables and blob files written per flushed byte.",
        stats.write_amplification,
    );
    out.gauge("terrace_read_amplification", "Tables probed per read.", stats.read_amplification);
    out.gauge(
        "terrace_space_amplification",
        "Bytes of tables and blob files per byte of the last level and its values.",
        stats.space_amplification,
    );
    out.gauge("terrace_snapshots", "Live snapshots and iterators.", stats.snapshots);
    let failing = u8::from(stats.background_error.is_some());
    out.gauge("terrace_background_error", "1 if background work fails or the store refuses writes.", failing);
    let damaged = stats.damage.len();
    out.gauge("terrace_damage", "Damages for which compaction has set files aside.", damaged);
}
