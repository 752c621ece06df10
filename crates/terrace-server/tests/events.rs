//! Keyspace events and active expiry.

mod common;

use common::{Client, TestServer, bulk};
use terrace_resp::Value;

/// A listener to everything, and a connection whose writes it hears of.
fn pair(server: &TestServer, classes: &str) -> (Client, Client) {
    let (mut listener, mut writer) = (server.client(), server.client());
    writer.run(&format!("CONFIG SET notify-keyspace-events {classes}"));
    listener.run("PSUBSCRIBE __key*");
    (listener, writer)
}

/// The next event: its channel and payload.
fn event(listener: &mut Client) -> String {
    let Value::Array(parts) = listener.reply() else { panic!("a message was expected") };
    let text = |value: &Value| match value {
        Value::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => panic!("{other:?}"),
    };
    format!("{} {}", text(&parts[2]), text(&parts[3]))
}

#[test]
fn each_write_command_raises_its_events() {
    let server = TestServer::start();
    let (mut listener, mut writer) = pair(&server, "EA");
    let cases = [
        ("SET k 1", "set k"),
        ("SET k 1 EX 100", "set k,expire k"),
        ("SET k 1 XX", "set k"),
        ("SET k 1 NX", ""),
        ("SETEX k 100 1", "set k,expire k"),
        ("GETSET k 5", "set k"),
        ("INCR k", "incrby k"),
        ("DECRBY k 2", "incrby k"),
        ("INCRBYFLOAT k 0.5", "incrbyfloat k"),
        ("APPEND k x", "append k"),
        ("SETRANGE k 1 y", "setrange k"),
        ("SETRANGE k 1 ", ""),
        ("EXPIRE k 100", "expire k"),
        ("GETEX k PERSIST", "persist k"),
        ("GETEX k EX 100", "expire k"),
        ("PERSIST k", "persist k"),
        ("PERSIST k", ""),
        ("COPY k c", "copy_to c"),
        ("RENAME c d", "rename_from c,rename_to d"),
        ("MSET a 1 b 2", "set a,set b"),
        ("MSETNX e 1 f 2", "set e,set f"),
        ("SETNX g 1", "set g"),
        ("SETNX g 1", ""),
        ("DEL a b nope", "del a,del b"),
        ("GETDEL e", "del e"),
        ("EXPIRE f -1", "del f"),
        ("EXPIRE f 10", ""),
        ("UNLINK g", "del g"),
        ("HSET h f 1 g 2", "hset h"),
        ("HSETNX h f 1", ""),
        ("HINCRBY h f 1", "hincrby h"),
        ("HINCRBYFLOAT h f 1", "hincrbyfloat h"),
        ("HEXPIRE h 100 FIELDS 1 f", "hexpire h"),
        ("HPERSIST h FIELDS 1 f", "hpersist h"),
        ("HPERSIST h FIELDS 1 f", ""),
        ("HDEL h f nope", "hdel h"),
        ("HDEL h g", "hdel h,del h"),
        ("SETBIT bits 7 1", "setbit bits"),
        ("BITFIELD bits SET u8 0 3", "setbit bits"),
        ("BITOP NOT stib bits", "set stib"),
        ("BITOP AND stib nope", "del stib"),
    ];
    for (command, events) in cases {
        writer.run(command);
        for expected in events.split(',').filter(|event| !event.is_empty()) {
            let (name, key) = expected.split_once(' ').unwrap();
            assert_eq!(event(&mut listener), format!("__keyevent@0__:{name} {key}"), "{command}");
        }
    }
    // Nothing more was raised than what was expected.
    writer.run("SET end 1");
    assert_eq!(event(&mut listener), "__keyevent@0__:set end");
}

#[test]
fn events_come_by_key_and_by_event_and_from_the_database_of_the_key() {
    let server = TestServer::start();
    let (mut listener, mut writer) = pair(&server, "KE$");
    writer.run("SELECT 3");
    writer.run("SET k 1");
    assert_eq!(event(&mut listener), "__keyspace@3__:k set");
    assert_eq!(event(&mut listener), "__keyevent@3__:set k");
    writer.run("DEL k");
    writer.run("CONFIG SET notify-keyspace-events Kn");
    writer.run("MSET k 1 l 2");
    writer.run("SET k 2");
    writer.run("INCR m");
    for key in ["k", "l", "m"] {
        assert_eq!(event(&mut listener), format!("__keyspace@3__:{key} new"));
    }
    writer.run("CONFIG SET notify-keyspace-events Km");
    writer.run("GET nope");
    writer.run("MGET k nope2");
    assert_eq!(event(&mut listener), "__keyspace@3__:nope keymiss");
    assert_eq!(event(&mut listener), "__keyspace@3__:nope2 keymiss");
    writer.request(&["CONFIG", "GET", "notify-keyspace-events"]);
    assert_eq!(writer.reply(), Value::Array(vec![bulk("notify-keyspace-events"), bulk("Km")]));
    writer.expect(
        "CONFIG SET notify-keyspace-events q",
        "-ERR CONFIG SET failed (possibly related to argument 'notify-keyspace-events') - Invalid event class \
         character. Use 'Ag$lshzxeKEtmdn'.",
    );
}

#[test]
fn the_events_of_a_transaction_come_with_its_commit() {
    let server = TestServer::start();
    let (mut listener, mut writer) = pair(&server, "KA");
    let mut other = server.client();
    writer.run("WATCH w");
    other.run("SET w 1");
    for command in ["MULTI", "SET never 1"] {
        writer.run(command);
    }
    writer.expect("EXEC", "*-1");
    for command in ["MULTI", "SET a 1", "APPEND a x", "INCR a", "DEL a"] {
        writer.run(command);
    }
    writer.run("EXEC");
    assert_eq!(event(&mut listener), "__keyspace@0__:w set");
    for name in ["set", "append", "del"] {
        assert_eq!(event(&mut listener), format!("__keyspace@0__:a {name}"));
    }
}

#[test]
fn expired_keys_are_removed_and_announced_without_being_asked_for() {
    let server = TestServer::start();
    let (mut listener, mut writer) = pair(&server, "Ex");
    writer.run("PSETEX a 1 v");
    assert_eq!(event(&mut listener), "__keyevent@0__:expired a");
    // What was written again, or deleted, before its time is not announced.
    writer.run("DEBUG SET-ACTIVE-EXPIRE 0");
    // Long enough that a busy machine does not let them expire before they are changed: that would be announced.
    for command in ["PSETEX b 500 v", "PSETEX c 500 v", "SET b kept", "DEL c", "PSETEX d 1 v", "SET e 1 PX 1"]
    {
        writer.run(command);
    }
    while writer.run("EXISTS d e") != Value::Integer(0) {
        std::thread::yield_now();
    }
    // A look-up that misses them is as good as the thread.
    assert_eq!(event(&mut listener), "__keyevent@0__:expired d");
    assert_eq!(event(&mut listener), "__keyevent@0__:expired e");
    writer.run("DEBUG SET-ACTIVE-EXPIRE 1");
    writer.run("PSETEX f 1 v");
    assert_eq!(event(&mut listener), "__keyevent@0__:expired f");
    std::thread::sleep(std::time::Duration::from_millis(600));
    let info = writer.raw("INFO stats");
    assert!(info.contains("expired_keys:4"), "{info}");
    writer.expect("GET b", "$4\r\nkept");
}

/// Keys that were written by an earlier run of the server are not in the schedule; a scan finds them.
#[test]
fn keys_of_an_earlier_run_are_announced_too() {
    let server = TestServer::start();
    let options = terrace::WriteOptions::new().ttl(std::time::Duration::from_secs(3));
    for key in ["x", "y"] {
        server.db.put_with(key, "v", options).unwrap();
    }
    let (mut listener, _writer) = pair(&server, "Ex");
    let mut found = [event(&mut listener), event(&mut listener)];
    found.sort();
    assert_eq!(found, ["__keyevent@0__:expired x", "__keyevent@0__:expired y"]);
}

/// Fields expired in silence before: the store hid them, and nobody who listened was told.
#[test]
fn expired_fields_raise_one_event_and_the_last_takes_the_hash_along() {
    let server = TestServer::start();
    let (mut listener, mut writer) = pair(&server, "Ehgx");
    writer.run("HSET h a 1 b 2 c 3 d 4");
    writer.run("HPEXPIRE h 20 FIELDS 2 a b");
    assert_eq!(event(&mut listener), "__keyevent@0__:hset h");
    assert_eq!(event(&mut listener), "__keyevent@0__:hexpire h");
    // By the thread that removes what has expired.
    assert_eq!(event(&mut listener), "__keyevent@0__:hexpired h");
    writer.expect("HLEN h", ":2");
    // By a command that meets an expired field, and by one that misses the hash.
    writer.run("DEBUG SET-ACTIVE-EXPIRE 0");
    writer.run("HPEXPIRE h 5 FIELDS 1 c");
    assert_eq!(event(&mut listener), "__keyevent@0__:hexpire h");
    std::thread::sleep(std::time::Duration::from_millis(20));
    writer.expect("HGET h c", "$-1");
    assert_eq!(event(&mut listener), "__keyevent@0__:hexpired h");
    writer.run("HPEXPIRE h 5 FIELDS 1 d");
    assert_eq!(event(&mut listener), "__keyevent@0__:hexpire h");
    std::thread::sleep(std::time::Duration::from_millis(20));
    writer.expect("HGET h d", "$-1");
    assert_eq!(event(&mut listener), "__keyevent@0__:hexpired h");
    assert_eq!(event(&mut listener), "__keyevent@0__:del h");
    let Value::Bulk(stats) = writer.run("INFO stats") else { panic!("a text was expected") };
    let stats = String::from_utf8(stats).unwrap();
    assert!(stats.contains("\r\nexpired_subkeys:4\r\n"), "{stats}");
    assert!(stats.contains("\r\nexpired_keys:0\r\n"), "{stats}");
}

/// A writing command that came upon expired fields removed them without a word, and a client that waited for
/// the event waited for ever.
#[test]
fn a_write_that_finds_expired_fields_announces_them_before_itself() {
    let server = TestServer::start();
    let (mut listener, mut writer) = pair(&server, "Eh");
    writer.run("DEBUG SET-ACTIVE-EXPIRE 0");
    writer.run("HSET h a 1 b 2");
    writer.run("HPEXPIRE h 5 FIELDS 1 a");
    std::thread::sleep(std::time::Duration::from_millis(20));
    writer.run("HSET h b 3");
    for expected in ["hset", "hexpire", "hexpired", "hset"] {
        assert_eq!(event(&mut listener), format!("__keyevent@0__:{expected} h"));
    }
}

/// `HGETEX` and `HGETDEL` of a hash that had gone with the last of its fields said nothing of it, so with active expiry
/// off nobody ever heard.
#[test]
fn a_hash_that_is_found_expired_is_announced_by_whoever_finds_it() {
    let server = TestServer::start();
    let (mut listener, mut writer) = pair(&server, "Eghx");
    writer.expect("DEBUG SET-ACTIVE-EXPIRE 0", "+OK");
    for command in ["HGETEX h FIELDS 1 f", "HGETDEL h FIELDS 1 f"] {
        writer.expect("HSETEX h PX 50 FIELDS 1 f v", ":1");
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert_eq!(writer.run(command), Value::Array(vec![Value::Null]), "{command}");
        for expected in ["hset", "hexpire", "hexpired", "del"] {
            assert_eq!(event(&mut listener), format!("__keyevent@0__:{expected} h"), "{command}");
        }
    }
}

/// `HGETDEL` of a field that had expired raised `hdel` after `hexpired`, although it had deleted nothing.
#[test]
fn hgetdel_of_an_expired_field_deletes_nothing() {
    let server = TestServer::start();
    let (mut listener, mut writer) = pair(&server, "Ehx");
    writer.expect("DEBUG SET-ACTIVE-EXPIRE 0", "+OK");
    writer.expect("HSET h f 1 g 2", ":2");
    writer.expect("HPEXPIRE h 20 FIELDS 1 f", "*1\r\n:1");
    std::thread::sleep(std::time::Duration::from_millis(60));
    for (field, expected) in [("f", Value::Null), ("g", bulk("2"))] {
        assert_eq!(writer.run(&format!("HGETDEL h FIELDS 1 {field}")), Value::Array(vec![expected]));
    }
    for expected in ["hset", "hexpire", "hexpired", "hdel"] {
        assert_eq!(event(&mut listener), format!("__keyevent@0__:{expected} h"));
    }
    writer.expect("HSET last f 1", ":1");
    assert_eq!(event(&mut listener), "__keyevent@0__:hset last", "and nothing else");
}
