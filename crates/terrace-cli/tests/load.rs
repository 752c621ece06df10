//! The load generator against a Terrace server in this process: every request is answered, and what it wrote is
//! there. Starting other programs is left to `compare-servers` itself.

use std::thread;

use terrace_bench::servers::{ServerCase, Verb, drive};
use terrace_server::{Server, ServerConfig};

/// Runs a load against a fresh server; returns the figures that do not depend on time.
fn drive_fresh(case: &ServerCase) -> (u64, u64) {
    let dir = tempfile::tempdir().unwrap();
    let db = terrace::Db::open(dir.path().join("store")).unwrap();
    let mut config = ServerConfig::new(db.clone());
    (config.port, config.threads) = (0, 1);
    let server = Server::bind(config).unwrap();
    let (address, stop) = (server.local_addr(), server.shutdown_handle());
    let running = thread::spawn(move || server.run());
    let driven = drive(address, case).unwrap_or_else(|e| panic!("{}: {e:#}", case.title()));
    stop.shutdown();
    running.join().unwrap().unwrap();
    if case.verb == Verb::Fill {
        assert_eq!(db.iter().count() as u64, case.keys);
    }
    db.close().unwrap();
    (driven.requests, driven.verified)
}

#[test]
fn every_load_is_answered_and_what_it_wrote_is_there() {
    let case = ServerCase {
        keys: 2000,
        connections: 5,
        threads: 2,
        depth: 16,
        seconds: 0.1,
        ..ServerCase::default()
    };
    for verb in [Verb::Set, Verb::Fill, Verb::Get, Verb::Incr, Verb::Mset, Verb::Mget] {
        // Values that take more than one read of the load generator, too.
        for value_bytes in [100, 20_000] {
            let (requests, verified) = drive_fresh(&ServerCase { verb, value_bytes, ..case.clone() });
            assert!(requests > 0, "{verb:?}");
            assert_eq!(verified > 0, verb != Verb::Incr, "{verb:?}");
            assert!(verb != Verb::Fill || requests == 2000);
        }
    }
}

#[test]
fn an_open_loop_sends_at_its_rate() {
    let case =
        ServerCase { verb: Verb::Get, keys: 500, connections: 3, seconds: 0.2, ..ServerCase::default() };
    let (requests, _) = drive_fresh(&ServerCase { rate: Some(1000.0), ..case });
    // The requests that are due within the time, whenever they are answered.
    assert!((199..=201).contains(&requests), "{requests}");
}
