//! Imports inside the engine go down the list of layers only.
//!
//! Both kinds of paths count, `use` and inline, in tests as well. A layer also may not take a name that the
//! root of the crate re-exports: that would hide which layer it comes from.

use super::paths;
use super::source::{Source, Violation};

/// Lowest first. `ARCHITECTURE.md` says what each is for.
pub(crate) const LAYERS: [&str; 11] =
    ["base", "io", "record", "wal", "memtable", "blob", "table", "version", "compaction", "db", "upkeep"];

fn rank(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| *layer == name)
}

/// The rule.
pub(crate) fn check(source: &Source) -> Vec<Violation> {
    let module = match source.engine_path() {
        None | Some("lib.rs") => return Vec::new(),
        Some(path) => module_of(path),
    };
    let Some(own) = rank(&module[0]) else {
        let message = format!("`{}` is not in the list of layers; see tests/tidy/layers.rs", module[0]);
        return vec![source.violation(1, message)];
    };
    let mut violations = Vec::new();
    for path in paths::find(&source.tokens, &["crate", "super", "self"]) {
        let here: Vec<String> = module.iter().chain(&path.inside).cloned().collect();
        let Some(target) = first_below_root(&here, &path.segments) else { continue };
        let written = path.segments.join("::");
        let message = match rank(target) {
            Some(rank) if rank <= own => continue,
            Some(_) => format!("`{written}`: {} may not import {target}, which is above it", LAYERS[own]),
            None if own == LAYERS.len() - 1 => continue,
            None => format!("`{written}`: name the layer that it comes from"),
        };
        violations.push(source.violation(path.line, message));
    }
    violations
}

/// `wal/replay/lane.rs` is the module `wal::replay::lane`, `wal/mod.rs` is `wal`.
fn module_of(path: &str) -> Vec<String> {
    let path = path.trim_end_matches(".rs");
    path.strip_suffix("/mod").unwrap_or(path).split('/').map(str::to_string).collect()
}

/// The first segment, below the crate's root, of what `segments` means in the module `here`.
fn first_below_root<'a>(here: &'a [String], segments: &'a [String]) -> Option<&'a str> {
    let mut prefix = here.len();
    for (at, segment) in segments.iter().enumerate() {
        match &segment[..] {
            "crate" => prefix = 0,
            "self" => {}
            "super" => prefix = prefix.checked_sub(1)?,
            _ if prefix > 0 => return Some(&here[0]),
            _ => return Some(&segments[at]),
        }
    }
    None
}

fn faults(path: &str, text: &str) -> Vec<usize> {
    super::source::lines(check, &format!("crates/terrace/src/{path}"), text)
}

#[test]
fn an_upward_import_is_found_in_every_disguise() {
    for text in [
        "use crate::table::Table;",
        "use crate::{base::Seqno, db::{core::Core}};",
        "fn f() { crate::version::Version::new() }",
        "fn f(x: &super::super::db::Db) {}",
        "use super::super::{wal, memtable};",
        "mod tests { use super::super::super::compaction::pick; }",
        "#[cfg(test)] mod tests { use crate::db::Db; }",
        "macro_rules! m { () => { $crate::db::f() } }",
        "use crate::Db;",
        "use crate::*;",
    ] {
        assert_eq!(faults("wal/lane.rs", text), [1], "{text}");
    }
}

#[test]
fn downward_imports_and_mentions_are_fine() {
    let text = "//! See crate::db.\nuse crate::base::{Error, Seqno};\nuse crate::io::os::OsFs;\nuse super::format;\n\
                pub(crate) fn f() -> &'static str { \"crate::db\" }\nmod tests { use super::super::segment; }\n";
    assert_eq!(faults("wal/lane.rs", text), [0; 0]);
    assert_eq!(faults("upkeep/mod.rs", "use crate::{Error, compaction::pick};"), [0; 0]);
    assert_eq!(faults("lib.rs", "pub use db::Db;"), [0; 0]);
}

#[test]
fn a_new_module_must_take_its_place_among_the_layers() {
    assert_eq!(faults("helpers/mod.rs", ""), [1]);
}
