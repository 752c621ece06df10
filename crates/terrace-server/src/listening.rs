//! The addresses and ports that the server listens on, and how they change while it runs.
//!
//! The first event loop owns the sockets. A change opens what is new in the thread of the command, so that a port that
//! is taken refuses the change as a whole; the loop then adds these and closes what is wanted no more. Connections that
//! are open stay open.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use mio::net::TcpListener;
use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};

use crate::parameters::Configuration;
use crate::shared::{Message, Shared};
use crate::stream::Listener;
use crate::tls::Tls;

/// The most addresses in `bind`.
const MAX_ADDRESSES: usize = 16;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// An address to listen on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bind {
    /// The address.
    pub ip: IpAddr,
    /// Whether the server runs without it, if this machine does not have it.
    pub optional: bool,
}

impl From<IpAddr> for Bind {
    fn from(ip: IpAddr) -> Self {
        Self { ip, optional: false }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.optional { "-" } else { "" }, self.ip)
    }
}

/// Reads addresses with spaces between them: `-` before one makes it optional, `*` is every address of IPv4, `::*` every
/// one of IPv6.
pub(crate) fn parse(text: &str) -> Result<Vec<Bind>, String> {
    let one = |word: &str| {
        let (optional, word) = word.strip_prefix('-').map_or((false, word), |word| (true, word));
        let ip = match word {
            "*" => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            "::*" => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
            word => word.parse().ok(),
        };
        ip.map(|ip| Bind { ip, optional })
            .ok_or_else(|| format!("'{word}' is not an IP address of this machine"))
    };
    let all = text.split_whitespace().map(one).collect::<Result<Vec<_>, _>>()?;
    if all.is_empty() || all.len() > MAX_ADDRESSES {
        return Err(format!("argument must be 1 to {MAX_ADDRESSES} IP addresses"));
    }
    Ok(all)
}

/// The addresses as text.
pub(crate) fn format(all: &[Bind]) -> String {
    all.iter().map(Bind::to_string).collect::<Vec<_>>().join(" ")
}

fn open(address: SocketAddr, alone: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && !alone {
        // Otherwise it may take the addresses of IPv4 as well.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Opens a port on every address, but for those that `kept` says are open. A port of 0 is one that is free. Returns the
/// sockets, and where all of them listen.
pub(crate) fn listen(
    bind: &[Bind],
    mut port: u16,
    tls: Option<&Arc<Tls>>,
    kept: &[SocketAddr],
) -> io::Result<(Vec<Listener>, Vec<SocketAddr>)> {
    let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
    let alone = bind.iter().all(|bind| bind.ip.is_ipv6());
    for Bind { ip, optional } in bind.iter().copied() {
        let address = SocketAddr::new(ip, port);
        if kept.contains(&address) {
            addresses.push(address);
            continue;
        }
        let socket = match open(address, alone) {
            Ok(socket) => socket,
            Err(error) if optional && error.kind() != io::ErrorKind::AddrInUse => {
                tracing::warn!(%address, %error, "not listening there");
                continue;
            }
            Err(error) => return Err(io::Error::new(error.kind(), format!("{address}: {error}"))),
        };
        let address = socket.local_addr()?;
        port = address.port();
        addresses.push(address);
        listeners.push(match tls {
            None => Listener::Tcp(socket),
            Some(tls) => Listener::Tls(socket, Arc::clone(tls)),
        });
    }
    if addresses.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            "this machine has none of the addresses",
        ));
    }
    Ok((listeners, addresses))
}

/// Where the server listens now.
#[derive(Debug, Default)]
pub(crate) struct Listening(Mutex<Vec<SocketAddr>>);

impl Listening {
    /// Listens there.
    pub(crate) fn new(addresses: Vec<SocketAddr>) -> Self {
        Self(Mutex::new(addresses))
    }
}

impl Shared {
    /// Listens where a changed configuration says; if that cannot be, changes nothing.
    pub(crate) fn listen_as(&self, wanted: &Configuration) -> Result<(), String> {
        let mut now = self.listening.0.lock();
        let bind = parse(wanted.get("bind"))?;
        let (mut fresh, mut addresses) = (Vec::new(), Vec::new());
        let port = wanted.number("port") as u16;
        if port == 0 && self.tls.is_none() {
            return Err("port 0 closes the port, and there is no other".into());
        }
        let ports = [
            (port != 0).then_some((port, None)),
            self.tls.as_ref().map(|(address, tls)| (address.port(), Some(tls))),
        ];
        for (port, tls) in ports.into_iter().flatten() {
            let (listeners, at) = listen(&bind, port, tls, &now).map_err(|error| error.to_string())?;
            fresh.extend(listeners);
            addresses.extend(at);
        }
        tracing::info!(?addresses, "listening");
        now.clone_from(&addresses);
        self.loops[0].send(Message::Listen { fresh, addresses });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_redis_writes_them() {
        assert_eq!(format(&parse("127.0.0.1  -::1 *").unwrap()), "127.0.0.1 -::1 0.0.0.0");
        for wrong in ["", "-", "localhost", "1.2.3", "127.0.0.1,::1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse(&"127.0.0.1 ".repeat(17)).is_err());
    }
}
