//! Where the server listens: several addresses, and changes while it runs.

mod common;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use common::{Client, TestServer};

fn other(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), port)
}

/// Whether somebody accepts connections there before long.
fn opens(address: SocketAddr) -> bool {
    (0..200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        TcpStream::connect(address).is_ok()
    })
}

fn closes(address: SocketAddr) -> bool {
    (0..200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        TcpStream::connect(address).is_err()
    })
}

#[test]
fn a_server_listens_at_all_of_its_addresses() {
    let server = TestServer::start_with(|config| {
        config.bind = vec![IpAddr::V4(Ipv4Addr::LOCALHOST).into(), other(0).ip().into()];
        // One that this machine has not, and that may be missing.
        let missing: IpAddr = "192.0.2.1".parse().unwrap();
        config.bind.push(terrace_server::Bind { ip: missing, optional: true });
    });
    for address in [server.addr, other(server.addr.port())] {
        Client::connect(address).expect("PING", "+PONG");
    }
    assert!(server.client().raw("CONFIG GET bind").contains("127.0.0.1 127.0.0.2 -192.0.2.1"));
}

#[test]
fn address_and_port_change_while_clients_stay() {
    let server = TestServer::start();
    let mut client = server.client();
    client.request(&["CONFIG", "SET", "bind", "127.0.0.1 127.0.0.2"]);
    assert_eq!(client.raw_reply(), b"+OK\r\n");
    let second = other(server.addr.port());
    assert!(opens(second));
    client.expect("CONFIG SET bind 127.0.0.2", "+OK");
    assert!(closes(server.addr) && opens(second));

    let taken = TcpListener::bind(other(0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let refused = client.raw(&format!("CONFIG SET port {port} maxclients 77"));
    assert!(refused.contains("Unable to listen on this port"), "{refused}");
    assert!(client.raw("CONFIG GET maxclients").contains("10000"), "all or nothing");
    assert!(client.raw("CONFIG SET port 0").contains("there is no other"));
    assert!(client.raw("CONFIG SET bind 192.0.2.1").contains("Failed to bind"));
    assert!(client.raw("CONFIG SET bind localhost").contains("is not an IP address"));
    assert!(opens(second), "what was refused changes nothing");

    drop(taken);
    client.expect(&format!("CONFIG SET port {port}"), "+OK");
    assert!(opens(other(port)) && closes(second));
    assert!(client.raw("CONFIG GET port").contains(&port.to_string()));
    Client::connect(other(port)).expect("PING", "+PONG");
}
