//! Connections that ask for nothing during a load.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Allows this process, and the servers that it starts, as many open files as the system lets it.
pub(super) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    // With fewer files a run with many connections says so by itself.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

fn ping(mut stream: &TcpStream) -> Result<()> {
    stream.write_all(b"PING\r\n")?;
    let mut reply = [0; 7];
    stream.read_exact(&mut reply)?;
    ensure!(&reply == b"+PONG\r\n", "the server answered {:?}", String::from_utf8_lossy(&reply));
    Ok(())
}

/// Opens connections, each of which has had one reply.
pub(super) fn open(address: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    let one = |at: usize| {
        let stream = TcpStream::connect(address).with_context(|| format!("idle connection {at}"))?;
        ping(&stream).with_context(|| format!("idle connection {at}"))?;
        Ok(stream)
    };
    (0..count).map(one).collect()
}

/// Sees that none of them was closed.
pub(super) fn check(all: &[TcpStream]) -> Result<()> {
    all.iter().try_for_each(|stream| ping(stream).context("an idle connection after the load"))
}
