//! Tidy: the rules of the house that no compiler checks, read from the workspace's own sources.
//!
//! Every rule is a function from one source to its violations, in a module of its own, with tests on made-up
//! sources that break it. The tests here apply the rules to the real files. The rules work on tokens (see
//! `lex`), so nothing in a string or a comment sets them off; they do not expand macros.

#![allow(clippy::disallowed_methods, reason = "reads the sources of the workspace")]

mod layers;
mod lex;
mod manifests;
mod opening;
mod outside;
mod paths;
mod size;
mod source;
mod spans;
mod unsafety;
mod words;
mod workspace;

use source::{Source, Violation};

/// Applies a rule to every source and fails with all violations at once.
fn check_all(rule: impl Fn(&Source) -> Vec<Violation>) {
    let violations: Vec<Violation> = workspace::sources().iter().flat_map(rule).collect();
    report(&violations);
}

fn report(violations: &[Violation]) {
    let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{} violation(s):\n  {}", lines.len(), lines.join("\n  "));
}

#[test]
fn layers_import_only_downward() {
    check_all(layers::check);
}

#[test]
fn crates_depend_only_downward() {
    report(&manifests::check_all(&workspace::manifests()));
}

#[test]
fn files_stay_short() {
    check_all(size::check_file);
}

#[test]
fn functions_stay_short() {
    check_all(size::check_functions);
}

#[test]
fn files_open_with_their_job() {
    check_all(opening::check);
}

#[test]
fn unsafe_code_is_listed_and_explained() {
    check_all(unsafety::check);
}

#[test]
fn nothing_is_left_over() {
    check_all(words::check);
}

#[test]
fn the_engine_reaches_outside_only_through_io() {
    check_all(outside::check);
}

/// A walk that finds nothing would make every rule above pass.
#[test]
fn the_walk_finds_the_workspace() {
    let sources = workspace::sources();
    let find = |path: &str| sources.iter().find(|source| source.path == path);
    assert!(find("crates/terrace/src/lib.rs").is_some_and(|source| !source.is_test));
    assert!(find("crates/terrace/src/io/os.rs").is_some_and(|source| source.tokens.len() > 100));
    assert!(find("crates/terrace/tests/tidy/main.rs").is_some_and(|source| source.is_test));
    assert!(workspace::manifests().len() >= 6);
}
