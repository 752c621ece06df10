//! The short version of the parts of `trust` that need real threads and real processes.

use std::process::Command;

/// Runs a part; the counters of its summary line.
fn run(arguments: &[&str]) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_trust")).args(arguments).output().unwrap();
    let line = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success(), "{line}{}", String::from_utf8_lossy(&out.stderr));
    println!("{line}");
    line
}

fn count(line: &str, name: &str) -> u64 {
    let found = line.split([' ', '\n']).find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    found.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {name} in {line}"))
}

#[test]
fn concurrent_histories_have_an_order() {
    let line = run(&["linear", "--minutes", "0.2", "--seeds", "4"]);
    assert!(count(&line, "histories") >= 100, "{line}");
}

#[test]
fn what_a_killed_program_has_acknowledged_is_there() {
    let line = run(&["kill", "--minutes", "0.1", "--from-seed", "2", "--seeds", "1"]);
    assert!(count(&line, "cycles") > 0 && count(&line, "checked") > 0, "{line}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    for arguments in [&["nothing"][..], &["seeds", "--minutes"], &["seeds", "--steps", "x"], &[]] {
        let status = Command::new(env!("CARGO_BIN_EXE_trust")).args(arguments).status().unwrap();
        assert!(!status.success(), "{arguments:?}");
    }
}
