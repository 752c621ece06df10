//! `unsafe` stands in a few named files, and every use says why it is sound.

use super::source::{Source, Violation};

/// Where in `crates/terrace`, or another crate where the path says so, `unsafe` may stand, and what needs it there. To add a file, add its line; keep the
/// file small and the `#[allow(unsafe_code)]` at the smallest scope, and run its tests under Miri or loom.
const UNSAFE_FILES: &[(&str, &str)] = &[
    ("src/io/region.rs", "claims are disjoint, which the borrow checker cannot see"),
    ("src/io/os_map.rs", "copies out of a mapped file"),
    ("src/io/os_region.rs", "stores into a shared mapping"),
    ("src/io/sim/handle.rs", "implements the log region's contract in memory"),
    ("src/io/fault/mod.rs", "passes the log region's contract on"),
    ("src/memtable/arena.rs", "entries are written once, in place, and read without a lock"),
    ("src/memtable/pool.rs", "allocates and frees the arenas' chunks"),
    ("src/memtable/prefetch.rs", "the processor's prefetch instruction"),
    ("src/memtable/published.rs", "a value that is replaced as a whole under its readers"),
    ("src/memtable/shard.rs", "offsets belong to the arena that they came from"),
    ("src/memtable/witness.rs", "tells loom about plain accesses; empty in other builds"),
    ("src/table/prefetch.rs", "the processor's prefetch instruction"),
    ("src/table/slot.rs", "the lock-free place of a cached block"),
    ("src/wal/loom_tests.rs", "a region of loom's own cells"),
    ("src/wal/tests/mod.rs", "passes the log region's contract on"),
    ("benches/memtable.rs", "an allocator that counts"),
    ("crates/terrace-bench/src/store/lmdb.rs", "opening a file that LMDB maps"),
];

/// How many lines may lie between a safety comment and what it explains: attributes, or the start of the
/// statement.
const COMMENT_REACH_LINES: usize = 3;

/// The rule.
pub(crate) fn check(source: &Source) -> Vec<Violation> {
    let path = source.path.strip_prefix("crates/terrace/").unwrap_or(&source.path);
    let listed = UNSAFE_FILES.iter().any(|(file, _)| *file == path);
    let mut violations = Vec::new();
    let mut uses = 0;
    for (token, next) in source.tokens.iter().zip(source.tokens.iter().skip(1)) {
        if !token.is_word("unsafe") {
            continue;
        }
        uses += 1;
        if !listed {
            let message =
                "`unsafe` in a file that is not on the list; see UNSAFE_FILES in tests/tidy/unsafety.rs";
            violations.push(source.violation(token.line, message));
        }
        if (next.is_mark('{') || next.is_word("impl")) && !is_explained(source, token.line) {
            violations.push(source.violation(token.line, "`unsafe` without a `// SAFETY:` comment above it"));
        }
    }
    if listed && uses == 0 {
        violations.push(source.violation(1, "no `unsafe` left here: take the file off UNSAFE_FILES"));
    }
    violations
}

/// Whether a safety comment ends shortly above `line`. It may run over many lines.
fn is_explained(source: &Source, line: usize) -> bool {
    let mut explains = false;
    let mut block_end = 0;
    for comment in source.comments.iter().take_while(|comment| comment.first_line <= line) {
        let says_so = comment.text.contains("SAFETY:");
        explains = says_so || (explains && comment.first_line == block_end + 1);
        block_end = comment.last_line;
    }
    explains && block_end + COMMENT_REACH_LINES >= line
}

fn faults(path: &str, text: &str) -> Vec<usize> {
    super::source::lines(check, &format!("crates/terrace/src/{path}"), text)
}

#[test]
fn unsafe_in_any_other_file_is_found() {
    let text = "fn f() {\n    // SAFETY: it is.\n    unsafe { g() }\n}\nunsafe fn h() {}\n";
    assert_eq!(faults("io/region.rs", text), [0; 0]);
    assert_eq!(faults("db/mod.rs", text), [3, 5]);
    assert_eq!(super::source::lines(check, "crates/terrace-cli/src/main.rs", text), [3, 5]);
}

#[test]
fn unsafe_without_a_reason_is_found() {
    assert_eq!(faults("io/region.rs", "fn f() {\n    // It is safe.\n    unsafe { g() }\n}\n"), [3]);
    assert_eq!(faults("io/region.rs", "unsafe impl Send for X {}\n"), [1]);
    assert_eq!(faults("io/region.rs", "// SAFETY: far away.\n\n\n\nunsafe impl Send for X {}\n"), [5]);
    let text =
        "// SAFETY: a long\n// story about\n// it all.\n#[allow(unsafe_code)]\nunsafe impl Send for X {}\n";
    assert_eq!(faults("io/region.rs", text), [0; 0]);
}

#[test]
fn mentions_of_unsafe_do_not_count_and_stale_entries_do() {
    let text = "#![allow(unsafe_code)] // unsafe\nfn f() -> &'static str { \"unsafe {\" }\n";
    assert_eq!(faults("db/mod.rs", text), [0; 0]);
    assert_eq!(faults("io/region.rs", text), [1]);
}
