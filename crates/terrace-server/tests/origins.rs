//! The faults that were found in the servers of the stores that Terrace descends from, and the clients that those
//! could not bear. Each has a test of its own name, with what the user saw.

mod common;

use std::io::Write;
use std::net::TcpStream;

use common::{TestServer, bulk};
use terrace_resp::Value;

/// A connection held a worker for life: two idle ones, and a third client got no answer.
#[test]
fn idle_and_half_sent_connections_starve_nobody() {
    let server = TestServer::start_with(|config| config.threads = 1);
    let mut kept = Vec::new();
    for n in 0..400 {
        let mut stream = TcpStream::connect(server.addr).unwrap();
        if n % 2 == 0 {
            stream.write_all(b"*3\r\n$3\r\nSET\r\n$3\r\nke").unwrap();
        }
        kept.push(stream);
    }
    let mut client = server.client();
    client.expect("SET key value", "+OK");
    assert_eq!(client.run("GET key"), bulk("value"));
    // The rest of a half-sent command is still welcome.
    kept[0].write_all(b"y\r\n$4\r\nlate\r\n").unwrap();
    while client.run("GET key") != bulk("late") {}
}

/// One command was taken from each read: of three pipelined commands one was answered.
#[test]
fn every_pipelined_command_is_answered() {
    let server = TestServer::start();
    let mut client = server.client();
    let mut requests = Vec::new();
    for n in 0..1000 {
        terrace_resp::encode_request(&mut requests, &["SET", &format!("key{n}"), &format!("{n}")]);
        terrace_resp::encode_request(&mut requests, &["GET", &format!("key{n}")]);
    }
    client.send(&requests);
    for n in 0..1000 {
        assert_eq!(client.reply(), Value::Simple("OK".into()));
        assert_eq!(client.reply(), bulk(&n.to_string()));
    }
}

/// A value of 3,000 bytes was stored as 1,015 bytes, and its rest was parsed as commands.
#[test]
fn a_value_longer_than_a_buffer_is_kept_whole_and_never_run() {
    let server = TestServer::start();
    let mut client = server.client();
    client.expect("SET victim alive", "+OK");
    for len in [1023, 1024, 3000, 16 << 10, 32 << 10, (32 << 10) + 1, 200_000] {
        let value = "\r\nDEL victim\r\n".repeat(len / 14 + 1);
        client.request(&["SET", "long", &value[..len]]);
        assert_eq!(client.reply(), Value::Simple("OK".into()));
        assert_eq!(client.run("GET long"), bulk(&value[..len]), "{len}");
    }
    assert_eq!(client.run("GET victim"), bulk("alive"));
}

/// One malformed request ended the server, and a client could stop it with a letter.
#[test]
fn a_malformed_request_ends_its_own_connection_at_most() {
    let server = TestServer::start();
    let mut client = server.client();
    for bad in [
        "*abc\r\n",
        "*1\r\n$99999999999\r\n",
        "*-7\r\n$\r\n",
        "q\r\n",
        "l /etc/passwd\r\n",
        "SET k v EX abc\r\n",
    ] {
        let mut other = server.client();
        other.send(bad);
        let answer = String::from_utf8(other.raw_reply()).unwrap_or_default();
        assert!(!answer.contains("root:"), "{bad}: {answer}");
        client.expect("PING", "+PONG");
    }
}

/// SET with EX ignored its time.
#[test]
fn set_with_ex_expires() {
    let server = TestServer::start();
    let mut client = server.client();
    client.expect("SET key value EX 100", "+OK");
    let Value::Integer(left) = client.run("TTL key") else { panic!("a number") };
    assert!((99..=100).contains(&left), "{left}");
}

/// Replies could not tell a missing key from the value "(nil)", nor spaces in the values of MGET.
#[test]
fn a_missing_key_is_no_value() {
    let server = TestServer::start();
    let mut client = server.client();
    client.expect("SET nil (nil)", "+OK");
    client.request(&["SET", "spaces", "a b  c"]);
    assert_eq!(client.reply(), Value::Simple("OK".into()));
    assert_eq!(client.raw("MGET nil missing spaces"), "*3\r\n$5\r\n(nil)\r\n$-1\r\n$6\r\na b  c\r\n");
}

/// One collection was active for the whole server: a client's USE redirected the writes of another.
#[test]
fn the_database_of_a_client_is_its_own() {
    let server = TestServer::start();
    let (mut one, mut two) = (server.client(), server.client());
    one.expect("SELECT 3", "+OK");
    two.expect("SET key two", "+OK");
    one.expect("SET key one", "+OK");
    assert_eq!((one.run("GET key"), two.run("GET key")), (bulk("one"), bulk("two")));
}

/// Commands in lower case were unknown, and reading another client's acknowledged write failed.
#[test]
fn an_answered_write_is_seen_by_every_client() {
    let server = TestServer::start();
    let (mut one, mut two) = (server.client(), server.client());
    for n in 0..200 {
        one.expect(&format!("set key {n}"), "+OK");
        assert_eq!(two.run("get key"), bulk(&n.to_string()));
    }
}

/// What this process keeps in memory, in bytes, where the system says so.
fn resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()? << 10)
}

/// A declared length is believed when the bytes have come, and a stranger may declare little. 512 MiB from 100
/// connections would be 50 GiB.
#[test]
fn a_declared_length_allocates_nothing() {
    let declare = |server: &TestServer| {
        let mut kept = Vec::new();
        for _ in 0..100 {
            let mut stream = TcpStream::connect(server.addr).unwrap();
            stream.write_all(b"*2\r\n$3\r\nGET\r\n$536870912\r\nabc").unwrap();
            kept.push(stream);
        }
        kept
    };
    let open = TestServer::start();
    open.client().expect("PING", "+PONG");
    let before = resident_bytes();
    let kept = declare(&open);
    open.client().expect("PING", "+PONG");
    if let (Some(before), Some(after)) = (before, resident_bytes()) {
        assert!(after < before + (64 << 20), "{before} bytes before, {after} after");
    }
    drop(kept);
    let closed = TestServer::start_with(|config| config.requirepass = Some("secret".into()));
    let mut stranger = closed.client();
    stranger.send("*2\r\n$4\r\nAUTH\r\n$536870912\r\n");
    let answer = stranger.read_to_end();
    assert!(answer.starts_with("-ERR Protocol error"), "{answer}");
}
