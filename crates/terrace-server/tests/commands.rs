//! Every family of commands through the `redis` crate, as an application uses them.

mod common;

use std::collections::{BTreeSet, HashMap};
use std::thread::sleep;
use std::time::Duration;

use common::{TestServer, strings};
use redis::{Commands, RedisResult, Value, cmd};

fn error<T: std::fmt::Debug>(result: RedisResult<T>) -> String {
    let error = result.unwrap_err();
    format!("{} {}", error.code().unwrap_or_default(), error.detail().unwrap_or_default())
}

#[test]
fn strings_are_set_and_read() {
    let server = TestServer::start();
    let mut con = server.redis();
    let _: () = con.set("k", "v").unwrap();
    assert_eq!(con.get::<_, String>("k").unwrap(), "v");
    assert_eq!(con.get::<_, Option<String>>("absent").unwrap(), None);
    let _: () = con.mset(&[("a", "1"), ("b", "2")]).unwrap();
    let values: Vec<Option<i32>> = con.mget(&["a", "absent", "b"]).unwrap();
    assert_eq!(values, [Some(1), None, Some(2)]);
    assert!(!con.mset_nx::<_, _, bool>(&[("a", "9"), ("c", "3")]).unwrap());
    assert_eq!(con.append::<_, _, usize>("a", "23").unwrap(), 3);
    assert_eq!(con.getrange::<_, String>("a", -2, -1).unwrap(), "23");
    assert_eq!(con.setrange::<_, _, usize>("pad", 3, "x").unwrap(), 4);
    assert_eq!(con.get::<_, Vec<u8>>("pad").unwrap(), b"\0\0\0x");
    assert_eq!(con.strlen::<_, usize>("pad").unwrap(), 4);
    assert_eq!(con.get_del::<_, String>("a").unwrap(), "123");
    assert!(!con.exists::<_, bool>("a").unwrap());
    let binary: Vec<u8> = (0..=255).collect();
    let _: () = con.set(&binary, &binary).unwrap();
    assert_eq!(con.get::<_, Vec<u8>>(&binary).unwrap(), binary);
    // The library reads what the server wrote.
    assert_eq!(server.db.get("k").unwrap().unwrap(), b"v");
}

#[test]
fn set_options_conflict_as_in_redis() {
    let server = TestServer::start();
    let mut con = server.redis();
    let mut set =
        |options: &[&str]| cmd("SET").arg("k").arg("v").arg(options).query::<Option<String>>(&mut con);
    assert_eq!(set(&["XX"]).unwrap(), None);
    assert_eq!(set(&["NX"]).unwrap().as_deref(), Some("OK"));
    assert_eq!(set(&["NX"]).unwrap(), None);
    assert_eq!(set(&["GET", "EX", "100"]).unwrap().as_deref(), Some("v"));
    assert_eq!(error(set(&["NX", "XX"])), "ERR syntax error");
    assert_eq!(error(set(&["EX", "1", "KEEPTTL"])), "ERR syntax error");
    assert_eq!(error(set(&["EX", "0"])), "ERR invalid expire time in 'set' command");
    assert_eq!(error(set(&["PX", "x"])), "ERR value is not an integer or out of range");
    let _: () = cmd("SET").arg("k").arg("w").arg("KEEPTTL").query(&mut con).unwrap();
    assert!(con.ttl::<_, i64>("k").unwrap() > 90);
}

#[test]
fn counters_count_and_refuse() {
    let server = TestServer::start();
    let mut con = server.redis();
    assert_eq!(con.incr::<_, _, i64>("n", 1).unwrap(), 1);
    assert_eq!(con.incr::<_, _, i64>("n", -5).unwrap(), -4);
    assert_eq!(con.decr::<_, _, i64>("n", 6).unwrap(), -10);
    let _: () = con.set("max", i64::MAX).unwrap();
    assert_eq!(error(con.incr::<_, _, i64>("max", 1)), "ERR increment or decrement would overflow");
    let _: () = con.set("text", "abc").unwrap();
    assert_eq!(error(con.incr::<_, _, i64>("text", 1)), "ERR value is not an integer or out of range");
    let float =
        |con: &mut redis::Connection, by: &str| cmd("INCRBYFLOAT").arg("f").arg(by).query::<String>(con);
    assert_eq!(float(&mut con, "10.50").unwrap(), "10.5");
    assert_eq!(float(&mut con, "0.1").unwrap(), "10.6");
    assert_eq!(float(&mut con, "-5").unwrap(), "5.6");
    assert_eq!(float(&mut con, "5.0e3").unwrap(), "5005.6");
    assert_eq!(error(float(&mut con, "inf")), "ERR increment would produce NaN or Infinity");
}

#[test]
fn keys_expire() {
    let server = TestServer::start();
    let mut con = server.redis();
    let _: () = con.set("k", "v").unwrap();
    assert_eq!(con.ttl::<_, i64>("k").unwrap(), -1);
    assert_eq!(con.ttl::<_, i64>("absent").unwrap(), -2);
    assert!(con.pexpire::<_, bool>("k", 80).unwrap());
    let left: i64 = con.pttl("k").unwrap();
    assert!((1..=80).contains(&left), "{left}");
    sleep(Duration::from_millis(120));
    assert_eq!(con.get::<_, Option<String>>("k").unwrap(), None);
    assert!(!con.exists::<_, bool>("k").unwrap());
    let _: () = con.set_ex("k", "v", 100).unwrap();
    assert_eq!(con.incr::<_, _, i64>("counted", 1).unwrap(), 1);
    assert!(con.expire::<_, bool>("counted", 100).unwrap());
    assert_eq!(con.incr::<_, _, i64>("counted", 1).unwrap(), 2);
    assert!(con.ttl::<_, i64>("counted").unwrap() > 90, "a counter keeps its expiry");
    assert!(con.persist::<_, bool>("k").unwrap());
    assert_eq!(con.ttl::<_, i64>("k").unwrap(), -1);
    let conflicting = cmd("EXPIRE").arg("k").arg(10).arg("NX").arg("XX").query::<i64>(&mut con);
    assert_eq!(error(conflicting), "ERR NX and XX, GT or LT options at the same time are not compatible");
    assert_eq!(con.expire::<_, i64>("k", -1).unwrap(), 1);
    assert!(!con.exists::<_, bool>("k").unwrap());
}

#[test]
fn keys_are_renamed_and_copied() {
    let server = TestServer::start();
    let mut con = server.redis();
    let _: () = con.set_ex("a", "v", 100).unwrap();
    let _: () = con.rename("a", "a").unwrap();
    let _: () = con.rename("a", "b").unwrap();
    assert!(con.ttl::<_, i64>("b").unwrap() > 90);
    assert_eq!(error(con.rename::<_, _, ()>("a", "b")), "ERR no such key");
    let _: () = con.set("c", "w").unwrap();
    assert!(!con.rename_nx::<_, _, bool>("b", "c").unwrap());
    let copy = |con: &mut redis::Connection, args: &[&str]| cmd("COPY").arg(args).query::<i64>(con);
    assert_eq!(copy(&mut con, &["b", "c"]).unwrap(), 0);
    assert_eq!(copy(&mut con, &["b", "c", "REPLACE"]).unwrap(), 1);
    assert_eq!(copy(&mut con, &["b", "b", "DB", "7"]).unwrap(), 1);
    assert_eq!(error(copy(&mut con, &["b", "b"])), "ERR source and destination objects are the same");
    let _: () = cmd("SELECT").arg(7).query(&mut con).unwrap();
    assert_eq!(con.get::<_, String>("b").unwrap(), "v");
    assert_eq!(cmd("DBSIZE").query::<i64>(&mut con).unwrap(), 1);
}

#[test]
fn databases_are_apart_and_emptied_apart() {
    let server = TestServer::start();
    let mut client = server.client();
    for db in 0..16 {
        client.expect(&format!("SELECT {db}"), "+OK");
        client.expect("GET k", "$-1");
        client.expect(&format!("SET k {db}"), "+OK");
    }
    client.expect("SELECT 3", "+OK");
    client.expect("FLUSHDB", "+OK");
    client.expect("GET k", "$-1");
    client.expect("SET k again", "+OK");
    client.expect("GET k", "$5\r\nagain");
    client.expect("SELECT 4", "+OK");
    client.expect("GET k", "$1\r\n4");
    client.expect("FLUSHALL", "+OK");
    client.expect("DBSIZE", ":0");
    assert!(server.db.keyspaces().contains(&"db15".to_string()));
}

#[test]
fn a_write_to_a_database_never_used_is_not_lost() {
    let server = TestServer::start();
    let mut client = server.client();
    client.expect("SELECT 9", "+OK");
    client.expect("INCR n", ":1");
    client.expect("INCR n", ":2");
    client.expect("DEL n n absent", ":1");
    client.expect("SELECT 10", "+OK");
    client.expect("DEL n", ":0");
    assert!(!server.db.keyspaces().contains(&"db10".to_string()), "reading creates nothing");
}

#[test]
fn scans_return_every_key_that_stays() {
    let server = TestServer::start();
    let mut con = server.redis();
    let mut client = server.client();
    let mut expected = BTreeSet::new();
    for i in 0..1000 {
        client.request(&["SET", &format!("user:{i:04}"), "v"]);
        expected.insert(format!("user:{i:04}"));
    }
    (0..1000).for_each(|_| drop(client.reply()));
    let mut found = BTreeSet::new();
    let mut cursor = "0".to_string();
    let mut calls = 0;
    loop {
        let terrace_resp::Value::Array(reply) = client.run(&format!("SCAN {cursor} COUNT 7")) else {
            panic!()
        };
        found.extend(strings(&reply[1]));
        let terrace_resp::Value::Bulk(next) = &reply[0] else { panic!("a cursor is text") };
        cursor = String::from_utf8(next.clone()).unwrap();
        calls += 1;
        // Others write and delete meanwhile, before and behind the cursor.
        let _: () = con.set(format!("aaa{calls}"), "v").unwrap();
        let _: () = con.set(format!("zzz{}", calls % 5), "v").unwrap();
        let _: () = con.del(format!("aaa{}", calls / 2)).unwrap();
        if cursor == "0" {
            break;
        }
        assert!(calls < 1000);
    }
    assert!(expected.is_subset(&found));
    let by_iterator: BTreeSet<String> =
        con.scan_match::<_, String>("user:*[13579]").unwrap().map(Result::unwrap).collect();
    assert_eq!(
        by_iterator,
        expected.iter().filter(|k| k.ends_with(['1', '3', '5', '7', '9'])).cloned().collect()
    );
    let keys: Vec<String> = con.keys("user:00[^0-8]?").unwrap();
    assert_eq!(keys.len(), 10);
    client.expect("SCAN 0 MATCH nothing:*", "*2\r\n$1\r\n0\r\n*0");
}

#[test]
fn a_cursor_survives_others_and_made_up_ones_do_no_harm() {
    let server = TestServer::start();
    let mut client = server.client();
    (0..100).for_each(|i| drop(client.run(&format!("SET key{i:02} v"))));
    let page = |client: &mut common::Client, cursor: &str| {
        let terrace_resp::Value::Array(reply) = client.run(&format!("SCAN {cursor} COUNT 50")) else {
            panic!()
        };
        let terrace_resp::Value::Bulk(next) = &reply[0] else { panic!() };
        (String::from_utf8(next.clone()).unwrap(), strings(&reply[1]))
    };
    let (cursor, first) = page(&mut client, "0");
    for _ in 0..20_000 {
        client.request(&["SCAN", "0", "COUNT", "1"]);
    }
    (0..20_000).for_each(|_| drop(client.raw_reply()));
    // Its place is forgotten by now; it goes back, but leaves nothing out.
    let mut all: BTreeSet<String> = first.into_iter().collect();
    let mut next = cursor;
    while next != "0" {
        let (cursor, more) = page(&mut client, &next);
        all.extend(more);
        next = cursor;
    }
    assert_eq!(all.len(), 100);
    client.expect("SCAN 18446744073709551615", "*2\r\n$1\r\n0\r\n*0");
    client.expect("SCAN x", "-ERR invalid cursor");
}

#[test]
fn random_keys_reach_every_key() {
    let server = TestServer::start();
    let mut client = server.client();
    client.expect("RANDOMKEY", "$-1");
    let keys = ["a", "ab", "abc", "key:0001", "key:0002", "key:9999", "z"];
    for key in keys {
        client.expect(&format!("SET {key} v"), "+OK");
    }
    let mut drawn = HashMap::new();
    for _ in 0..2000 {
        let terrace_resp::Value::Bulk(key) = client.run("RANDOMKEY") else { panic!("a key") };
        *drawn.entry(String::from_utf8(key).unwrap()).or_insert(0) += 1;
    }
    assert_eq!(drawn.len(), keys.len(), "{drawn:?}");
}

#[test]
fn pipelines_of_the_library_work() {
    let server = TestServer::start();
    let mut con = server.redis();
    let (ok, value, count): (String, i64, i64) = redis::pipe()
        .cmd("SET")
        .arg("k")
        .arg(1)
        .cmd("INCR")
        .arg("k")
        .cmd("DEL")
        .arg("k")
        .arg("absent")
        .query(&mut con)
        .unwrap();
    assert_eq!((ok.as_str(), value, count), ("OK", 2, 1));
}

#[test]
fn the_server_describes_itself() {
    let server = TestServer::start();
    let mut con = server.redis();
    let _: () = con.set("k", "v").unwrap();
    let _: Option<String> = con.get("k").unwrap();
    let _: Option<String> = con.get("absent").unwrap();
    let info: String = cmd("INFO").query(&mut con).unwrap();
    for field in
        ["redis_version:7", "connected_clients:1", "keyspace_hits:1", "keyspace_misses:1", "db0:keys="]
    {
        assert!(info.contains(field), "{field} in {info}");
    }
    let only: String = cmd("INFO").arg("clients").query(&mut con).unwrap();
    assert!(only.starts_with("# Clients") && !only.contains("# Server"));
    let stats: String = cmd("STATS").query(&mut con).unwrap();
    let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
    assert_eq!(stats["commands"]["get"]["calls"], 2);
    assert_eq!(stats["keyspace"]["hit_rate"], 0.5);
    assert!(stats["group_commits"]["count"].as_u64() >= Some(1));
    assert!(stats["store"]["levels"].is_array());
    let _: () = cmd("CONFIG").arg("RESETSTAT").query(&mut con).unwrap();
    let _: () = cmd("PING").query(&mut con).unwrap();
    let info: String = cmd("INFO").arg("stats").query(&mut con).unwrap();
    assert!(info.contains("keyspace_misses:0"), "{info}");
}

#[test]
fn commands_are_documented() {
    let server = TestServer::start();
    let mut con = server.redis();
    let count: usize = cmd("COMMAND").arg("COUNT").query(&mut con).unwrap();
    let names: Vec<String> = cmd("COMMAND").arg("LIST").query(&mut con).unwrap();
    assert_eq!(names.iter().filter(|name| !name.contains('|')).count(), count);
    let all: Vec<Value> = cmd("COMMAND").query(&mut con).unwrap();
    assert_eq!(all.len(), count);
    let keys: Vec<String> =
        cmd("COMMAND").arg("GETKEYS").arg("MSET").arg("a").arg(1).arg("b").arg(2).query(&mut con).unwrap();
    assert_eq!(keys, ["a", "b"]);
    let docs: Value = cmd("COMMAND").arg("DOCS").arg("get").arg("config|get").query(&mut con).unwrap();
    assert!(format!("{docs:?}").contains("Returns the string value of a key."));
}

#[test]
fn settings_are_read_and_changed() {
    let server = TestServer::start();
    let mut con = server.redis();
    let get = |con: &mut redis::Connection, pattern: &str| {
        cmd("CONFIG").arg("GET").arg(pattern).query::<HashMap<String, String>>(con).unwrap()
    };
    assert_eq!(get(&mut con, "maxclients")["maxclients"], "10000");
    assert!(get(&mut con, "maxmemory*").contains_key("maxmemory-policy"));
    let set =
        |con: &mut redis::Connection, args: &[&str]| cmd("CONFIG").arg("SET").arg(args).query::<()>(con);
    set(&mut con, &["maxclients", "50", "timeout", "1000"]).unwrap();
    assert_eq!(get(&mut con, "maxclients")["maxclients"], "50");
    assert!(error(set(&mut con, &["maxclients", "60", "daemonize", "yes"])).contains("immutable"));
    assert_eq!(get(&mut con, "maxclients")["maxclients"], "50", "all or nothing");
    set(&mut con, &["save", ""]).unwrap();
}

#[test]
fn operators_commands_answer() {
    let server = TestServer::start();
    let mut client = server.client();
    client.expect("SET k v", "+OK");
    client.expect("FLUSH", "+OK");
    client.expect("COMPACT", "+OK");
    client.expect("GET k", "$1\r\nv");
    client.expect("OBJECT ENCODING k", "$6\r\nembstr");
    assert!(matches!(client.run("MEMORY USAGE k"), terrace_resp::Value::Integer(n) if n > 2));
    assert_eq!(strings(&client.run("TIME")).len(), 2);
    client.expect("WAIT 0 0", ":0");
    assert!(matches!(client.run("LASTSAVE"), terrace_resp::Value::Integer(n) if n > 1_600_000_000));
}

#[test]
fn a_key_that_cannot_be_stored_is_absent_and_refused() {
    let server = TestServer::start();
    let mut client = server.client();
    let long = "k".repeat(65_536);
    for key in ["", &long] {
        client.request(&["GET", key]);
        assert_eq!(client.reply(), terrace_resp::Value::Null);
        client.request(&["DEL", key]);
        assert_eq!(client.reply(), terrace_resp::Value::Integer(0));
        for write in [&["SET", key, "v"][..], &["INCR", key], &["MSET", "good", "v", key, "v"]] {
            client.request(write);
            let terrace_resp::Value::Error(text) = client.reply() else { panic!("an error") };
            assert!(text.starts_with("ERR a key takes 1 to 65,535 bytes"), "{text}");
        }
    }
    client.expect("EXISTS good", ":0");
}

#[test]
fn other_types_are_refused_by_string_commands() {
    let server = TestServer::start();
    let mut client = server.client();
    server.db.put_with("odd", "v", terrace::WriteOptions::new().tag(3)).unwrap();
    let refused = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    for command in ["GET odd", "INCR odd", "APPEND odd x", "GETSET odd x", "SET odd x GET", "STRLEN odd"] {
        client.expect(command, refused);
    }
    client.send("GET odd\r\n");
    assert_eq!(client.raw_reply(), format!("{refused}\r\n").as_bytes());
    client.expect("MGET odd", "*1\r\n$-1");
    client.expect("EXPIRE odd 100", ":1");
    client.expect("RENAME odd even", "+OK");
    client.expect("GET even", refused);
    client.expect("SET even x", "+OK");
    client.expect("GET even", "$1\r\nx");
}
