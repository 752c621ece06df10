//! Every reply compared, byte for byte, with that of a real `redis-server`.
//!
//! Without one on this machine the test says so and passes; it has then shown nothing.

mod common;

use common::TestServer;
use common::redis_server::Redis;

/// Commands whose replies do not depend on time or order; `_` stands for an empty argument.
const SCRIPT: &str = "
PING
PING x
PING x y
ECHO hello
ECHO
SELECT 16
SELECT -1
SELECT abc
SELECT 99999999999
GET missing
SET k v
GET k
SET k
SET k v FOO
SET k v EX
SET k v EX 0
SET k v EX -1
SET k v EX abc
SET k v EX 10 PX 10
SET k v EX 10 EX 20
SET k v EX NX EX 100
SET k v EX 100 EX NX
SET k v KEEPTTL KEEPTTL
GETEX k EX 10 EX 20
GETEX k EX 10 PX 10
GETEX k PERSIST PERSIST
SET k v EX 9223372036854775807
SET k v PX 9223372036854775807
SET k v EXAT 9223372036854775807
SET k v NX XX
SET k v XX NX
SET k v KEEPTTL EX 10
SET k v EX 10 KEEPTTL
SET k v NX
SET new v NX
SET new v XX
SET absent v XX
GET absent
SET k w GET
SET fresh w GET
SET fresh2 w NX GET
SET fresh2 x NX GET
GET fresh2
SET k v EX 100 NX GET
SET k v PERSIST
SET k v EX 100
TTL k
SET k v2 KEEPTTL
TTL k
SET k v3
TTL k
SET gone v EXAT 1
EXISTS gone
SET gone2 v PXAT 1
GET gone2
SETNX k x
SETNX nxkey x
SETEX s 10 v
SETEX s 0 v
SETEX s -1 v
SETEX s abc v
PSETEX s 0 v
PSETEX s 100000 v
TTL s
GETSET k y
GETSET unset y
GETDEL unset
GETDEL unset
GETEX k
GETEX k EX 100
TTL k
GETEX k PERSIST
TTL k
GETEX k PERSIST EX 1
GETEX k EX 0
GETEX missing EX 0
GETEX k NX
GETEX k EXAT 1
EXISTS k
MSET a 1 b 2
MSET a
MSET a 1 b
MGET a b missing
MGET
MSETNX a 1 c 2
MSETNX c 1 d 2
MSETNX e 1 f
MGET a b c d
APPEND a xyz
APPEND newappend xyz
STRLEN a
STRLEN missing
SET r Hello_World
GETRANGE r 0 4
GETRANGE r -5 -1
GETRANGE r 5 2
GETRANGE r -1 -5
GETRANGE r 0 -100
GETRANGE r -100 100
GETRANGE r abc 1
GETRANGE missing 0 -1
GETRANGE r 9223372036854775807 -9223372036854775808
SUBSTR r 0 4
SET l1 ohmytext
SET l2 mynewtext
LCS l1 l2
LCS l1 l2 LEN
LCS l1 l2 IDX
LCS l1 l2 IDX MINMATCHLEN 4
LCS l1 l2 idx minmatchlen 4 withmatchlen
LCS l1 l2 IDX MINMATCHLEN -5
LCS l1 l2 IDX MINMATCHLEN
LCS l1 l2 MINMATCHLEN x
LCS l1 l2 IDX LEN
LCS l1 l2 FOO
LCS l1 missing
LCS l1 missing IDX
LCS l1 l1 IDX WITHMATCHLEN
LCS l1
HSET lh f v
LCS l1 lh
LCS lh l1 FOO
DEL lh
OBJECT FREQ r
OBJECT FREQ missing
OBJECT IDLETIME r
OBJECT IDLETIME missing
DUMP missing
RESTORE r 0 x
RESTORE r 0 x REPLACE
RESTORE new -1 x
RESTORE new abc x
RESTORE new 0 x FOO
RESTORE new 0 x IDLETIME -1
RESTORE new 0 x IDLETIME abc
RESTORE new 0 x FREQ 256
RESTORE new 0 x FREQ 1 IDLETIME 1
RESTORE r abc x FOO
SWAPDB 0 4294967296
SWAPDB 4294967296 0
SWAPDB 0 16
SWAPDB x 16
SETRANGE r 6 Redis
GET r
SETRANGE missingrange 0 _
EXISTS missingrange
SETRANGE missingrange 5 x
GET missingrange
SETRANGE r -1 x
SETRANGE r 536870912 x
SETRANGE r 9223372036854775807 x
SETRANGE r 0 _
SET n 10
INCR n
DECR n
INCRBY n 5
INCRBY n -5
INCRBY n abc
INCRBY n 1.5
DECRBY n 3
DECRBY n -9223372036854775808
INCR r
SET n 9223372036854775807
INCR n
SET n -9223372036854775808
DECR n
DECRBY n 1
SET n 9223372036854775808
INCR n
SET n 012
INCR n
SET n _
INCR n
INCRBY n 9223372036854775808
SET f 10.50
INCRBYFLOAT f 0.1
INCRBYFLOAT f -5
SET f 5.0e3
INCRBYFLOAT f 2.0e2
INCRBYFLOAT f abc
INCRBYFLOAT f inf
INCRBYFLOAT f nan
INCRBYFLOAT r 1
INCRBYFLOAT newfloat 0.1
INCRBYFLOAT newfloat 0.2
INCRBYFLOAT newfloat -0.3
INCRBYFLOAT newfloat 3.0
INCRBYFLOAT newfloat 1e-5
INCRBYFLOAT newfloat -3.00001
INCRBYFLOAT newfloat 1234567.125
DEL a b missing
DEL c c
DEL missing
UNLINK d missing
DEL
SET e1 1
EXISTS e1 e1 missing
TOUCH e1 missing
TYPE e1
TYPE missing
RENAME missing x
RENAME e1 e1
RENAME e1 e2
EXISTS e1 e2
RENAMENX missing x
RENAMENX e2 e2
RENAMENX e2 k
RENAMENX e2 e3
SET src v EX 100
COPY src dst
TTL dst
COPY src dst
COPY src dst REPLACE
COPY src src
COPY src src DB 0
COPY src src DB 1
COPY src src DB 16
COPY src src DB x
COPY missing dst
COPY src dst FOO
COPY src dst DB
EXPIRE missing 10
EXPIRE src 10 FOO
EXPIRE src 10 NX XX
EXPIRE src 10 NX GT
EXPIRE src 10 GT LT
EXPIRE src 10 NX
EXPIRE src abc
EXPIRE src 9223372036854775807
EXPIRE src -9223372036854775808
PEXPIRE src 9223372036854775807
EXPIREAT src 9223372036854775807
PEXPIREAT src 9223372036854775807
PEXPIRETIME src
SET src v EX 100
EXPIRE src 200 GT
EXPIRE src 100 GT
EXPIRE src 50 LT
EXPIRE src 500 LT
EXPIRE src 500 XX
EXPIRE src 400 XX GT
PERSIST src
PERSIST src
PERSIST missing
EXPIRE src 500 XX
EXPIRE src 500 GT
EXPIRE src 500 LT
EXPIREAT src 33177117420
EXPIRETIME src
PEXPIREAT src 33177117420500
PEXPIRETIME src
EXPIRETIME src
EXPIRETIME missing
EXPIRE src -1
EXISTS src
EXPIREAT dst 1
EXISTS dst
TTL missing
PTTL missing
SET t v
TTL t
PTTL t
KEYS nothing*
KEYS t
SCAN abc
SCAN 0 COUNT 0
SCAN 0 COUNT -1
SCAN 0 COUNT abc
SCAN 0 FOO
SCAN 0 MATCH
SCAN 0 MATCH nothing* COUNT 10000
SCAN 0 TYPE list COUNT 10000
SCAN 0 MATCH t COUNT 10000
OBJECT ENCODING missing
SET enc 12345
OBJECT ENCODING enc
SET enc short
OBJECT ENCODING enc
SET enc aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
OBJECT ENCODING enc
OBJECT REFCOUNT enc
OBJECT FREQ enc
OBJECT FREQ missing
OBJECT FOO enc
OBJECT
MEMORY USAGE missing
MEMORY USAGE enc FOO
CLIENT SETNAME a_name
CLIENT GETNAME
CLIENT SETNAME with\nnewline
CLIENT KILL 1.2.3.4:5
CLIENT KILL ID 0
CLIENT KILL FOO bar
CLIENT KILL ID 999999
CLIENT NO-EVICT ON
CLIENT NO-EVICT MAYBE
CLIENT FOO
CLIENT
CONFIG GET databases
CONFIG GET nothing
CONFIG GET
CONFIG SET nothing 1
CONFIG SET databases 3
CONFIG SET timeout abc
CONFIG SET timeout -1
CONFIG SET timeout
CONFIG SET timeout 0 timeout 1
CONFIG REWRITE
CONFIG FOO
COMMAND FOO
COMMAND GETKEYS GET k
COMMAND GETKEYS MSET a 1 b 2
COMMAND GETKEYS COPY a b REPLACE
COMMAND GETKEYS PING x
COMMAND GETKEYS NOPE x
COMMAND GETKEYS GET k x
COMMAND INFO nope
COMMAND LIST FILTERBY FOO bar
COMMAND LIST FILTERBY PATTERN strle*
COMMAND DOCS nope
AUTH x
AUTH default x
AUTH nobody x
AUTH a b c
HELLO 5
HELLO abc
HELLO 2 FOO
HELLO 2 SETNAME
FLUSHDB FOO
FLUSHDB ASYNC
DBSIZE
SELECT 3
SET other v
DBSIZE
FLUSHDB
DBSIZE
SELECT 0
SET x 1
FLUSHALL SYNC
DBSIZE
RANDOMKEY
WAIT 0 0
WAIT abc 0
WAIT 0 abc
WAIT 0 -1
NOSUCHCOMMAND a b c
EXEC
EXEC extra
DISCARD
UNWATCH
MULTI
MULTI
SET tx 1
GET tx
INCR tx
SET tx text
INCR tx
APPEND tx more
MGET tx missing
GETDEL tx
GET tx
RENAME tx other
EXISTS tx other
EXEC
EXEC
MULTI
EXEC
MULTI
SET tx 1
DISCARD
GET tx
MULTI
SET tx 1
SET tx
SET tx 2
EXEC
GET tx
MULTI
NOSUCHCOMMAND
EXEC
MULTI
OBJECT FOO tx
EXEC
MULTI
EXEC extra
EXEC
MULTI
WATCH tx
SET tx 3
UNWATCH
EXEC
WATCH
WATCH tx other
MULTI
INCR tx
EXEC
WATCH tx
SET tx 5
MULTI
INCR tx
EXEC
GET tx
MULTI
INCR tx
EXEC
WATCH tx
SET tx 5
UNWATCH
MULTI
INCR tx
EXEC
WATCH tx
SET tx 5
MULTI
DISCARD
MULTI
INCR tx
EXEC
WATCH tx
DEL tx
MULTI
EXEC
WATCH tx
SET tx 1
DEL tx
MULTI
SET tx never
EXEC
WATCH tx
GET tx
MULTI
SET tx 1 EX 100
TTL tx
PERSIST tx
TTL tx
SET tx 2 NX
SET tx 2 XX GET
MSET a 1 b 2
MSETNX b 3 c 3
COPY a c
RENAMENX a b
DEL a a b
SELECT 2
SET tx two
SELECT 0
PING
ECHO x
EXEC
SELECT 2
GET tx
SELECT 0
MULTI
SELECT 2
RESET
SELECT 0
GET tx
RESET
MULTI
SET tx 1
QUIT extra
";

#[test]
fn a_script_of_corner_cases_is_answered_alike() {
    compare_script(SCRIPT);
}

fn compare_script(script: &str) {
    let Some(redis) = Redis::start() else { return };
    let server = TestServer::start();
    for hello in ["HELLO 2", "HELLO 3"] {
        let (mut theirs, mut ours) = (redis.client(), server.client());
        theirs.run("FLUSHALL");
        ours.run("FLUSHALL");
        theirs.run(hello);
        ours.run(hello);
        let mut differences = Vec::new();
        for command in script.lines().filter(|line| !line.is_empty()) {
            let command = command.replace("\\n", "\n");
            let args: Vec<&str> = command.split(' ').map(|arg| if arg == "_" { "" } else { arg }).collect();
            theirs.request(&args);
            ours.request(&args);
            let (expected, found) = (theirs.raw_reply(), ours.raw_reply());
            if expected != found {
                let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                differences.push(format!(
                    "{command}\n  redis:   {:?}\n  terrace: {:?}",
                    shown(&expected),
                    shown(&found)
                ));
            }
        }
        assert!(differences.is_empty(), "{hello}:\n{}", differences.join("\n"));
    }
}

/// Hashes and bits, as far as Redis 7.0 has them. Replies with several fields are of one field or of none, for
/// the order of fields is nobody's business.
const HASHES_AND_BITS: &str = include_str!("scripts/hashes-and-bits.txt");

#[test]
fn a_script_of_hashes_and_bits_is_answered_alike() {
    compare_script(HASHES_AND_BITS);
}

/// A small generator, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

fn random_command(random: &mut Random) -> String {
    const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];
    const VALUES: [&str; 8] =
        ["1", "-7", "text", "3.25", "9223372036854775807", "x", "0", "longer_text_here"];
    const NUMBERS: [&str; 7] = ["0", "1", "-1", "5", "-3", "100", "nope"];
    let (key, other) = (random.pick(&KEYS), random.pick(&KEYS));
    let (value, number) = (random.pick(&VALUES), random.pick(&NUMBERS));
    let end = random.pick(&NUMBERS);
    let condition = random.pick(&["NX", "XX", "GET", "KEEPTTL", "EX 100", "PX 100000", "XX GET", "NX GET"]);
    let bound = random.pick(&["NX", "XX", "GT", "LT", "XX GT", ""]);
    // Far and absolute, so that no comparison depends on the millisecond a command runs in.
    let seconds = random.pick(&["33177117420", "33177117520", "33177118420", "-1", "1"]);
    match random.below(26) {
        0..=3 => format!("SET {key} {value}"),
        4 => format!("SET {key} {value} {condition}"),
        5..=7 => format!("GET {key}"),
        8 => format!("MGET {key} {other} {key}"),
        9 => format!("MSET {key} {value} {other} {number}"),
        10 => format!("MSETNX {key} {value} {other} {number}"),
        11 => format!("APPEND {key} {value}"),
        12 => format!("GETRANGE {key} {number} {end}"),
        13 => format!("SETRANGE {key} {number} {value}"),
        14 => format!("INCRBY {key} {number}"),
        // Of large numbers Redis shows the rounding of its `long double`, which is not what we want.
        15 => format!("INCRBYFLOAT f {}", random.pick(&["0.5", "3.25", "-7", "1e2", "text"])),
        16 => format!("DEL {key} {other}"),
        17 => format!("EXISTS {key} {other}"),
        18 => format!("RENAME {key} {other}"),
        19 => format!("RENAMENX {key} {other}"),
        20 => format!("COPY {key} {other} REPLACE"),
        21 => format!("EXPIREAT {key} {seconds} {bound}").trim_end().to_string(),
        22 => format!("PERSIST {key}"),
        23 => format!("GETDEL {key}"),
        24 => format!("GETSET {key} {value}"),
        _ => format!("GETEX {key} {}", random.pick(&["EX 100", "PERSIST", "PXAT 1"])),
    }
}

#[test]
fn random_pipelines_are_answered_alike() {
    let Some(redis) = Redis::start() else { return };
    let server = TestServer::start();
    let (mut theirs, mut ours) = (redis.client(), server.client());
    let mut random = Random(20_261_120);
    for round in 0..300 {
        let mut commands: Vec<String> = (0..=random.below(40)).map(|_| random_command(&mut random)).collect();
        if round % 3 == 0 {
            let start = random.below(commands.len() + 1);
            let end = start + random.below(commands.len() + 1 - start);
            let last = random.pick(&["EXEC", "EXEC", "EXEC", "DISCARD"]);
            commands.insert(end, last.to_string());
            commands.insert(start, "MULTI".to_string());
            if random.below(2) == 0 {
                commands.insert(0, format!("WATCH {}", random.pick(&["a", "b", "c"])));
            }
        }
        let mut bytes = Vec::new();
        for command in &commands {
            terrace_resp::encode_request(&mut bytes, &command.split(' ').collect::<Vec<_>>());
        }
        theirs.send(&bytes);
        // Cut anywhere, so that requests also arrive in parts.
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (part, after) = rest.split_at(1 + random.below(rest.len()));
            ours.send(part);
            rest = after;
        }
        for command in &commands {
            let (expected, found) = (theirs.reply(), ours.reply());
            assert_eq!(found, expected, "{command} in {commands:#?}");
        }
    }
}
