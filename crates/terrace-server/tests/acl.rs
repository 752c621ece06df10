//! Users: who may do what, and what is said to those who may not.

mod common;

use common::{Client, TestServer, strings};
use terrace_resp::Value;

/// The value of a field in a flat list of names and values.
fn field<'a>(reply: &'a Value, name: &str) -> &'a Value {
    let Value::Array(items) = reply else { panic!("a list was expected, not {reply:?}") };
    let at = items.iter().step_by(2).position(|item| *item == common::bulk(name));
    &items[2 * at.unwrap_or_else(|| panic!("{name} is missing in {reply:?}")) + 1]
}

fn text(value: &Value) -> String {
    let Value::Bulk(bytes) = value else { panic!("a text was expected, not {value:?}") };
    String::from_utf8_lossy(bytes).into_owned()
}

/// A connection of this user, whose password is `p`.
fn login(server: &TestServer, user: &str) -> Client {
    let mut client = server.client();
    client.expect(&format!("AUTH {user} p"), "+OK");
    client
}

fn commands_of(client: &mut Client, user: &str) -> String {
    text(field(&client.run(&format!("ACL GETUSER {user}")), "commands"))
}

#[test]
fn a_user_may_do_what_the_rules_say() {
    let server = TestServer::start();
    let mut admin = server.client();
    admin.expect("ACL WHOAMI", "$7\r\ndefault");
    admin.expect(
        "ACL SETUSER bob on >p ~b:* %R~r:* +@string +@hash +client|id +client|list -incr +select|1 +ping",
        "+OK",
    );
    let mut bob = login(&server, "bob");
    bob.expect("ACL WHOAMI", "-NOPERM User bob has no permissions to run the 'acl|whoami' command");
    bob.expect("SET b:1 v", "+OK");
    bob.expect("GET r:1", "$-1");
    bob.expect("SET r:1 v", "-NOPERM No permissions to access a key");
    bob.expect("GET other", "-NOPERM No permissions to access a key");
    bob.expect("MGET b:1 other", "-NOPERM No permissions to access a key");
    bob.expect("INCR b:2", "-NOPERM User bob has no permissions to run the 'incr' command");
    bob.expect("DEL b:1", "-NOPERM User bob has no permissions to run the 'del' command");
    assert!(bob.raw("CLIENT ID").starts_with(':'));
    assert!(bob.raw("CLIENT LIST").contains("user=bob"));
    bob.expect("CLIENT GETNAME", "-NOPERM User bob has no permissions to run the 'client|getname' command");
    bob.expect("SELECT 1", "+OK");
    bob.expect("SELECT 2", "-NOPERM User bob has no permissions to run the 'select' command");
    bob.expect("SUBSCRIBE c", "-NOPERM User bob has no permissions to run the 'subscribe' command");
    // Whoever is known is told about arity first, and the same for what does not exist.
    bob.expect("GET", "-ERR wrong number of arguments for 'get' command");
    assert!(bob.raw("NOPE").starts_with("-ERR unknown command"));
    admin.expect("ACL SETUSER bob off", "+OK");
    bob.expect("PING", "+PONG");
    bob.expect("AUTH bob p", "-WRONGPASS invalid username-password pair or user is disabled.");
}

#[test]
fn neighbours_in_a_pipeline_are_checked_one_by_one() {
    let server = TestServer::start();
    server.client().expect("ACL SETUSER bob on >p ~b* +get +hset +hget +hmget", "+OK");
    let mut bob = login(&server, "bob");
    let mut pipeline = Vec::new();
    for words in [
        &["GET", "b1"][..],
        &["GET", "a1"],
        &["GET", "b2"],
        &["HSET", "b3", "f", "v"],
        &["HSET", "a3", "f", "v"],
        &["HSET", "b4", "f", "v"],
        &["HDEL", "b4", "f"],
        &["HGET", "b3", "f"],
        &["HMGET", "a3", "f"],
        &["HMGET", "b4", "f"],
    ] {
        terrace_resp::encode_request(&mut pipeline, words);
    }
    bob.send(&pipeline);
    let replies: Vec<String> =
        (0..10).map(|_| String::from_utf8_lossy(&bob.raw_reply()).into_owned()).collect();
    let no_key = "-NOPERM No permissions to access a key\r\n";
    let expected = [
        "$-1\r\n",
        no_key,
        "$-1\r\n",
        ":1\r\n",
        no_key,
        ":1\r\n",
        "-NOPERM User bob has no permissions to run the 'hdel' command\r\n",
        "$1\r\nv\r\n",
        no_key,
        "*1\r\n$1\r\nv\r\n",
    ];
    assert_eq!(replies, expected);
    let Value::Array(log) = server.client().run("ACL LOG") else { panic!() };
    let count = |object: &str| {
        let entry = log.iter().find(|entry| text(field(entry, "object")) == object);
        entry.map(|entry| field(entry, "count").clone())
    };
    assert_eq!(count("a3"), Some(Value::Integer(2)), "a refusal is noted once, however it was met");
    assert_eq!(count("hdel"), Some(Value::Integer(1)));
}

#[test]
fn selectors_are_looked_at_one_by_one() {
    let server = TestServer::start();
    let mut admin = server.client();
    admin.expect("ACL SETUSER sel on >p ~own* +set (~x* +get) (%R~src* %W~dst* +copy +rename)", "+OK");
    let mut sel = login(&server, "sel");
    sel.expect("SET own1 v", "+OK");
    sel.expect("GET own1", "-NOPERM No permissions to access a key");
    sel.expect("GET x1", "$-1");
    sel.expect("SET x1 v", "-NOPERM No permissions to access a key");
    sel.expect("COPY src1 dst1", ":0");
    sel.expect("COPY dst1 src1", "-NOPERM No permissions to access a key");
    sel.expect("RENAME src1 dst1", "-NOPERM No permissions to access a key");
    let user = admin.run("ACL GETUSER sel");
    assert_eq!(strings(field(&user, "flags")), ["on", "sanitize-payload"]);
    let Value::Array(selectors) = field(&user, "selectors") else { panic!("{user:?}") };
    assert_eq!(selectors.len(), 2);
    assert_eq!(text(field(&selectors[1], "keys")), "%R~src* %W~dst*");
    assert_eq!(text(field(&selectors[1], "commands")), "-@all +copy +rename");
    admin.expect("ACL SETUSER sel clearselectors", "+OK");
    sel.expect("GET x1", "-NOPERM User sel has no permissions to run the 'get' command");
    let said = admin.raw("ACL SETUSER sel (~y +get");
    assert_eq!(said, "-ERR Unmatched parenthesis in acl selector starting at '(~y'.\r\n");
}

/// `BITFIELD` was always taken for a write, so that who may only read could not even use its `GET`. `%RW` without a
/// pattern was refused.
#[test]
fn bitfield_needs_what_its_operations_do() {
    const REFUSED: &str = "-NOPERM No permissions to access a key";
    let server = TestServer::start();
    let mut admin = server.client();
    admin.expect("SET bits x", "+OK");
    for (user, rule) in [("reader", "%R~*"), ("writer", "%W~*"), ("nobody", "%RW")] {
        admin.expect(&format!("ACL SETUSER {user} on >p {rule} +@all"), "+OK");
    }
    for (user, read, write) in
        [("reader", "*1\r\n:120", REFUSED), ("writer", REFUSED, REFUSED), ("nobody", REFUSED, REFUSED)]
    {
        let mut client = login(&server, user);
        client.expect("BITFIELD bits GET u8 0", read);
        client.expect("BITFIELD bits GET u8 0 SET u8 0 1", write);
    }
}

#[test]
fn rules_are_refused_as_a_whole_and_with_a_reason() {
    let server = TestServer::start();
    let mut admin = server.client();
    admin.expect("ACL SETUSER u >p", "+OK");
    let before = admin.raw("ACL GETUSER u");
    for (rule, reason) in [
        ("+nope", "Unknown command or category name in ACL"),
        ("+@nope", "Unknown command or category name in ACL"),
        ("-nope", "Unknown command or category name in ACL"),
        ("-select|0", "Unknown command or category name in ACL"),
        ("+client|nope", "Unknown command or category name in ACL"),
        ("+config|get|appendonly", "Allowing first-arg of a subcommand is not supported"),
        ("+config|", "Syntax error"),
        ("+select|", "Syntax error"),
        ("%~x", "Syntax error"),
        ("%RX~x", "Syntax error"),
        ("nonsense", "Syntax error"),
        ("<q", "The password you are trying to remove from the user does not exist"),
        (
            "#12",
            "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters",
        ),
    ] {
        let said = admin.raw(&format!("ACL SETUSER u on ~a* {rule}"));
        assert_eq!(said, format!("-ERR Error in ACL SETUSER modifier '{rule}': {reason}\r\n"));
    }
    assert!(
        admin
            .raw("ACL SETUSER u allkeys ~x")
            .contains("Adding a pattern after the * pattern (or the 'allkeys'")
    );
    assert!(admin.raw("ACL SETUSER u &* &x").contains("(or the 'allchannels' flag)"));
    assert_eq!(admin.raw("ACL GETUSER u"), before, "nothing of a refused change is kept");
    assert_eq!(admin.raw("ACL GETUSER v"), "$-1\r\n");
    // Commands that only Redis has may be named, so that users can be taken over; they grant nothing.
    admin.expect("ACL SETUSER u +lpush +xgroup|create +script|load -@sortedset", "+OK");
    assert_eq!(commands_of(&mut admin, "u"), "-@all +lpush +xgroup|create +script|load -@sortedset");
}

/// The examples of Redis's own test of this.
#[test]
fn rules_about_commands_keep_their_order_and_meaning() {
    let server = TestServer::start();
    let mut admin = server.client();
    for (rules, shown) in [
        ("+@all -@hash -@slow +hget", "+@all -@hash -@slow +hget"),
        ("-@hash", "+@all -@slow +hget -@hash"),
        ("+@hash", "+@all -@slow +hget +@hash"),
        ("-@all +@HASH +@hash +@HaSh", "-@all +@hash"),
        ("-@all +HGET +hget +hGeT", "-@all +hget"),
        ("-@all +@hash +@slow +@set +@set +@slow +@hash", "-@all +@set +@slow +@hash"),
        ("-@all +hget -hset +hset -hget", "-@all +hset -hget"),
        (
            "-@all +client|list +client|list +config|get +config +acl|list -acl",
            "-@all +client|list +config -acl",
        ),
        ("-@all -@dangerous", "-@all -@dangerous"),
        ("+@all ~* -@string +incr -debug +debug|digest", "+@all -@string +incr -debug +debug|digest"),
        ("reset +@all -@read", "+@all -@read"),
    ] {
        admin.expect(&format!("ACL SETUSER adv {rules}"), "+OK");
        assert_eq!(commands_of(&mut admin, "adv"), shown, "{rules}");
    }
    let categories = strings(&admin.run("ACL CAT"));
    assert!(categories.len() == 21 && categories.contains(&"keyspace".into()));
    assert!(strings(&admin.run("ACL CAT hash")).contains(&"hexpire".into()));
    assert!(strings(&admin.run("ACL CAT admin")).contains(&"config|set".into()));
    admin.expect("ACL CAT nope", "-ERR Unknown category 'nope'");
}

#[test]
fn transactions_are_checked_when_queued_and_when_they_run() {
    let server = TestServer::start();
    let mut admin = server.client();
    admin.expect("ACL SETUSER bob on >p ~* +@all -debug", "+OK");
    let mut bob = login(&server, "bob");
    bob.expect("MULTI", "+OK");
    bob.expect("DEBUG SLEEP 0", "-NOPERM User bob has no permissions to run the 'debug|sleep' command");
    bob.expect("EXEC", "-EXECABORT Transaction discarded because of previous errors.");
    bob.expect("MULTI", "+OK");
    bob.expect("SET a 1", "+QUEUED");
    bob.expect("INCR a", "+QUEUED");
    admin.expect("ACL SETUSER bob -incr", "+OK");
    let said = bob.raw("EXEC");
    assert!(said.starts_with("*2\r\n+OK\r\n-NOPERM ACLs rules changed between the moment"), "{said}");
    assert!(said.contains("no permission to execute the command or subcommand"), "{said}");
    admin.expect("GET a", "$1\r\n1");
    let Value::Array(log) = admin.run("ACL LOG") else { panic!() };
    assert_eq!(log.len(), 2);
    for (entry, object) in log.iter().zip(["incr", "debug|sleep"]) {
        assert_eq!(text(field(entry, "object")), object);
        assert_eq!(text(field(entry, "context")), "multi");
        assert_eq!(text(field(entry, "username")), "bob");
    }
}

#[test]
fn channels_are_checked_and_taken_away() {
    let server = TestServer::start();
    let mut admin = server.client();
    admin.expect("ACL SETUSER sub on >p resetchannels &news* &deep.* +@pubsub +ping", "+OK");
    let mut sub = login(&server, "sub");
    sub.expect("PUBLISH other m", "-NOPERM No permissions to access a channel");
    sub.expect("SPUBLISH other m", "-NOPERM No permissions to access a channel");
    sub.expect("PUBLISH news1 m", ":0");
    sub.expect("SUBSCRIBE news1 other", "-NOPERM No permissions to access a channel");
    sub.expect("PSUBSCRIBE new*", "-NOPERM No permissions to access a channel");
    sub.expect("PSUBSCRIBE news*", "*3\r\n$10\r\npsubscribe\r\n$5\r\nnews*\r\n:1");
    let mut direct = login(&server, "sub");
    direct.expect("SUBSCRIBE deep.a", "*3\r\n$9\r\nsubscribe\r\n$6\r\ndeep.a\r\n:1");
    let mut idle = login(&server, "sub");
    admin.expect("ACL SETUSER sub &more", "+OK");
    admin.expect("ACL SETUSER sub resetchannels &deep.*", "+OK");
    assert_eq!(sub.read_to_end(), "", "who listens to what is not allowed any more is cut off");
    direct.expect("PING", "*2\r\n$4\r\npong\r\n$0\r\n");
    idle.expect("PUBLISH deep.x m", ":0");
    idle.expect("PUBLISH news1 m", "-NOPERM No permissions to access a channel");
}

#[test]
fn a_deleted_user_is_gone_at_once() {
    let server = TestServer::start();
    let mut admin = server.client();
    admin.expect("ACL SETUSER bob on nopass ~* +@all", "+OK");
    admin.expect("ACL SETUSER eve on nopass ~* +@all", "+OK");
    let (mut bob, mut other, mut eve) = (login(&server, "bob"), login(&server, "bob"), login(&server, "eve"));
    assert_eq!(strings(&admin.run("ACL USERS")), ["bob", "default", "eve"]);
    eve.expect("PING", "+PONG");
    bob.expect("ACL DELUSER bob nobody", ":1");
    assert_eq!((bob.read_to_end(), other.read_to_end()), (String::new(), String::new()));
    admin.expect("ACL DELUSER default", "-ERR The 'default' user cannot be removed");
    admin.expect("CLIENT KILL USER nobody", "-ERR No such user 'nobody'");
    admin.expect("CLIENT KILL USER eve", ":1");
    assert_eq!(eve.read_to_end(), "");
}

#[test]
fn the_password_of_the_default_user_is_requirepass() {
    let server = TestServer::start();
    let (mut admin, mut early) = (server.client(), server.client());
    early.expect("PING", "+PONG");
    assert!(early.raw("AUTH x").starts_with("-ERR AUTH <password> called without any password configured"));
    admin.expect("CONFIG SET requirepass secret", "+OK");
    early.expect("PING", "+PONG"); // It had been let in.
    let mut late = server.client();
    late.expect("PING", "-NOAUTH Authentication required.");
    late.expect("AUTH secret", "+OK");
    late.expect("AUTH default secret", "+OK");
    late.expect("RESET", "+RESET");
    late.expect("PING", "-NOAUTH Authentication required.");
    admin.expect("ACL SETUSER default >second", "+OK");
    admin.expect("CONFIG GET requirepass", "*2\r\n$11\r\nrequirepass\r\n$6\r\nsecret");
    late.expect("AUTH second", "+OK");
    admin.expect("ACL SETUSER default <secret", "+OK");
    admin.expect("CONFIG GET requirepass", "*2\r\n$11\r\nrequirepass\r\n$0\r\n");
    admin.expect("CONFIG SET requirepass ", "+OK");
    server.client().expect("PING", "+PONG");
    admin.expect("ACL SETUSER default off", "+OK");
    let mut locked = server.client();
    locked.expect("PING", "-NOAUTH Authentication required.");
    locked.expect("AUTH default any", "-WRONGPASS invalid username-password pair or user is disabled.");
}

#[test]
fn the_log_tells_who_wanted_what() {
    let server = TestServer::start();
    let mut admin = server.client();
    admin.expect("ACL SETUSER bob on >p ~a* &c* +get +publish", "+OK");
    let mut bob = login(&server, "bob");
    for _ in 0..3 {
        bob.expect("GET x", "-NOPERM No permissions to access a key");
    }
    bob.expect("PUBLISH x y", "-NOPERM No permissions to access a channel");
    bob.expect("AUTH eve wrong", "-WRONGPASS invalid username-password pair or user is disabled.");
    let Value::Array(log) = admin.run("ACL LOG 10") else { panic!() };
    let seen: Vec<_> = log
        .iter()
        .map(|entry| {
            let parts = ["reason", "object", "username", "context"].map(|name| text(field(entry, name)));
            (parts.join(" "), field(entry, "count").clone(), field(entry, "entry-id").clone())
        })
        .collect();
    let expected =
        [("auth AUTH eve toplevel", 1, 2), ("channel x bob toplevel", 1, 1), ("key x bob toplevel", 3, 0)];
    let expected =
        expected.map(|(parts, count, id)| (parts.to_string(), Value::Integer(count), Value::Integer(id)));
    assert_eq!(seen, expected);
    assert!(text(field(&log[2], "client-info")).contains("cmd=get user=bob"));
    let info = admin.raw("INFO stats");
    for line in ["acl_access_denied_auth:1", "acl_access_denied_key:3", "acl_access_denied_channel:1"] {
        assert!(info.contains(line), "{line} in {info}");
    }
    admin.expect("CONFIG SET acllog-max-len 2", "+OK");
    bob.expect("SET a v", "-NOPERM User bob has no permissions to run the 'set' command");
    let Value::Array(log) = admin.run("ACL LOG") else { panic!() };
    assert_eq!(log.len(), 2);
    admin.expect("ACL LOG reset", "+OK");
    admin.expect("ACL LOG", "*0");
    admin.expect("ACL LOG -1", "*0");
    admin.expect("ACL LOG x", "-ERR value is not an integer or out of range");
}

#[test]
fn dryrun_says_what_would_happen() {
    let server = TestServer::start();
    let mut admin = server.client();
    admin.expect("ACL SETUSER t on +get +publish +memory|usage ~a* &c", "+OK");
    for (command, said) in [
        ("t GET a1", "OK"),
        ("t GET b1", "User t has no permissions to access the 'b1' key"),
        ("t SET a1 v", "User t has no permissions to run the 'set' command"),
        ("t MEMORY USAGE b", "User t has no permissions to access the 'b' key"),
        ("t MEMORY STATS", "User t has no permissions to run the 'memory|stats' command"),
        ("t PUBLISH d m", "User t has no permissions to access the 'd' channel"),
    ] {
        let reply = admin.run(&format!("ACL DRYRUN {command}"));
        let text = match &reply {
            Value::Simple(text) => text.clone(),
            other => text(other),
        };
        assert_eq!(text, said, "{command}");
    }
    admin.expect("ACL DRYRUN nobody GET a", "-ERR User 'nobody' not found");
    admin.expect("ACL DRYRUN t nope a", "-ERR Command 'nope' not found");
    admin.expect("ACL DRYRUN t get", "-ERR wrong number of arguments for 'get' command");
    assert_eq!(text(&admin.run("ACL GENPASS")).len(), 64);
    assert_eq!(text(&admin.run("ACL GENPASS 5")).len(), 2);
    assert_ne!(admin.raw("ACL GENPASS"), admin.raw("ACL GENPASS"));
    assert!(
        admin.raw("ACL GENPASS 4097").starts_with("-ERR ACL GENPASS argument must be the number of bits")
    );
    assert!(
        admin.raw("ACL SAVE").starts_with("-ERR This Redis instance is not configured to use an ACL file")
    );
}

#[test]
fn users_are_kept_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.acl");
    std::fs::write(
        &path,
        "user bob on >p ~b* +@all -debug (~x +get)\n\nuser default on nopass ~* &* +@all\n",
    )
    .unwrap();
    let with_file = |config: &mut terrace_server::ServerConfig| {
        config.configuration.set("aclfile", path.to_str().unwrap()).unwrap();
    };
    let server = TestServer::start_with(with_file);
    let mut admin = server.client();
    let mut bob = login(&server, "bob");
    admin.expect("ACL SETUSER eve on nopass ~e* +@read", "+OK");
    let mut eve = login(&server, "eve");
    let listed = strings(&admin.run("ACL LIST"));
    admin.expect("ACL SAVE", "+OK");
    let saved = std::fs::read_to_string(&path).unwrap();
    assert_eq!(saved.lines().collect::<Vec<_>>(), listed);
    assert!(
        !saved.contains(">p")
            && saved.contains("~b* resetchannels +@all -debug (~x resetchannels -@all +get)")
    );

    std::fs::write(&path, format!("{saved}user bob off\nuser q +nope\n")).unwrap();
    let said = admin.raw("ACL LOAD");
    assert!(said.contains("Duplicate user 'bob'") && said.contains("Unknown command"), "{said}");
    assert_eq!(strings(&admin.run("ACL LIST")), listed, "a bad file changes nothing");

    let only_bob: Vec<&str> = saved.lines().filter(|line| !line.starts_with("user eve")).collect();
    std::fs::write(&path, only_bob.join("\n")).unwrap();
    admin.expect("ACL LOAD", "+OK");
    assert_eq!(eve.read_to_end(), "", "users that are not in the file are gone");
    bob.expect("SET b1 v", "+OK");
    drop(server);
    let server = TestServer::start_with(with_file);
    login(&server, "bob").expect("SET c v", "-NOPERM No permissions to access a key");
}

/// Precedence that Redis's own tests ask for, where the first version went another way: the last of several AUTH in a
/// HELLO counts and the others are not even tried; HELP with an argument is about arity; DEBUG, which has no
/// subcommands in Redis, refuses a forbidden word before an unknown one.
#[test]
fn who_is_told_what_first() {
    let server = TestServer::start();
    let mut admin = server.client();
    admin.expect("ACL SETUSER one on >p +@all ~*", "+OK");
    admin.expect("ACL SETUSER two on >p -@all +acl|whoami +debug|object +client|getname ~*", "+OK");
    let mut client = server.client();
    assert!(client.raw("HELLO 2 AUTH one wrong AUTH one p SETNAME a SETNAME b AUTH two p").starts_with('*'));
    client.expect("ACL WHOAMI", "$3\r\ntwo");
    client.expect("CLIENT GETNAME", "$1\r\nb");
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.";
    client.expect("HELLO 2 AUTH one p SETNAME c AUTH one wrong", wrong);
    client.expect("ACL WHOAMI", "$3\r\ntwo");
    client.expect("CLIENT GETNAME", "$1\r\nb");
    client.expect("DEBUG SEGFAULT", "-NOPERM User two has no permissions to run the 'debug' command");
    client.expect("DEBUG OBJECT none", "-ERR no such key");
    client.expect("SCRIPT HELP", "-NOPERM User two has no permissions to run the 'script|help' command");
    admin.expect("ACL HELP xxx", "-ERR wrong number of arguments for 'acl|help' command");
    admin.expect(
        "ACL CAT a b",
        "-ERR unknown subcommand or wrong number of arguments for 'CAT'. Try ACL HELP.",
    );
}

/// Whoever takes its own permission away is told so first.
#[test]
fn the_last_reply_comes_before_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.acl");
    std::fs::write(&path, "").unwrap();
    let server = TestServer::start_with(|config| {
        config.requirepass = Some("secret".into());
        config.configuration.set("aclfile", path.to_str().unwrap()).unwrap();
    });
    let mut admin = server.client();
    admin.expect("PING", "-NOAUTH Authentication required.");
    admin.expect("AUTH secret", "+OK");
    for (command, reply) in
        [("ACL LOAD", "+OK"), ("ACL DELUSER bob", ":1"), ("ACL SETUSER bob resetchannels", "+OK")]
    {
        admin.expect("ACL SETUSER bob reset on nopass ~* &* +@all", "+OK");
        let mut bob = server.client();
        assert!(bob.raw("HELLO 3 AUTH bob any").starts_with('%'));
        bob.expect("SUBSCRIBE c", ">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1");
        bob.expect(command, reply);
        assert_eq!(bob.read_to_end(), "", "{command}");
    }
    admin.expect("PING", "+PONG");
}

/// A configuration file with these users.
fn with_users(dir: &std::path::Path, users: &str) -> terrace_server::Configuration {
    let path = dir.join("terrace.toml");
    std::fs::write(&path, format!("users = [{users}]\n")).unwrap();
    terrace_server::Configuration::load(Some(&path), [], []).unwrap()
}

#[test]
fn users_may_stand_in_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let users = "\n  'user bob on >p ~b* resetchannels -@all +get +set', # the shop\n  'user eve off',\n";
    let server = TestServer::start_with(|config| config.configuration = with_users(dir.path(), users));
    let mut admin = server.client();
    assert_eq!(strings(&admin.run("ACL USERS")), ["bob", "default", "eve"]);
    let mut bob = server.client();
    bob.expect("AUTH bob p", "+OK");
    bob.expect("SET b1 v", "+OK");
    assert!(bob.raw("GET a").starts_with("-NOPERM"));
    assert!(server.client().raw("AUTH eve x").starts_with("-WRONGPASS"));
    assert!(admin.raw("ACL SAVE").contains("not configured to use an ACL file"));
    assert!(!admin.raw("CONFIG GET *").contains("users"));

    // A default user with rules of its own does without `requirepass`; one without them has it.
    let own = "'user default on >own ~* &* +@all'";
    for (users, password) in [(own, "own"), ("'user eve off'", "given")] {
        let server = TestServer::start_with(|config| {
            config.configuration = with_users(dir.path(), users);
            config.configuration.set("requirepass", "given").unwrap();
            config.requirepass = Some("given".into());
        });
        let mut client = server.client();
        client.expect("PING", "-NOAUTH Authentication required.");
        client.expect(&format!("AUTH {password}"), "+OK");
    }
}

/// Everything that is wrong is told at once, with the file, the user and the rule, but no password.
#[test]
fn users_that_cannot_be_are_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = terrace::Db::open(dir.path().join("store")).unwrap();
    let refusal = |configuration: terrace_server::Configuration| {
        let mut config = terrace_server::ServerConfig::new(store.clone());
        (config.port, config.configuration) = (0, configuration);
        terrace_server::Server::bind(config).err().unwrap().to_string()
    };
    let said = refusal(with_users(
        dir.path(),
        "'user a on +nope', 'user b on #secret', 'user c ~* ~x', 'user a off', 'alice on', 'user b off'",
    ));
    let file = dir.path().join("terrace.toml").display().to_string();
    for expected in [
        format!("{file}: users, number 1: user 'a': Error in applying operation '+nope': Unknown command"),
        format!("{file}: users, number 2: user 'b': The password hash must be"),
        format!("{file}: users, number 3: user 'c': Error in applying operation '~x': Adding a pattern"),
        format!("{file}: users, number 5: line should start with user keyword"),
    ] {
        assert!(said.contains(&expected), "{expected}\n{said}");
    }
    assert!(!said.contains("secret"), "{said}");
    let said = refusal(with_users(dir.path(), "'user a off', 'user a on'"));
    assert!(said.ends_with("users, number 2: Duplicate user 'a' found."), "{said}");
    let mut both = with_users(dir.path(), "'user a off'");
    both.set("aclfile", "users.acl").unwrap();
    assert!(refusal(both).contains("in the aclfile users.acl"));
}
