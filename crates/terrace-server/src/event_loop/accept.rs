//! Connections coming and going.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mio::{Interest, Token};

use super::{EventLoop, FIRST_CONNECTION, FIRST_LISTENER};
use crate::connection::Connection;
use crate::pubsub::Place;
use crate::registry::ClientInfo;
use crate::session::Session;
use crate::shared::Message;
use crate::stream::{Address, Listener, Stream};

/// Output buffers kept for the next connection that needs one.
const SPARE_BUFFERS: usize = 64;
/// The largest output buffer that is kept.
const SPARE_BUFFER_BYTES: usize = 64 << 10;

/// What a client from another machine is told as long as there is no password.
const PROTECTED: &[u8] = b"-DENIED Redis is running in protected mode because protected mode is enabled and no \
    password is set for the default user. In this mode connections are only accepted from the loopback interface \
    or a Unix socket. To accept others, do one of these: 1) set a password, with the parameter requirepass, in the \
    configuration or with CONFIG SET from a client on the server's machine; 2) set protected-mode to no the same \
    way, if nobody who should not can reach this port; 3) bind to the loopback interface only.\r\n";

impl EventLoop {
    /// Accepts every connection that waits at any listener and hands each to the loop with the fewest.
    pub(super) fn accept_all(&mut self) {
        self.accept_again = false;
        for index in 0..self.listeners.len() {
            self.accept(index);
        }
    }

    /// Accepts every connection that waits at one listener.
    pub(super) fn accept(&mut self, index: usize) {
        loop {
            let Some(Some(listener)) = self.listeners.get(index) else { return };
            match listener.accept() {
                Ok((stream, peer)) => self.place(stream, peer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Usually no file descriptor is left. The listener stays ready without a new event, so
                    // the loop has to come back by itself.
                    tracing::warn!(%error, "cannot accept a connection");
                    self.accept_again = true;
                    return;
                }
            }
        }
    }

    /// Has the poll tell of new connections.
    pub(super) fn listen(&mut self) -> io::Result<()> {
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            if let Some(listener) = listener {
                let token = Token(index + FIRST_LISTENER);
                self.poll.registry().register(listener, token, Interest::READABLE)?;
            }
        }
        Ok(())
    }

    /// Closes the ports at other addresses and opens those that are new.
    pub(super) fn listen_at(&mut self, fresh: Vec<Listener>, addresses: &[SocketAddr]) {
        if self.shared.is_stopping() {
            return;
        }
        let registry = self.poll.registry();
        for place in &mut self.listeners {
            let unwanted = |own: &mut Listener| own.address().is_some_and(|at| !addresses.contains(&at));
            if let Some(mut closed) = place.take_if(unwanted)
                && let Err(error) = registry.deregister(&mut closed)
            {
                tracing::debug!(%error, "cannot deregister a listener");
            }
        }
        for mut listener in fresh {
            let free = self.listeners.iter().position(Option::is_none);
            let index = free.unwrap_or(self.listeners.len());
            let token = Token(index + FIRST_LISTENER);
            if token.0 >= FIRST_CONNECTION {
                tracing::error!("too many listeners");
                return;
            }
            if let Err(error) = registry.register(&mut listener, token, Interest::READABLE) {
                tracing::error!(%error, "cannot listen");
                continue;
            }
            if index == self.listeners.len() {
                self.listeners.push(Some(listener));
            } else {
                self.listeners[index] = Some(listener);
            }
        }
        // What waits there already raises no event.
        self.accept_again = true;
    }

    fn place(&mut self, mut stream: Stream, peer: Address) {
        let metrics = &self.handle.metrics;
        if self.shared.settings.is_protected() && self.shared.users.is_open() && !peer.is_local() {
            tracing::warn!(%peer, "refused: protected mode");
            metrics.rejected.add(1);
            // The socket's buffer is empty, so this is written whole or the client is gone.
            let _ = stream.write(PROTECTED);
            return;
        }
        if !self.shared.clients.try_reserve(self.shared.settings.max_clients()) {
            metrics.rejected.add(1);
            let _ = stream.write(b"-ERR max number of clients reached\r\n");
            return;
        }
        metrics.accepted.add(1);
        let target = self.shared.loop_for_next();
        self.shared.loops[target].connections.fetch_add(1, Ordering::Relaxed);
        if target == self.index {
            self.register(stream, peer);
        } else {
            self.shared.loops[target].send(Message::Connection(stream, peer));
        }
    }

    /// Takes over a connection that has been counted.
    pub(super) fn register(&mut self, mut stream: Stream, peer: Address) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = Token(slot + FIRST_CONNECTION);
        let ready = stream
            .prepare(self.shared.settings.keepalive_s())
            .and_then(|local| self.poll.registry().register(&mut stream, token, interest).map(|()| local));
        let local = match ready {
            Ok(local) if !self.shared.is_stopping() => local,
            other => {
                if let Err(error) = other {
                    tracing::debug!(%peer, %error, "a connection was gone before it was served");
                }
                self.free.push(slot);
                self.handle.connections.fetch_sub(1, Ordering::Relaxed);
                self.shared.clients.release();
                return;
            }
        };
        let client = self.shared.clients.next_id();
        let place = Place { client, loop_index: self.index, slot };
        let info = Arc::new(ClientInfo::new(place, peer, local, self.now_ms));
        self.shared.clients.add(&info);
        self.connections[slot] =
            Some(Box::new(Connection::new(stream, Session::new(info, slot, &self.shared))));
        self.open += 1;
    }

    /// Closes a connection now; only between turns.
    pub(super) fn close(&mut self, slot: usize) {
        let Some(mut connection) = self.connections.get_mut(slot).and_then(Option::take) else { return };
        connection.stream.finish();
        if let Err(error) = self.poll.registry().deregister(&mut connection.stream) {
            tracing::debug!(%error, "cannot deregister a connection");
        }
        connection.session.leave(&self.shared);
        let client = connection.session.info.id;
        self.shared.observation.monitors.remove(client);
        self.shared.clients.remove(client);
        self.handle.connections.fetch_sub(1, Ordering::Relaxed);
        self.keep_buffer(std::mem::take(&mut connection.output.bytes));
        self.free.push(slot);
        self.open -= 1;
    }

    /// Keeps an output buffer for later use.
    pub(super) fn keep_buffer(&mut self, mut buffer: Vec<u8>) {
        let fits = (1..=SPARE_BUFFER_BYTES).contains(&buffer.capacity());
        if fits && self.spare_buffers.len() < SPARE_BUFFERS {
            buffer.clear();
            self.spare_buffers.push(buffer);
        }
    }
}
