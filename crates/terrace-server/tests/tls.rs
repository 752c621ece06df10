//! TLS: handshakes, limits, certificates of clients, and certificates that are renewed while the server runs.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::TestServer;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use terrace_resp::{Value, decode_reply, encode_request};
use terrace_server::ServerConfig;

/// An authority, and files with certificates that it has signed.
struct Authority {
    dir: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        fs::write(dir.path().join("ca.pem"), certificate.pem()).unwrap();
        Self { dir, certificate: certificate.der().clone(), issuer: Issuer::new(params, key) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes `NAME.pem` and `NAME.key`.
    fn sign(&self, name: &str) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_string()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// A server that has both ports.
    fn server(&self, clients: &str, change: impl FnOnce(&mut ServerConfig)) -> TestServer {
        TestServer::start_with(|config| {
            config.tls_port = Some(0);
            for (name, value) in [
                ("tls-cert-file", self.path("server.pem").to_str().unwrap()),
                ("tls-key-file", self.path("server.key").to_str().unwrap()),
                ("tls-ca-cert-file", self.path("ca.pem").to_str().unwrap()),
                ("tls-auth-clients", clients),
            ] {
                config.configuration.set(name, value).unwrap();
            }
            change(config);
        })
    }

    /// A client that believes this authority, perhaps with a certificate of its own.
    fn connect(&self, server: &TestServer, own: Option<&str>) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let certificate = CertificateDer::from_pem_file(self.path(&format!("{name}.pem"))).unwrap();
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        let socket = TcpStream::connect(server.tls_addr.unwrap()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let session = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        Client { stream: StreamOwned::new(session, socket), buffer: Vec::new() }
    }
}

struct Client {
    stream: StreamOwned<ClientConnection, TcpStream>,
    buffer: Vec<u8>,
}

impl Client {
    fn reply(&mut self) -> std::io::Result<Value> {
        loop {
            if let Some((value, len)) = decode_reply(&self.buffer).unwrap() {
                self.buffer.drain(..len);
                return Ok(value);
            }
            let mut chunk = [0; 16 << 10];
            let n = self.stream.read(&mut chunk)?;
            if n == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            self.buffer.extend_from_slice(&chunk[..n]);
        }
    }

    fn run(&mut self, command: &str) -> std::io::Result<Value> {
        let mut bytes = Vec::new();
        encode_request(&mut bytes, &command.split(' ').collect::<Vec<_>>());
        self.stream.write_all(&bytes)?;
        self.reply()
    }

    /// The certificate that the server has shown.
    fn shown(&self) -> CertificateDer<'static> {
        self.stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
    }
}

fn certificate(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).unwrap()
}

#[test]
fn both_ports_serve_the_same() {
    let authority = Authority::new();
    authority.sign("server");
    let server = authority.server("no", |_| {});
    let (mut secret, mut plain) = (authority.connect(&server, None), server.client());
    assert_eq!(secret.run("SET k v").unwrap(), Value::Simple("OK".into()));
    plain.expect("GET k", "$1\r\nv");
    let Value::Bulk(listed) = secret.run("CLIENT LIST").unwrap() else { panic!() };
    assert_eq!(String::from_utf8(listed).unwrap().lines().count(), 2);
    assert_eq!(secret.run("QUIT").unwrap(), Value::Simple("OK".into()));
    assert!(secret.reply().is_err(), "QUIT ends the connection");
    // Somebody who speaks no TLS is shown the door, and nobody else notices.
    let mut confused = common::Client::connect(server.tls_addr.unwrap());
    confused.send("PING\r\n");
    confused.read_to_end();
    plain.expect("PING", "+PONG");
}

#[test]
fn much_goes_both_ways_and_order_is_kept() {
    let authority = Authority::new();
    authority.sign("server");
    let server = authority.server("no", |_| {});
    let mut client = authority.connect(&server, None);
    let value = "x".repeat(3_000_000);
    client.run(&format!("SET big {value}")).unwrap();
    let mut pipeline = Vec::new();
    for i in 0..200 {
        encode_request(&mut pipeline, &["GET", if i % 20 == 0 { "big" } else { "none" }]);
        encode_request(&mut pipeline, &["ECHO", &i.to_string()]);
    }
    client.stream.write_all(&pipeline).unwrap();
    for i in 0..200 {
        match client.reply().unwrap() {
            Value::Bulk(bytes) => assert!(i % 20 == 0 && bytes == value.as_bytes()),
            other => assert!(i % 20 != 0 && other == Value::Null, "{i}: {other:?}"),
        }
        assert_eq!(client.reply().unwrap(), common::bulk(&i.to_string()));
    }
}

/// One byte at a time, so that a handshake and a request are spread over many turns of the loop.
#[test]
fn a_slow_handshake_holds_nobody_up() {
    let authority = Authority::new();
    authority.sign("server");
    let server = authority.server("no", |config| config.threads = 1);
    let mut client = authority.connect(&server, None);
    let mut hello = Vec::new();
    client.stream.conn.write_tls(&mut hello).unwrap();
    let mut plain = server.client();
    for byte in hello {
        client.stream.sock.write_all(&[byte]).unwrap();
        plain.expect("PING", "+PONG");
    }
    assert_eq!(client.run("PING").unwrap(), Value::Simple("PONG".into()));
}

#[test]
fn limits_hold_as_on_the_plain_port() {
    let authority = Authority::new();
    authority.sign("server");
    let server = authority.server("no", |config| config.output_hard_bytes = 1 << 20);
    let mut client = authority.connect(&server, None);
    client.run(&format!("SET big {}", "x".repeat(24 << 20))).unwrap();
    let mut request = Vec::new();
    encode_request(&mut request, &["GET", "big"]);
    client.stream.write_all(&request).unwrap();
    let mut plain = server.client();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !plain.raw("INFO stats").contains("client_output_buffer_limit_disconnections:1") {
        assert!(Instant::now() < deadline, "a client that takes nothing is never cut off");
        std::thread::sleep(Duration::from_millis(10));
    }
    plain.expect("CONFIG SET maxclients 1", "+OK");
    assert!(authority.connect(&server, None).run("PING").is_err());
    plain.expect("CONFIG SET maxclients 10 requirepass secret", "+OK");
    let mut locked = authority.connect(&server, None);
    assert!(matches!(locked.run("PING").unwrap(), Value::Error(said) if said.starts_with("NOAUTH")));
}

#[test]
fn clients_show_certificates_when_they_must() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.sign("server");
    authority.sign("client");
    stranger.sign("client");
    let server = authority.server("yes", |_| {});
    assert!(authority.connect(&server, None).run("PING").is_err());
    assert_eq!(authority.connect(&server, Some("client")).run("PING").unwrap(), Value::Simple("PONG".into()));
    for name in ["client.pem", "client.key"] {
        fs::copy(stranger.path(name), authority.path(&format!("stranger-{name}"))).unwrap();
    }
    assert!(authority.connect(&server, Some("stranger-client")).run("PING").is_err());
    server.client().expect("CONFIG SET tls-auth-clients optional", "+OK");
    assert!(authority.connect(&server, None).run("PING").is_ok());
    assert!(authority.connect(&server, Some("stranger-client")).run("PING").is_err());
}

#[test]
fn certificates_are_renewed_while_the_server_runs() {
    let authority = Authority::new();
    authority.sign("server");
    let server = authority.server("no", |_| {});
    let mut old = authority.connect(&server, None);
    old.run("PING").unwrap();
    let first = old.shown();
    assert_eq!(first, certificate(&authority.path("server.pem")));

    authority.sign("server");
    let second = certificate(&authority.path("server.pem"));
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let mut client = authority.connect(&server, None);
        client.run("PING").unwrap();
        if client.shown() == second {
            break;
        }
        assert!(Instant::now() < deadline, "the new certificate is never loaded");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(old.run("PING").is_ok(), "open connections go on");

    let shown = |authority: &Authority| {
        let mut client = authority.connect(&server, None);
        client.run("PING").unwrap();
        client.shown()
    };
    fs::write(authority.path("server.pem"), "no certificate").unwrap();
    server.stop.reload_certificate();
    assert_eq!(shown(&authority), second, "what cannot be loaded changes nothing");

    authority.sign("third");
    let mut plain = server.client();
    let said = plain.raw(&format!("CONFIG SET tls-cert-file {}", authority.path("third.pem").display()));
    assert!(said.contains("Unable to update TLS configuration"), "the key is another's: {said}");
    assert!(plain.raw("CONFIG GET tls-cert-file").contains("server.pem"));
    plain.expect(
        &format!(
            "CONFIG SET tls-cert-file {} tls-key-file {}",
            authority.path("third.pem").display(),
            authority.path("third.key").display()
        ),
        "+OK",
    );
    assert_eq!(shown(&authority), certificate(&authority.path("third.pem")));
}

#[test]
fn versions_and_cipher_suites_are_chosen_while_the_server_runs() {
    let authority = Authority::new();
    authority.sign("server");
    let server = authority.server("no", |config| {
        config.configuration.set("tls-protocols", "TLSv1.2").unwrap();
        config.configuration.set("tls-ciphers", "ECDHE-ECDSA-CHACHA20-POLY1305").unwrap();
    });
    let negotiated = || {
        let mut client = authority.connect(&server, None);
        client.run("PING").unwrap();
        client.stream.conn.negotiated_cipher_suite().unwrap().suite()
    };
    let chacha = rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256;
    assert_eq!(negotiated(), chacha);
    let mut plain = server.client();
    let refused = plain.raw("CONFIG SET tls-ciphersuites ECDHE-ECDSA-CHACHA20-POLY1305");
    assert!(refused.contains("is no cipher suite of TLS 1.3"), "{refused}");
    assert!(plain.raw("CONFIG SET tls-ciphers RC4-MD5").contains("no cipher suite 'RC4-MD5'"));
    assert_eq!(negotiated(), chacha, "a refused change changes nothing");
    plain.expect("CONFIG SET tls-protocols TLSv1.3 tls-ciphersuites TLS_AES_128_GCM_SHA256", "+OK");
    assert_eq!(negotiated(), rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
}

#[test]
fn a_server_without_a_plain_port_and_one_without_a_certificate() {
    let authority = Authority::new();
    authority.sign("server");
    let server = authority.server("no", |config| config.plain_port = false);
    assert_eq!(server.tls_addr, Some(server.addr));
    let mut client = authority.connect(&server, None);
    let Value::Array(port) = client.run("CONFIG GET port").unwrap() else { panic!() };
    assert_eq!(port[1], common::bulk("0"));
    drop(client);
    let dir = tempfile::tempdir().unwrap();
    for (clients, part) in [("no", "tls-port needs tls-cert-file"), ("yes", "tls-port needs tls-cert-file")] {
        let mut config = ServerConfig::new(terrace::Db::open(dir.path().join(clients)).unwrap());
        (config.port, config.tls_port) = (0, Some(0));
        config.configuration.set("tls-auth-clients", clients).unwrap();
        let said = terrace_server::Server::bind(config).err().unwrap().to_string();
        assert!(said.contains(part), "{said}");
    }
}
