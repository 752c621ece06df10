//! `DUMP`, `RESTORE` and `OBJECT IDLETIME`: what goes out comes in again, here and at Redis.

mod common;

use common::redis_server::Redis;
use common::{Client, TestServer, bulk};
use terrace_resp::Value;

fn dump(client: &mut Client, key: &str) -> Vec<u8> {
    match client.run(&format!("DUMP {key}")) {
        Value::Bulk(payload) => payload,
        other => panic!("{key}: {other:?}"),
    }
}

fn restore(client: &mut Client, key: &str, ttl: &str, payload: &[u8], options: &str) -> String {
    let mut args: Vec<&[u8]> = vec![b"RESTORE", key.as_bytes(), ttl.as_bytes(), payload];
    args.extend(options.split_whitespace().map(str::as_bytes));
    client.request(&args);
    String::from_utf8(client.raw_reply()).unwrap().trim_end().to_string()
}

#[test]
fn a_value_comes_back_with_its_expiries() {
    let server = TestServer::start();
    let mut client = server.client();
    client.expect("DUMP missing", "$-1");
    client.expect("SET s text", "+OK");
    let text = dump(&mut client, "s");
    assert_eq!(restore(&mut client, "s", "0", &text, ""), "-BUSYKEY Target key name already exists.");
    assert_eq!(restore(&mut client, "s2", "0", &text, ""), "+OK");
    assert_eq!((client.run("GET s2"), client.run("TTL s2")), (bulk("text"), Value::Integer(-1)));
    assert_eq!(restore(&mut client, "s2", "100000", &text, "REPLACE"), "+OK");
    assert_eq!(client.run("TTL s2"), Value::Integer(100));
    assert_eq!(restore(&mut client, "s2", "33177117420000", &text, "ABSTTL replace"), "+OK");
    assert_eq!(client.run("EXPIRETIME s2"), Value::Integer(33_177_117_420));

    client.expect("HSET h a 1 b 2 c 3", ":3");
    client.expect("HPEXPIREAT h 33177117420000 FIELDS 1 a", "*1\r\n:1");
    client.expect("HPEXPIREAT h 33177117421000 FIELDS 1 b", "*1\r\n:1");
    let hash = dump(&mut client, "h");
    assert_eq!(restore(&mut client, "h2", "0", &hash, ""), "+OK");
    assert_eq!(client.run("HPEXPIRETIME h2 FIELDS 3 a b c"), client.run("HPEXPIRETIME h FIELDS 3 a b c"));
    assert_eq!(client.run("HGETALL h2"), client.run("HGETALL h"));
    assert_eq!(client.run("OBJECT ENCODING h2"), bulk("listpackex"));
    // The value in the way goes, whatever it is.
    assert_eq!(restore(&mut client, "h2", "0", &text, "REPLACE"), "+OK");
    assert_eq!(restore(&mut client, "s", "0", &hash, "REPLACE"), "+OK");
    assert_eq!((client.run("GET h2"), client.run("HLEN s")), (bulk("text"), Value::Integer(3)));
    assert_eq!(dump(&mut client, "s").len(), hash.len());
}

#[test]
fn what_has_expired_is_not_restored() {
    let server = TestServer::start();
    let mut client = server.client();
    client.expect("HSET h a 1 b 2", ":2");
    client.expect("HPEXPIRE h 300 FIELDS 1 a", "*1\r\n:1");
    let one = dump(&mut client, "h");
    client.expect("HPEXPIRE h 300 FIELDS 1 b", "*1\r\n:1");
    let both = dump(&mut client, "h");
    while client.run("EXISTS h") == Value::Integer(1) {
        std::thread::yield_now();
    }
    assert_eq!(restore(&mut client, "h", "0", &one, ""), "+OK");
    client.expect("HGETALL h", "*2\r\n$1\r\nb\r\n$1\r\n2");
    client.expect("HLEN h", ":1");
    assert_eq!(restore(&mut client, "h", "0", &both, "REPLACE"), "+OK");
    client.expect("EXISTS h", ":0");
    client.expect("SET s v", "+OK");
    let text = dump(&mut client, "s");
    assert_eq!(restore(&mut client, "s", "1", &text, "ABSTTL REPLACE"), "+OK");
    client.expect("EXISTS s", ":0");
}

#[test]
fn a_refused_payload_changes_nothing() {
    let server = TestServer::start();
    let mut client = server.client();
    client.expect("SET s text", "+OK");
    let mut payload = dump(&mut client, "s");
    for (ttl, options, expected) in [
        ("x", "", "-BUSYKEY"),
        ("x", "REPLACE", "-ERR value is not an integer"),
        ("-1", "REPLACE", "-ERR Invalid TTL value, must be >= 0"),
        ("9223372036854775807", "REPLACE", "-ERR Invalid TTL value, must be >= 0"),
        ("0", "REPLACE IDLETIME", "-ERR syntax error"),
        ("0", "REPLACE IDLETIME -1", "-ERR Invalid IDLETIME value, must be >= 0"),
        ("0", "REPLACE FREQ 256", "-ERR Invalid FREQ value, must be >= 0 and <= 255"),
        ("0", "REPLACE IDLETIME 1 FREQ 1", "-ERR syntax error"),
        ("0", "NX", "-ERR syntax error"),
    ] {
        let said = restore(&mut client, "s", ttl, &payload, options);
        assert!(said.starts_with(expected), "{ttl} {options}: {said}");
    }
    payload[3] ^= 1;
    assert_eq!(
        restore(&mut client, "s", "0", &payload, "REPLACE"),
        "-ERR DUMP payload version or checksum are wrong"
    );
    assert_eq!((client.run("GET s"), client.run("TTL s")), (bulk("text"), Value::Integer(-1)));
}

/// Long values are dumped beside the event loops, but not within a transaction.
#[test]
fn long_values_and_transactions() {
    let server = TestServer::start();
    let mut client = server.client();
    for start in (0..20_000).step_by(1_000) {
        let pairs: Vec<String> = (start..start + 1_000).map(|n| format!("field{n} {n}")).collect();
        client.expect(&format!("HSET h {}", pairs.join(" ")), ":1000");
    }
    client.expect(&format!("SET s {}", "x".repeat(2 << 20)), "+OK");
    let (hash, text) = (dump(&mut client, "h"), dump(&mut client, "s"));
    client.expect("MULTI", "+OK");
    for command in ["DUMP h", "DUMP s", "HDEL h field7", "DUMP h"] {
        client.expect(command, "+QUEUED");
    }
    let Value::Array(replies) = client.run("EXEC") else { panic!("the transaction was not aborted") };
    assert_eq!(replies[..3], [Value::Bulk(hash.clone()), Value::Bulk(text), Value::Integer(1)]);
    assert_ne!(replies[3], replies[0]);
    assert_eq!(restore(&mut client, "h", "0", &hash, "REPLACE"), "+OK");
    client.expect("HLEN h", ":20000");
    client.expect("HGET h field7", "$1\r\n7");
    client.expect("OBJECT ENCODING h", "$9\r\nhashtable");
}

#[test]
fn redis_restores_what_we_dump_and_we_what_redis_dumps() {
    let Some(redis) = Redis::start() else { return };
    let server = TestServer::start();
    let (mut theirs, mut ours) = (redis.client(), server.client());
    let long = "abc".repeat(30_000);
    let large: Vec<String> = (0..600).map(|n| format!("f{n} {}", n * n)).collect();
    let commands = [
        "SET s:text hello".into(),
        "SET s:number -12".into(),
        "SET s:larger 123456789012".into(),
        format!("SET s:long {long}"),
        "SETRANGE s:zeros 70000 x".into(),
        "HSET h:small name 1 g -70000 other text".into(),
        format!("HSET h:value a {long}"),
        format!("HSET h:large {}", large.join(" ")),
    ];
    for command in commands {
        let key = command.split(' ').nth(1).unwrap().to_string();
        let read = if key.starts_with('s') { format!("GET {key}") } else { format!("HGETALL {key}") };
        theirs.run(&command);
        ours.run(&command);
        let sorted = |value: Value| match value {
            Value::Array(items) => {
                let mut pairs: Vec<String> = items.chunks(2).map(|pair| format!("{pair:?}")).collect();
                pairs.sort();
                pairs
            }
            other => vec![format!("{other:?}")],
        };
        let expected = sorted(theirs.run(&read));
        let (from_them, from_us) = (dump(&mut theirs, &key), dump(&mut ours, &key));
        assert_eq!(restore(&mut theirs, &key, "0", &from_us, "REPLACE"), "+OK", "{key}");
        assert_eq!(restore(&mut ours, &key, "0", &from_them, "REPLACE"), "+OK", "{key}");
        assert_eq!(sorted(theirs.run(&read)), expected, "{key}");
        assert_eq!(sorted(ours.run(&read)), expected, "{key}");
    }
}

/// `OBJECT IDLETIME` was always 0, so nobody could see which keys are not used any more.
#[test]
fn idle_times_are_counted_from_the_last_use() {
    let server = TestServer::start();
    let mut client = server.client();
    client.expect("SET k v", "+OK");
    client.expect("OBJECT IDLETIME k", ":0");
    client.expect("OBJECT IDLETIME missing", "$-1");
    let payload = dump(&mut client, "k");
    let idle = |client: &mut Client, commands: &str| {
        assert_eq!(restore(client, "k", "0", &payload, "REPLACE IDLETIME 1000"), "+OK");
        client.expect("CLIENT NO-TOUCH OFF", "+OK");
        for command in commands.split(", ") {
            client.run(command);
        }
        let Value::Integer(seconds) = client.run("OBJECT IDLETIME k") else { panic!("k is there") };
        assert!(!(60..1000).contains(&seconds), "{commands}: {seconds}");
        seconds >= 1000
    };
    for leaves in ["TTL k", "TYPE k", "EXISTS k", "OBJECT ENCODING k", "DEBUG OBJECT k", "MEMORY USAGE k"] {
        assert!(idle(&mut client, leaves), "{leaves}");
    }
    for touches in ["GET k", "MGET a k", "TOUCH k", "SET k v", "EXPIRE k 100", "SETRANGE k 0 x"] {
        assert!(!idle(&mut client, touches), "{touches}");
    }
    assert!(idle(&mut client, "CLIENT NO-TOUCH ON, GET k, STRLEN k"));
    assert!(!idle(&mut client, "CLIENT NO-TOUCH ON, TOUCH k"));
    // Reads of a pipeline, which are looked up together.
    assert_eq!(restore(&mut client, "k", "0", &payload, "REPLACE IDLETIME 1000"), "+OK");
    client.expect("CLIENT NO-TOUCH OFF", "+OK");
    client.send("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n".repeat(4));
    (0..4).for_each(|_| drop(client.reply()));
    client.expect("OBJECT IDLETIME k", ":0");
    let Value::Simple(shown) = client.run("DEBUG OBJECT k") else { panic!("it is a line") };
    assert!(shown.ends_with("lru_seconds_idle:0") && !shown.contains("lru:0 "), "{shown}");
}
