//! The parameters that have a meaning here.

use super::Change::{Anytime, AtStart, NextStart};
use super::Section::{Clients, Network, Observation, Security, Store};
use super::kind::{
    ADDRESS, ADDRESSES, ANY_BYTES, COUNT, EVENTS, Kind, OPTIONAL_PORT, OUTPUT_LIMITS, PERCENTILES, PORT,
    SHARDS, TLS_CIPHERS, TLS_PROTOCOLS, integer,
};
use super::special::DEFAULT_OUTPUT_LIMITS;
use super::{Change, Parameter, Section};

const fn row(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    (section, change): (Section, Change),
    help: &'static str,
) -> Parameter {
    Parameter { name, alias: None, kind, default, section, change, help }
}

impl Parameter {
    const fn or(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }
}

/// Levels of durability, from the least.
pub(crate) const DURABILITY_LEVELS: [&str; 4] = ["memory", "process", "interval", "sync"];
/// Levels of the log, from the most to say.
pub(crate) const LOG_LEVELS: [&str; 5] = ["debug", "verbose", "notice", "warning", "nothing"];

/// The rows.
pub(super) const PARAMETERS: &[Parameter] = &[
    row(
        "bind",
        ADDRESSES,
        "127.0.0.1",
        (Network, Anytime),
        "The addresses to listen on, with and without TLS, with spaces between them. * is every one of IPv4, ::* of IPv6; \
         the server runs without one that has - before it, if the machine does not have it.",
    ),
    row("port", PORT, "6379", (Network, Anytime), "The port; at the start, 0 is none if there is a tls-port, and otherwise picks a free one and prints it."),
    row("tls-port", PORT, "0", (Network, AtStart), "A port for TLS; 0 for none."),
    row(
        "tls-cert-file",
        Kind::Text,
        "",
        (Network, Anytime),
        "The server's certificate and those between it and its authority, as PEM. Loaded again when it changes, as the \
         two files below are.",
    ),
    row("tls-key-file", Kind::Text, "", (Network, Anytime), "The private key of the certificate, as PEM."),
    row(
        "tls-ca-cert-file",
        Kind::Text,
        "",
        (Network, Anytime),
        "The certificates of the authorities that sign certificates of clients, as PEM.",
    ),
    row(
        "tls-auth-clients",
        Kind::OneOf(&["no", "yes", "optional"]),
        "yes",
        (Network, Anytime),
        "Whether clients show certificates: no, yes, or only those that want to. The last two need tls-ca-cert-file.",
    ),
    row(
        "tls-protocols",
        TLS_PROTOCOLS,
        "",
        (Network, Anytime),
        "The versions of TLS that are spoken: TLSv1.2, TLSv1.3 or both; empty means both.",
    ),
    row(
        "tls-ciphers",
        TLS_CIPHERS,
        "",
        (Network, Anytime),
        "The cipher suites of TLS 1.2, in OpenSSL's names with colons between them, for clients to choose from; empty \
         means all that this server has.",
    ),
    row(
        "tls-ciphersuites",
        TLS_CIPHERS,
        "",
        (Network, Anytime),
        "The same for TLS 1.3.",
    ),
    row(
        "unixsocket",
        Kind::Text,
        "",
        (Network, AtStart),
        "The path of a Unix socket to listen on as well; empty for none.",
    ),
    row(
        "unixsocketperm",
        Kind::Octal { max: 0o777 },
        "0",
        (Network, AtStart),
        "The permissions of the Unix socket, in octal; 0 leaves them to the umask.",
    ),
    row(
        "tcp-keepalive",
        COUNT,
        "300",
        (Network, Anytime),
        "Seconds of silence after which the system asks whether a new connection's peer is still there; 0 never asks.",
    ),
    row(
        "admin-port",
        OPTIONAL_PORT,
        "",
        (Network, AtStart),
        "A port for probes and metrics over HTTP (/livez, /readyz, /metrics, and a page at /); 0 picks a free one and \
         prints it, empty means none.",
    ),
    row("admin-bind", ADDRESS, "127.0.0.1", (Network, AtStart), "The address of the admin port, which knows no password."),
    row("threads", integer(0, 64), "0", (Network, AtStart), "Event loops; 0 means as many as the load asks for, up to one per core.")
        .or("io-threads"),
    row(
        "maxclients",
        integer(1, 1 << 20),
        "10000",
        (Clients, Anytime),
        "Connections served at once. Further ones are answered with an error and closed.",
    ),
    row("timeout", COUNT, "0", (Clients, Anytime), "Seconds after which an idle connection is closed; 0 means never."),
    row(
        "proto-max-bulk-len",
        Kind::Bytes { min: 1 << 20, max: 512 << 20 },
        "536870912",
        (Clients, Anytime),
        "The longest argument of a request, and the longest value that a command may build.",
    ),
    row(
        "client-query-buffer-limit",
        Kind::Bytes { min: 1 << 20, max: i64::MAX as u64 },
        "1073741824",
        (Clients, Anytime),
        "Bytes of requests that one connection may have waiting; beyond it is closed.",
    ),
    row(
        "client-output-buffer-limit",
        OUTPUT_LIMITS,
        DEFAULT_OUTPUT_LIMITS,
        (Clients, Anytime),
        "Bytes of replies that may wait for a client before it is closed, by class. A hard limit of 0 means 1 GiB.",
    ),
    row(
        "tracking-table-max-keys",
        integer(0, i64::MAX),
        "1000000",
        (Clients, Anytime),
        "Keys that are remembered for client-side caching; 0 means as many as there are.",
    ),
    row(
        "shutdown-timeout",
        COUNT,
        "10",
        (Clients, Anytime),
        "Seconds that a shutdown waits for clients to take their replies.",
    ),
    row("requirepass", Kind::Secret, "", (Security, Anytime), "The password that clients must give; empty for none."),
    row(
        "protected-mode",
        Kind::YesNo,
        "yes",
        (Security, Anytime),
        "Whether clients from other machines are refused as long as there is no password.",
    ),
    row(
        "aclfile",
        Kind::Text,
        "",
        (Security, AtStart),
        "The file of users that ACL LOAD reads, as the start does, and ACL SAVE writes; empty for none. It has to be \
         there, if only empty. requirepass counts for a default user that is not in it.",
    ),
    row(
        "acl-pubsub-default",
        Kind::OneOf(&["allchannels", "resetchannels"]),
        "resetchannels",
        (Security, Anytime),
        "Whether a new user may use every channel or none.",
    ),
    row("acllog-max-len", COUNT, "128", (Security, Anytime), "Refusals kept in ACL LOG."),
    row(
        "enable-debug-command",
        Kind::OneOf(&["no", "yes", "local"]),
        "local",
        (Security, AtStart),
        "Who may use DEBUG: nobody, everybody, or clients on this machine.",
    ),
    row("dir", Kind::Text, "data", (Store, AtStart), "The directory of the store, created when missing."),
    row(
        "backup-dir",
        Kind::Text,
        "",
        (Store, Anytime),
        "The directory of backups in which SAVE and BGSAVE make a generation, as BACKUP TO does; best on another disk. \
         Empty: they sync the log and copy nothing.",
    ),
    row(
        "backup-keep",
        integer(0, i64::MAX),
        "0",
        (Store, Anytime),
        "Generations that SAVE and BGSAVE leave in backup-dir, the new one included; 0 keeps all.",
    ),
    row(
        "durability",
        Kind::OneOf(&DURABILITY_LEVELS),
        "interval",
        (Store, Anytime),
        "What an acknowledged write survives: a clean stop (memory), a crash of the process (process), also a power \
         loss but for the last period (interval), or a power loss (sync). While the server runs it can be raised \
         above the level of the start, not go below.",
    ),
    row(
        "interval-ms",
        integer(1, 3_600_000),
        "100",
        (Store, AtStart),
        "The period of the durability interval in milliseconds: what a power loss may cost.",
    ),
    row(
        "appendfsync",
        Kind::OneOf(&["always", "everysec", "no"]),
        "everysec",
        (Store, Anytime),
        "Redis's name for durability: always is sync, everysec is interval, no is process.",
    ),
    row(
        "appendonly",
        Kind::YesNo,
        "yes",
        (Store, AtStart),
        "Whether writes are logged; no only with the durability memory, which decides.",
    ),
    row("shards", SHARDS, "16", (Store, AtStart), "Shards of the memtable: more let more threads write at once."),
    row(
        "maxmemory",
        ANY_BYTES,
        "0",
        (Store, NextStart),
        "Memory for memtables, cache and background work; 0 means a quarter of what this process may use. It bounds \
         memory, not data: nothing is evicted.",
    )
    .or("memory"),
    row(
        "active-expire-effort",
        integer(1, 10),
        "1",
        (Store, Anytime),
        "How much time the removal of expired keys may take: 1 is little, 10 is much.",
    ),
    row("databases", integer(16, 16), "16", (Store, AtStart), "Numbered databases; always 16."),
    row(
        "loglevel",
        Kind::OneOf(&LOG_LEVELS),
        "notice",
        (Observation, Anytime),
        "What is logged: the word names the least important messages that are.",
    ),
    row("logfile", Kind::Text, "", (Observation, AtStart), "The file to log to; empty for standard error."),
    row("log-format", Kind::OneOf(&["text", "json"]), "text", (Observation, AtStart), "The form of the log."),
    row(
        "slowlog-log-slower-than",
        integer(-1, i64::MAX),
        "10000",
        (Observation, Anytime),
        "Microseconds from which a command is kept in SLOWLOG; 0 keeps all, -1 none.",
    ),
    row("slowlog-max-len", COUNT, "128", (Observation, Anytime), "Commands kept in SLOWLOG."),
    row(
        "latency-monitor-threshold",
        integer(0, i64::MAX),
        "0",
        (Observation, Anytime),
        "Milliseconds from which LATENCY notes an event; 0 notes none.",
    ),
    row(
        "latency-tracking",
        Kind::YesNo,
        "yes",
        (Observation, Anytime),
        "Whether INFO latencystats shows percentiles.",
    ),
    row(
        "latency-tracking-info-percentiles",
        PERCENTILES,
        "50 99 99.9",
        (Observation, Anytime),
        "The percentiles that INFO latencystats shows.",
    ),
    row(
        "notify-keyspace-events",
        EVENTS,
        "",
        (Observation, Anytime),
        "The keyspace events that are published, as letters; empty for none.",
    ),
];
