//! Hashes: expiry of fields by a clock that stands still, what pipelines become, what is left of dead hashes, and
//! a model to compare with.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Client, TestServer, bulk, strings};
use proptest::prelude::*;
use terrace::{Clock, Env, Options};
use terrace_resp::Value;
use terrace_server::{Server, ServerConfig};

/// A wall clock that a test moves. Monotonic time and sleeping are the system's, so that background threads run.
#[derive(Debug)]
struct StillClock {
    system: Arc<dyn Clock>,
    now_ms: AtomicU64,
}

const START_MS: u64 = 1_800_000_000_000;

impl StillClock {
    fn advance(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for StillClock {
    fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    fn monotonic_ns(&self) -> u64 {
        self.system.monotonic_ns()
    }

    fn sleep(&self, duration: Duration) {
        self.system.sleep(duration);
    }
}

/// Runs `body` with a client of a server whose clock stands still.
fn with_still_clock(body: impl FnOnce(&mut Client, &StillClock)) {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(StillClock { system: Env::default().clock, now_ms: AtomicU64::new(START_MS) });
    let mut env = Env::default();
    env.clock = clock.clone();
    let mut config = ServerConfig::new(Options::new().env(env).open(dir.path()).unwrap());
    config.port = 0;
    config.threads = 1;
    config.clock = clock.clone();
    let server = Server::bind(config).unwrap();
    let (addr, stop) = (server.local_addr(), server.shutdown_handle());
    let thread = std::thread::spawn(move || server.run());
    body(&mut Client::connect(addr), &clock);
    stop.shutdown();
    thread.join().unwrap().unwrap();
}

fn integers(numbers: &[i64]) -> Value {
    Value::Array(numbers.iter().map(|number| Value::Integer(*number)).collect())
}

#[test]
fn fields_expire_at_their_time_and_the_hash_with_the_last() {
    with_still_clock(|client, clock| {
        client.expect("HSET h a 1 b 2 c 3", ":3");
        assert_eq!(client.run("HEXPIRE h 10 FIELDS 3 a b missing"), integers(&[1, 1, -2]));
        assert_eq!(client.run("HTTL h FIELDS 4 a b c missing"), integers(&[10, 10, -1, -2]));
        assert_eq!(client.run("HPEXPIRETIME h FIELDS 1 a"), integers(&[START_MS as i64 + 10_000]));
        assert_eq!(client.run("HPERSIST h FIELDS 3 b c missing"), integers(&[1, -1, -2]));
        clock.advance(9_999);
        client.expect("HLEN h", ":3");
        clock.advance(1);
        client.expect("HLEN h", ":2");
        client.expect("HGET h a", "$-1");
        assert_eq!(strings(&client.run("HGETALL h")), ["b", "2", "c", "3"]);
        client.expect("HSET h a again", ":1");
        client.expect("HLEN h", ":3");
        assert_eq!(client.run("HPEXPIRE h 500 FIELDS 2 a b"), integers(&[1, 1]));
        assert_eq!(client.run("HPEXPIRE h 700 FIELDS 1 c"), integers(&[1]));
        clock.advance(500);
        client.expect("EXISTS h", ":1");
        client.expect("HLEN h", ":1");
        clock.advance(200);
        for (command, reply) in [
            ("EXISTS h", ":0"),
            ("TYPE h", "+none"),
            ("HLEN h", ":0"),
            ("DBSIZE", ":0"),
            ("RANDOMKEY", "$-1"),
            ("TTL h", ":-2"),
        ] {
            client.expect(command, reply);
        }
        client.expect("HSET h new 1", ":1");
        client.expect("HLEN h", ":1");
    });
}

#[test]
fn an_expiry_moved_forward_lets_the_hash_go_earlier() {
    with_still_clock(|client, clock| {
        client.expect("HSET h a 1", ":1");
        assert_eq!(client.run("HPEXPIRE h 10000 FIELDS 1 a"), integers(&[1]));
        assert_eq!(client.run("HPEXPIRE h 100 FIELDS 1 a"), integers(&[1]));
        client.expect("TTL h", ":-1");
        clock.advance(100);
        client.expect("EXISTS h", ":0");
        client.expect("HSET h a 1", ":1");
        client.expect("PEXPIRE h 300", ":1");
        assert_eq!(client.run("HPEXPIRE h 500 FIELDS 1 a"), integers(&[1]));
        client.expect("PTTL h", ":300");
        client.expect("PERSIST h", ":1");
        clock.advance(400);
        client.expect("EXISTS h", ":1");
        clock.advance(100);
        client.expect("EXISTS h", ":0");
    });
}

#[test]
fn the_commands_with_expiry_answer_as_redis_8() {
    with_still_clock(|client, clock| {
        client.expect("HSET h a 1 b 2", ":2");
        let fails = |client: &mut Client, command: &str, line: &str| {
            client.expect(command, &format!("-ERR {line}"));
        };
        fails(client, "HEXPIRE h -1 FIELDS 1 a", "invalid expire time, must be >= 0");
        fails(client, "HEXPIRE h 99999999999999 FIELDS 1 a", "invalid expire time in 'hexpire' command");
        let missing = "Mandatory argument FIELDS is missing or not at the right position";
        fails(client, "HEXPIRE h 10 FOO 1 a", missing);
        fails(client, "HTTL h FOO 1 a", missing);
        fails(client, "HEXPIRE h 10 FIELDS 0 a", "Parameter `numFields` should be greater than 0");
        fails(client, "HTTL h FIELDS 0 a", "Number of fields must be a positive integer");
        fails(client, "HTTL h FIELDS 2 a", "The `numfields` parameter must match the number of arguments");
        client.expect("SET s text", "+OK");
        let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value";
        client.expect("HEXPIRE s abc FIELDS 1 a", wrong);
        client.expect("HSETEX s FIELDS 1 a 1", wrong);
        assert_eq!(client.run("HEXPIRE missing 10 FIELDS 2 a b"), integers(&[-2, -2]));
        assert_eq!(client.run("HPEXPIRE h 1000 XX FIELDS 1 a"), integers(&[0]));
        assert_eq!(client.run("HPEXPIRE h 1000 GT FIELDS 1 a"), integers(&[0]));
        assert_eq!(client.run("HPEXPIRE h 1000 LT FIELDS 1 a"), integers(&[1]));
        assert_eq!(client.run("HPEXPIRE h 2000 NX FIELDS 2 a b"), integers(&[0, 1]));
        assert_eq!(client.run("HPEXPIRE h 1500 GT FIELDS 2 a b"), integers(&[1, 0]));
        assert_eq!(client.run("HPEXPIREAT h 1 FIELDS 2 a missing"), integers(&[2, -2]));
        client.expect("HLEN h", ":1");
        client.expect("HSETEX h FNX EX 10 FIELDS 2 b 1 c 1", ":0");
        client.expect("HSETEX h FXX KEEPTTL FIELDS 1 b 3", ":1");
        assert_eq!(client.run("HPTTL h FIELDS 1 b"), integers(&[2000]));
        client.expect("HSETEX h EX 10 FIELDS 2 c 4 d 5", ":1");
        assert_eq!(client.run("HTTL h FIELDS 2 c d"), integers(&[10, 10]));
        fails(client, "HSETEX h FNX FXX FIELDS 1 a 1", "Only one of FXX or FNX arguments can be specified");
        fails(
            client,
            "HSETEX h EX 1 KEEPTTL FIELDS 1 a 1",
            "Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
        );
        fails(client, "HSETEX h FOO FIELDS 1 a 1", "unknown argument: FOO");
        let values = Value::Array(vec![bulk("3"), Value::Null]);
        assert_eq!(client.run("HGETEX h PERSIST FIELDS 2 b missing"), values);
        assert_eq!(client.run("HTTL h FIELDS 1 b"), integers(&[-1]));
        assert_eq!(client.run("HGETEX h PX 50 FIELDS 1 b"), Value::Array(vec![bulk("3")]));
        clock.advance(50);
        assert_eq!(client.run("HGETDEL h FIELDS 2 b c"), Value::Array(vec![Value::Null, bulk("4")]));
        assert_eq!(client.run("HGETDEL h FIELDS 1 d"), Value::Array(vec![bulk("5")]));
        client.expect("EXISTS h", ":0");
    });
}

/// The number at a path in what `STATS` answers.
fn stat(client: &mut Client, path: [&str; 2]) -> u64 {
    let Value::Bulk(text) = client.run("STATS") else { panic!("text") };
    let stats: serde_json::Value = serde_json::from_slice(&text).unwrap();
    stats[path[0]][path[1]].as_u64().unwrap()
}

fn pipeline(client: &mut Client, requests: &[Vec<String>]) -> Vec<Value> {
    let mut bytes = Vec::new();
    for request in requests {
        terrace_resp::encode_request(&mut bytes, request);
    }
    client.send(bytes);
    requests.iter().map(|_| client.reply()).collect()
}

fn words(command: &str) -> Vec<String> {
    command.split(' ').map(str::to_string).collect()
}

#[test]
fn a_pipeline_of_hsets_is_one_commit_and_one_of_hmgets_one_look_up() {
    let server = TestServer::start();
    let mut client = server.client();
    client.expect("HSET warm f v", ":1");
    let sets: Vec<_> = (0..100).map(|i| words(&format!("HSET user:{} a {i} b x", i % 50))).collect();
    let before = stat(&mut client, ["group_commits", "count"]);
    let replies = pipeline(&mut client, &sets);
    assert_eq!(replies[..50], vec![Value::Integer(2); 50]);
    assert_eq!(replies[50..], vec![Value::Integer(0); 50]);
    assert_eq!(stat(&mut client, ["group_commits", "count"]) - before, 1);
    // Fifty headers, fifty owners, a hundred fields.
    assert!(stat(&mut client, ["group_commits", "writes_max"]) >= 200);
    let gets: Vec<_> = (0..32).map(|i| words(&format!("HMGET user:{i} a b missing"))).collect();
    let before = stat(&mut client, ["group_lookups", "count"]);
    for (i, reply) in pipeline(&mut client, &gets).into_iter().enumerate() {
        assert_eq!(reply, Value::Array(vec![bulk(&(50 + i).to_string()), bulk("x"), Value::Null]));
    }
    assert_eq!(stat(&mut client, ["group_lookups", "count"]) - before, 1);
    assert!(stat(&mut client, ["group_lookups", "reads_max"]) >= 96);
}

#[test]
fn in_a_pipeline_each_command_sees_those_before_it_and_errors_keep_their_place() {
    let server = TestServer::start();
    let mut client = server.client();
    let script = "HSET h a 1|HINCRBY h a 5|SET s text|HSET s a 1|HINCRBY h a x|HGET h a|HMGET h a b|HMGET s a|\
                  HDEL h a|HSET h a|HGET h a|GET s|HSET h b 2|HINCRBY h b 1|DEL h|HGET h b";
    let requests: Vec<_> = script.split('|').map(words).collect();
    let alone: Vec<Value> = requests
        .iter()
        .map(|request| {
            client.request(request);
            client.reply()
        })
        .collect();
    client.expect("FLUSHALL", "+OK");
    assert_eq!(pipeline(&mut client, &requests), alone);
}

/// Once, the stamp of the header was thought to guard the fields. But a batch reaches the shards of the store one
/// after the other, so a command could read the new header with an old field beside it, and overwrite what the other
/// had counted.
#[test]
fn concurrent_pipelines_of_increments_lose_nothing() {
    let server = TestServer::start();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = server.client();
                let requests: Vec<_> = (0..50).map(|i| words(&format!("HINCRBY h f{} 1", i % 5))).collect();
                for _ in 0..10 {
                    pipeline(&mut client, &requests);
                }
            });
        }
    });
    let expected: Vec<String> = (0..5).flat_map(|i| [format!("f{i}"), "400".to_string()]).collect();
    assert_eq!(strings(&server.client().run("HGETALL h")), expected);
}

#[test]
fn several_fields_are_read_as_of_one_moment() {
    let server = TestServer::start();
    server.client().run("HSET h a 0 b 0");
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut client = server.client();
            for i in 0..2000 {
                client.run(&format!("HSET h a {i} b {i}"));
            }
        });
        let mut client = server.client();
        let gets = vec![words("HMGET h a b"); 8];
        while !writer.is_finished() {
            for reply in pipeline(&mut client, &gets).into_iter().chain([client.run("HMGET h a b")]) {
                let values = strings(&reply);
                assert_eq!(values[0], values[1]);
            }
            let all = strings(&client.run("HGETALL h"));
            assert_eq!(all[1], all[3]);
        }
    });
}

fn entries_of_fields(server: &TestServer) -> usize {
    server.db.find_keyspace("hash-fields").map_or(0, |space| space.iter().count())
}

#[test]
fn what_a_dead_hash_leaves_behind_is_swept() {
    let server = TestServer::start();
    let mut client = server.client();
    for key in ["deleted", "overwritten", "renamed", "kept"] {
        let mut request = words(&format!("HSET {key}"));
        (0..1500).for_each(|i| request.extend([format!("f{i}"), "v".to_string()]));
        client.request(&request);
        assert_eq!(client.reply(), Value::Integer(1500));
    }
    assert_eq!(entries_of_fields(&server), 4 * 1501);
    client.expect("DEL deleted", ":1");
    client.expect("SET overwritten plain", "+OK");
    client.expect("RENAME renamed kept", "+OK");
    client.expect("HLEN kept", ":1500");
    let deadline = Instant::now() + Duration::from_secs(60);
    while entries_of_fields(&server) > 1501 {
        assert!(Instant::now() < deadline, "{} entries are left", entries_of_fields(&server));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(entries_of_fields(&server), 1501);
    client.expect("HLEN kept", ":1500");
    assert_eq!(strings(&client.run("HKEYS kept")).len(), 1500);
    client.expect("GET overwritten", "$5\r\nplain");
    client.expect("FLUSHDB", "+OK");
    assert_eq!(entries_of_fields(&server), 0);
}

#[test]
fn a_large_hash_is_scanned_whole_while_it_changes() {
    let server = TestServer::start();
    let mut client = server.client();
    let mut request = words("HSET h");
    (0..2000).for_each(|i| request.extend([format!("stays{i}"), i.to_string()]));
    client.request(&request);
    client.reply();
    let (mut cursor, mut found, mut round) = ("0".to_string(), BTreeMap::new(), 0);
    loop {
        let Value::Array(reply) = client.run(&format!("HSCAN h {cursor} COUNT 100")) else { panic!("array") };
        let Value::Bulk(next) = &reply[0] else { panic!("a cursor") };
        let fields = strings(&reply[1]);
        assert!(fields.len() < 300, "{}", fields.len());
        for pair in fields.chunks(2) {
            found.insert(pair[0].clone(), pair[1].clone());
        }
        client.run(&format!("HSET h passing{round} x"));
        client.run(&format!("HDEL h passing{}", round / 2));
        round += 1;
        cursor = String::from_utf8(next.clone()).unwrap();
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(found.keys().filter(|name| name.starts_with("stays")).count(), 2000);
    assert_eq!(found["stays77"], "77");
    let Value::Array(reply) = client.run("HSCAN h 0 MATCH stays7? NOVALUES COUNT 10000") else { panic!() };
    assert_eq!(strings(&reply[1]).len(), 10);
    client.expect("HRANDFIELD h -4611686018427387904", "-ERR value is out of range");
    let drawn = strings(&client.run("HRANDFIELD h 50"));
    assert_eq!(drawn.iter().collect::<std::collections::BTreeSet<_>>().len(), 50);
}

/// A hash as it should be: value and expiry of each field.
type Model = BTreeMap<String, (String, Option<u64>)>;

#[derive(Clone, Debug)]
enum Step {
    Set(usize, u8, Option<u64>),
    Delete(usize),
    Expire(usize, u64),
    Persist(usize),
    Add(usize, i64),
    Rename,
    Copy,
    Remove,
    Wait(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let name = 0usize..5;
    let delay = prop_oneof![Just(0u64), 1u64..100];
    prop_oneof![
        4 => (name.clone(), any::<u8>(), proptest::option::of(1u64..100)).prop_map(|(n, v, at)| Step::Set(n, v, at)),
        2 => name.clone().prop_map(Step::Delete),
        3 => (name.clone(), delay).prop_map(|(n, delay)| Step::Expire(n, delay)),
        1 => name.clone().prop_map(Step::Persist),
        1 => (name, -5i64..5).prop_map(|(n, delta)| Step::Add(n, delta)),
        1 => Just(Step::Rename),
        1 => Just(Step::Copy),
        1 => Just(Step::Remove),
        4 => (1u64..80).prop_map(Step::Wait),
    ]
}

/// Carries out a step on both sides.
fn take(step: &Step, client: &mut Client, clock: &StillClock, model: &mut Model) {
    let now_ms = clock.now_ms();
    match step {
        Step::Set(name, value, delay) => {
            let option = delay.map_or(String::new(), |delay| format!("PX {delay} "));
            client.expect(&format!("HSETEX h {option}FIELDS 1 f{name} {value}"), ":1");
            model.insert(format!("f{name}"), (value.to_string(), delay.map(|delay| now_ms + delay)));
        }
        Step::Delete(name) => {
            let removed = model.remove(&format!("f{name}")).is_some();
            client.expect(&format!("HDEL h f{name}"), &format!(":{}", i64::from(removed)));
        }
        Step::Expire(name, delay) => {
            let field = model.get_mut(&format!("f{name}"));
            let code = if field.is_none() {
                -2
            } else if *delay == 0 {
                2
            } else {
                1
            };
            assert_eq!(client.run(&format!("HPEXPIRE h {delay} FIELDS 1 f{name}")), integers(&[code]));
            match field {
                Some(field) if *delay > 0 => field.1 = Some(now_ms + delay),
                _ => drop(model.remove(&format!("f{name}"))),
            }
        }
        Step::Persist(name) => {
            client.run(&format!("HPERSIST h FIELDS 1 f{name}"));
            model.entry(format!("f{name}")).and_modify(|field| field.1 = None);
            model.retain(|_, field| !field.0.is_empty());
        }
        Step::Add(name, delta) => {
            let field = model.entry(format!("f{name}")).or_insert(("0".into(), None));
            field.0 = (field.0.parse::<i64>().unwrap() + delta).to_string();
            client.expect(&format!("HINCRBY h f{name} {delta}"), &format!(":{}", field.0));
        }
        Step::Rename => {
            client.run("RENAME h g");
            client.run("RENAME g h");
        }
        Step::Copy => {
            client.run("COPY h g REPLACE");
            client.run("DEL h");
            client.run("RENAME g h");
        }
        Step::Remove => {
            client.run("DEL h");
            model.clear();
        }
        Step::Wait(ms) => {
            clock.advance(*ms);
            let now_ms = clock.now_ms();
            model.retain(|_, (_, at)| at.is_none_or(|at| at > now_ms));
        }
    }
}

/// Everything that can be asked about the hash.
fn compare(client: &mut Client, clock: &StillClock, model: &Model) {
    client.expect("HLEN h", &format!(":{}", model.len()));
    client.expect("EXISTS h", &format!(":{}", i64::from(!model.is_empty())));
    let all: Vec<String> = model.iter().flat_map(|(name, field)| [name.clone(), field.0.clone()]).collect();
    assert_eq!(strings(&client.run("HGETALL h")), all);
    let ttls: Vec<i64> = (0..5)
        .map(|name| match model.get(&format!("f{name}")) {
            None => -2,
            Some((_, None)) => -1,
            Some((_, Some(at))) => (at - clock.now_ms()) as i64,
        })
        .collect();
    assert_eq!(client.run("HPTTL h FIELDS 5 f0 f1 f2 f3 f4"), integers(&ttls));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn a_hash_is_what_a_map_with_expiries_would_be(steps in proptest::collection::vec(any_step(), 1..80)) {
        with_still_clock(|client, clock| {
            let mut model = Model::new();
            for step in &steps {
                take(step, client, clock, &mut model);
                compare(client, clock, &model);
            }
        });
    }
}

#[test]
fn the_encoding_follows_the_configured_limits() {
    let server = TestServer::start();
    let mut client = server.client();
    client.run("HSET h field value");
    client.expect("OBJECT ENCODING h", "$8\r\nlistpack");
    client.run("CONFIG SET hash-max-listpack-value 5 hash-max-ziplist-entries 2");
    client.run("HSET h f2 longer");
    client.expect("OBJECT ENCODING h", "$9\r\nhashtable");
    client.run("HSET g a 1 b 2");
    client.expect("OBJECT ENCODING g", "$8\r\nlistpack");
    client.run("HSET g c 3");
    client.expect("OBJECT ENCODING g", "$9\r\nhashtable");
    client.run("SET n 42");
    client.expect("OBJECT REFCOUNT n", ":2147483647");
    client.run("SET n 10000");
    client.expect("OBJECT REFCOUNT n", ":1");
}
