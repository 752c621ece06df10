//! What replies wait for, over sockets: a store whose syncs can be held up or made to fail shows who waits, who does
//! not, and how many syncs it takes.

mod common;

use std::io::Read;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use common::{Client, TestServer, bulk};
use terrace::{Durability, Env, Fault, FaultFs, FaultOp, Options, os_fs};
use terrace_resp::Value;

/// Holds every sync of the log as long as it is shut.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    shut: bool,
    fails: bool,
    /// Syncs that have come to the gate since it was shut.
    came: usize,
}

impl Gate {
    fn shut(&self) {
        *self.0.0.lock().unwrap() = State { shut: true, ..State::default() };
    }

    fn open(&self, fails: bool) {
        let mut state = self.0.0.lock().unwrap();
        (state.shut, state.fails) = (false, fails);
        self.0.1.notify_all();
    }

    fn pass(&self) -> Option<Fault> {
        let mut state = self.0.0.lock().unwrap();
        state.came += 1;
        self.0.1.notify_all();
        while state.shut {
            state = self.0.1.wait(state).unwrap();
        }
        state.fails.then_some(Fault::Eio)
    }

    /// Waits until a sync is held.
    fn holds_one(&self) {
        let mut state = self.0.0.lock().unwrap();
        while state.came == 0 {
            state = self.0.1.wait(state).unwrap();
        }
    }
}

/// A server over a store with this durability, and the gate before its syncs.
fn gated(durability: Durability) -> (TestServer, Gate) {
    let (gate, fs) = (Gate::default(), FaultFs::new(os_fs(false)));
    let watched = gate.clone();
    fs.watch(move |op, _| if op == FaultOp::RegionSync { watched.pass() } else { None });
    let of_store = if durability == Durability::Sync { Durability::Process } else { durability };
    let mut env = Env::default();
    env.fs = Arc::new(fs);
    let options = Options::new().durability(of_store).env(env);
    (TestServer::start_over(options, |config| config.durability = durability), gate)
}

fn syncs(server: &TestServer) -> u64 {
    server.db.stats().log.syncs
}

/// Whether nothing arrives for a while. It can only pass by mistake, not fail by mistake.
fn is_silent(client: &mut Client) -> bool {
    client.stream.set_read_timeout(Some(Duration::from_millis(30))).unwrap();
    let silent = client.stream.read(&mut [0; 1]).is_err();
    client.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    silent
}

/// The hold-back had been tested with a store that always syncs at once, so a reply that leaves too early would not
/// have been noticed.
#[test]
fn replies_are_held_until_the_sync_and_many_connections_share_it() {
    let (server, gate) = gated(Durability::Sync);
    let mut clients: Vec<Client> = (0..32).map(|_| server.client()).collect();
    clients[0].expect("SET first 1", "+OK");
    gate.shut();
    let before = syncs(&server);
    clients[0].request(&["SET", "k0", "v"]);
    gate.holds_one();
    for (at, client) in clients.iter_mut().enumerate().skip(1) {
        client.request(&["SET", &format!("k{at}"), "v"]);
    }
    // They have all been committed, as another connection sees; none has its reply.
    let mut reader = server.client();
    while reader.run("EXISTS k31") != Value::Integer(1) || reader.run("DBSIZE") != Value::Integer(33) {}
    assert!(clients.iter_mut().all(is_silent));
    gate.open(false);
    for client in &mut clients {
        assert_eq!(client.reply(), Value::Simple("OK".into()));
    }
    // One was under way, and one serves the other 31 connections.
    assert_eq!(syncs(&server) - before, 2);
}

#[test]
fn a_pipeline_of_writes_costs_one_sync() {
    let (server, gate) = gated(Durability::Sync);
    let (mut first, mut client) = (server.client(), server.client());
    first.expect("SET first 1", "+OK");
    gate.shut();
    let before = syncs(&server);
    first.request(&["SET", "k", "v"]);
    gate.holds_one();
    client.send("SET k v\r\nINCR n\r\n".repeat(64));
    while first_free(&server, "GET n") != bulk("64") {}
    gate.open(false);
    for n in 1..=64 {
        assert_eq!(client.reply(), Value::Simple("OK".into()));
        assert_eq!(client.reply(), Value::Integer(n));
    }
    assert_eq!(syncs(&server) - before, 2);
}

fn first_free(server: &TestServer, command: &str) -> Value {
    server.client().run(command)
}

#[test]
fn when_the_sync_fails_the_reply_is_the_error_and_the_connection_ends() {
    let (server, gate) = gated(Durability::Sync);
    let (mut writer, mut reader) = (server.client(), server.client());
    reader.expect("PING", "+PONG");
    gate.shut();
    writer.send("SET k v\r\nPING\r\n");
    gate.holds_one();
    gate.open(true);
    let said = writer.read_to_end();
    assert!(said.starts_with("-ERR cannot sync ") && said.matches("\r\n").count() == 1, "{said}");
    // Readers go on; writers hear why they cannot.
    reader.expect("GET k", "$1\r\nv");
    assert!(reader.raw("SET k w").starts_with("-MISCONF "));
    // The store of this test cannot be synced any more, and says so at the end.
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(server)));
}

#[test]
fn a_connection_may_ask_for_more_than_the_store_and_not_for_less() {
    let (server, gate) = gated(Durability::Process);
    let (mut careful, mut quick) = (server.client(), server.client());
    careful.expect("DURABILITY", "$7\r\nprocess");
    let refused = careful.raw("DURABILITY memory");
    assert!(refused.starts_with("-ERR the store runs with durability process;"), "{refused}");
    assert!(
        careful
            .raw("DURABILITY always")
            .starts_with("-ERR unknown durability 'always'; it is one of memory,")
    );
    careful.expect("DURABILITY SYNC", "+OK");
    careful.expect("DURABILITY", "$4\r\nsync");
    gate.shut();
    careful.request(&["SET", "k", "careful"]);
    gate.holds_one();
    quick.expect("SET q quick", "+OK");
    assert!(is_silent(&mut careful));
    gate.open(false);
    assert_eq!(careful.reply(), Value::Simple("OK".into()));
    careful.expect("RESET", "+RESET");
    careful.expect("DURABILITY", "$7\r\nprocess");
}

#[test]
fn the_default_can_be_raised_while_the_server_runs() {
    let (server, gate) = gated(Durability::Process);
    let (mut admin, mut client) = (server.client(), server.client());
    admin.expect("CONFIG SET appendfsync always", "+OK");
    client.expect("DURABILITY", "$4\r\nsync");
    gate.shut();
    client.request(&["SET", "k", "v"]);
    gate.holds_one();
    gate.open(false);
    assert_eq!(client.reply(), Value::Simple("OK".into()));
    admin.expect("CONFIG SET durability process", "+OK");
    client.expect("DURABILITY", "$7\r\nprocess");
    assert!(admin.raw("CONFIG SET durability memory").contains("never for less"));
}

#[test]
fn waitaof_answers_when_the_writes_are_synced_or_the_time_is_over() {
    let (server, gate) = gated(Durability::Process);
    let mut client = server.client();
    client.expect("SET k v", "+OK");
    client.expect("WAITAOF 1 0 0", "*2\r\n:1\r\n:0");
    client.expect("WAITAOF 0 0 0", "*2\r\n:0\r\n:0");
    gate.shut();
    client.send("SET k w\r\nWAITAOF 1 0 10\r\nPING\r\n");
    assert_eq!(client.reply(), Value::Simple("OK".into()));
    assert_eq!(client.reply(), Value::Array(vec![Value::Integer(0), Value::Integer(0)]));
    assert_eq!(client.reply(), Value::Simple("PONG".into()));
    client.request(&["WAITAOF", "1", "0", "0"]);
    assert!(is_silent(&mut client));
    gate.open(false);
    assert_eq!(client.reply(), Value::Array(vec![Value::Integer(1), Value::Integer(0)]));
    for (command, error) in [
        ("WAITAOF 2 0 0", "-ERR value is out of range, value must between 0 and 1"),
        ("WAITAOF 1 -1 0", "-ERR value is out of range, must be positive"),
        ("WAITAOF 1 0 -1", "-ERR timeout is negative"),
        ("WAITAOF 1 0 x", "-ERR timeout is not an integer or out of range"),
    ] {
        client.expect(command, error);
    }
    client.expect("MULTI", "+OK");
    client.expect("WAITAOF 1 0 0", "+QUEUED");
    client.expect("EXEC", "*1\r\n*2\r\n:0\r\n:0");
}
