//! A socket with TLS on top, for a loop that never waits.
//!
//! Reading also takes part in the handshake, and what that has to say is written by the same call or, if the socket
//! takes no more, by [`TlsStream::flush`] when it does. What is written may stay in the session for a while, at most
//! 64 KiB, which is why a loop asks [`TlsStream::has_pending`] before it says goodbye.

use std::io::{self, ErrorKind, Read, Write};

use mio::net::TcpStream;
use rustls::ServerConnection;

/// Such a socket.
#[derive(Debug)]
pub(crate) struct TlsStream {
    /// What it runs over.
    pub(crate) socket: TcpStream,
    session: ServerConnection,
}

impl TlsStream {
    /// A session that is about to begin.
    pub(super) fn new(socket: TcpStream, session: ServerConnection) -> Self {
        Self { socket, session }
    }

    /// Whether something waits to be sent.
    pub(crate) fn has_pending(&self) -> bool {
        self.session.wants_write()
    }

    /// Tells the peer that nothing more comes, as far as the socket takes it.
    pub(crate) fn finish(&mut self) {
        self.session.send_close_notify();
        // The peer may be gone; there is nobody else to tell.
        let _ = self.flush();
    }

    /// Takes what has arrived; 0 at the end.
    fn receive(&mut self) -> io::Result<usize> {
        let received = loop {
            match self.session.read_tls(&mut self.socket) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        if let Err(error) = self.session.process_new_packets() {
            // The peer is told what it did wrong, if it still listens.
            let _ = self.flush();
            tracing::debug!(%error, "a TLS connection failed");
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        match self.flush() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(received),
        }
    }

    /// Moves what is decrypted into `buf`; `None` at an end that the peer has announced.
    fn take(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        match self.session.reader().read(buf) {
            Ok(0) if !buf.is_empty() => Ok(None),
            Ok(n) => Ok(Some(n)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Some(0)),
            // The connection ended without a word, which is no worse than a plain one that ends.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Read for TlsStream {
    /// Fills `buf` as far as the socket has something, so that a short read means that it has no more.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.take(&mut buf[filled..])? {
                Some(0) => {}
                Some(n) => {
                    filled += n;
                    continue;
                }
                None => return Ok(filled),
            }
            match self.receive() {
                Ok(_) => {}
                Err(error) if filled > 0 && error.kind() == ErrorKind::WouldBlock => return Ok(filled),
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

impl Write for TlsStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.flush()?;
        let taken = self.session.writer().write(buf)?;
        if taken == 0 && !buf.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        match self.flush() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    /// Sends what waits, as far as the socket takes it.
    fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
