//! Lengths of files and functions. Tests are exempt: a long one is a list of cases, not a tangle.

use std::collections::BTreeSet;

use super::lex::{Kind, Token};
use super::source::{Source, Violation};
use super::spans::group_end;

/// The most lines of a file, its tests aside. Aim at 300.
const FILE_LINES: usize = 500;
/// The most lines of a function, from `fn` to its closing brace. Aim at 40.
const FUNCTION_LINES: usize = 70;

/// The rule for files.
pub(crate) fn check_file(source: &Source) -> Vec<Violation> {
    let tests: BTreeSet<usize> = source
        .test_items
        .iter()
        .filter_map(|item| source.tokens[item.clone()].first().zip(source.tokens[item.clone()].last()))
        .flat_map(|(first, last)| first.line..=last.line)
        .collect();
    let lines = source.text.lines().count() - tests.len();
    if source.is_test || lines <= FILE_LINES {
        return Vec::new();
    }
    let message =
        format!("{lines} lines without tests, at most {FILE_LINES}: find the part that wants its own name");
    vec![source.violation(FILE_LINES + 1, message)]
}

/// The rule for functions.
pub(crate) fn check_functions(source: &Source) -> Vec<Violation> {
    let tokens = &source.tokens;
    let starts = (0..tokens.len()).filter(|at| tokens[*at].is_word("fn") && !source.in_test(*at));
    let named = starts.filter_map(|at| Some((at, tokens.get(at + 1)?.word()?)));
    named
        .filter_map(|(at, name)| {
            let lines = tokens.get(body_end(tokens, at)?)?.line - tokens[at].line + 1;
            let message = format!("`{name}` has {lines} lines, at most {FUNCTION_LINES}");
            (lines > FUNCTION_LINES).then(|| source.violation(tokens[at].line, message))
        })
        .collect()
}

/// The index of the brace that closes the body of the function that starts at `at`, if it has a body.
fn body_end(tokens: &[Token], mut at: usize) -> Option<usize> {
    loop {
        match tokens.get(at)?.kind {
            Kind::Mark('{') => return Some(group_end(tokens, at)),
            Kind::Mark(';') => return None,
            Kind::Mark('(' | '[') => at = group_end(tokens, at),
            _ => {}
        }
        at += 1;
    }
}

const PATH: &str = "crates/terrace-cli/src/a.rs";

#[test]
fn a_long_file_is_found_and_its_tests_do_not_count() {
    let code = "fn f() {}\n".repeat(500);
    let tests = "#[cfg(test)]\nmod tests {\n    fn g() {}\n}\n".to_string();
    assert_eq!(super::source::lines(check_file, PATH, &(code.clone() + &tests)), [0; 0]);
    assert_eq!(super::source::lines(check_file, PATH, &(code.clone() + "fn g() {}\n" + &tests)), [501]);
    assert_eq!(super::source::lines(check_file, "crates/a/tests/a.rs", &code.repeat(2)), [0; 0]);
}

#[test]
fn a_long_function_is_found() {
    let function =
        |lines: usize| format!("\nfn f(a: [u8; 3]) -> u8 {{\n{}}}\n", "    '{';\n".repeat(lines - 2));
    let faults = |text: &str| super::source::lines(check_functions, PATH, text);
    assert_eq!(faults(&function(70)), [0; 0]);
    assert_eq!(faults(&function(71)), [2]);
    assert_eq!(faults(&format!("#[cfg(test)] mod tests {{ {} }}", function(71))), [0; 0]);
    assert_eq!(faults(&format!("trait T {{ fn g(); {} }}", function(71))), [2]);
    assert_eq!(faults(&format!("type F = fn(u8) -> u8; {}", function(70))), [0; 0]);
}
