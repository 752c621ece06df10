//! The server's victim: `terrace serve` under pipelined writes of many connections.
//!
//! Groups are written by `MSET`, by `SET`s inside `MULTI`, and by `DEL`; each of these is one batch. What the
//! answers must be is known to the byte, so reading them is a comparison.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use terrace::{Rng, SeededRng};

use super::groups::{GROUPS, deletes, key, keys_in, value};
use super::kill;
use super::ledger::Ledger;

/// Commands that a connection sends before it reads the answers.
const PIPELINE: usize = 8;

/// A running server, to be written to by a connection for each ledger.
pub(super) struct Clients {
    server: Child,
    port: u16,
}

impl Clients {
    /// Starts the server on a free port.
    pub(super) fn new(program: &Path, store: &Path, level: &str) -> Result<Self, String> {
        let command = Command::new(program)
            .args([
                "serve",
                "--port",
                "0",
                "--memory",
                "64M",
                "--interval-ms",
                "20",
                "--durability",
                level,
                "--dir",
            ])
            .arg(store)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut server = command.map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        let mut lines = BufReader::new(server.stdout.take().ok_or("no output")?);
        let port = loop {
            let mut line = String::new();
            let read = lines.read_line(&mut line).map_err(|error| error.to_string())?;
            if read == 0 {
                let _ = kill(server);
                return Err("the server does not start".to_string());
            }
            if let Some(port) = line.strip_prefix("Ready on ").and_then(port_of) {
                break port;
            }
        };
        // What else it has to say is of no interest, but must not fill the pipe.
        thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Ok(Self { server, port })
    }

    /// Writes for a while and kills the server.
    pub(super) fn write_until_killed(
        self,
        life: Duration,
        rng: &SeededRng,
        ledgers: &mut [Ledger],
    ) -> Result<(), String> {
        let Self { server, port } = self;
        thread::scope(|scope| {
            let mut writers = Vec::new();
            for (writer, ledger) in ledgers.iter_mut().enumerate() {
                let rng = SeededRng::new(rng.next_u64());
                writers.push(scope.spawn(move || write(port, writer, &rng, ledger)));
            }
            thread::sleep(life);
            let mut outcome = kill(server);
            for writer in writers {
                let written = writer.join().unwrap_or_else(|_| Err("a client panicked".to_string()));
                outcome = outcome.and(written);
            }
            outcome
        })
    }
}

fn port_of(address: &str) -> Option<u16> {
    address.trim().rsplit(':').next()?.parse().ok()
}

/// Writes until the connection breaks; that is its end, not an error.
fn write(port: u16, writer: usize, rng: &SeededRng, ledger: &mut Ledger) -> Result<(), String> {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return Ok(()) };
    let _ = stream.set_nodelay(true);
    loop {
        let (mut request, mut sent) = (Vec::new(), Vec::new());
        for _ in 0..PIPELINE {
            let group = rng.below(GROUPS as u64) as usize;
            let version = ledger.send(group);
            let answer = put_command(&mut request, writer, group, version, rng.chance(30));
            sent.push((group, version, answer));
        }
        if stream.write_all(&request).is_err() {
            return Ok(());
        }
        for (group, version, answer) in sent {
            let mut found = vec![0; answer.len()];
            if stream.read_exact(&mut found).is_err() {
                return Ok(());
            }
            if found != answer {
                return Err(format!("answered {}, expected {}", found.escape_ascii(), answer.escape_ascii()));
            }
            ledger.acknowledge(group, version);
        }
    }
}

/// Adds the command that gives a group this version; what the server must answer.
fn put_command(request: &mut Vec<u8>, writer: usize, group: usize, version: u64, multi: bool) -> Vec<u8> {
    let keys: Vec<Vec<u8>> = (0..keys_in(group)).map(|member| key(writer, group, member)).collect();
    if deletes(version) {
        // All keys are there: the version before put them.
        let words: Vec<&[u8]> = [&b"DEL"[..]].into_iter().chain(keys.iter().map(|key| &key[..])).collect();
        put_array(request, &words);
        return format!(":{}\r\n", keys.len()).into_bytes();
    }
    let values: Vec<Vec<u8>> = keys.iter().map(|key| value(key, version)).collect();
    let pairs = keys.iter().zip(&values);
    if multi {
        put_array(request, &[b"MULTI"]);
        pairs.for_each(|(key, value)| put_array(request, &[b"SET", key, value]));
        put_array(request, &[b"EXEC"]);
        let (queued, done) = ("+QUEUED\r\n".repeat(keys.len()), "+OK\r\n".repeat(keys.len()));
        return format!("+OK\r\n{queued}*{}\r\n{done}", keys.len()).into_bytes();
    }
    let words: Vec<&[u8]> =
        [&b"MSET"[..]].into_iter().chain(pairs.flat_map(|(key, value)| [&key[..], &value[..]])).collect();
    put_array(request, &words);
    b"+OK\r\n".to_vec()
}

fn put_array(request: &mut Vec<u8>, words: &[&[u8]]) {
    request.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        request.extend_from_slice(word);
        request.extend_from_slice(b"\r\n");
    }
}
