//! What the tests share: running the binary on a directory or against a server of its own.
#![allow(dead_code, reason = "each test file uses a part of this")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as StdCommand, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::Command;
use assert_cmd::cargo::{cargo_bin, cargo_bin_cmd};

/// A place where verbs work, as the user names it.
pub(crate) struct Place {
    flags: Vec<String>,
    _server: Option<Server>,
    /// Removed when the place is dropped, after the server.
    dir: Option<tempfile::TempDir>,
}

impl Place {
    /// An empty directory, which the first write turns into a store.
    pub(crate) fn dir() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut place = Self::existing(&dir.path().join("store"));
        place.dir = Some(dir);
        place
    }

    /// A directory that the test owns.
    pub(crate) fn existing(dir: &Path) -> Self {
        Self { flags: vec!["--dir".into(), dir.display().to_string()], dir: None, _server: None }
    }

    /// A running server of its own.
    pub(crate) fn server() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(&dir.path().join("store"), &[]);
        Self { flags: vec!["--url".into(), server.url()], dir: Some(dir), _server: Some(server) }
    }

    /// The verb with its arguments, at this place.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = terrace();
        command.arg(arguments[0]).args(&self.flags).args(&arguments[1..]);
        command
    }

    /// What the verb prints; it must end with 0.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.bytes(arguments)).unwrap()
    }

    /// As `run`, for output that is not text.
    pub(crate) fn bytes(&self, arguments: &[&str]) -> Vec<u8> {
        self.command(arguments).assert().success().get_output().stdout.clone()
    }

    /// The verb must end with this code; returns what it says.
    pub(crate) fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let assert = self.command(arguments).assert().code(code);
        String::from_utf8(assert.get_output().stderr.clone()).unwrap()
    }
}

/// The binary.
pub(crate) fn terrace() -> Command {
    let mut command = cargo_bin_cmd!("terrace");
    command.timeout(Duration::from_secs(60));
    command
}

/// A server process; killed when dropped.
pub(crate) struct Server {
    child: Child,
    address: String,
    /// The lines printed before it was ready.
    pub(crate) greeting: Vec<String>,
}

impl Server {
    /// Starts `terrace serve` on a free port and waits until it is ready.
    pub(crate) fn start(dir: &Path, flags: &[&str]) -> Self {
        let mut child = StdCommand::new(cargo_bin("terrace"))
            .args(["serve", "--port", "0", "--memory", "32M", "--dir"])
            .arg(dir)
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut greeting = Vec::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("the server says Ready before it ends").unwrap();
            if let Some(address) = line.strip_prefix("Ready on ") {
                break address.to_owned();
            }
            greeting.push(line);
        };
        // Keep the pipe open and empty, as a terminal would.
        std::thread::spawn(move || lines.count());
        Self { child, address, greeting }
    }

    /// Its address as a URL.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Sends a signal by name, such as `TERM`, and waits for the end.
    pub(crate) fn signal(&mut self, name: &str) -> ExitStatus {
        let sent = StdCommand::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the server is still there 20 s after SIG{name}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file with this content, in a directory that lives as long as the first part.
pub(crate) fn file(name: &str, content: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, content).unwrap();
    (dir, path)
}
