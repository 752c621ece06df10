//! A connection of the load generator: bytes to send, bytes received, and requests that wait for replies.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Result, bail};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::replies::end_of_reply;

/// Received at once, at most.
const INPUT_BYTES: usize = 64 << 10;

/// One connection.
pub(super) struct Connection {
    stream: TcpStream,
    /// Requests that are not sent yet, from `sent` on.
    pub(super) out: Vec<u8>,
    sent: usize,
    input: Vec<u8>,
    filled: usize,
    /// When each request that waits for its reply was sent, or should have been; oldest first.
    pub(super) waiting: VecDeque<Instant>,
}

impl Connection {
    /// Connects, without delay of small packets, and lets a poll see it.
    pub(super) fn open(address: SocketAddr, registry: &Registry, token: Token) -> Result<Self> {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            stream,
            out: Vec::new(),
            sent: 0,
            input: vec![0; INPUT_BYTES],
            filled: 0,
            waiting: VecDeque::new(),
        })
    }

    /// Sends what the socket takes.
    pub(super) fn flush(&mut self) -> Result<()> {
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(sent) => self.sent += sent,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(())
    }

    /// Receives what is there. Calls `done` with the time at which each request was sent whose reply has come.
    pub(super) fn receive(&mut self, mut done: impl FnMut(Instant)) -> Result<()> {
        loop {
            let space = self.input.len() - self.filled;
            match self.stream.read(&mut self.input[self.filled..]) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(count) => {
                    self.filled += count;
                    self.count_replies(&mut done)?;
                    // Less than asked for: nothing is left, and the next readiness event will say so.
                    if count < space {
                        return Ok(());
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn count_replies(&mut self, done: &mut impl FnMut(Instant)) -> Result<()> {
        let mut start = 0;
        while let Some(len) = end_of_reply(&self.input[start..self.filled])? {
            start += len;
            match self.waiting.pop_front() {
                Some(sent) => done(sent),
                None => bail!("the server sent a reply that nobody asked for"),
            }
        }
        self.input.copy_within(start..self.filled, 0);
        self.filled -= start;
        if self.filled == self.input.len() {
            // A reply larger than the buffer.
            self.input.resize(2 * self.filled, 0);
        }
        Ok(())
    }
}
