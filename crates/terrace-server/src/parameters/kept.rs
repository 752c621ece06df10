//! The parameters of Redis that have no meaning here. Tools set them and read them back, so they are accepted, kept
//! and shown, with the defaults of Redis 7.2; nothing else comes of them.

use super::Change::Anytime;
use super::kind::{ANY_BYTES, COUNT, Kind, ON_SIGNAL, PORT, SAVE, integer};
use super::{Change, Parameter, Section};

/// Found by their exact names only, as in Redis.
pub(super) const HIDDEN: [&str; 5] = [
    "key-load-delay",
    "loading-process-events-interval-bytes",
    "rdb-key-save-delay",
    "use-exit-on-panic",
    "watchdog-period",
];

const fn row(name: &'static str, kind: Kind, default: &'static str) -> Parameter {
    Parameter { name, alias: None, kind, default, section: Section::Kept, change: Anytime, help: "" }
}

const fn yes_no(name: &'static str, default: &'static str) -> Parameter {
    row(name, Kind::YesNo, default)
}

impl Parameter {
    const fn also(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    const fn fixed(mut self) -> Self {
        self.change = Change::AtStart;
        self
    }
}

const LENGTH: Kind = integer(0, i64::MAX);
const SIGNED: Kind = integer(i32::MIN as i64, i32::MAX as i64);

/// The rows.
pub(super) const PARAMETERS: &[Parameter] = &[
    row("active-defrag-cycle-max", integer(1, 99), "25"),
    row("active-defrag-cycle-min", integer(1, 99), "1"),
    row("active-defrag-ignore-bytes", ANY_BYTES, "104857600"),
    row("active-defrag-max-scan-fields", LENGTH, "1000"),
    row("active-defrag-threshold-lower", integer(0, 1000), "10"),
    row("active-defrag-threshold-upper", integer(0, 1000), "100"),
    yes_no("activedefrag", "no"),
    yes_no("activerehashing", "yes"),
    yes_no("always-show-logo", "no").fixed(),
    yes_no("aof-disable-auto-gc", "no"),
    yes_no("aof-load-truncated", "yes"),
    yes_no("aof-rewrite-incremental-fsync", "yes"),
    yes_no("aof-timestamp-enabled", "no"),
    yes_no("aof-use-rdb-preamble", "yes"),
    row("aof_rewrite_cpulist", Kind::Text, "").fixed(),
    row("appenddirname", Kind::Text, "appendonlydir").fixed(),
    row("appendfilename", Kind::Text, "appendonly.aof").fixed(),
    row("auto-aof-rewrite-min-size", ANY_BYTES, "67108864"),
    row("auto-aof-rewrite-percentage", COUNT, "100"),
    row("bgsave_cpulist", Kind::Text, "").fixed(),
    row("bind-source-addr", Kind::Text, ""),
    row("bio_cpulist", Kind::Text, "").fixed(),
    row("busy-reply-threshold", LENGTH, "5000").also("lua-time-limit"),
    yes_no("cluster-allow-pubsubshard-when-down", "yes"),
    yes_no("cluster-allow-reads-when-down", "no"),
    yes_no("cluster-allow-replica-migration", "yes"),
    row("cluster-announce-bus-port", PORT, "0"),
    row("cluster-announce-hostname", Kind::Text, ""),
    row("cluster-announce-human-nodename", Kind::Text, ""),
    row("cluster-announce-ip", Kind::Text, ""),
    row("cluster-announce-port", PORT, "0"),
    row("cluster-announce-tls-port", PORT, "0"),
    row("cluster-config-file", Kind::Text, "nodes.conf").fixed(),
    yes_no("cluster-enabled", "no").fixed(),
    row("cluster-link-sendbuf-limit", ANY_BYTES, "0"),
    row("cluster-migration-barrier", COUNT, "1"),
    row("cluster-node-timeout", LENGTH, "15000"),
    row("cluster-port", PORT, "0").fixed(),
    row("cluster-preferred-endpoint-type", Kind::OneOf(&["ip", "hostname", "unknown-endpoint"]), "ip"),
    yes_no("cluster-replica-no-failover", "no").also("cluster-slave-no-failover"),
    row("cluster-replica-validity-factor", COUNT, "10").also("cluster-slave-validity-factor"),
    yes_no("cluster-require-full-coverage", "yes"),
    yes_no("crash-log-enabled", "yes"),
    yes_no("crash-memcheck-enabled", "yes"),
    yes_no("daemonize", "no").fixed(),
    row("dbfilename", Kind::Text, "dump.rdb"),
    yes_no("disable-thp", "yes").fixed(),
    yes_no("dynamic-hz", "yes"),
    row("enable-module-command", Kind::OneOf(&["no", "yes", "local"]), "no").fixed(),
    row("enable-protected-configs", Kind::OneOf(&["no", "yes", "local"]), "no").fixed(),
    row("hash-max-listpack-entries", LENGTH, "512").also("hash-max-ziplist-entries"),
    row("hash-max-listpack-value", ANY_BYTES, "64").also("hash-max-ziplist-value"),
    row("hll-sparse-max-bytes", ANY_BYTES, "3000"),
    row("hz", COUNT, "10"),
    row("ignore-warnings", Kind::Text, ""),
    yes_no("io-threads-do-reads", "no").fixed(),
    yes_no("jemalloc-bg-thread", "yes"),
    row("key-load-delay", SIGNED, "0"),
    yes_no("lazyfree-lazy-eviction", "no"),
    yes_no("lazyfree-lazy-expire", "no"),
    yes_no("lazyfree-lazy-server-del", "no"),
    yes_no("lazyfree-lazy-user-del", "no"),
    yes_no("lazyfree-lazy-user-flush", "no"),
    row("lfu-decay-time", COUNT, "1"),
    row("lfu-log-factor", COUNT, "10"),
    row("list-compress-depth", COUNT, "0"),
    row("list-max-listpack-size", SIGNED, "-2").also("list-max-ziplist-size"),
    row("loading-process-events-interval-bytes", ANY_BYTES, "2097152"),
    row("locale-collate", Kind::Text, ""),
    row("masterauth", Kind::Secret, ""),
    row("masteruser", Kind::Secret, ""),
    row("maxmemory-clients", Kind::BytesOrPercent, "0"),
    row("maxmemory-eviction-tenacity", integer(0, 100), "10"),
    row(
        "maxmemory-policy",
        Kind::OneOf(&[
            "volatile-lru",
            "volatile-lfu",
            "volatile-random",
            "volatile-ttl",
            "allkeys-lru",
            "allkeys-lfu",
            "allkeys-random",
            "noeviction",
        ]),
        "noeviction",
    ),
    row("maxmemory-samples", COUNT, "5"),
    row("min-replicas-max-lag", COUNT, "10").also("min-slaves-max-lag"),
    row("min-replicas-to-write", COUNT, "0").also("min-slaves-to-write"),
    yes_no("no-appendfsync-on-rewrite", "no"),
    row("oom-score-adj", Kind::OneOf(&["no", "yes", "relative", "absolute"]), "no"),
    row("oom-score-adj-values", Kind::Text, "0 200 800"),
    row("pidfile", Kind::Text, "").fixed(),
    row("proc-title-template", Kind::Text, "{title} {listen-addr} {server-mode}"),
    row("propagation-error-behavior", Kind::OneOf(&["ignore", "panic", "panic-on-replicas"]), "ignore"),
    yes_no("rdb-del-sync-files", "no"),
    row("rdb-key-save-delay", SIGNED, "0"),
    yes_no("rdb-save-incremental-fsync", "yes"),
    yes_no("rdbchecksum", "yes").fixed(),
    yes_no("rdbcompression", "yes"),
    row("repl-backlog-size", ANY_BYTES, "1048576"),
    row("repl-backlog-ttl", LENGTH, "3600"),
    yes_no("repl-disable-tcp-nodelay", "no"),
    row("repl-diskless-load", Kind::OneOf(&["disabled", "on-empty-db", "swapdb"]), "disabled"),
    yes_no("repl-diskless-sync", "yes"),
    row("repl-diskless-sync-delay", COUNT, "5"),
    row("repl-diskless-sync-max-replicas", COUNT, "0"),
    row("repl-ping-replica-period", COUNT, "10").also("repl-ping-slave-period"),
    row("repl-timeout", COUNT, "60"),
    row("replica-announce-ip", Kind::Text, "").also("slave-announce-ip"),
    row("replica-announce-port", PORT, "0").also("slave-announce-port"),
    yes_no("replica-announced", "yes"),
    yes_no("replica-ignore-disk-write-errors", "no"),
    yes_no("replica-ignore-maxmemory", "yes").also("slave-ignore-maxmemory"),
    yes_no("replica-lazy-flush", "no").also("slave-lazy-flush"),
    row("replica-priority", COUNT, "100").also("slave-priority"),
    yes_no("replica-read-only", "yes").also("slave-read-only"),
    yes_no("replica-serve-stale-data", "yes").also("slave-serve-stale-data"),
    row("replicaof", Kind::Text, "").also("slaveof").fixed(),
    row("sanitize-dump-payload", Kind::OneOf(&["no", "yes", "clients"]), "no"),
    row("save", SAVE, ""),
    row("server_cpulist", Kind::Text, "").fixed(),
    row("set-max-intset-entries", LENGTH, "512"),
    row("set-max-listpack-entries", LENGTH, "128"),
    row("set-max-listpack-value", ANY_BYTES, "64"),
    yes_no("set-proc-title", "yes").fixed(),
    row("shutdown-on-sigint", ON_SIGNAL, "default"),
    row("shutdown-on-sigterm", ON_SIGNAL, "default"),
    row("socket-mark-id", LENGTH, "0").fixed(),
    yes_no("stop-writes-on-bgsave-error", "yes"),
    row("stream-node-max-bytes", ANY_BYTES, "4096"),
    row("stream-node-max-entries", LENGTH, "100"),
    row("supervised", Kind::OneOf(&["upstart", "systemd", "auto", "no"]), "no").fixed(),
    yes_no("syslog-enabled", "no").fixed(),
    row("syslog-facility", Kind::Text, "local0").fixed(),
    row("syslog-ident", Kind::Text, "redis").fixed(),
    row("tcp-backlog", COUNT, "511").fixed(),
    yes_no("use-exit-on-panic", "no"),
    row("watchdog-period", COUNT, "0"),
    row("zset-max-listpack-entries", LENGTH, "128").also("zset-max-ziplist-entries"),
    row("zset-max-listpack-value", ANY_BYTES, "64").also("zset-max-ziplist-value"),
];
