//! The same verbs against a running server, and the server's own start and end.

mod common;
mod scenarios;

use common::{Place, Server, terrace};

#[test]
fn every_scenario_holds_on_a_server() {
    let place = Place::server();
    for scenario in scenarios::ALL {
        scenario(&place);
    }
}

#[test]
fn the_greeting_says_what_matters() {
    let dir = tempfile::tempdir().unwrap();
    let server =
        Server::start(&dir.path().join("store"), &["--durability", "interval", "--interval-ms", "250"]);
    let greeting = server.greeting.join("\n");
    assert!(greeting.contains(concat!("Terrace ", env!("CARGO_PKG_VERSION"))), "{greeting}");
    assert!(greeting.contains("store") && greeting.contains("32.0 MiB"), "{greeting}");
    assert!(greeting.contains("a power loss after at most 250 ms"), "{greeting}");
    assert!(server.url().starts_with("redis://127.0.0.1:"), "{}", server.url());
}

#[test]
fn a_signal_ends_the_server_with_0_and_the_data_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    for (signal, level) in [("TERM", "interval"), ("INT", "sync"), ("TERM", "memory"), ("TERM", "process")] {
        let mut server = Server::start(&path, &["--durability", level]);
        terrace().args(["put", "--url", &server.url(), level, "kept"]).assert().success();
        assert_eq!(server.signal(signal).code(), Some(0), "{signal} {level}");
        assert_eq!(Place::existing(&path).run(&["get", level]), "kept");
    }
    assert_eq!(Place::existing(&path).run(&["count"]), "4\n");
}

#[test]
fn databases_are_chosen_by_the_url_and_a_password_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("store"), &["--requirepass", "secret"]);
    let url = |login: &str, db: u8| {
        format!("{}/{db}", server.url().replace("redis://", &format!("redis://{login}")))
    };
    terrace().args(["put", "--url", &url(":secret@", 0), "k", "zero"]).assert().success();
    terrace().args(["put", "--url", &url(":secret@", 3), "k", "three"]).assert().success();
    terrace().args(["get", "--url", &url(":secret@", 0), "k"]).assert().success().stdout("zero");
    terrace().args(["get", "--url", &url(":secret@", 3), "k"]).assert().success().stdout("three");
    terrace().args(["get", "--url", &url(":wrong@", 0), "k"]).assert().code(5);
    terrace().args(["get", "--url", &url("", 0), "k"]).assert().code(5);
}

#[test]
fn a_store_that_is_served_can_be_read_and_is_locked_for_who_would_write() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let server = Server::start(&path, &[]);
    terrace().args(["put", "--url", &server.url(), "key", "value"]).assert().success();
    terrace().args(["get", "key", "--dir"]).arg(&path).assert().success().stdout("value");
    terrace().args(["count", "--dir"]).arg(&path).assert().success().stdout("1\n");
    let said = Place::existing(&path).fails(3, &["del", "key"]);
    assert!(said.contains("LOCK is locked by process") && said.contains("--url"), "{said}");
    terrace().args(["serve", "--port", "0", "--dir"]).arg(&path).assert().code(3);
}

/// What is wrong with users was told as if the address could not be listened on.
#[test]
fn users_that_cannot_be_are_refused_with_their_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("terrace.toml");
    std::fs::write(&file, "port = 0\nusers = ['user a on +nope']\n").unwrap();
    let store = dir.path().join("store");
    let refused = terrace().args(["serve", "--config"]).arg(&file).arg("--dir").arg(&store).assert().code(2);
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(said.contains("terrace.toml: users, number 1: user 'a'") && said.contains("'+nope'"), "{said}");
    assert!(!said.contains("cannot listen"), "{said}");
}

#[test]
fn a_port_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&dir.path().join("a"), &[]);
    let port = server.url().rsplit_once(':').unwrap().1.to_owned();
    let refused =
        terrace().args(["serve", "--port", &port, "--dir"]).arg(dir.path().join("b")).assert().code(5);
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(said.contains(&format!("127.0.0.1:{port}")) && said.contains("--port"), "{said}");
}
