//! `ServerConfig`: what a server starts with. What clients may change later is in `settings`.
//!
//! The fields are what programs set that embed a server; `configured` fills them from parameters by name.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use terrace::{Clock, Db, Durability, Env};
use terrace_resp::Limits;

use crate::listening::{self, Bind};
use crate::parameters::Configuration;
use crate::settings::LogLevelHook;

/// Default of [`ServerConfig::port`].
pub(crate) const DEFAULT_PORT: u16 = 6379;
/// Default of [`ServerConfig::max_clients`].
pub(crate) const DEFAULT_MAX_CLIENTS: usize = 10_000;
/// Default of [`ServerConfig::query_buffer_bytes`]: 1 GiB.
pub(crate) const DEFAULT_QUERY_BUFFER_BYTES: usize = 1 << 30;
/// Default of [`ServerConfig::output_soft_bytes`]: 1 MiB.
pub(crate) const DEFAULT_OUTPUT_SOFT_BYTES: usize = 1 << 20;
/// Default of [`ServerConfig::output_hard_bytes`]: 1 GiB.
pub(crate) const DEFAULT_OUTPUT_HARD_BYTES: usize = 1 << 30;
/// Default of [`ServerConfig::shutdown_grace`].
pub(crate) const DEFAULT_SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// How a server runs.
#[derive(Clone)]
#[non_exhaustive]
pub struct ServerConfig {
    /// The store.
    pub db: Db,
    /// The addresses to listen on, with and without TLS; default 127.0.0.1.
    pub bind: Vec<Bind>,
    /// The port; default 6379. With 0 the system picks one: see [`crate::Server::local_addr`].
    pub port: u16,
    /// Whether that port is open; default true. Without it only the port with TLS and the Unix socket are.
    pub plain_port: bool,
    /// A port for TLS; default none. With 0 the system picks one: see [`crate::Server::tls_addr`]. The certificate and
    /// the rest come from the parameters `tls-cert-file` and so on of [`ServerConfig::configuration`].
    pub tls_port: Option<u16>,
    /// A Unix socket to listen on as well; default none. A socket left there by an earlier run is replaced.
    pub unix_socket: Option<PathBuf>,
    /// The permissions of the Unix socket; default 0, which leaves them to the umask.
    pub unix_socket_mode: u32,
    /// What an acknowledged write survives, unless its connection asks for more. [`Durability::Sync`] holds replies
    /// back until the log is synced, so the store itself is opened with less; every other level must be the
    /// store's own. Default [`Durability::Process`].
    pub durability: Durability,
    /// The memory budget that the store was opened with, for `INFO` and `CONFIG GET maxmemory`; default 0, which
    /// means unknown.
    pub memory_bytes: u64,
    /// The password that clients must give; default none.
    pub requirepass: Option<String>,
    /// Connections served at once; default 10,000. Further ones are answered with an error and closed.
    pub max_clients: usize,
    /// Event loops; default 0, which means as many as the load asks for, up to one per core. At most 64.
    pub threads: usize,
    /// Connections idle for longer are closed; default zero, which means never.
    pub idle_timeout: Duration,
    /// The limits of one request.
    pub limits: Limits,
    /// Bytes of requests that one connection may have waiting; default 1 GiB.
    pub query_buffer_bytes: usize,
    /// Bytes of replies waiting for a client at which its further requests are left unread; default 1 MiB.
    pub output_soft_bytes: usize,
    /// Bytes of replies waiting for a client at which it is disconnected; default 1 GiB. One reply may be
    /// larger than the soft limit, so this one bounds memory.
    pub output_hard_bytes: usize,
    /// How long a shutdown waits for clients to take their replies; default 10 s.
    pub shutdown_grace: Duration,
    /// Time; default the system's.
    pub clock: Arc<dyn Clock>,
    /// All parameters by name. The fields above win over those that mean the same.
    pub configuration: Configuration,
    /// Called when `CONFIG SET loglevel` changes what is to be logged; default nothing.
    pub on_log_level: Option<LogLevelHook>,
}

impl ServerConfig {
    /// The defaults, in front of `db`.
    pub fn new(db: Db) -> Self {
        Self {
            db,
            bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST).into()],
            port: DEFAULT_PORT,
            plain_port: true,
            tls_port: None,
            unix_socket: None,
            unix_socket_mode: 0,
            durability: Durability::Process,
            memory_bytes: 0,
            requirepass: None,
            max_clients: DEFAULT_MAX_CLIENTS,
            threads: 0,
            idle_timeout: Duration::ZERO,
            limits: Limits::DEFAULT,
            query_buffer_bytes: DEFAULT_QUERY_BUFFER_BYTES,
            output_soft_bytes: DEFAULT_OUTPUT_SOFT_BYTES,
            output_hard_bytes: DEFAULT_OUTPUT_HARD_BYTES,
            shutdown_grace: DEFAULT_SHUTDOWN_GRACE,
            clock: Env::default().clock,
            configuration: Configuration::default(),
            on_log_level: None,
        }
    }

    /// What `configuration` says, in front of `db`, which was opened with the durability of the configuration (or
    /// with [`Durability::Process`] for [`Durability::Sync`]).
    pub fn configured(db: Db, configuration: Configuration) -> Self {
        let text = |name: &str| Some(configuration.get(name).to_string()).filter(|text| !text.is_empty());
        let number = |name: &str| configuration.number(name);
        let size = |name: &str| usize::try_from(number(name)).unwrap_or(usize::MAX);
        let tls_port = Some(number("tls-port") as u16).filter(|port| *port != 0);
        Self {
            bind: listening::parse(configuration.get("bind"))
                .unwrap_or_else(|_| vec![IpAddr::V4(Ipv4Addr::LOCALHOST).into()]),
            port: number("port") as u16,
            plain_port: number("port") != 0 || tls_port.is_none(),
            tls_port,
            unix_socket: text("unixsocket").map(PathBuf::from),
            unix_socket_mode: u32::from_str_radix(configuration.get("unixsocketperm"), 8).unwrap_or(0),
            durability: match configuration.get("durability") {
                "memory" => Durability::Memory,
                "process" => Durability::Process,
                "interval" => Durability::Interval(Duration::from_millis(number("interval-ms"))),
                _ => Durability::Sync,
            },
            requirepass: text("requirepass"),
            max_clients: size("maxclients"),
            threads: size("threads"),
            idle_timeout: Duration::from_secs(number("timeout")),
            limits: Limits { bulk_bytes: size("proto-max-bulk-len"), ..Limits::DEFAULT },
            query_buffer_bytes: size("client-query-buffer-limit"),
            shutdown_grace: Duration::from_secs(number("shutdown-timeout")),
            configuration,
            ..Self::new(db)
        }
    }
}
