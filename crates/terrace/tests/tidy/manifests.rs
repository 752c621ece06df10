//! Which crate of the workspace may depend on which.
//!
//! Cargo refuses cycles; this keeps the arrows where they are meant to be. Dependencies of tests count.

use super::source::Violation;

/// Each crate and those that it may use.
const MAY_USE: [(&str, &[&str]); 6] = [
    ("terrace", &[]),
    ("terrace-resp", &[]),
    ("terrace-server", &["terrace", "terrace-resp"]),
    ("terrace-sim", &["terrace"]),
    ("terrace-bench", &["terrace", "terrace-resp"]),
    ("terrace-cli", &["terrace", "terrace-resp", "terrace-server", "terrace-bench"]),
];

/// The rule, for all manifests (path and text) of the workspace.
pub(crate) fn check_all(manifests: &[(String, String)]) -> Vec<Violation> {
    manifests
        .iter()
        .filter(|(path, _)| path.starts_with("crates/"))
        .flat_map(|(path, text)| check(path, text))
        .collect()
}

fn check(path: &str, text: &str) -> Vec<Violation> {
    let name = path.split('/').rev().nth(1).unwrap_or_default();
    let violation = |line, message| Violation { path: path.to_string(), line, message };
    let Some((_, allowed)) = MAY_USE.iter().find(|(own, _)| *own == name) else {
        return vec![violation(1, format!("`{name}` is not in the list in tests/tidy/manifests.rs"))];
    };
    let faults = dependencies(text).into_iter().filter(|(_, used)| !allowed.contains(used));
    faults.map(|(line, used)| violation(line, format!("`{name}` may not depend on `{used}`"))).collect()
}

/// The crates of ours that a manifest depends on, with the line of each.
fn dependencies(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut in_dependencies = false;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            // `[dependencies]`, `[target.'cfg(x)'.dev-dependencies]`, or `[dependencies.name]`.
            let (parent, last) = section.rsplit_once('.').unwrap_or(("", section));
            in_dependencies = last.ends_with("dependencies");
            if parent.ends_with("dependencies") {
                found.push((number, last));
            }
        } else if in_dependencies {
            let renamed = line.split_once("package = \"").and_then(|(_, rest)| rest.split('"').next());
            let key = line.split(|c: char| c != '-' && c != '_' && !c.is_alphanumeric()).next();
            found.extend(renamed.or(key).map(|used| (number, used)));
        }
    }
    found.retain(|(_, used)| *used == "terrace" || used.starts_with("terrace-"));
    found
}

#[test]
fn a_dependency_on_a_crate_above_is_found() {
    for dependency in [
        "[dependencies]\nterrace = { workspace = true }",
        "[dev-dependencies]\nterrace.workspace = true",
        "[build-dependencies]\nengine = { package = \"terrace\", path = \"../terrace\" }",
        "[package]\n[dependencies.terrace]",
        "[target.'cfg(unix)'.dependencies]\nterrace = \"0.1\"",
    ] {
        let faults: Vec<usize> =
            check("crates/terrace-resp/Cargo.toml", dependency).iter().map(|v| v.line).collect();
        assert_eq!(faults, [2], "{dependency}");
    }
}

#[test]
fn what_is_allowed_or_not_ours_is_fine() {
    let text = "[package]\nname = \"terrace-server\"\n[dependencies]\nterrace = \"0.1\"\nlibc = \"1\"\n[[bin]]\nname = \"terrace\"";
    assert!(check("crates/terrace-server/Cargo.toml", text).is_empty());
    assert_eq!(check("crates/terrace-new/Cargo.toml", text).len(), 1, "a new crate must be listed");
}
