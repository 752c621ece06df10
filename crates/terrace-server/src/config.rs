//! `ServerConfig`: what is fixed when a server starts. What clients may change later is in `settings`.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use terrace::{Clock, Db, Durability, Env};
use terrace_resp::Limits;

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
pub(crate) const DEFAULT_SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// How a server runs.
#[derive(Clone)]
#[non_exhaustive]
pub struct ServerConfig {
    /// The store.
    pub db: Db,
    /// The address to listen on; default 127.0.0.1, because there is no encryption.
    pub bind: IpAddr,
    /// The port; default 6379. With 0 the system picks one: see [`crate::Server::local_addr`].
    pub port: u16,
    /// What an acknowledged write survives. [`Durability::Sync`] holds replies back until the log is synced;
    /// every other level is the business of the store's own options. Default [`Durability::Process`].
    pub durability: Durability,
    /// The password that clients must give; default none.
    pub requirepass: Option<String>,
    /// Connections served at once; default 10,000. Further ones are answered with an error and closed.
    pub max_clients: usize,
    /// Event loops; default 0, which means one per core. At most 64.
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
    /// How long a shutdown waits for clients to take their replies; default 5 s.
    pub shutdown_grace: Duration,
    /// Time; default the system's.
    pub clock: Arc<dyn Clock>,
}

impl ServerConfig {
    /// The defaults, in front of `db`.
    pub fn new(db: Db) -> Self {
        Self {
            db,
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: DEFAULT_PORT,
            durability: Durability::Process,
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
        }
    }
}
