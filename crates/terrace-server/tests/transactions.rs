//! `MULTI`, `EXEC` and `WATCH` among several connections; what one connection sees alone is compared with Redis in
//! `differential`.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::{Client, TestServer, bulk, strings};
use terrace_resp::Value;

const ABORTED: &str = "-EXECABORT Transaction discarded because of previous errors.";

fn integers(reply: &Value) -> Vec<i64> {
    let Value::Array(items) = reply else { panic!("an array was expected, not {reply:?}") };
    let number = |item: &Value| match item {
        Value::Integer(number) => *number,
        Value::Bulk(text) => std::str::from_utf8(text).unwrap().parse().unwrap(),
        other => panic!("a number was expected, not {other:?}"),
    };
    items.iter().map(number).collect()
}

/// Runs a transaction and returns the reply to `EXEC`.
fn transaction(client: &mut Client, commands: &[&str]) -> Value {
    client.expect("MULTI", "+OK");
    for command in commands {
        client.expect(command, "+QUEUED");
    }
    client.run("EXEC")
}

#[test]
fn nothing_is_seen_of_a_transaction_before_exec() {
    let server = TestServer::start();
    let (mut writer, mut reader) = (server.client(), server.client());
    writer.expect("MULTI", "+OK");
    writer.expect("SET k v", "+QUEUED");
    reader.expect("GET k", "$-1");
    assert_eq!(writer.run("EXEC"), Value::Array(vec![Value::Simple("OK".into())]));
    assert_eq!(reader.run("GET k"), bulk("v"));
}

/// Clients move amounts between accounts while others add them all up, in transactions without `WATCH`. Were the
/// commands of an `EXEC` committed one by one, or its reads not bound to its commit, a sum would be off.
#[test]
fn transactions_of_many_connections_are_isolated() {
    const ACCOUNTS: usize = 4;
    let server = TestServer::start();
    let done = AtomicBool::new(false);
    let sum = |client: &mut Client| {
        let reply = transaction(client, &["GET a0", "GET a1", "GET a2", "GET a3"]);
        integers(&reply).iter().sum::<i64>()
    };
    let mut client = server.client();
    client.expect("MSET a0 100 a1 100 a2 100 a3 100", "+OK");
    thread::scope(|scope| {
        let movers: Vec<_> = (0..3)
            .map(|mover| {
                let mut client = server.client();
                scope.spawn(move || {
                    for turn in 0..300 {
                        let (from, to) = ((mover + turn) % ACCOUNTS, (mover + turn * 3 + 1) % ACCOUNTS);
                        transaction(&mut client, &[&format!("DECRBY a{from} 7"), &format!("INCRBY a{to} 7")]);
                    }
                })
            })
            .collect();
        for _ in 0..2 {
            let (mut client, done) = (server.client(), &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(sum(&mut client), 400);
                }
            });
        }
        for mover in movers {
            mover.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(sum(&mut client), 400);
}

/// Counters kept by `WATCH`, `GET`, `MULTI`, `SET`, `EXEC`: an update that is lost or an `EXEC` that should have
/// answered null shows in the sum.
#[test]
fn watched_keys_make_a_read_and_a_write_one_step() {
    const TURNS: i64 = 100;
    let server = TestServer::start();
    thread::scope(|scope| {
        for _ in 0..4 {
            let mut client = server.client();
            scope.spawn(move || {
                let mut done = 0;
                while done < TURNS {
                    client.expect("WATCH n", "+OK");
                    let old = match client.run("GET n") {
                        Value::Bulk(text) => String::from_utf8(text).unwrap().parse().unwrap(),
                        _ => 0,
                    };
                    let reply = transaction(&mut client, &[&format!("SET n {}", old + 1)]);
                    done += i64::from(reply != Value::Null);
                }
            });
        }
    });
    assert_eq!(server.client().run("GET n"), bulk("400"));
}

#[test]
fn another_connections_write_to_a_watched_key_aborts() {
    let server = TestServer::start();
    let (mut watcher, mut other) = (server.client(), server.client());
    for change in
        ["SET k v", "DEL k", "SET k v EX 100", "PERSIST k", "RENAME k elsewhere", "COPY elsewhere k"]
    {
        watcher.expect("WATCH unrelated k", "+OK");
        other.run(change);
        assert_eq!(transaction(&mut watcher, &["SET result never"]), Value::Null, "{change}");
    }
    watcher.expect("WATCH k", "+OK");
    other.expect("SET not-watched v", "+OK");
    assert_ne!(transaction(&mut watcher, &["SET result done"]), Value::Null);
    watcher.expect("GET result", "$4\r\ndone");
}

#[test]
fn a_watched_key_that_vanishes_without_a_write_aborts() {
    let server = TestServer::start();
    let (mut watcher, mut other) = (server.client(), server.client());
    watcher.expect("SET k v PX 30", "+OK");
    watcher.expect("WATCH k", "+OK");
    thread::sleep(Duration::from_millis(60));
    assert_eq!(transaction(&mut watcher, &["SET result never"]), Value::Null, "expiry");
    for empty in ["FLUSHDB", "FLUSHALL"] {
        watcher.expect("SET k v", "+OK");
        watcher.expect("WATCH k", "+OK");
        other.expect(empty, "+OK");
        assert_eq!(transaction(&mut watcher, &["SET result never"]), Value::Null, "{empty}");
    }
}

#[test]
fn what_cannot_be_atomic_is_refused_and_aborts() {
    let server = TestServer::start();
    let mut client = server.client();
    let refused = ["FLUSH", "COMPACT", "SHUTDOWN", "SAVE", "MONITOR", "CONFIG REWRITE"];
    for command in refused {
        client.expect("MULTI", "+OK");
        client.expect(command, "-ERR Command not allowed inside a transaction");
        client.expect("SET k never", "+QUEUED");
        client.expect("EXEC", ABORTED);
    }
    client.expect("GET k", "$-1");
}

#[test]
fn a_database_that_is_new_is_watched_and_written_like_the_others() {
    let server = TestServer::start();
    let (mut client, mut other) = (server.client(), server.client());
    for client in [&mut client, &mut other] {
        client.expect("SELECT 5", "+OK");
    }
    client.expect("WATCH k", "+OK");
    other.expect("SET k v", "+OK");
    assert_eq!(transaction(&mut client, &["SET k mine"]), Value::Null);
    client.expect("SELECT 6", "+OK");
    client.expect("WATCH k", "+OK");
    assert_eq!(integers(&transaction(&mut client, &["INCR k", "INCR k"])), [1, 2]);
}

/// `SETNX` found no database, another connection created it and wrote the key, and `SETNX`, finding the database
/// now, wrote over it without a condition. It takes many fresh databases to meet.
#[test]
fn of_two_first_writes_to_a_database_only_one_is_first() {
    for _ in 0..4 {
        let server = TestServer::start();
        for db in 1..16 {
            let winners: i64 = thread::scope(|scope| {
                let threads: Vec<_> = (0..2)
                    .map(|_| {
                        let mut client = server.client();
                        scope.spawn(move || {
                            client.expect(&format!("SELECT {db}"), "+OK");
                            client.run("SETNX k v")
                        })
                    })
                    .collect();
                let won = |reply: Value| i64::from(reply == Value::Integer(1));
                threads.into_iter().map(|thread| won(thread.join().unwrap())).sum()
            });
            assert_eq!(winners, 1, "in database {db}");
        }
    }
}

/// `EXEC` used to answer null after a database was emptied, also for a watched key that was not in it; and after an
/// expired key that was expired already when it was watched had been removed.
#[test]
fn what_does_not_touch_a_watched_key_does_not_abort() {
    let server = TestServer::start();
    let (mut client, mut other) = (server.client(), server.client());
    let exec = |client: &mut Client, expected: &str| {
        client.run("MULTI");
        client.run("PING");
        client.expect("EXEC", expected);
    };
    client.run("SET filler 1");
    for emptying in ["FLUSHALL", "FLUSHDB"] {
        client.run("WATCH absent");
        other.run(emptying);
        exec(&mut client, "*1\r\n+PONG");
        client.run("SET present 1");
        client.run("WATCH present");
        other.run(emptying);
        exec(&mut client, "*-1");
        client.run("WATCH created");
        other.run(emptying);
        other.run("SET created 1");
        exec(&mut client, "*-1");
    }
    client.run("DEBUG SET-ACTIVE-EXPIRE 0");
    client.run("SET stale 1 PX 1");
    // Nobody has looked at it when it is watched.
    while server.db.get("stale").unwrap().is_some() {
        std::thread::yield_now();
    }
    client.run("WATCH stale");
    client.run("DEBUG SET-ACTIVE-EXPIRE 1");
    client.run("SET soon 1 PX 1");
    while !other.raw("INFO stats").contains("expired_keys:2") {
        std::thread::yield_now();
    }
    exec(&mut client, "*1\r\n+PONG");
}

/// Refused before: a store that commits a batch was thought to have no place for what is about all keys.
#[test]
fn whole_databases_are_seen_and_emptied_inside_a_transaction() {
    let server = TestServer::start();
    let mut client = server.client();
    client.expect("MSET old 1 gone 2", "+OK");
    client.run("HSET hash f v");
    let commands = [
        "SET new 3",
        "DEL gone",
        "KEYS *",
        "DBSIZE",
        "SCAN 0 COUNT 2",
        "FLUSHDB",
        "DBSIZE",
        "RANDOMKEY",
        "GET old",
        "HGET hash f",
        "SET last 4",
        "KEYS l*",
        "RANDOMKEY",
        "CONFIG SET slowlog-max-len 77",
        "HELLO 3",
        "PING",
    ];
    let Value::Array(replies) = transaction(&mut client, &commands) else { panic!("an array was expected") };
    assert_eq!(strings(&replies[2]), ["hash", "new", "old"]);
    assert_eq!(replies[3], Value::Integer(3));
    let Value::Array(page) = &replies[4] else { panic!("{:?}", replies[4]) };
    assert_eq!(strings(&page[1]), ["hash", "new"]);
    assert_eq!(replies[6], Value::Integer(0));
    assert_eq!((&replies[7], &replies[8], &replies[9]), (&Value::Null, &Value::Null, &Value::Null));
    assert_eq!(strings(&replies[11]), ["last"]);
    assert_eq!(replies[12], bulk("last"));
    assert!(matches!(&replies[14], Value::Map(_)), "{:?}", replies[14]);
    client.run("HELLO 2");
    assert_eq!(strings(&client.run("KEYS *")), ["last"]);
    client.expect("EXISTS old hash", ":0");
    assert_eq!(strings(&client.run("CONFIG GET slowlog-max-len")), ["slowlog-max-len", "77"]);
}

#[test]
fn what_acts_beside_the_store_does_not_run_for_a_transaction_that_is_too_late() {
    let server = TestServer::start();
    let (mut client, mut other) = (server.client(), server.client());
    client.expect("WATCH k", "+OK");
    other.expect("SET k 1", "+OK");
    let reply = transaction(&mut client, &["CONFIG SET slowlog-max-len 77", "FLUSHALL"]);
    assert_eq!(reply, Value::Null);
    assert_eq!(strings(&client.run("CONFIG GET slowlog-max-len")), ["slowlog-max-len", "128"]);
    client.expect("GET k", "$1\r\n1");
}

/// One client empties and fills a database in transactions while others write to it and count it.
#[test]
fn nobody_writes_between_the_commands_of_a_transaction_that_counts() {
    let server = TestServer::start();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for writer in 0..2 {
            let (mut client, done) = (server.client(), &done);
            scope.spawn(move || {
                for n in 0.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    client.run(&format!("SET w{writer}-{} 1", n % 50));
                    client.run(&format!("INCR c{writer}-{}", n % 50));
                }
            });
        }
        let mut client = server.client();
        for _ in 0..200 {
            let counts = transaction(&mut client, &["DBSIZE", "FLUSHDB", "SET mine 1", "DBSIZE"]);
            let Value::Array(counts) = counts else { panic!("{counts:?}") };
            assert_eq!(counts[3], Value::Integer(1));
            let counts = integers(&transaction(&mut client, &["DBSIZE", "DBSIZE", "DBSIZE"]));
            assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// `MGET` read one key after the other while a batch reached the shards, and saw one half of an `MSET`.
#[test]
fn several_keys_are_read_as_of_one_moment() {
    const KEYS: [&str; 8] = ["k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"];
    let server = TestServer::start();
    let mset = |value: usize| -> String {
        KEYS.iter().fold("MSET".into(), |command, key| format!("{command} {key} {value}"))
    };
    server.client().expect(&mset(0), "+OK");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut writer = server.client();
        let (done, mset) = (&done, &mset);
        scope.spawn(move || {
            for value in 1.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                writer.expect(&mset(value), "+OK");
                writer.expect(&format!("DEL {}", KEYS.join(" ")), ":8");
            }
        });
        let mut reader = server.client();
        for _ in 0..3_000 {
            let values = reader.run(&format!("MGET {}", KEYS.join(" ")));
            let Value::Array(values) = values else { panic!("{values:?}") };
            assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
            let found = reader.run(&format!("EXISTS {}", KEYS.join(" ")));
            assert!(matches!(found, Value::Integer(0 | 8)), "{found:?}");
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn swapped_databases_are_seen_by_all_and_survive_a_restart() {
    let mut server = TestServer::start();
    let (mut client, mut other) = (server.client(), server.client());
    client.run("MSET k zero only0 1");
    client.run("HSET h f zero");
    other.run("SELECT 1");
    other.run("SET k one");
    other.run("SET soon v PX 30");
    // Watched keys that are in either database have changed, others not.
    for (key, changed) in [("k", true), ("only0", true), ("nowhere", false), ("h", true)] {
        other.expect(&format!("WATCH {key}"), "+OK");
        client.expect("SWAPDB 0 1", "+OK");
        assert_eq!(transaction(&mut other, &["PING"]) == Value::Null, changed, "{key}");
        client.expect("SWAPDB 1 0", "+OK");
    }
    client.expect("SWAPDB 0 1", "+OK");
    assert_eq!((client.run("GET k"), other.run("GET k")), (bulk("one"), bulk("zero")));
    assert_eq!(other.run("HGET h f"), bulk("zero"));
    client.expect("HGET h f", "$-1");
    client.expect("SWAPDB 0 16", "-ERR DB index is out of range");
    client.expect("SWAPDB a b", "-ERR invalid first DB index");
    client.expect("SWAPDB 0 b", "-ERR invalid second DB index");
    assert!(
        server.db.find_keyspace("db1").unwrap().get("k").unwrap().is_some_and(|value| value == b"one"[..])
    );
    server.shut_down();
    let restarted = server.restart();
    let mut client = restarted.client();
    assert_eq!(client.run("GET k"), bulk("one"));
    client.run("FLUSHDB");
    client.run("SELECT 1");
    assert_eq!(client.run("GET k"), bulk("zero"));
}

/// Counters in two databases grow while these are swapped; no step gets lost and none reaches the other.
#[test]
fn no_write_falls_between_swapped_databases() {
    const ROUNDS: i64 = 300;
    let server = TestServer::start();
    let mut client = server.client();
    client.run("SET side 0");
    client.run("HSET hash f 0");
    client.run("SELECT 1");
    client.run("SET side 1000000");
    client.run("HSET hash f 1000000");
    thread::scope(|scope| {
        for db in 0..2 {
            let mut client = server.client();
            scope.spawn(move || {
                client.run(&format!("SELECT {db}"));
                for _ in 0..ROUNDS {
                    client.run("INCR side");
                    client.run("HINCRBY hash f 1");
                    assert!(matches!(client.run("HGET hash f"), Value::Bulk(_)));
                }
            });
        }
        for _ in 0..ROUNDS / 3 {
            client.expect("SWAPDB 0 1", "+OK");
        }
    });
    for command in ["GET side", "HGET hash f"] {
        let mut sum = 0;
        for db in 0..2 {
            client.run(&format!("SELECT {db}"));
            sum += integers(&Value::Array(vec![client.run(command)]))[0];
        }
        assert_eq!(sum, 1_000_000 + 2 * ROUNDS, "{command}");
    }
}
