//! `Server`: binding, running, stopping.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use mio::{Poll, Waker};

use crate::ServerConfig;
use crate::event_loop::{EventLoop, WAKER};
use crate::listening;
use crate::shared::{LoopHandle, Shared};
use crate::stream::Listener;
use crate::sweep::Sweep;
use crate::tls::{Files, Tls};

/// The most event loops.
const MAX_THREADS: usize = 64;

/// A server that is bound to its port and ready to run.
pub struct Server {
    shared: Arc<Shared>,
    loops: Vec<EventLoop>,
}

/// Stops a running server, from any thread or from a signal handler's thread.
#[derive(Clone)]
pub struct ShutdownHandle {
    shared: Arc<Shared>,
}

impl ShutdownHandle {
    /// Has the server stop accepting, finish the commands it has read, send the replies, sync the log, and
    /// return from [`Server::run`]. Calling it again does nothing.
    pub fn shutdown(&self) {
        self.shared.stop();
    }

    /// Loads the TLS certificate again, which happens by itself within a second or two of a change. If it cannot be
    /// loaded, the log says why, and the old one stays in use.
    pub fn reload_certificate(&self) {
        if let Some((_, tls)) = &self.shared.tls {
            tls.look(true);
        }
    }

    /// Whether the shutdown has begun, by this handle or by the `SHUTDOWN` command.
    pub fn is_shut_down(&self) -> bool {
        self.shared.is_stopping()
    }
}

/// Opens the ports: the listeners, where the first is, and what TLS needs.
#[allow(clippy::type_complexity)] // Three results that mean nothing together.
fn listen(config: &ServerConfig) -> io::Result<(Vec<Listener>, SocketAddr, Option<(SocketAddr, Arc<Tls>)>)> {
    let mut listeners = Vec::new();
    let mut local_addr = None;
    if config.plain_port {
        let (opened, addresses) = listening::listen(&config.bind, config.port, None, &[])?;
        local_addr = addresses.first().copied();
        listeners.extend(opened);
    }
    let mut with_tls = None;
    if let Some(port) = config.tls_port {
        let tls = Tls::new(Files::of(&config.configuration)).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("cannot set up TLS: {error}"))
        })?;
        let tls = Arc::new(tls);
        let (opened, addresses) = listening::listen(&config.bind, port, Some(&tls), &[])?;
        with_tls = addresses.first().map(|address| (*address, tls));
        listeners.extend(opened);
    }
    let none =
        || io::Error::new(io::ErrorKind::InvalidInput, "there is neither a plain port nor one with TLS");
    let local_addr = local_addr.or(with_tls.as_ref().map(|(address, _)| *address)).ok_or_else(none)?;
    Ok((listeners, local_addr, with_tls))
}

impl Server {
    /// Binds the port and prepares the event loops. Connections are accepted once [`Server::run`] is called.
    pub fn bind(config: ServerConfig) -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = if config.threads == 0 { cores } else { config.threads };
        let (mut listeners, local_addr, tls) = listen(&config)?;
        if let Some(path) = &config.unix_socket {
            listeners.push(Listener::bind_unix(path, config.unix_socket_mode)?);
        }
        let mut polls = Vec::new();
        let mut handles = Vec::new();
        for _ in 0..count.clamp(1, MAX_THREADS) {
            let poll = Poll::new()?;
            handles.push(Arc::new(LoopHandle::new(Waker::new(poll.registry(), WAKER)?)));
            polls.push(poll);
        }
        let addresses = listeners.iter().filter_map(Listener::address).collect();
        let shared = Arc::new(Shared::new(config, (local_addr, addresses), tls, handles));
        shared.settings_changed();
        shared.load_users_at_start()?;
        let new_loop =
            |(index, poll)| EventLoop::new(index, Arc::clone(&shared), poll, mem::take(&mut listeners));
        let loops = polls.into_iter().enumerate().map(new_loop).collect::<io::Result<Vec<_>>>()?;
        Ok(Self { shared, loops })
    }

    /// Where it listens with TLS, if it does.
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.shared.tls.as_ref().map(|(address, _)| *address)
    }

    /// Where it listens, with TLS if there is no other port; tells the port that the system picked for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.local_addr
    }

    /// The Unix socket that it listens on, if any.
    pub fn unix_socket(&self) -> Option<&Path> {
        self.shared.config.unix_socket.as_deref()
    }

    /// A handle that stops it.
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        ShutdownHandle { shared: Arc::clone(&self.shared) }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Serves until shut down; the calling thread is one of the event loops. What was acknowledged is synced
    /// before it returns.
    pub fn run(self) -> io::Result<()> {
        let mut loops = self.loops.into_iter();
        let first = loops.next();
        let mut threads = Vec::new();
        for (index, event_loop) in loops.enumerate() {
            let shared = Arc::clone(&self.shared);
            let body = move || {
                let ended = event_loop.run();
                shared.stop();
                ended
            };
            threads
                .push(std::thread::Builder::new().name(format!("terrace-loop-{}", index + 1)).spawn(body)?);
        }
        let shared = Arc::clone(&self.shared);
        let expirer = move || {
            crate::expiry::run(&shared);
            Ok(())
        };
        threads.push(std::thread::Builder::new().name("terrace-expire".into()).spawn(expirer)?);
        let sweep = Sweep::new(Arc::clone(&self.shared));
        let sweep = std::thread::Builder::new().name("terrace-sweep".into()).spawn(move || sweep.run())?;
        let watching = Arc::clone(&self.shared);
        let watch = std::thread::Builder::new().name("terrace-overseer".into());
        let watch = watch.spawn(move || watching.overseer.run(&watching))?;
        let mut ended = first.map_or(Ok(()), EventLoop::run);
        self.shared.stop();
        self.shared.overseer.stop();
        ended = ended.and(watch.join().map_err(|_| io::Error::other("the overseer panicked")));
        for thread in threads {
            let other = thread.join().unwrap_or_else(|_| Err(io::Error::other("an event loop panicked")));
            ended = ended.and(other);
        }
        sweep.thread().unpark();
        if sweep.join().is_err() {
            ended = ended.and(Err(io::Error::other("the sweep of hashes panicked")));
        }
        if let Some(path) = &self.shared.config.unix_socket
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::debug!(%error, path = %path.display(), "cannot remove the Unix socket");
        }
        match self.shared.config.db.sync() {
            // Its owner has closed the store, which writes out everything there is.
            Ok(()) | Err(terrace::Error::Closed) => ended,
            Err(error) => ended.and(Err(io::Error::other(error))),
        }
    }
}
