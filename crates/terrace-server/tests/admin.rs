//! The admin port, over HTTP as probes and scrapers use it.

mod common;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use terrace::{Env, Fault, FaultFs, FaultOp, FaultRule, Fs, SimFs};
use terrace_server::{AdminServer, Server, ServerConfig};

/// Status and body of one request.
fn ask(addr: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_string())
}

fn get(addr: SocketAddr, path: &str) -> (u16, String) {
    ask(addr, &format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"))
}

/// The samples of a text exposition by name with labels; checks that each name was declared once, before use.
fn samples(text: &str) -> BTreeMap<String, String> {
    let mut declared = Vec::new();
    let mut samples = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().unwrap().to_string();
            assert!(!declared.contains(&name), "{name} is declared twice");
            declared.push(name);
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let base = name.split('{').next().unwrap();
            let of_summary = base.trim_end_matches("_sum").trim_end_matches("_count");
            assert!(declared.iter().any(|d| d == base || d == of_summary), "{name} is not declared");
            value.parse::<f64>().unwrap();
            assert!(samples.insert(name.to_string(), value.to_string()).is_none(), "{name} comes twice");
        }
    }
    samples
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

#[test]
fn readiness_follows_the_life_of_the_server() {
    let admin = AdminServer::bind(loopback()).unwrap();
    let addr = admin.local_addr();
    assert_eq!(get(addr, "/livez"), (200, "alive\n".into()));
    let (status, reason) = get(addr, "/readyz");
    assert!(status == 503 && reason.contains("being opened"), "{status} {reason}");
    assert_eq!(get(addr, "/metrics").0, 503);

    let dir = tempfile::tempdir().unwrap();
    let db = terrace::Options::new().on_recovery(admin.recovery_observer()).open(dir.path()).unwrap();
    let mut config = ServerConfig::new(db);
    config.port = 0;
    let server = Server::bind(config).unwrap();
    admin.attach(&server);
    assert_eq!(get(addr, "/readyz"), (200, "ready\n".into()));
    server.shutdown_handle().shutdown();
    let (status, reason) = get(addr, "/readyz");
    assert!(status == 503 && reason.contains("shutting down"), "{status} {reason}");
    assert_eq!(get(addr, "/livez").0, 200);
    server.run().unwrap();
    drop(admin);
    assert!(TcpStream::connect(addr).is_err(), "the port is closed");
}

#[test]
fn a_store_that_refuses_writes_is_not_ready() {
    let fs = Arc::new(FaultFs::over_sim(&SimFs::new()));
    let mut env = Env::default();
    env.fs = Arc::clone(&fs) as Arc<dyn Fs>;
    let db = terrace::Options::new().env(env).open("store").unwrap();
    let mut config = ServerConfig::new(db.clone());
    config.port = 0;
    let server = Server::bind(config).unwrap();
    let admin = AdminServer::bind(loopback()).unwrap();
    admin.attach(&server);
    assert_eq!(get(admin.local_addr(), "/readyz").0, 200);
    db.put("doubtful", "1").unwrap();
    fs.add(FaultRule::new(FaultOp::RegionSync, Fault::FailedSync));
    db.sync().unwrap_err();
    let (status, reason) = get(admin.local_addr(), "/readyz");
    assert!(status == 503 && reason.contains("refuses writes"), "{status} {reason}");
    assert!(get(admin.local_addr(), "/metrics").1.contains("\nterrace_background_error 1\n"));
}

#[test]
fn metrics_are_well_formed_and_count() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = ServerConfig::new(terrace::Db::open(dir.path()).unwrap());
    config.port = 0;
    let server = Server::bind(config).unwrap();
    let admin = AdminServer::bind(loopback()).unwrap();
    admin.attach(&server);
    let (addr, stop) = (server.local_addr(), server.shutdown_handle());
    let running = std::thread::spawn(move || server.run());
    let mut client = common::Client::connect(addr);
    for _ in 0..3 {
        client.expect("SET key value", "+OK");
    }
    client.run("GET key");
    client.run("GET missing");
    client.run("INCR key");
    let (status, text) = get(admin.local_addr(), "/metrics");
    assert_eq!(status, 200);
    let samples = samples(&text);
    assert_eq!(samples["terrace_commands_total{command=\"set\"}"], "3");
    assert_eq!(samples["terrace_commands_failed_total{command=\"incr\"}"], "1");
    assert_eq!(samples["terrace_command_duration_seconds_count{command=\"get\"}"], "2");
    assert_eq!(samples["terrace_keyspace_hits_total"], "1");
    assert_eq!(samples["terrace_keyspace_misses_total"], "1");
    assert_eq!(samples["terrace_connected_clients"], "1");
    assert_ne!(samples["terrace_log_appended_bytes_total"], "0");
    assert!(samples.contains_key("terrace_level_bytes{level=\"0\"}"));

    let (status, stats) = get(admin.local_addr(), "/stats?pretty");
    let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
    assert_eq!((status, &stats["commands"]["set"]["calls"]), (200, &3.into()));
    assert!(get(admin.local_addr(), "/").1.starts_with("<!doctype html>"));
    assert_eq!(get(admin.local_addr(), "/other").0, 404);
    assert_eq!(ask(admin.local_addr(), "HEAD / HTTP/1.1\r\n\r\n"), (200, String::new()));
    assert_eq!(ask(admin.local_addr(), "POST / HTTP/1.1\r\n\r\n").0, 405);
    stop.shutdown();
    running.join().unwrap().unwrap();
}

/// Clients that connect and say nothing hold their threads until they time out; the probe that comes after them
/// is answered all the same.
#[test]
fn silent_clients_do_not_keep_a_probe_waiting() {
    let admin = AdminServer::bind(loopback()).unwrap();
    let silent: Vec<_> = (0..10).map(|_| TcpStream::connect(admin.local_addr()).unwrap()).collect();
    assert_eq!(get(admin.local_addr(), "/livez").0, 200);
    drop(silent);
}
