//! Every file opens with `//!`: its job, its invariants, what it does not do.

use super::source::{Source, Violation};

/// The rule.
pub(crate) fn check(source: &Source) -> Vec<Violation> {
    let says_something = source.text.lines().next().is_some_and(|line| line.len() > "//! ".len());
    if source.text.starts_with("//! ") && says_something {
        return Vec::new();
    }
    vec![source.violation(1, "the file does not open with `//!` and its job")]
}

#[test]
fn a_file_without_an_opening_is_found() {
    let faults = |text: &str| super::source::lines(check, "crates/terrace/src/io/a.rs", text);
    assert_eq!(faults("//! Reads blocks.\nuse std::io;\n"), [0; 0]);
    for text in [
        "",
        "use std::io;\n//! Late.",
        "// Not a doc comment.",
        "//!\n//! Late.",
        "//! \n",
        "/// For an item.",
    ] {
        assert_eq!(faults(text), [1], "{text:?}");
    }
}
