//! The Terrace server: the Redis protocol in front of a durable, ordered store.
//!
//! ```no_run
//! use terrace_server::{Server, ServerConfig};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let db = terrace::Db::open("data")?;
//! let server = Server::bind(ServerConfig::new(db))?;
//! println!("listening on {}", server.local_addr());
//! let stop = server.shutdown_handle(); // from a signal handler: stop.shutdown()
//! # stop.shutdown();
//! server.run()?;
//! # Ok(())
//! # }
//! ```
//!
//! Event loops, as many as the load asks for; each reads all its ready sockets, runs every complete command in order, gathers
//! the plain writes of all of them into one engine batch, and answers with one write per connection. See
//! `docs/server.md` for what differs from Redis.
#![forbid(unsafe_code)]

/// For fuzzing only.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing {
    /// Whether `text` matches a glob pattern, as `KEYS` and `SCAN` ask.
    pub fn glob(pattern: &[u8], text: &[u8]) -> bool {
        crate::glob::matches(pattern, text)
    }
}

mod acl;
mod admin;
mod balance;
mod commands;
mod config;
mod connection;
mod context;
mod cursor;
mod databases;
mod decimal;
mod dump;
mod durability;
mod effects;
mod event_loop;
mod expiry;
mod failure;
mod glob;
mod group;
mod hash;
mod held;
mod histogram;
mod listening;
mod metrics;
mod notify;
mod observe;
mod output;
mod overseer;
mod parameters;
mod pause;
mod penalty;
mod pending;
mod pubsub;
mod queue;
mod recency;
mod registry;
mod saves;
mod schedule;
mod server;
mod session;
mod settings;
mod shared;
mod stream;
mod sweep;
mod system;
mod tls;
mod tracking;
mod transaction;

pub use admin::AdminServer;
pub use config::ServerConfig;
pub use listening::Bind;
pub use parameters::{
    Change, ConfigError, Configuration, Kind, Parameter, Section, all as parameters, parse_bytes, reference,
};
pub use server::{Server, ShutdownHandle};
pub use settings::LogLevelHook;
pub use terrace_resp::Limits;

/// The library example of the README, so that it keeps compiling. It stands here because this crate, unlike the
/// program's, has documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}
