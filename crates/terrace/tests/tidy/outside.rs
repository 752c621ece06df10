//! The engine touches files, clocks and threads in `io` only, so that the simulator sees everything.
//!
//! `crates/terrace/clippy.toml` forbids the same by what a name means; this finds it by how it is written, without clippy.
//! Tests may do as they like.

use super::paths;
use super::source::{Source, Violation};

/// Ends of paths that reach outside the process, and what to use instead.
const FORBIDDEN: [(&[&str], &str); 6] = [
    (&["std", "fs"], "io::Fs"),
    (&["SystemTime", "now"], "io::Clock"),
    (&["Instant", "now"], "io::Clock"),
    (&["thread", "sleep"], "io::Clock"),
    (&["thread", "spawn"], "io::Spawn"),
    (&["thread", "Builder"], "io::Spawn"),
];
/// Where such a path may begin.
const ROOTS: [&str; 5] = ["std", "SystemTime", "Instant", "thread", "time"];

/// The rule.
pub(crate) fn check(source: &Source) -> Vec<Violation> {
    let is_engine = source.engine_path().is_some_and(|path| !path.starts_with("io/"));
    if source.is_test || !is_engine {
        return Vec::new();
    }
    let mut violations = Vec::new();
    for path in paths::find(&source.tokens, &ROOTS) {
        let segments: Vec<&str> = path.segments.iter().map(String::as_str).collect();
        for (forbidden, instead) in FORBIDDEN {
            if segments.windows(forbidden.len()).any(|window| window == forbidden)
                && !source.in_test(path.token)
            {
                let message = format!("`{}`: use {instead}", segments.join("::"));
                violations.push(source.violation(path.line, message));
            }
        }
    }
    violations
}

#[test]
fn reaching_outside_is_found() {
    for text in [
        "use std::fs;",
        "use std::{io, fs::File};",
        "fn f() { ::std::fs::read(p); }",
        "fn f() { SystemTime::now(); }",
        "fn f() { std::time::Instant::now(); }",
        "fn f() { thread::spawn(g); }",
        "use std::thread::{self, spawn};",
        "fn f() { std::thread::Builder::new(); }",
    ] {
        assert_eq!(super::source::lines(check, "crates/terrace/src/db/a.rs", text), [1], "{text}");
        assert_eq!(super::source::lines(check, "crates/terrace/src/io/os.rs", text), [0; 0], "{text}");
        assert_eq!(super::source::lines(check, "crates/terrace-cli/src/a.rs", text), [0; 0], "{text}");
    }
}

#[test]
fn tests_and_other_names_are_fine() {
    let text = "use std::os::unix::fs::FileExt; use std::time::Duration; fn f() { self.thread.spawn(); }\n\
                #[cfg(test)]\nmod tests {\n    fn g() { std::thread::spawn(h); }\n}\n";
    assert_eq!(super::source::lines(check, "crates/terrace/src/db/a.rs", text), [0; 0]);
}
