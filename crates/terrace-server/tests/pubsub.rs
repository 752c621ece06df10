//! Publish and subscribe, over sockets and across loops.

mod common;

use common::{Client, TestServer};

/// A connection of the newer protocol.
fn resp3(server: &TestServer) -> Client {
    let mut client = server.client();
    client.run("HELLO 3");
    client
}

fn raw(client: &mut Client) -> String {
    String::from_utf8_lossy(&client.raw_reply()).into_owned()
}

#[test]
fn messages_reach_channels_and_patterns_in_the_form_of_each_protocol() {
    let server = TestServer::start();
    let (mut old, mut new, mut publisher) = (server.client(), resp3(&server), server.client());
    old.expect("SUBSCRIBE news", "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1");
    old.expect("PSUBSCRIBE n*", "*3\r\n$10\r\npsubscribe\r\n$2\r\nn*\r\n:2");
    new.expect("SUBSCRIBE news", ">3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1");
    publisher.expect("PUBLISH news hello", ":3");
    publisher.expect("PUBLISH other hello", ":0");
    assert_eq!(raw(&mut old), "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n");
    assert_eq!(raw(&mut old), "*4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$5\r\nhello\r\n");
    assert_eq!(raw(&mut new), ">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n");
    // The new protocol tells pushes from replies, so everything is allowed there.
    new.expect("SET k v", "+OK");
    old.expect("UNSUBSCRIBE", "*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:1");
    old.expect("PUNSUBSCRIBE", "*3\r\n$12\r\npunsubscribe\r\n$2\r\nn*\r\n:0");
    old.expect("UNSUBSCRIBE", "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0");
    old.expect("GET k", "$1\r\nv");
    publisher.expect("PUBLISH news again", ":1");
}

#[test]
fn a_client_of_the_old_protocol_that_listens_does_nothing_else() {
    let server = TestServer::start();
    let mut client = server.client();
    client.run("SUBSCRIBE c");
    let only = "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context";
    client.expect("GET k", &format!("-ERR Can't execute 'get': {only}"));
    client.expect("CLIENT LIST", &format!("-ERR Can't execute 'client|list': {only}"));
    client.expect("GET", "-ERR wrong number of arguments for 'get' command");
    client.expect("PING", "*2\r\n$4\r\npong\r\n$0\r\n");
    client.expect("PING x", "*2\r\n$4\r\npong\r\n$1\r\nx");
    client.expect("RESET", "+RESET");
    client.expect("PING", "+PONG");
    server.client().expect("PUBLISH c x", ":0");
}

#[test]
fn sharded_channels_are_apart() {
    let server = TestServer::start();
    let (mut listener, mut publisher) = (resp3(&server), server.client());
    listener.expect("SUBSCRIBE c", ">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1");
    listener.expect("SSUBSCRIBE c", ">3\r\n$10\r\nssubscribe\r\n$1\r\nc\r\n:1");
    publisher.expect("SPUBLISH c shard", ":1");
    publisher.expect("PUBLISH c all", ":1");
    assert_eq!(raw(&mut listener), ">3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$5\r\nshard\r\n");
    assert_eq!(raw(&mut listener), ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$3\r\nall\r\n");
    publisher.expect("PUBSUB SHARDCHANNELS", "*1\r\n$1\r\nc");
    publisher.expect("PUBSUB SHARDNUMSUB c d", "*4\r\n$1\r\nc\r\n:1\r\n$1\r\nd\r\n:0");
    listener.expect("SUNSUBSCRIBE", ">3\r\n$12\r\nsunsubscribe\r\n$1\r\nc\r\n:0");
    publisher.expect("SPUBLISH c x", ":0");
}

#[test]
fn the_table_of_subscriptions_is_shown_and_forgets_who_leaves() {
    let server = TestServer::start();
    let (mut one, mut two, mut asks) = (server.client(), server.client(), server.client());
    one.run("SUBSCRIBE a");
    one.run("SUBSCRIBE b");
    one.run("PSUBSCRIBE x*");
    two.run("PSUBSCRIBE x*");
    two.run("SUBSCRIBE a");
    asks.expect("PUBSUB CHANNELS", "*2\r\n$1\r\na\r\n$1\r\nb");
    asks.expect("PUBSUB CHANNELS b*", "*1\r\n$1\r\nb");
    asks.expect("PUBSUB NUMSUB a b c", "*6\r\n$1\r\na\r\n:2\r\n$1\r\nb\r\n:1\r\n$1\r\nc\r\n:0");
    asks.expect("PUBSUB NUMSUB", "*0");
    asks.expect("PUBSUB NUMPAT", ":1");
    let list = asks.raw("CLIENT LIST TYPE pubsub");
    assert!(list.contains("flags=P db=0 sub=2 psub=1 ssub=0") && list.contains("cmd=psubscribe"), "{list}");
    assert_eq!(list.matches("id=").count(), 2);
    drop(one);
    while asks.raw("PUBSUB CHANNELS") != "*1\r\n$1\r\na\r\n" {
        std::thread::yield_now();
    }
    asks.expect("PUBLISH b x", ":0");
    asks.expect("PUBSUB NUMSUB a", "*2\r\n$1\r\na\r\n:1");
}

#[test]
fn messages_of_a_transaction_are_sent_with_it_and_only_if_it_commits() {
    let server = TestServer::start();
    let (mut listener, mut writer, mut other) = (resp3(&server), resp3(&server), server.client());
    listener.run("SUBSCRIBE c");
    writer.run("SUBSCRIBE c");
    writer.run("WATCH k");
    other.run("SET k 1");
    for command in ["MULTI", "PUBLISH c lost", "SET k 2"] {
        writer.run(command);
    }
    writer.expect("EXEC", "_");
    for command in ["MULTI", "PUBLISH c kept", "PING"] {
        writer.run(command);
    }
    // The publisher's own copy comes after its reply.
    writer.expect("EXEC", "*2\r\n:2\r\n+PONG");
    for client in [&mut writer, &mut listener] {
        assert_eq!(raw(client), ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$4\r\nkept\r\n");
    }
}

#[test]
fn every_subscriber_gets_every_message_in_order() {
    const MESSAGES: usize = 2000;
    let server = TestServer::start_with(|config| config.threads = 3);
    let mut listeners: Vec<Client> = (0..6).map(|_| resp3(&server)).collect();
    for listener in &mut listeners {
        listener.run("SUBSCRIBE a");
        listener.run("PSUBSCRIBE b*");
    }
    std::thread::scope(|scope| {
        for channel in ["a", "b1"] {
            let server = &server;
            scope.spawn(move || {
                let mut publisher = server.client();
                (0..MESSAGES).for_each(|i| publisher.request(&["PUBLISH", channel, &i.to_string()]));
                (0..MESSAGES).for_each(|_| assert_eq!(raw(&mut publisher), ":6\r\n"));
            });
        }
        for listener in &mut listeners {
            scope.spawn(move || {
                let mut next = [0usize; 2];
                while next != [MESSAGES; 2] {
                    let message = raw(listener);
                    let of = usize::from(message.contains("pmessage"));
                    let number: usize = message.trim_end().rsplit("\r\n").next().unwrap().parse().unwrap();
                    assert_eq!(number, next[of], "{message:?}");
                    next[of] += 1;
                }
            });
        }
    });
}

#[test]
fn a_subscriber_that_does_not_read_is_cut_off_and_holds_up_nobody() {
    let server = TestServer::start();
    let (mut slow, mut quick, mut publisher) = (server.client(), server.client(), server.client());
    publisher.request(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 0 0"]);
    assert_eq!(raw(&mut publisher), "+OK\r\n");
    slow.run("SUBSCRIBE c");
    quick.run("SUBSCRIBE c");
    let payload = "x".repeat(64 << 10);
    let (mut sent, mut receivers) = (0, 2);
    while receivers == 2 {
        publisher.request(&["PUBLISH", "c", &payload]);
        receivers = match publisher.reply() {
            terrace_resp::Value::Integer(count) => count,
            other => panic!("{other:?}"),
        };
        sent += 1;
        assert!(sent < 4000, "256 MB were kept for a subscriber that may have 1 MB waiting");
        assert!(raw(&mut quick).len() > payload.len());
    }
    assert_eq!(receivers, 1);
    let info = publisher.raw("INFO stats");
    assert!(info.contains("client_output_buffer_limit_disconnections:1"), "{info}");
}

#[test]
fn replies_can_be_switched_off_but_not_messages() {
    let server = TestServer::start();
    let (mut client, mut publisher) = (resp3(&server), server.client());
    client.request(&["CLIENT", "REPLY", "OFF"]);
    client.request(&["SET", "k", "v"]);
    client.request(&["NOSUCH"]);
    client.expect("SUBSCRIBE c", ">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1");
    publisher.expect("PUBLISH c hi", ":1");
    assert_eq!(raw(&mut client), ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n");
    client.request(&["GET", "k"]);
    client.request(&["DEBUG", "SLEEP", "0"]);
    client.expect("CLIENT REPLY ON", "+OK");
    client.request(&["CLIENT", "REPLY", "SKIP"]);
    client.request(&["PING"]);
    client.expect("GET k", "$1\r\nv");
    client.request(&["CLIENT", "REPLY", "SKIP"]);
    client.expect("CLIENT REPLY ON", "+OK");
    client.expect("PING", "+PONG");
}
