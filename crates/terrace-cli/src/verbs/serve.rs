//! `terrace serve`: opens a store and answers Redis clients until a signal or `SHUTDOWN` ends it.
//!
//! Start-up lines go to standard output, the log to standard error. The end is always the same: stop accepting,
//! let clients take their replies, sync, close. A second signal ends the process at once, which costs nothing
//! that the durability level promised.

mod flags;
mod log;
mod systemd;

use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::ValueEnum as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::{Handle, Signals};
use terrace::{Db, Durability, Options};
use terrace_server::{AdminServer, Configuration, Server, ServerConfig};

use crate::exit::{self, Code, Failure};
use crate::{memory, units};

/// Flags of `serve`.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Serve {
    /// A configuration file in TOML: the names of the flags below and those of Redis, without dashes in front.
    #[arg(long, value_name = "FILE", env = "TERRACE_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: flags::Flags,
}

const AFTER_HELP: &str = "\
A flag wins over the environment (TERRACE_PORT for --port, and so on), and that over the file.
CONFIG GET '*' shows what a running server uses; docs/server.md describes every parameter.";

impl Serve {
    pub(crate) fn run(self) -> Result<Code> {
        let configuration = Configuration::load(self.config.as_deref(), std::env::vars(), self.flags.given)
            .map_err(|error| Failure::error(Code::Usage, error.to_string()))?;
        let memory_bytes = budget(&configuration)?;
        let levels = log::start(&configuration)?;
        let config = |db: Db| {
            let mut config = ServerConfig::configured(db, configuration.clone());
            config.memory_bytes = memory_bytes;
            config.on_log_level = Some(levels);
            config
        };
        let durability = durability(&configuration);
        say(&format!("Terrace {}", env!("CARGO_PKG_VERSION")));
        say(&format!("Directory: {}", configuration.get("dir")));
        say(&format!("Durability: {}", in_words(durability)));
        say(&format!("Memory budget: {}", units::bytes(memory_bytes)));

        let admin = start_admin(&configuration)?;
        let db = open(&configuration, memory_bytes, durability, admin.as_ref())?;
        let (bind, port) = address(&configuration, "bind", "port");
        let server =
            Server::bind(config(db.clone())).map_err(|error| cannot_listen(bind, port, "port", &error))?;
        if let Some(admin) = &admin {
            admin.attach(&server);
        }
        let stop = server.shutdown_handle();
        let renew = stop.clone();
        let stop = move || {
            systemd::notify("STOPPING=1");
            stop.shutdown();
        };
        let signals = StopSignals::listen(stop, move || renew.reload_certificate())?;
        if let Some(path) = server.unix_socket() {
            say(&format!("Listening on {}", path.display()));
        }
        if let Some(address) = server.tls_addr() {
            say(&format!("Listening with TLS on {address}"));
        }
        say(&format!("Ready on {}", server.local_addr()));
        systemd::notify("READY=1");
        let served =
            server.run().map_err(|error| Failure::error(Code::Server, format!("the server failed: {error}")));
        signals.forget();

        tracing::info!("stopping: syncing and closing the store");
        db.sync()?;
        db.close()?;
        served?;
        say("Stopped; everything is on disk");
        Ok(Code::Done)
    }
}

/// The memory budget in bytes.
fn budget(configuration: &Configuration) -> Result<u64> {
    match configuration.number("maxmemory") {
        0 => Ok(memory::default_budget()),
        bytes => units::check_memory(bytes)
            .map_err(|reason| Failure::error(Code::Usage, format!("--memory (maxmemory): {reason}"))),
    }
}

/// An address and a port of the configuration.
fn address(configuration: &Configuration, bind: &str, port: &str) -> (IpAddr, u16) {
    let bind = configuration.get(bind).parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    (bind, configuration.number(port) as u16)
}

/// Opens the admin port, if one is wanted: before the store, so that probes hear how far that is.
fn start_admin(configuration: &Configuration) -> Result<Option<AdminServer>> {
    if configuration.get("admin-port").is_empty() {
        return Ok(None);
    }
    let (bind, port) = address(configuration, "admin-bind", "admin-port");
    let admin = AdminServer::bind(SocketAddr::new(bind, port))
        .map_err(|error| cannot_listen(bind, port, "admin-port", &error))?;
    say(&format!("Admin on http://{}/", admin.local_addr()));
    Ok(Some(admin))
}

/// Opens the store.
fn open(
    configuration: &Configuration,
    memory_bytes: u64,
    durability: Durability,
    admin: Option<&AdminServer>,
) -> Result<Db> {
    let started = Instant::now();
    let observe = admin.map(AdminServer::recovery_observer);
    let tell = move |done: terrace::RecoveryProgress| {
        tracing::info!(writes = done.entries, bytes = done.bytes, "recovering the log");
        if let Some(observe) = &observe {
            observe(done);
        }
    };
    let shards = configuration.number("shards") as usize;
    let options = Options::new().shards(shards).memory_budget(memory_bytes).on_recovery(tell);
    let dir = Path::new(configuration.get("dir"));
    let db = options.durability(of_engine(durability)).open(dir).map_err(exit::explain_open)?;
    tracing::info!(
        seconds = started.elapsed().as_secs_f64(),
        durability = in_words(durability),
        "store opened"
    );
    Ok(db)
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

/// What an acknowledged write is to survive.
fn durability(configuration: &Configuration) -> Durability {
    let level = DurabilityLevel::from_str(configuration.get("durability"), true);
    level.unwrap_or(DurabilityLevel::Sync).with_interval_ms(configuration.number("interval-ms"))
}

/// Why there is no server, and the way out.
fn cannot_listen(bind: IpAddr, port: u16, flag: &str, error: &io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::InvalidData {
        // It is not about the address: what the configuration says, about users for instance, cannot be used.
        return Failure::error(Code::Usage, error.to_string());
    }
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

/// The thread that waits for SIGINT, SIGTERM and SIGHUP.
struct StopSignals {
    handle: Handle,
    thread: JoinHandle<()>,
}

impl StopSignals {
    /// Calls `stop` at the first signal that means an end; the second one ends the process at once. Calls `renew` at
    /// each SIGHUP.
    fn listen(stop: impl FnOnce() + Send + 'static, renew: impl Fn() + Send + 'static) -> Result<Self> {
        let seen = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first line acts only once the second one has run for an earlier signal.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&seen))?;
            flag::register(signal, Arc::clone(&seen))?;
        }
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot listen for signals")?;
        let handle = signals.handle();
        let wait = move || {
            for signal in signals.forever() {
                if signal != SIGHUP {
                    return stop();
                }
                renew();
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
        let mut configuration = Configuration::default();
        configuration.set("interval-ms", "250").unwrap();
        let words = in_words(durability(&configuration));
        assert!(words.ends_with("at once and a power loss after at most 250 ms"), "{words}");
    }

    #[test]
    fn the_engine_never_syncs_inside_an_event_loop() {
        assert_eq!(of_engine(Durability::Sync), Durability::Process);
        assert_eq!(of_engine(Durability::Memory), Durability::Memory);
    }

    #[test]
    fn a_budget_that_is_too_small_is_refused_before_anything_is_opened() {
        let mut configuration = Configuration::default();
        configuration.set("memory", "1M").unwrap();
        assert!(budget(&configuration).unwrap_err().to_string().contains("4M or more"));
        configuration.set("maxmemory", "5M").unwrap();
        assert_eq!(budget(&configuration).unwrap(), 5 << 20);
    }
}
