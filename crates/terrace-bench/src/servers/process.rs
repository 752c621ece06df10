//! Server processes: how each is started, measured and stopped.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::case::ServerCase;
use super::check::Client;
use crate::resources;
use crate::store::{INTERVAL_MS, Level};

/// How long a server may take to answer first, and to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that uses no more than this share of a core for so long is idle.
const IDLE_SHARE: f64 = 0.1;
const IDLE_SPAN: Duration = Duration::from_millis(200);

/// A server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Terrace, the program of this workspace.
    Terrace,
    /// `valkey-server`.
    Valkey,
    /// `redis-server`.
    Redis,
    /// `kvrocks`.
    Kvrocks,
}

impl Kind {
    /// All of them with their names.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::Terrace, "terrace"),
        (Self::Valkey, "valkey"),
        (Self::Redis, "redis"),
        (Self::Kvrocks, "kvrocks"),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    /// The server of this name.
    pub fn parse(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(_, known)| *known == name);
        let known = || Self::ALL.map(|(_, name)| name).join(", ");
        found.map(|(kind, _)| *kind).ok_or_else(|| format!("no server {name:?}; there are {}", known()))
    }

    fn program_name(self) -> &'static str {
        match self {
            Self::Terrace => "terrace",
            Self::Valkey => "valkey-server",
            Self::Redis => "redis-server",
            Self::Kvrocks => "kvrocks",
        }
    }
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// Terrace.
    pub terrace: PathBuf,
    found: Vec<(Kind, PathBuf)>,
}

impl Programs {
    /// Looks for the other servers in the search path.
    pub fn find(terrace: PathBuf) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let in_path = |kind: Kind| {
            let candidates = std::env::split_paths(&path).map(|dir| dir.join(kind.program_name()));
            candidates.into_iter().find(|file| file.is_file()).map(|file| (kind, file))
        };
        Self {
            terrace,
            found: [Kind::Valkey, Kind::Redis, Kind::Kvrocks].into_iter().filter_map(in_path).collect(),
        }
    }

    /// The servers that there are.
    pub fn installed(&self) -> Vec<Kind> {
        let others = self.found.iter().map(|(kind, _)| *kind);
        [Kind::Terrace].into_iter().chain(others).collect()
    }

    fn path(&self, kind: Kind) -> Result<&Path> {
        if kind == Kind::Terrace {
            return Ok(&self.terrace);
        }
        let found = self.found.iter().find(|(known, _)| *known == kind);
        found
            .map(|(_, path)| path.as_path())
            .with_context(|| format!("{} is not installed", kind.program_name()))
    }
}

/// A running server; it is killed when dropped.
pub(super) struct Running {
    child: Child,
    /// Where it listens.
    pub(super) address: SocketAddr,
}

impl Running {
    /// Starts a server in the empty directory `dir` and waits until it answers.
    pub(super) fn start(programs: &Programs, kind: Kind, case: &ServerCase, dir: &Path) -> Result<Self> {
        super::idle::raise_file_limit();
        let address = free_address()?;
        let mut command = Command::new(programs.path(kind)?);
        arguments(&mut command, kind, case, dir, address.port())?;
        let log = fs::File::create(dir.join("server.log"))?;
        let child = command
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", programs.path(kind).unwrap_or(dir).display()))?;
        let mut running = Self { child, address };
        running.wait_until_ready(dir)?;
        Ok(running)
    }

    fn wait_until_ready(&mut self, dir: &Path) -> Result<()> {
        let started = Instant::now();
        loop {
            if TcpStream::connect(self.address).is_ok() && Client::connect(self.address)?.ping().is_ok() {
                return Ok(());
            }
            let ended = self.child.try_wait()?;
            if ended.is_some() || started.elapsed() > PATIENCE {
                let log = fs::read_to_string(dir.join("server.log")).unwrap_or_default();
                let end: Vec<&str> = log.lines().rev().take(5).collect();
                bail!("the server does not answer; its log ends with {end:?}");
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until loading has left no background work: reads are to be measured, not the compaction of what they
    /// read. Gives up waiting after a while, because a server may always have something to do.
    pub(super) fn wait_until_idle(&self) {
        let started = Instant::now();
        loop {
            let before = self.cpu_seconds();
            thread::sleep(IDLE_SPAN);
            let idle = self.cpu_seconds() - before <= IDLE_SHARE * IDLE_SPAN.as_secs_f64();
            if idle || started.elapsed() > PATIENCE {
                return;
            }
        }
    }

    /// CPU seconds that the process has used.
    pub(super) fn cpu_seconds(&self) -> f64 {
        resources::cpu_seconds_of(self.child.id())
    }

    /// Its resident memory now and at its highest, in bytes.
    pub(super) fn resident_bytes(&self) -> (u64, u64) {
        resources::resident_bytes_of(&self.child.id().to_string())
    }

    /// Stops it the way an operator would.
    pub(super) fn stop(mut self) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM)?;
        let started = Instant::now();
        while self.child.try_wait()?.is_none() {
            if started.elapsed() > PATIENCE {
                bail!("the server does not stop");
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After `stop` there is nothing left to kill, and neither call can do harm.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that is free now.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// The arguments of each server: everything that its users would leave alone is left alone.
fn arguments(command: &mut Command, kind: Kind, case: &ServerCase, dir: &Path, port: u16) -> Result<()> {
    let sync = case.durability == Level::Sync;
    let port = port.to_string();
    let clients = (case.connections + case.idle + 100).max(10_000).to_string();
    match kind {
        Kind::Terrace => {
            let (level, data) = (if sync { "sync" } else { "interval" }, dir.join("data"));
            command.args(["serve", "--bind", "127.0.0.1", "--port", &port, "--durability", level]);
            command.args(["--interval-ms", &INTERVAL_MS.to_string()]);
            command.args(["--memory", &format!("{}M", case.memory_bytes >> 20)]).arg("--dir").arg(data);
            command.args(["--maxclients", &clients]);
        }
        // The append-only file is what makes them durable; snapshots beside it would only cost them.
        Kind::Valkey | Kind::Redis => {
            let fsync = if sync { "always" } else { "everysec" };
            command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
            command.args(["--appendfsync", fsync, "--maxclients", &clients]).arg("--dir").arg(dir);
        }
        Kind::Kvrocks => {
            let (sync, memory) = (if sync { "yes" } else { "no" }, case.memory_bytes >> 20);
            let config = dir.join("kvrocks.conf");
            let text = format!(
                "bind 127.0.0.1\nport {port}\ndir {}\nworkers 2\nmaxclients {clients}\nrocksdb.write_options.sync {sync}\n\
                 rocksdb.block_cache_size {}\nrocksdb.write_buffer_size {}\n",
                dir.join("data").display(),
                memory / 2,
                (memory / 8).max(1)
            );
            fs::write(&config, text)?;
            command.arg("-c").arg(config);
        }
    }
    Ok(())
}
