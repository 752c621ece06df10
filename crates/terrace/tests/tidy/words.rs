//! What must not be left behind: placeholders, debugging aids, notes to oneself, tests switched off.

use super::source::{Source, Violation};

const MACROS: [&str; 3] = ["todo", "unimplemented", "dbg"];
const NOTES: [&str; 1] = ["FIXME"];
/// A library does not write on its user's terminal.
const PRINTING: [&str; 4] = ["print", "println", "eprint", "eprintln"];

/// The rule.
pub(crate) fn check(source: &Source) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (at, window) in source.tokens.windows(3).enumerate() {
        let [first, second, third] = window else { continue };
        let word = first.word().unwrap_or_default();
        if MACROS.contains(&word) && second.is_mark('!') && !third.is_mark('=') {
            violations.push(source.violation(first.line, format!("`{word}!` is left over")));
        }
        if PRINTING.contains(&word)
            && second.is_mark('!')
            && source.engine_path().is_some()
            && !source.in_test(at)
        {
            violations.push(source.violation(first.line, format!("`{word}!` in a library")));
        }
        if first.is_mark('#') && second.is_mark('[') && third.is_word("ignore") {
            let message = "a test that does not run; make it an example or a benchmark if it is one";
            violations.push(source.violation(first.line, message));
        }
    }
    for comment in &source.comments {
        for note in NOTES.iter().filter(|note| comment.text.contains(**note)) {
            violations.push(source.violation(comment.first_line, format!("a note that says {note}")));
        }
    }
    violations
}

#[test]
fn leftovers_are_found() {
    let text = "fn f() {\n    todo!()\n}\nfn g() { unimplemented!(\"x\") }\nfn h() { dbg!(1); }\n\
                #[ignore = \"slow\"]\nfn i() {}\n// FIXME: later\n/* a\nFIXME */\n";
    let mut lines = super::source::lines(check, "crates/terrace/tests/a.rs", text);
    lines.sort_unstable();
    assert_eq!(lines, [2, 4, 5, 6, 8, 9]);
}

#[test]
fn a_library_that_prints_is_found() {
    let text = "fn f() { eprintln!(\"{x}\"); }\n#[cfg(test)]\nmod tests { fn g() { println!(); } }\n";
    assert_eq!(super::source::lines(check, "crates/terrace/src/db/a.rs", text), [1]);
    assert_eq!(super::source::lines(check, "crates/terrace-cli/src/main.rs", text), [0; 0]);
}

#[test]
fn words_in_strings_and_names_are_fine() {
    let text =
        "fn todo() { let dbg = \"FIXME todo!()\"; if dbg != x {} }\n#[must_use] fn f() { ignore(); }\n";
    assert_eq!(super::source::lines(check, "crates/terrace/src/io/a.rs", text), [0; 0]);
}
