//! A store that is behind, over sockets: its tables are not written as long as a gate is shut, so that it fills up. Who
//! writes waits; nobody else does, although all share one event loop.

mod common;

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use common::{Client, TestServer, bulk};
use terrace::{Durability, Env, FaultFs, FaultOp, Options, os_fs};
use terrace_resp::Value;

/// Holds every write of a table as long as it is shut.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn set(&self, shut: bool) {
        *self.0.0.lock().unwrap() = shut;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let shut = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(shut, |shut| *shut).unwrap());
    }
}

/// Opens the gate when a test ends, however it does, for a store cannot be closed before.
struct Opened(Gate);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// A server with one loop over a small store, whose gate is shut.
fn gated() -> (TestServer, Opened) {
    let (gate, fs) = (Gate::default(), FaultFs::new(os_fs(false)));
    let watched = gate.clone();
    fs.watch(move |op, path| {
        if op == FaultOp::Write && path.extension().is_some_and(|extension| extension == "tbl") {
            watched.pass();
        }
        None
    });
    let mut env = Env::default();
    env.fs = Arc::new(fs);
    let options = Options::new().write_buffer(1 << 20).durability(Durability::Process).env(env);
    let server = TestServer::start_over(options, |config| config.threads = 1);
    gate.set(true);
    (server, Opened(gate))
}

fn parked(client: &mut Client) -> usize {
    let info = client.raw("INFO clients");
    let line = info.lines().find_map(|line| line.strip_prefix("terrace_parked_clients:"));
    line.and_then(|count| count.parse().ok()).expect("a number")
}

fn wait_for_parked(client: &mut Client, count: usize) {
    while parked(client) < count {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Commands of 64 KiB each, until the store is full. Returns how many were sent.
fn fill(server: &TestServer, writer: &mut Client, reader: &mut Client) -> usize {
    let value = "x".repeat(64 << 10);
    for at in 0.. {
        writer.request(&["SET", &format!("fill:{at}"), &value]);
        writer.stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let answered = std::io::Read::read(&mut writer.stream, &mut [0; 64]);
        if answered.is_err() && parked(reader) == 1 {
            // Parked for good, not for a moment of the slope before the wall.
            std::thread::sleep(Duration::from_millis(300));
            let stalled = server.db.write_delay();
            if parked(reader) == 1 && !stalled.is_zero() {
                writer.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                return at + 1;
            }
            writer.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            writer.reply();
        }
    }
    unreachable!()
}

/// A commit waited for the store within the event loop: every connection of the loop stood still until a flush was
/// done, readers and probes included.
#[test]
fn a_full_store_holds_up_writers_only() {
    let (server, gate) = gated();
    let (mut writer, mut reader) = (server.client(), server.client());
    reader.expect("SET here yes", "+OK");
    let filled = fill(&server, &mut writer, &mut reader);
    let start = Instant::now();
    for _ in 0..200 {
        assert_eq!(reader.run("GET here"), bulk("yes"));
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "200 reads took {took:?}");
    // Writes of every kind are parked, and what comes after them on their connection.
    let mut others: Vec<Client> = (0..5).map(|_| server.client()).collect();
    others[0].send("SET plain 1\r\nGET plain\r\n");
    others[1].send("INCR counter\r\nINCR counter\r\n");
    for name in ["a", "b"] {
        others[2].request(&["HSET", "hash", name, "1"]);
    }
    others[3].send("MULTI\r\nSET in 1\r\nGET in\r\nEXEC\r\n");
    others[4].send("DEL here\r\n");
    wait_for_parked(&mut reader, 6);
    others[3].expect("PING", "+OK");
    assert_eq!([others[3].reply(), others[3].reply()], ["QUEUED"; 2].map(|line| Value::Simple(line.into())));
    // A transaction that only reads is not.
    reader.send("MULTI\r\nGET here\r\nGET plain\r\nEXEC\r\n");
    for line in ["OK", "QUEUED", "QUEUED"] {
        assert_eq!(reader.reply(), Value::Simple(line.into()));
    }
    assert_eq!(reader.reply(), Value::Array(vec![bulk("yes"), Value::Null]));
    drop(gate);
    assert_eq!(writer.reply(), Value::Simple("OK".into()));
    assert_eq!([others[0].reply(), others[0].reply()], [Value::Simple("OK".into()), bulk("1")]);
    assert_eq!([others[1].reply(), others[1].reply()], [1, 2].map(Value::Integer));
    assert_eq!([others[2].reply(), others[2].reply()], [1, 1].map(Value::Integer));
    assert_eq!(others[3].reply(), Value::Array(vec![Value::Simple("OK".into()), bulk("1")]));
    assert_eq!(others[4].reply(), Value::Integer(1));
    assert_eq!(parked(&mut reader), 0);
    for at in [0, filled - 1] {
        assert_eq!(reader.run(&format!("STRLEN fill:{at}")), Value::Integer(64 << 10));
    }
}

/// What is parked must neither keep the server from ending nor be answered as done.
#[test]
fn a_parked_write_does_not_outlive_the_grace_of_a_shutdown() {
    let (mut server, gate) = gated();
    let (mut writer, mut reader) = (server.client(), server.client());
    fill(&server, &mut writer, &mut reader);
    reader.expect("CONFIG SET shutdown-timeout 1", "+OK");
    reader.send("SHUTDOWN NOSAVE\r\n");
    assert_eq!(writer.read_to_end(), "", "no reply");
    drop(gate);
    server.shut_down();
}

/// A save that waits for a flush holds up its own connection only.
#[test]
fn a_save_waits_beside_the_event_loop() {
    let (server, gate) = gated();
    let backups = tempfile::tempdir().unwrap();
    let (mut saver, mut reader) = (server.client(), server.client());
    reader.expect(&format!("CONFIG SET backup-dir {}", backups.path().display()), "+OK");
    reader.expect("SET here yes", "+OK");
    saver.send("SAVE\r\nPING\r\n");
    while !reader.raw("INFO persistence").contains("rdb_bgsave_in_progress:1") {}
    assert_eq!(reader.run("GET here"), bulk("yes"));
    reader.expect("SET here still", "+OK");
    reader.expect("BGSAVE", "-ERR Background save already in progress");
    drop(gate);
    assert_eq!([saver.reply(), saver.reply()], ["OK", "PONG"].map(|line| Value::Simple(line.into())));
    assert!(reader.raw("INFO persistence").contains("terrace_backup_generation:1"));
}
