//! What the integration tests share: a server on a free port and a client that speaks raw bytes.
#![allow(dead_code, unreachable_pub)] // Each test file uses its own part.

pub mod redis_server;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use terrace_resp::{Value, decode_reply, encode_request};
use terrace_server::{Server, ServerConfig, ShutdownHandle};

/// A running server over a new store; stopped when dropped.
pub struct TestServer {
    pub addr: SocketAddr,
    pub tls_addr: Option<SocketAddr>,
    pub stop: ShutdownHandle,
    pub db: terrace::Db,
    thread: Option<JoinHandle<std::io::Result<()>>>,
    dir: tempfile::TempDir,
}

impl TestServer {
    /// With the defaults and two loops.
    pub fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// With changes to the configuration.
    pub fn start_with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        Self::start_over(terrace::Options::new(), change)
    }

    /// With changes to the configuration, over a store with these options.
    pub fn start_over(options: terrace::Options, change: impl FnOnce(&mut ServerConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = options.open(dir.path()).unwrap();
        Self::serve(db, dir, change)
    }

    fn serve(db: terrace::Db, dir: tempfile::TempDir, change: impl FnOnce(&mut ServerConfig)) -> Self {
        let mut config = ServerConfig::new(db.clone());
        config.port = 0;
        config.threads = 2;
        change(&mut config);
        let server = Server::bind(config).unwrap();
        let (addr, stop) = (server.local_addr(), server.shutdown_handle());
        let tls_addr = server.tls_addr();
        let thread = Some(std::thread::spawn(move || server.run()));
        Self { addr, tls_addr, stop, db, thread, dir }
    }

    /// Another server over the store of this one, which was shut down.
    pub fn restart(mut self) -> Self {
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap());
        Self::serve(self.db.clone(), dir, |_| {})
    }

    /// A raw connection.
    pub fn client(&self) -> Client {
        Client::connect(self.addr)
    }

    /// A connection of the `redis` crate.
    pub fn redis(&self) -> redis::Connection {
        redis::Client::open(format!("redis://{}/", self.addr)).unwrap().get_connection().unwrap()
    }

    /// Stops the server and waits for it.
    pub fn shut_down(&mut self) {
        self.stop.shutdown();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop.shutdown();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.unwrap().unwrap();
            }
        }
    }
}

/// A connection that shows replies as they are on the wire.
pub struct Client {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends a request.
    pub fn request<A: AsRef<[u8]>>(&mut self, args: &[A]) {
        let mut bytes = Vec::new();
        encode_request(&mut bytes, args);
        self.send(bytes);
    }

    /// The next reply as bytes.
    pub fn raw_reply(&mut self) -> Vec<u8> {
        loop {
            if let Some((_, len)) = decode_reply(&self.buffer).unwrap() {
                return self.buffer.drain(..len).collect();
            }
            let mut chunk = [0; 16 << 10];
            let n = match self.stream.read(&mut chunk) {
                // A process that is stopped for a while and goes on.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                read => read.expect("a reply in time"),
            };
            assert!(n > 0, "the connection ended instead of a reply");
            self.buffer.extend_from_slice(&chunk[..n]);
        }
    }

    /// The next reply.
    pub fn reply(&mut self) -> Value {
        decode_reply(&self.raw_reply()).unwrap().unwrap().0
    }

    /// Sends a command given as words and returns its reply as it is on the wire.
    pub fn raw(&mut self, command: &str) -> String {
        let words: Vec<&str> = command.split(' ').collect();
        self.request(&words);
        String::from_utf8_lossy(&self.raw_reply()).into_owned()
    }

    /// Sends a command given as words and returns its reply.
    pub fn run(&mut self, command: &str) -> Value {
        let words: Vec<&str> = command.split(' ').collect();
        self.request(&words);
        self.reply()
    }

    /// Runs a command that must answer this line.
    pub fn expect(&mut self, command: &str, line: &str) {
        assert_eq!(self.raw(command), format!("{line}\r\n"), "{command}");
    }

    /// Everything until the server ends the connection.
    pub fn read_to_end(&mut self) -> String {
        let mut rest = std::mem::take(&mut self.buffer);
        // A reset ends the connection as well as an orderly close does.
        let _ = self.stream.read_to_end(&mut rest);
        String::from_utf8_lossy(&rest).into_owned()
    }
}

/// A bulk string.
pub fn bulk(text: &str) -> Value {
    Value::Bulk(text.as_bytes().to_vec())
}

/// The strings of an array.
pub fn strings(value: &Value) -> Vec<String> {
    let Value::Array(items) = value else { panic!("an array was expected, not {value:?}") };
    items
        .iter()
        .map(|item| match item {
            Value::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("a string was expected, not {other:?}"),
        })
        .collect()
}
