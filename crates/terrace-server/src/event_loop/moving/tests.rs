//! Connections that change loops while they are in use.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::shared::Shared;
use crate::{Server, ServerConfig};

struct Client(BufReader<TcpStream>);

impl Client {
    fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_string()
    }

    fn ask(&mut self, text: &str) -> String {
        self.send(&format!("{text}\r\n"));
        self.line()
    }
}

/// A server with two loops, which `test` gets as others of the same process see it.
fn with_server(test: impl FnOnce(&Arc<Shared>, &dyn Fn() -> Client)) {
    let dir = tempfile::tempdir().unwrap();
    let mut config = ServerConfig::new(terrace::Db::open(dir.path()).unwrap());
    (config.port, config.threads) = (0, 2);
    let server = Server::bind(config).unwrap();
    let (shared, addr, stop) = (Arc::clone(server.shared()), server.local_addr(), server.shutdown_handle());
    let serving = thread::spawn(move || server.run());
    test(&shared, &|| {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_nodelay(true).unwrap();
        Client(BufReader::new(stream))
    });
    stop.shutdown();
    serving.join().unwrap().unwrap();
}

fn connections(shared: &Shared) -> [usize; 2] {
    [0, 1].map(|index| shared.loops[index].connections.load(Ordering::Relaxed))
}

/// Has all clients say something until the loops have so many connections, and once more, when none is on its way.
fn settle(shared: &Shared, clients: &mut [Client], wanted: [usize; 2]) {
    let start = Instant::now();
    let mut settled = false;
    while !settled {
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}, not {wanted:?}", connections(shared));
        settled = connections(shared) == wanted;
        for client in &mut *clients {
            assert_eq!(client.ask("PING"), "+PONG");
        }
    }
}

/// The reply said that the client was disconnected, and it was not: the order had come to the loop that the connection
/// had left, before the one where it went to.
#[test]
fn an_order_to_disconnect_reaches_a_connection_on_its_way() {
    with_server(|shared, connect| {
        for round in 0..200 {
            let (mut victim, mut other) = (connect(), connect());
            let id = victim.ask("CLIENT ID").split_off(1);
            assert_eq!(other.ask("PING"), "+PONG");
            shared.balance.force(1 + round % 2);
            // Served now, it leaves; the order comes at the same time.
            victim.send("PING\r\n");
            assert_eq!(other.ask(&format!("CLIENT KILL ID {id}")), ":1");
            let mut rest = Vec::new();
            let ended = victim.0.read_to_end(&mut rest);
            assert!(
                ended.is_ok() || ended.unwrap_err().kind() != std::io::ErrorKind::WouldBlock,
                "it is still there"
            );
        }
    });
}

#[test]
fn connections_follow_the_number_of_loops_and_stay_what_they_are() {
    with_server(|shared, connect| {
        let mut clients: Vec<Client> = (0..8).map(|_| connect()).collect();
        settle(shared, &mut clients, [4, 4]);
        for (n, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.ask(&format!("CLIENT SETNAME name{n}")), "+OK");
            assert_eq!(client.ask("SELECT 3"), "+OK");
        }
        shared.balance.force(1);
        settle(shared, &mut clients, [8, 0]);
        shared.balance.force(2);
        settle(shared, &mut clients, [4, 4]);
        for (n, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.ask("CLIENT GETNAME"), "$5");
            assert_eq!(client.line(), format!("name{n}"));
            assert_eq!(client.ask(&format!("SET key{n} value")), "+OK");
        }
        let mut other = connect();
        assert_eq!(other.ask("DBSIZE"), ":0");
        other.ask("SELECT 3");
        assert_eq!(other.ask("DBSIZE"), ":8");
    });
}

#[test]
fn replies_keep_their_order_while_connections_move() {
    with_server(|shared, connect| {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let clients: Vec<_> = (0..6).map(|n| (n, connect())).collect();
            let threads: Vec<_> = clients
                .into_iter()
                .map(|(n, mut client)| {
                    scope.spawn(move || {
                        for round in 0..200 {
                            client.send(&format!("INCR counter{n}\r\n").repeat(10));
                            for i in 1..=10 {
                                assert_eq!(client.line(), format!(":{}", round * 10 + i));
                            }
                        }
                    })
                })
                .collect();
            let toggling = scope.spawn(|| {
                let mut active = 1;
                while !done.load(Ordering::Relaxed) {
                    shared.balance.force(active);
                    active = 3 - active;
                    thread::sleep(Duration::from_millis(1));
                }
            });
            for thread in threads {
                thread.join().unwrap();
            }
            done.store(true, Ordering::Relaxed);
            toggling.join().unwrap();
        });
    });
}

/// What others know of a connection's place must hold: an order to disconnect it, a message, a wait.
#[test]
fn a_connection_that_has_moved_is_found_and_one_that_listens_stays() {
    with_server(|shared, connect| {
        let mut clients: Vec<Client> = (0..4).map(|_| connect()).collect();
        settle(shared, &mut clients, [2, 2]);
        let mut listeners: Vec<Client> = (0..2).map(|_| connect()).collect();
        for listener in &mut listeners {
            assert_eq!(listener.ask("SUBSCRIBE news"), "*3");
            (0..5).for_each(|_| _ = listener.line());
        }
        shared.balance.force(1);
        settle(shared, &mut clients, [5, 1]);
        assert_eq!(clients[0].ask("PUBLISH news hello"), ":2");
        for listener in &mut listeners {
            assert_eq!(listener.ask(""), "*3");
            let rest: Vec<String> = (0..6).map(|_| listener.line()).collect();
            assert_eq!(rest[5], "hello");
        }
        for client in &mut clients {
            assert_eq!(client.ask("SET key value"), "+OK");
            assert_eq!(client.ask("WAITAOF 1 0 0"), "*2");
            assert_eq!([client.line(), client.line()], [":1", ":0"]);
        }
        let id = clients[3].ask("CLIENT ID").split_off(1);
        shared.balance.force(2);
        assert_eq!(clients[0].ask(&format!("CLIENT KILL ID {id}")), ":1");
        assert_eq!(clients[3].0.read(&mut [0; 1]).unwrap(), 0);
    });
}
