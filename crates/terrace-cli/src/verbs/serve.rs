//! `terrace serve`: opens a store and answers Redis clients until a signal or `SHUTDOWN` ends it.
//!
//! Start-up lines go to standard output, the log to standard error. The end is always the same: stop accepting,
//! let clients take their replies, sync, close. A second signal ends the process at once, which costs nothing
//! that the durability level promised.

use std::io::{self, IsTerminal as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::{Handle, Signals};
use terrace::{Durability, Options};
use terrace_server::{AdminServer, Server, ServerConfig};

use crate::exit::{self, Code, Failure};
use crate::{memory, units};

/// Flags of `serve`.
#[derive(clap::Args)]
pub(crate) struct Serve {
    /// The directory of the store, created when missing.
    #[arg(long, value_name = "DIR", default_value = "data")]
    dir: PathBuf,
    /// The address to listen on; there is no encryption, so think before it is not this machine.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    bind: IpAddr,
    /// The port; 0 picks a free one and prints it.
    #[arg(long, value_name = "N", default_value_t = 6379)]
    port: u16,
    /// What an acknowledged write survives.
    #[arg(long, value_enum, default_value_t = DurabilityLevel::Interval)]
    durability: DurabilityLevel,
    /// The period of --durability interval: what a power loss may cost.
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    interval_ms: u64,
    /// Shards of the memtable: a power of two from 1 to 256.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = units::parse_shards)]
    shards: usize,
    /// Memory for memtables, cache and background work, such as 2G; by default a quarter of what this process
    /// may use.
    #[arg(long, value_name = "SIZE", value_parser = units::parse_memory)]
    memory: Option<u64>,
    /// The password that clients must give.
    #[arg(long, value_name = "PASSWORD", env = "TERRACE_REQUIREPASS", hide_env_values = true)]
    requirepass: Option<String>,
    /// Event loops; 0 means one per core.
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// A port for probes and metrics over HTTP (/livez, /readyz, /metrics, and a page at /); 0 picks a free one
    /// and prints it. Without this flag there is none.
    #[arg(long, value_name = "N")]
    admin_port: Option<u16>,
    /// The address of --admin-port, which knows no password.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    admin_bind: IpAddr,
    /// The form of the log on standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

/// What an acknowledged write survives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum DurabilityLevel {
    /// Nothing but a clean stop.
    Memory,
    /// A crash of the process.
    Process,
    /// A crash of the process; a power loss costs at most one period.
    Interval,
    /// A power loss.
    Sync,
}

impl DurabilityLevel {
    /// The engine's name for it.
    pub(crate) fn with_interval_ms(self, interval_ms: u64) -> Durability {
        match self {
            Self::Memory => Durability::Memory,
            Self::Process => Durability::Process,
            Self::Interval => Durability::Interval(Duration::from_millis(interval_ms)),
            Self::Sync => Durability::Sync,
        }
    }
}

/// The form of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum LogFormat {
    /// Lines for a reader.
    Text,
    /// One JSON object a line.
    Json,
}

impl Serve {
    pub(crate) fn run(self) -> Result<Code> {
        self.start_log();
        let durability = self.durability.with_interval_ms(self.interval_ms);
        let memory_bytes = self.memory.unwrap_or_else(memory::default_budget);
        say(&format!("Terrace {}", env!("CARGO_PKG_VERSION")));
        say(&format!("Directory: {}", self.dir.display()));
        say(&format!("Durability: {}", in_words(durability)));
        say(&format!("Memory budget: {}", units::bytes(memory_bytes)));

        let admin = self.start_admin()?;
        let started = Instant::now();
        let observe = admin.as_ref().map(AdminServer::recovery_observer);
        let tell = move |done: terrace::RecoveryProgress| {
            tracing::info!(writes = done.entries, bytes = done.bytes, "recovering the log");
            if let Some(observe) = &observe {
                observe(done);
            }
        };
        let options = Options::new().shards(self.shards).memory_budget(memory_bytes).on_recovery(tell);
        let db = options.durability(of_engine(durability)).open(&self.dir).map_err(exit::explain_open)?;
        tracing::info!(seconds = started.elapsed().as_secs_f64(), "store opened");

        let mut config = ServerConfig::new(db.clone());
        config.bind = self.bind;
        config.port = self.port;
        config.durability = durability;
        config.requirepass.clone_from(&self.requirepass);
        config.threads = self.threads;
        let failed = |what| move |e| Failure::error(Code::Server, format!("{what}: {e}"));
        let server = Server::bind(config).map_err(|e| cannot_listen(self.bind, self.port, "port", &e))?;
        if !self.bind.is_loopback() && self.requirepass.is_none() {
            tracing::warn!("anyone who reaches {} can read and write: no --requirepass is set", self.bind);
        }
        let stop = server.shutdown_handle();
        let signals = StopSignals::listen(move || stop.shutdown())?;
        if let Some(admin) = &admin {
            admin.attach(&server);
        }
        say(&format!("Ready on {}", server.local_addr()));
        let served = server.run().map_err(failed("the server failed"));
        signals.forget();

        tracing::info!("stopping: syncing and closing the store");
        db.sync()?;
        db.close()?;
        served?;
        say("Stopped; everything is on disk");
        Ok(Code::Done)
    }

    /// Opens the admin port, if one is wanted: before the store, so that probes hear how far that is.
    fn start_admin(&self) -> Result<Option<AdminServer>> {
        let Some(port) = self.admin_port else { return Ok(None) };
        let admin = AdminServer::bind(SocketAddr::new(self.admin_bind, port))
            .map_err(|e| cannot_listen(self.admin_bind, port, "admin-port", &e))?;
        say(&format!("Admin on http://{}/", admin.local_addr()));
        Ok(Some(admin))
    }

    fn start_log(&self) {
        let colours = io::stderr().is_terminal();
        let log = tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(colours).with_target(false);
        match self.log_format {
            LogFormat::Text => log.init(),
            LogFormat::Json => log.json().init(),
        }
    }
}

/// Why there is no server, and the way out.
fn cannot_listen(bind: IpAddr, port: u16, flag: &str, error: &io::Error) -> anyhow::Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => format!("; is another server running there? --{flag} takes another port"),
        io::ErrorKind::AddrNotAvailable => "; it has to be an address of this machine".into(),
        io::ErrorKind::PermissionDenied => format!("; --{flag} takes another port, 1024 or more"),
        _ => String::new(),
    };
    let address = SocketAddr::new(bind, port);
    Failure::error(Code::Server, format!("cannot listen on {address}: {error}{advice}"))
}

/// Prints a start-up line. Nobody may be listening, and that is no reason to stop.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// The thread that waits for SIGINT and SIGTERM.
struct StopSignals {
    handle: Handle,
    thread: JoinHandle<()>,
}

impl StopSignals {
    /// Calls `stop` at the first signal; the second one ends the process at once.
    fn listen(stop: impl FnOnce() + Send + 'static) -> Result<Self> {
        let seen = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first line acts only once the second one has run for an earlier signal.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&seen))?;
            flag::register(signal, Arc::clone(&seen))?;
        }
        let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot listen for signals")?;
        let handle = signals.handle();
        let wait = move || {
            if signals.forever().next().is_some() {
                stop();
            }
        };
        let thread = thread::Builder::new().name("signals".into()).spawn(wait)?;
        Ok(Self { handle, thread })
    }

    /// Ends the thread, and with it the last hold on the server.
    fn forget(self) {
        self.handle.close();
        let _ = self.thread.join(); // It does not panic, and there is nothing left to do if it did.
    }
}

/// The level that the engine is opened with: for `sync`, the server itself holds replies back until the log is
/// synced, so that one sync serves all connections and no event loop waits.
fn of_engine(durability: Durability) -> Durability {
    if durability == Durability::Sync { Durability::Process } else { durability }
}

/// What a durability level means for an acknowledged write.
fn in_words(durability: Durability) -> String {
    match durability {
        Durability::Memory => {
            "acknowledged writes survive a clean stop; a crash loses those not yet in a table".into()
        }
        Durability::Process => "acknowledged writes survive a crash of the process at once; \
            a power loss costs what the system had not yet written to disk"
            .into(),
        Durability::Interval(period) => format!(
            "acknowledged writes survive a crash of the process at once and a power loss after at most {} ms",
            period.as_millis()
        ),
        Durability::Sync => "acknowledged writes survive a crash of the process and a power loss".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durability_is_said_in_plain_words() {
        let words = in_words(DurabilityLevel::Interval.with_interval_ms(100));
        assert!(words.ends_with("at once and a power loss after at most 100 ms"), "{words}");
    }

    #[test]
    fn the_engine_never_syncs_inside_an_event_loop() {
        assert_eq!(of_engine(Durability::Sync), Durability::Process);
        assert_eq!(of_engine(Durability::Memory), Durability::Memory);
    }
}
