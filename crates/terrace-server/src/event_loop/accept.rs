//! Connections coming and going.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mio::net::TcpStream;
use mio::{Interest, Token};

use super::{EventLoop, FIRST_CONNECTION, shown};
use crate::connection::Connection;
use crate::pubsub::Place;
use crate::registry::ClientInfo;
use crate::session::Session;
use crate::shared::Message;

/// Output buffers kept for the next connection that needs one.
const SPARE_BUFFERS: usize = 64;
/// The largest output buffer that is kept.
const SPARE_BUFFER_BYTES: usize = 64 << 10;

impl EventLoop {
    /// Accepts every waiting connection and hands each to the loop with the fewest.
    pub(super) fn accept(&mut self) {
        self.accept_again = false;
        loop {
            let Some(listener) = &self.listener else { return };
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

    fn place(&mut self, mut stream: TcpStream, peer: SocketAddr) {
        let metrics = &self.handle.metrics;
        if !self.shared.clients.try_reserve(self.shared.settings.max_clients()) {
            metrics.rejected.add(1);
            // The socket's buffer is empty, so this is written whole or the client is gone.
            let _ = stream.write(b"-ERR max number of clients reached\r\n");
            return;
        }
        metrics.accepted.add(1);
        let fewest = self.shared.loops.iter().enumerate();
        let fewest = fewest.min_by_key(|(_, handle)| handle.connections.load(Ordering::Relaxed));
        let target = fewest.map_or(self.index, |(index, _)| index);
        self.shared.loops[target].connections.fetch_add(1, Ordering::Relaxed);
        if target == self.index {
            self.register(stream, peer);
        } else {
            self.shared.loops[target].send(Message::Connection(stream, peer));
        }
    }

    /// Takes over a connection that has been counted.
    pub(super) fn register(&mut self, mut stream: TcpStream, peer: SocketAddr) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = Token(slot + FIRST_CONNECTION);
        let ready = stream
            .set_nodelay(true)
            .and_then(|()| stream.local_addr())
            .and_then(|local| self.poll.registry().register(&mut stream, token, interest).map(|()| local));
        let local = match ready {
            Ok(local) if !self.shared.is_stopping() => local,
            other => {
                if let Err(error) = other {
                    tracing::debug!(peer = shown(peer), %error, "a connection was gone before it was served");
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
        self.connections[slot] = Some(Box::new(Connection::new(stream, Session::new(info, slot))));
        self.open += 1;
    }

    /// Closes a connection now; only between turns.
    pub(super) fn close(&mut self, slot: usize) {
        let Some(mut connection) = self.connections.get_mut(slot).and_then(Option::take) else { return };
        if let Err(error) = self.poll.registry().deregister(&mut connection.stream) {
            tracing::debug!(%error, "cannot deregister a connection");
        }
        connection.session.leave(&self.shared);
        self.shared.clients.remove(connection.session.info.id);
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
