//! The wire: framing, inline commands, errors, protocol versions, authentication.

mod common;

use common::{Client, TestServer, bulk};
use terrace_resp::Value;

#[test]
fn plain_text_lines_work() {
    let server = TestServer::start();
    let mut client = server.client();
    client.send("SET greeting \"hello world\"\r\nGET greeting\nget 'greeting'\r\n\r\nPING\r\n");
    assert_eq!(client.reply(), Value::Simple("OK".into()));
    assert_eq!(client.reply(), bulk("hello world"));
    assert_eq!(client.reply(), bulk("hello world"));
    assert_eq!(client.reply(), Value::Simple("PONG".into()));
}

#[test]
fn commands_split_at_every_byte_are_answered() {
    let server = TestServer::start();
    let stream = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n";
    for cut in 1..stream.len() {
        let mut client = server.client();
        client.send(&stream[..cut]);
        std::thread::sleep(std::time::Duration::from_millis(1));
        client.send(&stream[cut..]);
        assert_eq!(client.reply(), Value::Simple("OK".into()), "cut at {cut}");
        assert_eq!(client.reply(), bulk("a\r\nb"), "cut at {cut}");
        assert_eq!(client.reply(), Value::Simple("PONG".into()), "cut at {cut}");
    }
    let mut client = server.client();
    for byte in stream {
        client.send([*byte]);
    }
    assert_eq!(client.reply(), Value::Simple("OK".into()));
}

#[test]
fn a_malformed_frame_closes_its_connection_only() {
    let server = TestServer::start();
    let mut bystander = server.client();
    bystander.expect("SET k v", "+OK");
    let cases = [
        ("*abc\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        ("*2\r\n$3\r\nGET\r\n$-5\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        ("*1\r\n:1\r\n", "-ERR Protocol error: expected '$', got ':'\r\n"),
        ("SET k \"v\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
        ("*99999999\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
    ];
    for (bytes, error) in cases {
        let mut client = server.client();
        client.send("PING\r\n");
        client.send(bytes);
        assert_eq!(client.read_to_end(), format!("+PONG\r\n{error}"));
        bystander.expect("GET k", "$1\r\nv");
    }
}

#[test]
fn a_pipeline_is_answered_in_order() {
    let server = TestServer::start();
    let mut client = server.client();
    let mut bytes = Vec::new();
    for i in 0..500 {
        let (key, value) = (format!("k{}", i % 7), i.to_string());
        terrace_resp::encode_request(&mut bytes, &["SET", &key, &value]);
        terrace_resp::encode_request(&mut bytes, &["GET", &key]);
        terrace_resp::encode_request(&mut bytes, &["ECHO", &value]);
        terrace_resp::encode_request(&mut bytes, &["SET", &key, "10"]);
        terrace_resp::encode_request(&mut bytes, &["INCR", &key]);
        terrace_resp::encode_request(&mut bytes, &["NOSUCH"]);
        terrace_resp::encode_request(&mut bytes, &["GET", &key]);
        terrace_resp::encode_request(&mut bytes, &["GET", "absent"]);
    }
    client.send(bytes);
    for i in 0..500 {
        let ok = Value::Simple("OK".into());
        assert_eq!(client.reply(), ok);
        assert_eq!(client.reply(), bulk(&i.to_string()));
        assert_eq!(client.reply(), bulk(&i.to_string()));
        assert_eq!(client.reply(), ok);
        assert_eq!(client.reply(), Value::Integer(11));
        assert!(matches!(client.reply(), Value::Error(_)));
        assert_eq!(client.reply(), bulk("11"));
        assert_eq!(client.reply(), Value::Null);
    }
}

#[test]
fn hello_switches_the_protocol() {
    let server = TestServer::start();
    let mut client = server.client();
    client.expect("GET absent", "$-1");
    let Value::Map(fields) = client.run("HELLO 3 SETNAME me") else { panic!("a map") };
    assert!(fields.contains(&(bulk("proto"), Value::Integer(3))));
    client.expect("GET absent", "_");
    client.expect("CLIENT GETNAME", "$2\r\nme");
    assert!(client.raw("CONFIG GET save").starts_with("%1\r\n"));
    client.expect("HELLO 4", "-NOPROTO unsupported protocol version");
    client.expect("HELLO x", "-ERR Protocol version is not an integer or out of range");
    client.expect("HELLO 2 FOO", "-ERR Syntax error in HELLO option 'FOO'");
    client.expect("RESET", "+RESET");
    client.expect("GET absent", "$-1");
    client.expect("CLIENT GETNAME", "$-1");
}

#[test]
fn a_password_is_asked_for() {
    let server = TestServer::start_with(|config| config.requirepass = Some("secret".into()));
    let mut client = server.client();
    client.expect("GET k", "-NOAUTH Authentication required.");
    client.expect("AUTH wrong", "-WRONGPASS invalid username-password pair or user is disabled.");
    client.expect("AUTH nobody secret", "-WRONGPASS invalid username-password pair or user is disabled.");
    assert!(client.raw("HELLO 3").starts_with("-NOAUTH HELLO must be called"));
    client.expect("AUTH secret", "+OK");
    client.expect("SET k v", "+OK");
    client.expect("RESET", "+RESET");
    client.expect("GET k", "-NOAUTH Authentication required.");
    assert!(client.raw("HELLO 3 AUTH default secret").starts_with("%7\r\n"));

    let mut stranger = server.client();
    stranger.send("*11\r\n");
    assert_eq!(stranger.read_to_end(), "-ERR Protocol error: unauthenticated multibulk length\r\n");
    let mut stranger = server.client();
    stranger.send("*1\r\n$16385\r\n");
    assert_eq!(stranger.read_to_end(), "-ERR Protocol error: unauthenticated bulk length\r\n");

    client.expect("CONFIG SET requirepass other", "+OK");
    client.expect("GET k", "$1\r\nv");
    let mut second = server.client();
    second.expect("AUTH default other", "+OK");
    second.expect("CONFIG SET requirepass ", "+OK");
    Client::connect(server.addr).expect("GET k", "$1\r\nv");
}

#[test]
fn unknown_commands_and_wrong_arguments_are_named() {
    let server = TestServer::start();
    let mut client = server.client();
    client.expect("FOO a b", "-ERR unknown command 'FOO', with args beginning with: 'a' 'b' ");
    client.expect("GET", "-ERR wrong number of arguments for 'get' command");
    client.expect("CLIENT", "-ERR wrong number of arguments for 'client' command");
    client.expect("CLIENT SETNAME", "-ERR wrong number of arguments for 'client|setname' command");
    client.expect("CLIENT FOO", "-ERR unknown subcommand 'FOO'. Try CLIENT HELP.");
    client.expect("gEt absent", "$-1");
    assert!(client.raw("CLIENT HELP").starts_with('*'));
}

#[test]
fn a_browser_is_cut_off() {
    let server = TestServer::start();
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET k v\r\n");
    client.read_to_end();
    server.client().expect("EXISTS k", ":0");
}

/// Plain text is unescaped where it lies, so it must be decoded once only. It was decoded again when it came
/// behind a `GET`, and `INCR n` became `INCRnn`.
#[test]
fn plain_text_behind_reads_keeps_its_words() {
    let server = TestServer::start();
    let mut client = server.client();
    client.send(
        "GET n\r\nINCR n\r\n*2\r\n$3\r\nGET\r\n$1\r\nn\r\nSET \"a b\" 'c d'\r\nGET \"a b\"\r\nINCR n\r\n",
    );
    let expected = ["$-1\r\n", ":1\r\n", "$1\r\n1\r\n", "+OK\r\n", "$3\r\nc d\r\n", ":2\r\n"];
    for reply in expected {
        assert_eq!(String::from_utf8(client.raw_reply()).unwrap(), reply);
    }
}

#[test]
fn quit_answers_and_closes() {
    let server = TestServer::start();
    let mut client = server.client();
    client.send("SET k v\r\nQUIT\r\nSET k w\r\n");
    assert_eq!(client.read_to_end(), "+OK\r\n+OK\r\n");
    server.client().expect("GET k", "$1\r\nv");
}

#[test]
fn every_type_of_reply_can_be_asked_for() {
    let server = TestServer::start();
    let (mut old, mut new) = (server.client(), server.client());
    new.run("HELLO 3");
    for (name, in_old, in_new) in [
        ("string", "$11\r\nHello World", "$11\r\nHello World"),
        ("double", "$5\r\n3.141", ",3.141"),
        ("null", "$-1", "_"),
        ("set", "*3\r\n:0\r\n:1\r\n:2", "~3\r\n:0\r\n:1\r\n:2"),
        ("map", "*6\r\n:0\r\n:0\r\n:1\r\n:1\r\n:2\r\n:0", "%3\r\n:0\r\n#f\r\n:1\r\n#t\r\n:2\r\n#f"),
        ("true", ":1", "#t"),
        ("verbatim", "$25\r\nThis is a verbatim\nstring", "=29\r\ntxt:This is a verbatim\nstring"),
    ] {
        old.expect(&format!("DEBUG PROTOCOL {name}"), in_old);
        new.expect(&format!("DEBUG PROTOCOL {name}"), in_new);
    }
    old.expect("DEBUG PROTOCOL push", "-ERR RESP2 is not supported by this command");
}
