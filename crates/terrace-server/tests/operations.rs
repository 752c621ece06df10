//! What operators see and change: parameters, slow commands, latencies, `MONITOR`, `INFO`, saving, sockets.

mod common;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use common::{Client, TestServer, bulk, strings};
use terrace_resp::Value;
use terrace_server::Configuration;

fn info(client: &mut Client, section: &str) -> String {
    match client.run(&format!("INFO {section}")) {
        Value::Bulk(text) => String::from_utf8(text).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn parameters_are_found_by_pattern_alias_and_exact_name() {
    let server = TestServer::start();
    let mut client = server.client();
    let mut get = |patterns: &str| strings(&client.run(&format!("CONFIG GET {patterns}")));
    assert_eq!(get("maxclients"), ["maxclients", "10000"]);
    assert_eq!(get("MAXCLIENTS max?lients"), ["maxclients", "10000"]);
    assert_eq!(get("slaveof"), ["slaveof", ""]);
    let both = get("*of");
    assert!(["replicaof", "slaveof"].iter().all(|name| both.iter().any(|found| found == name)));
    assert!(!get("*").iter().any(|name| name == "key-load-delay"));
    assert_eq!(get("key-load-delay"), ["key-load-delay", "0"]);
    // What tools and Redis's tests do: everything can be set to what it is.
    let all = get("*");
    for pair in all.chunks_exact(2) {
        client.request(&["CONFIG", "SET", &pair[0], &pair[1]]);
        assert_eq!(client.reply(), Value::Simple("OK".into()), "{pair:?}");
    }
}

#[test]
fn several_parameters_change_together_or_not_at_all() {
    let server = TestServer::start();
    let mut client = server.client();
    client.expect("CONFIG SET maxclients 77 set-max-listpack-entries 5", "+OK");
    client.expect("CONFIG GET set-max-listpack-entries", "*2\r\n$24\r\nset-max-listpack-entries\r\n$1\r\n5");
    for (change, refusal) in [
        ("maxclients 5 nope 1", "Unknown option or number of arguments for CONFIG SET - 'nope'"),
        (
            "maxclients 5 maxmemory-clients 200%",
            "CONFIG SET failed (possibly related to argument 'maxmemory-clients') - percentage argument must be \
             less or equal to 100",
        ),
        (
            "maxclients 5 maxclients 6",
            "CONFIG SET failed (possibly related to argument 'maxclients') - duplicate parameter",
        ),
        (
            "maxclients 5 daemonize yes",
            "CONFIG SET failed (possibly related to argument 'daemonize') - can't set immutable config",
        ),
    ] {
        client.expect(&format!("CONFIG SET {change}"), &format!("-ERR {refusal}"));
    }
    client.expect("CONFIG SET maxclients", "-ERR wrong number of arguments for 'config|set' command");
    client.expect("CONFIG GET maxclients", "*2\r\n$10\r\nmaxclients\r\n$2\r\n77");
    client.expect("CONFIG REWRITE", "-ERR The server is running without a config file");
}

#[test]
fn a_changed_configuration_is_written_to_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("terrace.toml");
    std::fs::write(&path, "maxclients = 50 # few\n").unwrap();
    let configuration = Configuration::load(Some(&path), [], []).unwrap();
    let server = TestServer::start_with(|config| config.configuration = configuration);
    let mut client = server.client();
    client.expect("CONFIG SET timeout 99 hz 10", "+OK");
    client.expect("CONFIG REWRITE", "+OK");
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(written, "maxclients = 10000 # few\ntimeout = 99\n");
}

#[test]
fn slow_commands_are_kept_cut_and_without_secrets() {
    let server = TestServer::start();
    let mut client = server.client();
    client.expect("CLIENT SETNAME me", "+OK");
    client.expect("CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 4", "+OK");
    client.expect("SLOWLOG RESET", "+OK");
    client.expect(&format!("SET k {}", "x".repeat(130)), "+OK");
    client.raw(&format!("DEL {}", ["k"; 33].join(" ")));
    client.expect("CONFIG SET masterauth secret", "+OK");
    client.expect("CONFIG SET slowlog-log-slower-than -1", "+OK");
    client.expect("SLOWLOG LEN", ":4");
    client.expect("SLOWLOG GET 0", "*0");
    client.expect("SLOWLOG GET -2", "-ERR count should be greater than or equal to -1");
    let Value::Array(entries) = client.run("SLOWLOG GET -1") else { panic!() };
    let commands: Vec<String> = entries
        .iter()
        .map(|entry| match entry {
            Value::Array(fields) => {
                assert_eq!((fields.len(), &fields[5]), (6, &bulk("me")));
                strings(&fields[3]).join(" ")
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(commands[0], "CONFIG SET masterauth (redacted)");
    assert!(commands[1].ends_with("k k k ... (3 more arguments)"), "{}", commands[1]);
    assert_eq!(commands[2], format!("SET k {}... (2 more bytes)", "x".repeat(128)));
    assert_eq!(commands[3], "SLOWLOG RESET");
}

#[test]
fn what_runs_beside_the_loop_is_noted_with_its_time() {
    let server = TestServer::start();
    let mut client = server.client();
    client.expect("CONFIG SET slowlog-log-slower-than 20000 latency-monitor-threshold 20", "+OK");
    client.expect("CONFIG RESETSTAT", "+OK");
    client.expect("DEBUG SLEEP 0.03", "+OK");
    client.expect("SLOWLOG LEN", ":1");
    let latest = client.raw("LATENCY LATEST");
    assert!(latest.starts_with("*1\r\n*4\r\n$7\r\ncommand\r\n"), "{latest}");
    assert!(client.raw("LATENCY HISTORY command").starts_with("*1\r\n*2\r\n"));
    client.expect("LATENCY HISTORY nothing", "*0");
    assert!(client.raw("LATENCY DOCTOR").contains("command: 1 moments noted"));
    assert!(client.raw("LATENCY GRAPH command").contains("command - high "));
    client.expect("LATENCY GRAPH nothing", "-ERR No samples available for event 'nothing'");
    client.expect("LATENCY RESET command nothing", ":1");
    let Value::Array(histogram) = client.run("LATENCY HISTOGRAM debug config|resetstat get") else {
        panic!()
    };
    assert_eq!(
        (histogram.len(), &histogram[0], &histogram[2]),
        (4, &bulk("config|resetstat"), &bulk("debug|sleep"))
    );
    let shown = info(&mut client, "latencystats");
    assert!(shown.contains("latency_percentiles_usec_debug:p50="), "{shown}");
    client.expect("CONFIG SET latency-tracking no", "+OK");
    assert_eq!(info(&mut client, "latencystats"), "# Latencystats\r\n");
}

#[test]
fn calls_refusals_and_errors_are_told_apart() {
    let server = TestServer::start();
    let mut client = server.client();
    client.expect("CONFIG RESETSTAT", "+OK");
    client.raw("SET k");
    client.expect("SET k v", "+OK");
    client.raw("INCR k");
    client.raw("nonsense");
    client.expect("MULTI", "+OK");
    client.expect("GET k", "+QUEUED");
    client.expect("AUTH x", "+QUEUED");
    client.raw("EXEC");
    client.raw("EVALSHA x 0");
    let stats = info(&mut client, "commandstats");
    for (name, expected) in [
        ("set", "rejected_calls=1,failed_calls=0"),
        ("incr", "rejected_calls=0,failed_calls=1"),
        ("get", "rejected_calls=0,failed_calls=0"),
        ("auth", "rejected_calls=0,failed_calls=1"),
        ("exec", "rejected_calls=0,failed_calls=0"),
        ("config|resetstat", "rejected_calls=0,failed_calls=0"),
    ] {
        let line = stats.lines().find(|line| line.starts_with(&format!("cmdstat_{name}:calls=1,")));
        assert!(line.is_some_and(|line| line.ends_with(expected)), "{name}: {stats}");
    }
    let errors = info(&mut client, "errorstats");
    assert!(errors.contains("errorstat_ERR:count=4\r\n"), "{errors}");
    assert!(errors.contains("errorstat_NOSCRIPT:count=1\r\n"), "{errors}");
    assert!(info(&mut client, "stats").contains("total_error_replies:5\r\n"));
    let several = info(&mut client, "cpu keyspace");
    assert!(
        several.starts_with("# CPU\r\n") && several.contains("\r\n\r\n# Keyspace\r\ndb0:keys="),
        "{several}"
    );
    assert!(info(&mut client, "everything").contains("# Commandstats\r\n"));
    assert!(!info(&mut client, "default").contains("# Commandstats\r\n"));
}

/// `CONFIG RESETSTAT` left the numbers of expired keys and fields as they were, and the statistics of `DEBUG` stood under
/// names of subcommands that Redis does not have.
#[test]
fn statistics_are_reset_as_a_whole_and_debug_is_one_command() {
    let server = TestServer::start();
    let mut client = server.client();
    client.expect("DEBUG SET-ACTIVE-EXPIRE 0", "+OK");
    client.expect("HSET h f v g v", ":2");
    client.expect("HPEXPIRE h 1 FIELDS 1 f", "*1\r\n:1");
    while client.run("HEXISTS h f") == Value::Integer(1) {
        std::thread::yield_now();
    }
    client.expect("HSET h x v", ":1");
    assert!(!info(&mut client, "stats").contains("expired_subkeys:0\r\n"));
    client.expect("CONFIG RESETSTAT", "+OK");
    let stats = info(&mut client, "stats");
    assert!(stats.contains("expired_subkeys:0\r\n") && stats.contains("expired_keys:0\r\n"), "{stats}");
    client.expect("DEBUG SLEEP 0", "+OK");
    client.expect("DEBUG SET-ACTIVE-EXPIRE 1", "+OK");
    for section in ["commandstats", "latencystats"] {
        let shown = info(&mut client, section);
        assert!(shown.contains("_debug:") && !shown.contains("debug|"), "{shown}");
    }
    assert!(info(&mut client, "commandstats").contains("cmdstat_debug:calls=2,"));
}

#[test]
fn a_monitor_shows_commands_of_all_loops_in_their_order() {
    let server = TestServer::start();
    let (mut monitor, mut client, mut other) = (server.client(), server.client(), server.client());
    monitor.expect("MONITOR", "+OK");
    let mut next = |expected: &str| {
        let line = String::from_utf8(monitor.raw_reply()).unwrap();
        assert!(line.ends_with(&format!("] {expected}\r\n")) && line.starts_with('+'), "{line}");
    };
    client.send("SET k \"a b\\n\"\r\nGET k\r\nGET k\r\n");
    for line in [r#""SET" "k" "a b\n""#, r#""GET" "k""#, r#""GET" "k""#] {
        next(line);
    }
    other.expect("SELECT 3", "+OK");
    next(r#""SELECT" "3""#);
    other.raw("AUTH secret");
    next(r#""AUTH" "(redacted)""#);
    other.send("MULTI\r\nSET q 1\r\nCOMPACT\r\nEXEC\r\nMULTI\r\nSET q 2\r\nEXEC\r\n");
    for line in [r#""MULTI""#, r#""EXEC""#, r#""MULTI""#, r#""SET" "q" "2""#, r#""EXEC""#] {
        next(line);
    }
    drop(monitor);
    assert_eq!(
        [client.reply(), client.reply(), client.reply()],
        [Value::Simple("OK".into()), bulk("a b\n"), bulk("a b\n")]
    );
    client.expect("PING", "+PONG");
}

#[test]
fn a_unix_socket_serves_like_a_port() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("terrace.sock");
    let mut server = TestServer::start_with(|config| {
        config.unix_socket = Some(path.clone());
        config.unix_socket_mode = 0o600;
    });
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"PING\r\nCLIENT INFO\r\nQUIT\r\n").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(
        said.starts_with("+PONG\r\n$") && said.contains(&format!(" addr={}:0 ", path.display())),
        "{said}"
    );
    server.shut_down();
    assert!(!path.exists());
}

/// A background save used to begin on its own thread, so that for a moment after its answer nothing was in progress,
/// and a second one could begin beside it.
#[test]
fn saving_means_syncing_and_there_are_no_scripts() {
    let server = TestServer::start();
    let mut client = server.client();
    client.expect("SET k v", "+OK");
    client.expect("SAVE", "+OK");
    let stats = server.db.stats();
    assert_eq!(stats.log.durable_seqno, stats.last_seqno);
    client.expect("BGSAVE NOW", "-ERR syntax error");
    client.expect("BGREWRITEAOF", "+Background append only file rewriting started");
    while info(&mut client, "persistence").contains("aof_rewrite_in_progress:1") {}
    let seen = info(&mut client, "persistence");
    assert!(seen.contains("rdb_saves:1\r\n") && seen.contains("aof_rewrites:1\r\n"), "{seen}");
    client.expect("BGSAVE SCHEDULE", "+Background saving started");
    assert!(client.raw("LASTSAVE").starts_with(':'));
    client.expect("ROLE", "*3\r\n$6\r\nmaster\r\n:0\r\n*0");
    client.expect("FUNCTION LIST", "*0");
    client.expect("FUNCTION FLUSH ASYNC", "+OK");
    client.expect("FUNCTION FLUSH LATER", "-ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
    client.expect("SCRIPT EXISTS a b", "*2\r\n:0\r\n:0");
    assert!(client.raw("EVAL x 0").starts_with("-ERR this server runs no scripts"));
    client.expect("EVALSHA x 0", "-NOSCRIPT No matching script. Please use EVAL.");
    client.expect("SHUTDOWN SAVE NOSAVE", "-ERR syntax error");
    client.expect("SHUTDOWN ABORT", "-ERR No shutdown in progress.");
}

/// `BGSAVE` synced the log and answered that it had saved. Nobody could take what it had made to another machine,
/// because it had made nothing.
#[test]
fn a_save_makes_a_generation_that_can_be_restored() {
    let (server, dir) = (TestServer::start(), tempfile::tempdir().unwrap());
    let [backups, restored] = ["backups", "restored"].map(|name| dir.path().join(name));
    let mut client = server.client();
    client.expect(&format!("CONFIG SET backup-dir {} backup-keep 2", backups.display()), "+OK");
    client.expect("SET k 1", "+OK");
    client.expect("BGSAVE", "+Background saving started");
    while info(&mut client, "persistence").contains("rdb_bgsave_in_progress:1") {}
    assert!(!info(&mut client, "persistence").contains("rdb_last_bgsave_time_sec:-1"));
    for value in ["2", "3"] {
        client.expect(&format!("SET k {value}"), "+OK");
        client.expect("SAVE", "+OK");
    }
    let seen = info(&mut client, "persistence");
    for line in ["rdb_saves:3", "terrace_backup_generation:3", "rdb_changes_since_last_save:0"] {
        assert!(seen.contains(&format!("{line}\r\n")), "{line}: {seen}");
    }
    let copies = terrace::Backups::new(&backups);
    let kept: Vec<u64> = copies.list().unwrap().generations.iter().map(|one| one.number).collect();
    assert_eq!(kept, [2, 3]);
    copies.restore(Some(2), &restored, |_| ()).unwrap();
    let old = terrace::Db::open(&restored).unwrap();
    assert_eq!(old.get("k").unwrap().as_deref(), Some(&b"2"[..]));
    old.close().unwrap();
    // What cannot be saved is told, by the answer or by INFO, and the last save stays the last.
    let (saved_at, file) = (client.raw("LASTSAVE"), dir.path().join("file"));
    std::fs::write(&file, b"").unwrap();
    client.expect(&format!("CONFIG SET backup-dir {}", file.display()), "+OK");
    assert!(client.raw("SAVE").starts_with('-'));
    client.expect("BGSAVE", "+Background saving started");
    while info(&mut client, "persistence").contains("rdb_bgsave_in_progress:1") {}
    assert!(info(&mut client, "persistence").contains("rdb_last_bgsave_status:err\r\n"));
    assert_eq!(client.raw("LASTSAVE"), saved_at);
    client.request(&["CONFIG", "SET", "backup-dir", ""]);
    assert_eq!(client.raw_reply(), b"+OK\r\n");
    client.expect("SAVE", "+OK");
}

#[test]
fn a_key_moves_to_another_database_and_memory_is_accounted_for() {
    let server = TestServer::start();
    let mut client = server.client();
    client.expect("SET k v PX 100000", "+OK");
    client.expect("MOVE k 1", ":1");
    client.expect("MOVE k 1", ":0");
    client.expect("MOVE k 0", "-ERR source and destination objects are the same");
    client.expect("MOVE k 99", "-ERR DB index is out of range");
    client.expect("SET k w", "+OK");
    client.expect("MOVE k 1", ":0");
    client.expect("SELECT 1", "+OK");
    client.expect("GET k", "$1\r\nv");
    assert!(matches!(client.run("PTTL k"), Value::Integer(ms) if ms > 0));
    assert!(matches!(client.run("MEMORY STATS"), Value::Array(fields) if fields.len() >= 36));
    client.expect("MEMORY PURGE", "+OK");
    assert!(client.raw("DEBUG OBJECT k").contains("encoding:embstr"));
    client.expect("DEBUG SET-ACTIVE-EXPIRE 1", "+OK");
}

#[test]
fn debug_is_refused_where_it_is_not_enabled() {
    let mut configuration = Configuration::default();
    configuration.set("enable-debug-command", "no").unwrap();
    let server = TestServer::start_with(|config| config.configuration = configuration);
    let mut client = server.client();
    assert!(client.raw("DEBUG SLEEP 0").starts_with("-ERR DEBUG command not allowed."));
    client.expect(
        "CONFIG SET enable-debug-command yes",
        "-ERR CONFIG SET failed (possibly related to argument 'enable-debug-command') - can't set immutable config",
    );
}

/// Estimates were shown before, of all databases together for each: an empty one seemed to have keys.
#[test]
fn info_and_dbsize_count_the_keys_of_each_database() {
    let server = TestServer::start();
    let mut client = server.client();
    client.run("HSET hash f 1");
    client.run("HEXPIRE hash 100 FIELDS 1 f");
    client.run("HSET hash g 1");
    client.run("SET k v EX 1000");
    client.run("SELECT 3");
    client.run("SET k v");
    client.run("FLUSHDB");
    let text = info(&mut client, "keyspace");
    assert!(text.contains("db0:keys=2,expires=1,avg_ttl=") && text.contains(",subexpiry=1\r\n"), "{text}");
    assert!(!text.contains("db3"), "{text}");
    for n in 0..10_100 {
        client.request(&["SET", &format!("k{n}"), "v"]);
    }
    for _ in 0..10_100 {
        assert_eq!(client.reply(), Value::Simple("OK".into()));
    }
    client.expect("DBSIZE", ":10100");
    client.run("SELECT 4");
    client.expect("DBSIZE", ":0");
    client.run("SELECT 0");
    client.expect("DBSIZE", ":2");
}

#[test]
fn digests_tell_whether_data_are_the_same() {
    let server = TestServer::start();
    let mut client = server.client();
    client.run("HSET a x 1 y 2");
    client.run("HSET b y 2 x 1");
    client.run("SET c v");
    client.run("COPY c d");
    let digests = strings(&client.run("DEBUG DIGEST-VALUE a b c d none"));
    assert!(digests.iter().all(|digest| digest.len() == 40), "{digests:?}");
    assert_eq!((&digests[0], &digests[2]), (&digests[1], &digests[3]));
    assert_ne!(digests[0], digests[2]);
    assert_eq!(digests[4], "0".repeat(40));
    let before = client.raw("DEBUG DIGEST");
    client.run("EXPIRE c 100");
    assert_ne!(client.raw("DEBUG DIGEST"), before);
    client.run("PERSIST c");
    assert_eq!(client.raw("DEBUG DIGEST"), before);
}

#[test]
fn the_list_of_clients_shows_what_they_watch() {
    let server = TestServer::start();
    let mut client = server.client();
    client.run("WATCH a b");
    let Value::Bulk(line) = client.run("CLIENT INFO") else { panic!("a text was expected") };
    assert!(
        String::from_utf8_lossy(&line).contains(" multi=-1 watch=2 "),
        "{}",
        String::from_utf8_lossy(&line)
    );
    client.expect("CLIENT KILL MAXAGE x", "-ERR maxage is not an integer or out of range");
    client.expect("CLIENT KILL MAXAGE -1", "-ERR maxage should be greater than 0");
    client.expect("CLIENT HELP me", "-ERR wrong number of arguments for 'client|help' command");
}
