//! What one client can do to others: pausing, listing, killing.

mod common;

use common::{Client, TestServer};

fn raw(client: &mut Client) -> String {
    String::from_utf8_lossy(&client.raw_reply()).into_owned()
}

fn wait_for_blocked(client: &mut Client, count: usize) {
    while !client.raw("INFO clients").contains(&format!("blocked_clients:{count}\r\n")) {
        std::thread::yield_now();
    }
}

#[test]
fn a_pause_of_writes_holds_up_writes_only() {
    let server = TestServer::start();
    let (mut admin, mut writer, mut publisher) = (server.client(), server.client(), server.client());
    let mut transaction = server.client();
    for command in ["MULTI", "SET t 1"] {
        transaction.run(command);
    }
    admin.expect("CLIENT PAUSE 100000 WRITE", "+OK");
    writer.expect("GET k", "$-1");
    writer.expect("SET k", "-ERR wrong number of arguments for 'set' command");
    writer.send("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n1\r\n*2\r\n$4\r\nINCR\r\n$1\r\nk\r\n");
    // Plain text lines are unescaped where they lie; waiting must not have that done twice.
    publisher.send("PUBLISH c \"a\\x22b\"\r\nPING\r\n");
    transaction.request(&["EXEC"]);
    wait_for_blocked(&mut admin, 3);
    for command in ["MULTI", "GET k", "PING"] {
        admin.run(command);
    }
    admin.expect("EXEC", "*2\r\n$-1\r\n+PONG");
    admin.expect("CLIENT UNPAUSE", "+OK");
    assert_eq!([raw(&mut writer), raw(&mut writer)], ["+OK\r\n", ":2\r\n"]);
    assert_eq!([raw(&mut publisher), raw(&mut publisher)], [":0\r\n", "+PONG\r\n"]);
    assert_eq!(raw(&mut transaction), "*1\r\n+OK\r\n");
    wait_for_blocked(&mut admin, 0);
}

#[test]
fn a_pause_of_all_ends_by_itself() {
    let server = TestServer::start();
    let (mut admin, mut other) = (server.client(), server.client());
    admin.expect("CLIENT PAUSE 50", "+OK");
    other.expect("PING", "+PONG");
    admin.expect("GET k", "$-1");
    admin.expect("CLIENT PAUSE -1", "-ERR timeout is negative");
    admin.expect("CLIENT PAUSE x", "-ERR timeout is not an integer or out of range");
    admin.expect("CLIENT PAUSE 1 SOME", "-ERR CLIENT PAUSE mode must be WRITE or ALL");
}

/// A client that goes while its command waits must not leave the count of the waiting behind.
#[test]
fn who_leaves_during_a_pause_is_forgotten() {
    let server = TestServer::start();
    let (mut admin, mut writer) = (server.client(), server.client());
    admin.run("CLIENT PAUSE 100000 WRITE");
    writer.send("SET k 1\r\n");
    wait_for_blocked(&mut admin, 1);
    drop(writer);
    admin.run("CLIENT UNPAUSE");
    wait_for_blocked(&mut admin, 0);
    admin.expect("SET k 2", "+OK");
}

#[test]
fn clients_are_chosen_by_kind_and_age() {
    let server = TestServer::start();
    let (mut admin, mut listener, mut normal) = (server.client(), server.client(), server.client());
    listener.run("SUBSCRIBE c");
    normal.run("MULTI");
    normal.run("PING");
    admin.run("CLIENT TRACKING ON BCAST");
    let list = admin.raw("CLIENT LIST");
    assert!(list.contains("flags=P ") && list.contains("flags=x ") && list.contains("multi=1 "), "{list}");
    assert!(list.contains("flags=tB ") && list.contains("cmd=client|list ") && list.contains("redir=0 "));
    admin.expect("CLIENT KILL MAXAGE 1000", ":0");
    admin.expect("CLIENT KILL TYPE pubsub", ":1");
    assert_eq!(listener.read_to_end(), "");
    admin.expect("CLIENT KILL TYPE normal", ":1");
    admin.expect("CLIENT KILL ID x", "-ERR client-id should be greater than 0");
    admin.expect("CLIENT KILL TYPE x", "-ERR Unknown client type 'x'");
    admin.expect("CLIENT UNBLOCK 1", ":0");
    admin.expect("CLIENT UNBLOCK 1 NOW", "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    admin.expect("CLIENT KILL SKIPME no TYPE normal", ":1");
    assert_eq!(admin.read_to_end(), "");
}

#[test]
fn a_reset_forgets_everything() {
    let server = TestServer::start();
    let mut client = server.client();
    for command in ["HELLO 3 SETNAME me", "SELECT 5", "CLIENT TRACKING ON", "SUBSCRIBE c", "MULTI", "PING"] {
        client.run(command);
    }
    client.expect("RESET", "+RESET");
    client.expect("CLIENT GETNAME", "$-1");
    client.expect("CLIENT GETREDIR", ":-1");
    client.expect("EXEC", "-ERR EXEC without MULTI");
    let info = client.raw("CLIENT INFO");
    assert!(info.contains("flags=N db=0 sub=0 psub=0 ssub=0 multi=-1") && info.contains("resp=2"), "{info}");
    server.client().expect("PUBLISH c x", ":0");
}
