//! A plain client, for the first answer of a server and for looking up what was written.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Result, ensure};
use terrace_resp::{Value, decode_reply, encode_request};

use crate::keys::key;
use crate::values;

/// A connection that waits for each reply.
pub(super) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    /// Connects.
    pub(super) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self { stream, input: Vec::new() })
    }

    /// Fails unless the server is ready.
    pub(super) fn ping(&mut self) -> Result<()> {
        let reply = self.ask(&[b"PING"])?;
        ensure!(reply == Value::Simple("PONG".into()), "PING: {reply:?}");
        Ok(())
    }

    /// Fails unless each of these keys has the value that the load gave it.
    pub(super) fn check_values(&mut self, numbers: &[u64], value_bytes: usize) -> Result<()> {
        let mut expected = vec![0; value_bytes];
        for &number in numbers {
            values::fill(&mut expected, number, 0);
            let reply = self.ask(&[b"GET", &key(number)])?;
            ensure!(reply == Value::Bulk(expected.clone()), "key {number} has not the value that was set");
        }
        Ok(())
    }

    fn ask(&mut self, args: &[&[u8]]) -> Result<Value> {
        let mut request = Vec::new();
        encode_request(&mut request, args);
        self.stream.write_all(&request)?;
        self.input.clear();
        let mut buffer = [0; 4096];
        loop {
            let count = match self.stream.read(&mut buffer) {
                // A process that is stopped for a while and goes on.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => read?,
            };
            ensure!(count > 0, "the server closed the connection");
            self.input.extend_from_slice(&buffer[..count]);
            if let Some((value, _)) = decode_reply(&self.input)? {
                return Ok(value);
            }
        }
    }
}
