//! The sections about the server itself.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use terrace::Keyspace;

use super::{REDIS_VERSION, bytes, commands_processed, field, heading, human, sum, uptime_s, zeros};
use crate::databases::COUNT;
use crate::hash::header::Header;
use crate::hash::view;
use crate::pending::Stored;
use crate::pubsub::Kind;
use crate::registry::ClientInfo;
use crate::shared::Shared;
use crate::system;

pub(super) fn server(shared: &Shared, out: &mut String) {
    let uptime = uptime_s(shared);
    let configuration = shared.settings.configuration();
    heading(out, "Server");
    field(out, "redis_version", REDIS_VERSION);
    field(out, "redis_git_sha1", "00000000");
    field(out, "redis_git_dirty", 0);
    field(out, "redis_build_id", "0");
    field(out, "terrace_version", env!("CARGO_PKG_VERSION"));
    field(out, "redis_mode", "standalone");
    field(out, "os", format_args!("{} {}", system::kernel(), std::env::consts::ARCH));
    field(out, "arch_bits", usize::BITS);
    field(out, "monotonic_clock", "POSIX clock_gettime");
    field(out, "multiplexing_api", "epoll");
    field(out, "atomicvar_api", "rust");
    field(out, "process_id", std::process::id());
    field(
        out,
        "process_supervised",
        if std::env::var_os("NOTIFY_SOCKET").is_some() { "systemd" } else { "no" },
    );
    field(out, "run_id", &shared.run_id);
    field(out, "tcp_port", configuration.get("port"));
    field(out, "server_time_usec", shared.now_ms() * 1000);
    field(out, "uptime_in_seconds", uptime);
    field(out, "uptime_in_days", uptime / 86_400);
    field(out, "hz", configuration.get("hz"));
    field(out, "configured_hz", configuration.get("hz"));
    field(out, "lru_clock", shared.now_ms() / 1000 % (1 << 24));
    let executable = std::env::current_exe().unwrap_or_default();
    field(out, "executable", executable.display());
    field(out, "config_file", configuration.file().unwrap_or_else(|| "".as_ref()).display());
    field(out, "io_threads_active", u8::from(shared.balance.active() > 1));
    field(out, "io_threads", shared.loops.len());
}

pub(super) fn clients(shared: &Shared, out: &mut String) {
    let all = shared.clients.all();
    let largest = |bytes: fn(&ClientInfo) -> usize| all.iter().map(|c| bytes(c)).max();
    let input = largest(|c| c.input_bytes.load(Ordering::Relaxed));
    let output = largest(|c| c.output_bytes.load(Ordering::Relaxed));
    heading(out, "Clients");
    field(out, "connected_clients", shared.clients.len());
    field(out, "cluster_connections", 0);
    field(out, "maxclients", shared.settings.max_clients());
    field(out, "client_recent_max_input_buffer", input.unwrap_or(0));
    field(out, "client_recent_max_output_buffer", output.unwrap_or(0));
    let parked = shared.parked.load(Ordering::Relaxed);
    field(out, "blocked_clients", shared.pause.waiting() + parked);
    field(out, "terrace_parked_clients", parked);
    let watched = all.iter().map(|client| client.watched_keys()).filter(|keys| *keys > 0);
    field(out, "watching_clients", watched.clone().count());
    field(out, "total_watched_keys", watched.sum::<usize>());
    field(out, "tracking_clients", shared.tracker.totals().clients);
    field(out, "pubsub_clients", all.iter().filter(|client| client.is_subscriber()).count());
    zeros(out, &["clients_in_timeout_table", "total_blocking_keys"]);
}

pub(super) fn memory(shared: &Shared, out: &mut String) {
    let resident = system::resident_bytes();
    let peak = shared.overseer.peak_bytes().max(resident);
    let startup = shared.overseer.startup_bytes();
    let stats = shared.databases.store().stats();
    let memtables = stats.memtable.active_bytes + stats.memtable.sealed_bytes;
    let dataset = (memtables + stats.cache.used_bytes).min(resident);
    let percent = |part: u64, whole: u64| part as f64 * 100.0 / whole.max(1) as f64;
    heading(out, "Memory");
    bytes(out, "used_memory", resident);
    bytes(out, "used_memory_rss", resident);
    bytes(out, "used_memory_peak", peak);
    field(out, "used_memory_peak_perc", format_args!("{:.2}%", percent(resident, peak)));
    field(out, "used_memory_overhead", resident - dataset);
    field(out, "used_memory_startup", startup);
    field(out, "used_memory_dataset", dataset);
    field(out, "used_memory_dataset_perc", format_args!("{:.2}%", percent(dataset, resident)));
    for name in ["allocator_allocated", "allocator_active", "allocator_resident"] {
        field(out, name, resident);
    }
    bytes(out, "total_system_memory", system::total_memory_bytes());
    bytes(out, "used_memory_lua", 0);
    zeros(out, &["used_memory_vm_eval", "used_memory_scripts_eval", "number_of_cached_scripts"]);
    zeros(out, &["number_of_functions", "number_of_libraries", "used_memory_vm_functions"]);
    bytes(out, "used_memory_vm_total", 0);
    zeros(out, &["used_memory_functions"]);
    bytes(out, "used_memory_scripts", 0);
    let budget = shared.settings.configuration().number("maxmemory");
    bytes(out, "maxmemory", budget);
    field(out, "maxmemory_policy", shared.settings.get("maxmemory-policy"));
    for name in
        ["allocator_frag_ratio", "allocator_rss_ratio", "rss_overhead_ratio", "mem_fragmentation_ratio"]
    {
        field(out, name, "1.00");
    }
    zeros(
        out,
        &["allocator_frag_bytes", "allocator_rss_bytes", "rss_overhead_bytes", "mem_fragmentation_bytes"],
    );
    zeros(out, &["mem_not_counted_for_evict", "mem_replication_backlog", "mem_total_replication_buffers"]);
    field(out, "mem_clients_slaves", 0);
    let buffered: usize = shared.clients.all().iter().map(|client| client.buffered_bytes()).sum();
    field(out, "mem_clients_normal", buffered);
    zeros(out, &["mem_cluster_links", "mem_aof_buffer"]);
    field(out, "mem_allocator", "rust");
    zeros(out, &["active_defrag_running", "lazyfree_pending_objects", "lazyfreed_objects"]);
    field(out, "terrace_memory_budget", shared.config.memory_bytes);
    field(out, "terrace_memtable_bytes", memtables);
    field(out, "terrace_cache_bytes", stats.cache.used_bytes);
    field(out, "terrace_cache_human", human(stats.cache.used_bytes));
    field(out, "terrace_pinned_bytes", stats.cache.pinned_bytes);
}

pub(super) fn persistence(shared: &Shared, out: &mut String) {
    let stats = shared.databases.store().stats();
    let (saves, rewrites) = (&shared.saves, &shared.rewrites);
    let seconds = |seconds: Option<u64>| seconds.map_or(-1, u64::cast_signed);
    let now_ms = shared.now_ms();
    let safe = if saves.generation().is_some() { saves.last_seqno() } else { stats.log.durable_seqno };
    let status = |failed: bool| if failed { "err" } else { "ok" };
    heading(out, "Persistence");
    zeros(out, &["loading", "async_loading", "current_cow_peak", "current_cow_size", "current_cow_size_age"]);
    field(out, "current_fork_perc", "0.00");
    zeros(out, &["current_save_keys_processed", "current_save_keys_total"]);
    field(out, "rdb_changes_since_last_save", stats.last_seqno.saturating_sub(safe));
    field(out, "rdb_bgsave_in_progress", u8::from(saves.is_running()));
    field(out, "rdb_last_save_time", saves.last_s().max(shared.started_at_ms / 1000));
    field(out, "rdb_last_bgsave_status", status(saves.has_failed()));
    field(out, "rdb_last_bgsave_time_sec", seconds(saves.last_took_s()));
    field(out, "rdb_current_bgsave_time_sec", seconds(saves.running_s(now_ms)));
    field(out, "rdb_saves", saves.count());
    zeros(out, &["rdb_last_cow_size", "rdb_last_load_keys_expired", "rdb_last_load_keys_loaded"]);
    field(out, "aof_enabled", u8::from(shared.settings.configuration().is_on("appendonly")));
    field(out, "aof_rewrite_in_progress", u8::from(rewrites.is_running()));
    zeros(out, &["aof_rewrite_scheduled"]);
    field(out, "aof_last_rewrite_time_sec", seconds(rewrites.last_took_s()));
    field(out, "aof_current_rewrite_time_sec", seconds(rewrites.running_s(now_ms)));
    field(out, "aof_last_bgrewrite_status", status(rewrites.has_failed()));
    field(out, "aof_rewrites", rewrites.count());
    field(out, "aof_rewrites_consecutive_failures", u8::from(rewrites.has_failed()));
    field(out, "aof_last_write_status", status(stats.background_error.is_some()));
    zeros(out, &["aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size"]);
    field(out, "terrace_durability", shared.settings.durability().name());
    field(out, "terrace_log_segments", stats.log.segments);
    field(out, "terrace_log_syncs", stats.log.syncs);
    field(out, "terrace_last_seqno", stats.last_seqno);
    field(out, "terrace_durable_seqno", stats.log.durable_seqno);
    if let Some(generation) = saves.generation() {
        field(out, "terrace_backup_generation", generation.number);
        field(out, "terrace_backup_bytes", generation.bytes);
        field(out, "terrace_backup_new_bytes", generation.new_bytes);
    }
}

pub(super) fn stats(shared: &Shared, out: &mut String) {
    let watch = &shared.overseer;
    let kbps = |per_s: u64| format!("{:.2}", per_s as f64 / 1024.0);
    heading(out, "Stats");
    field(out, "total_connections_received", sum(shared, |m| &m.accepted));
    field(out, "total_commands_processed", commands_processed(shared));
    field(out, "instantaneous_ops_per_sec", watch.commands_per_s());
    field(out, "total_net_input_bytes", sum(shared, |m| &m.bytes_in));
    field(out, "total_net_output_bytes", sum(shared, |m| &m.bytes_out));
    zeros(out, &["total_net_repl_input_bytes", "total_net_repl_output_bytes"]);
    field(out, "instantaneous_input_kbps", kbps(watch.input_per_s()));
    field(out, "instantaneous_output_kbps", kbps(watch.output_per_s()));
    field(out, "instantaneous_input_repl_kbps", "0.00");
    field(out, "instantaneous_output_repl_kbps", "0.00");
    field(out, "rejected_connections", sum(shared, |m| &m.rejected));
    zeros(out, &["sync_full", "sync_partial_ok", "sync_partial_err"]);
    field(out, "expired_keys", shared.expired_keys.load(Ordering::Relaxed));
    field(out, "expired_subkeys", shared.expired_fields.load(Ordering::Relaxed));
    field(out, "expired_stale_perc", "0.00");
    zeros(out, &["expired_time_cap_reached_count", "expire_cycle_cpu_milliseconds", "evicted_keys"]);
    zeros(out, &["evicted_clients", "total_eviction_exceeded_time", "current_eviction_exceeded_time"]);
    field(out, "keyspace_hits", sum(shared, |m| &m.hits));
    field(out, "keyspace_misses", sum(shared, |m| &m.misses));
    field(out, "pubsub_channels", shared.hub.len(Kind::Channel));
    field(out, "pubsub_patterns", shared.hub.len(Kind::Pattern));
    field(out, "pubsubshard_channels", shared.hub.len(Kind::Shard));
    zeros(out, &["latest_fork_usec", "total_forks"]);
    zeros(out, &["migrate_cached_sockets", "slave_expires_tracked_keys", "active_defrag_hits"]);
    zeros(out, &["active_defrag_misses", "active_defrag_key_hits", "active_defrag_key_misses"]);
    zeros(out, &["total_active_defrag_time", "current_active_defrag_time"]);
    let tracked = shared.tracker.totals();
    field(out, "tracking_total_keys", tracked.keys);
    field(out, "tracking_total_items", tracked.items);
    field(out, "tracking_total_prefixes", tracked.prefixes);
    field(out, "terrace_scheduled_expiries", shared.schedule.len());
    zeros(out, &["unexpected_error_replies"]);
    field(out, "total_error_replies", sum(shared, |m| &m.errors));
    field(out, "dump_payload_sanitizations", 0);
    field(out, "total_reads_processed", sum(shared, |m| &m.reads));
    field(out, "total_writes_processed", sum(shared, |m| &m.writes));
    zeros(out, &["io_threaded_reads_processed", "io_threaded_writes_processed"]);
    zeros(out, &["reply_buffer_shrinks", "reply_buffer_expands"]);
    field(out, "client_output_buffer_limit_disconnections", sum(shared, |m| &m.output_limit_closes));
    field(out, "client_query_buffer_limit_disconnections", sum(shared, |m| &m.query_limit_closes));
    field(out, "acl_access_denied_auth", sum(shared, |m| &m.auth_failures));
    field(out, "acl_access_denied_cmd", sum(shared, |m| &m.denials[0]));
    field(out, "acl_access_denied_key", sum(shared, |m| &m.denials[1]));
    field(out, "acl_access_denied_channel", sum(shared, |m| &m.denials[2]));
    field(out, "terrace_conflicts_retried", sum(shared, |m| &m.conflicts));
    field(out, "eventloop_cycles", sum(shared, |m| &m.wakeups));
    field(out, "terrace_wakeups", sum(shared, |m| &m.wakeups));
}

pub(super) fn replication(shared: &Shared, out: &mut String) {
    heading(out, "Replication");
    field(out, "role", "master");
    field(out, "connected_slaves", 0);
    field(out, "master_failover_state", "no-failover");
    field(out, "master_replid", &shared.run_id);
    field(out, "master_replid2", "0".repeat(40));
    field(out, "master_repl_offset", 0);
    field(out, "second_repl_offset", -1);
    field(out, "repl_backlog_active", 0);
    field(out, "repl_backlog_size", shared.settings.get("repl-backlog-size"));
    zeros(out, &["repl_backlog_first_byte_offset", "repl_backlog_histlen"]);
}

pub(super) fn cpu(_: &Shared, out: &mut String) {
    let (system, user) = system::cpu_seconds();
    heading(out, "CPU");
    field(out, "used_cpu_sys", format_args!("{system:.6}"));
    field(out, "used_cpu_user", format_args!("{user:.6}"));
    field(out, "used_cpu_sys_children", "0.000000");
    field(out, "used_cpu_user_children", "0.000000");
}

pub(super) fn keyspace(shared: &Shared, out: &mut String) {
    heading(out, "Keyspace");
    let now_ms = shared.databases.now_ms();
    let mut budget = MAX_COUNTED;
    for index in 0..COUNT {
        let Some(space) = shared.databases.find(index) else { continue };
        let found = Found::count(space, now_ms, budget);
        budget -= found.as_ref().map_or(budget, |found| found.keys);
        let found = found.unwrap_or_else(|| Found { keys: space.approximate_len(), ..Found::default() });
        if found.keys > 0 {
            let Found { keys, expiring, ttl_ms, with_expiring_fields } = found;
            let ttl_ms = ttl_ms.checked_div(u128::from(expiring)).unwrap_or(0);
            let _ = write!(
                out,
                "db{index}:keys={keys},expires={expiring},avg_ttl={ttl_ms},subexpiry={with_expiring_fields}\r\n"
            );
        }
    }
}

/// Keys that `INFO` counts one by one; of databases beyond that it shows the store's estimate.
const MAX_COUNTED: u64 = 10_000;

/// What was found in a database.
#[derive(Default)]
struct Found {
    keys: u64,
    expiring: u64,
    /// The time that the expiring keys have left, added up.
    ttl_ms: u128,
    /// Hashes.
    with_expiring_fields: u64,
}

impl Found {
    /// Counts the keys, unless they are more than `max`.
    fn count(space: &Keyspace, now_ms: u64, max: u64) -> Option<Self> {
        let mut found = Self::default();
        let mut keys = space.iter();
        // What cannot be read is for a command that reads it to report.
        while let Some(Ok((_, entry))) = keys.next_entry() {
            if found.keys == max {
                return None;
            }
            found.keys += 1;
            let stored = Stored::from(entry);
            let expires = |header: Header| u64::from(header.expiring > 0);
            found.with_expiring_fields += view::header_of(&stored).map_or(0, expires);
            if let Some(at_ms) = stored.expires_at_ms {
                found.expiring += 1;
                found.ttl_ms += u128::from(at_ms.saturating_sub(now_ms));
            }
        }
        Some(found)
    }
}
