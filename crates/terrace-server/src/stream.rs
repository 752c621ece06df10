//! Sockets of every kind that the server listens on, behind one type each.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use socket2::{SockRef, TcpKeepalive};

use crate::tls::{Tls, TlsStream};

/// Where a client comes from, or what it connected to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Address {
    /// An address of a network.
    Inet(SocketAddr),
    /// A Unix socket, by its path.
    Unix(Arc<str>),
}

impl Address {
    /// Whether it is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Inet(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            // As Redis has it.
            Self::Unix(path) => write!(f, "{path}:0"),
        }
    }
}

/// A socket that accepts connections.
#[derive(Debug)]
pub(crate) enum Listener {
    /// On a port.
    Tcp(TcpListener),
    /// On a port, with TLS.
    Tls(TcpListener, Arc<Tls>),
    /// On a path.
    Unix(UnixListener, Arc<str>),
}

impl Listener {
    /// Listens on a path. A socket that an earlier run has left there is replaced; anything else, and a socket on
    /// which somebody answers, is not.
    pub(crate) fn bind_unix(path: &Path, mode: u32) -> io::Result<Self> {
        let in_use =
            |text: &str| io::Error::new(io::ErrorKind::AddrInUse, format!("{}: {text}", path.display()));
        if let Ok(found) = std::fs::symlink_metadata(path) {
            if !found.file_type().is_socket() {
                return Err(in_use("there is a file that is no socket"));
            }
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(in_use("another server listens there"));
            }
            std::fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        if mode != 0 {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        }
        Ok(Self::Unix(listener, path.to_string_lossy().into()))
    }

    /// The next waiting connection and where it comes from.
    pub(crate) fn accept(&self) -> io::Result<(Stream, Address)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                Ok((Stream::Tcp(stream), Address::Inet(peer)))
            }
            Self::Tls(listener, tls) => {
                let (stream, peer) = listener.accept()?;
                Ok((Stream::Tls(Box::new(tls.accept(stream)?)), Address::Inet(peer)))
            }
            Self::Unix(listener, path) => {
                let (stream, _) = listener.accept()?;
                Ok((Stream::Unix(stream, Arc::clone(path)), Address::Unix(Arc::clone(path))))
            }
        }
    }

    /// Its address, if it is one of a network.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) | Self::Tls(listener, _) => listener.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(listener) | Self::Tls(listener, _) => listener,
            Self::Unix(listener, _) => listener,
        }
    }
}

/// A connection's socket.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Over a network.
    Tcp(TcpStream),
    /// Over a network, with TLS.
    Tls(Box<TlsStream>),
    /// Over a Unix socket.
    Unix(UnixStream, Arc<str>),
}

impl Stream {
    /// Sets what every connection has; returns the address that the client connected to.
    pub(crate) fn prepare(&self, keepalive_s: u64) -> io::Result<Address> {
        match self {
            Self::Tcp(stream) => prepare_tcp(stream, keepalive_s),
            Self::Tls(stream) => prepare_tcp(&stream.socket, keepalive_s),
            Self::Unix(_, path) => Ok(Address::Unix(Arc::clone(path))),
        }
    }

    /// Whether something that was written has yet to be sent.
    pub(crate) fn has_pending(&self) -> bool {
        match self {
            Self::Tls(stream) => stream.has_pending(),
            Self::Tcp(_) | Self::Unix(..) => false,
        }
    }

    /// Says goodbye, where the protocol has a word for it.
    pub(crate) fn finish(&mut self) {
        if let Self::Tls(stream) = self {
            stream.finish();
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => &mut stream.socket,
            Self::Unix(stream, _) => stream,
        }
    }
}

/// Sets what every connection over a network has; returns its own address.
fn prepare_tcp(stream: &TcpStream, keepalive_s: u64) -> io::Result<Address> {
    stream.set_nodelay(true)?;
    if keepalive_s > 0 {
        // The probes after the first follow one another faster, as in Redis.
        let idle = Duration::from_secs(keepalive_s);
        let pause = Duration::from_secs((keepalive_s / 3).max(1));
        let keepalive = TcpKeepalive::new().with_time(idle).with_interval(pause).with_retries(3);
        SockRef::from(stream).set_tcp_keepalive(&keepalive)?;
    }
    stream.local_addr().map(Address::Inet)
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buf),
            Self::Tls(stream) => stream.read(buf),
            Self::Unix(stream, _) => stream.read(buf),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(buf),
            Self::Tls(stream) => stream.write(buf),
            Self::Unix(stream, _) => stream.write(buf),
        }
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write_vectored(bufs),
            Self::Tls(stream) => stream.write_vectored(bufs),
            Self::Unix(stream, _) => stream.write_vectored(bufs),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tls(stream) => stream.flush(),
            Self::Tcp(_) | Self::Unix(..) => Ok(()),
        }
    }
}

macro_rules! delegate_source {
    ($type:ty) => {
        impl Source for $type {
            fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
                self.source().register(registry, token, interests)
            }

            fn reregister(
                &mut self,
                registry: &Registry,
                token: Token,
                interests: Interest,
            ) -> io::Result<()> {
                self.source().reregister(registry, token, interests)
            }

            fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
                self.source().deregister(registry)
            }
        }
    };
}

delegate_source!(Listener);
delegate_source!(Stream);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_dead_socket_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        std::fs::write(&path, "precious").unwrap();
        let said = Listener::bind_unix(&path, 0).unwrap_err().to_string();
        assert!(said.contains("no socket"), "{said}");
        std::fs::remove_file(&path).unwrap();
        let listener = Listener::bind_unix(&path, 0o600).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let said = Listener::bind_unix(&path, 0).unwrap_err().to_string();
        assert!(said.contains("another server"), "{said}");
        drop(listener);
        Listener::bind_unix(&path, 0).unwrap();
    }

    #[test]
    fn mapped_loopback_addresses_are_local() {
        for (text, local) in
            [("127.0.0.9:1", true), ("[::1]:1", true), ("[::ffff:127.0.0.1]:1", true), ("10.0.0.1:1", false)]
        {
            assert_eq!(Address::Inet(text.parse().unwrap()).is_local(), local, "{text}");
        }
    }
}
