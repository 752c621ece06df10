//! The files of the workspace.

use std::fs;
use std::path::{Path, PathBuf};

use super::source::Source;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the crate lies in crates/terrace")
        .to_path_buf()
}

/// All Rust sources, with those marked that a parent declares as tests.
pub(crate) fn sources() -> Vec<Source> {
    let mut sources: Vec<Source> =
        files(|name| name.rsplit_once('.').is_some_and(|(_, suffix)| suffix == "rs"))
            .iter()
            .map(|(path, text)| Source::new(path, text))
            .collect();
    mark_test_modules(&mut sources);
    sources
}

/// All manifests of crates: path and text.
pub(crate) fn manifests() -> Vec<(String, String)> {
    let mut manifests = files(|name| name == "Cargo.toml");
    manifests.retain(|(path, _)| path != "Cargo.toml");
    manifests
}

fn mark_test_modules(sources: &mut [Source]) {
    let declared: Vec<String> = sources
        .iter()
        .flat_map(|source| source.test_modules.iter().map(|name| child_module(&source.path, name)))
        .collect();
    for source in sources {
        let in_module = |module: &String| {
            source.path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        };
        source.is_test |= declared.iter().any(in_module);
    }
}

/// Where a module lies that is declared in `path`, without the suffix.
fn child_module(path: &str, name: &str) -> String {
    let (dir, file) = path.rsplit_once('/').unwrap_or(("", path));
    match file {
        "mod.rs" | "lib.rs" | "main.rs" => format!("{dir}/{name}"),
        _ => format!("{dir}/{}/{name}", file.trim_end_matches(".rs")),
    }
}

/// Paths from the root, sorted, and texts of the files with a wanted name.
fn files(wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    let mut pending = vec![root.clone()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).expect("a directory of the workspace can be listed") {
            let entry = entry.expect("an entry can be read");
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_dir = entry.file_type().expect("an entry has a type").is_dir();
            if is_dir && !name.starts_with('.') && name != "target" && name != "data" {
                pending.push(entry.path());
            } else if !is_dir && wanted(&name) {
                let path = entry.path();
                let text = fs::read_to_string(&path).expect("a source is UTF-8");
                let below = path.strip_prefix(&root).expect("found below the root");
                found.push((below.to_string_lossy().replace('\\', "/"), text));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn modules_declared_as_tests_are_tests_with_all_below_them() {
    let source = |path: &str, text: &str| Source::new(path, text);
    let mut sources = [
        source("c/src/a/mod.rs", "#[cfg(test)] mod model; mod b;"),
        source("c/src/a/model.rs", ""),
        source("c/src/a/b.rs", "#[cfg(all(test, loom))] mod deep;"),
        source("c/src/a/b/deep/x.rs", ""),
        source("c/src/a/model_of_nothing.rs", ""),
    ];
    mark_test_modules(&mut sources);
    assert_eq!(sources.map(|s| s.is_test), [false, true, false, true, false]);
}
