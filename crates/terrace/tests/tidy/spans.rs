//! Which tokens of a source are compiled for tests only.
//!
//! An item is when it carries `#[test]`, or a `#[cfg(...)]` that cannot hold without `test`. So the condition
//! `any(test, feature = "testing")` does not make test code, and `all(test, loom)` does.

use std::ops::Range;

use super::lex::{Kind, Token};

/// What `find` has found.
#[derive(Debug, Default)]
pub(crate) struct TestSpans {
    /// An inner attribute puts all of the file under test.
    pub(crate) whole_file: bool,
    /// Items, as ranges of tokens that begin with the attribute.
    pub(crate) items: Vec<Range<usize>>,
    /// Names of modules in files of their own.
    pub(crate) modules: Vec<String>,
}

/// Finds the test-only parts of a source.
pub(crate) fn find(tokens: &[Token]) -> TestSpans {
    let mut found = TestSpans::default();
    let mut at = 0;
    while at < tokens.len() {
        let Some(attribute) = attribute_at(tokens, at) else {
            at += 1;
            continue;
        };
        let is_inner = tokens[at + 1].is_mark('!');
        let start = at;
        at = attribute.end + 1;
        if !is_test_only(&tokens[attribute]) {
            continue;
        }
        if is_inner {
            found.whole_file = true;
            continue;
        }
        while let Some(next) = attribute_at(tokens, at) {
            at = next.end + 1;
        }
        at = after_visibility(tokens, at);
        if let [Kind::Word(keyword), Kind::Word(name), Kind::Mark(';')] = &kinds(tokens, at)[..]
            && keyword == "mod"
        {
            found.modules.push(name.clone());
        }
        at = item_end(tokens, at);
        found.items.push(start..at);
    }
    found
}

fn kinds(tokens: &[Token], at: usize) -> Vec<Kind> {
    tokens[at.min(tokens.len())..].iter().take(3).map(|token| token.kind.clone()).collect()
}

/// The tokens between the brackets of the attribute that starts at `at`, if one does.
fn attribute_at(tokens: &[Token], at: usize) -> Option<Range<usize>> {
    let is_mark = |at: usize, mark| tokens.get(at).is_some_and(|token: &Token| token.is_mark(mark));
    let bracket = if is_mark(at + 1, '!') { at + 2 } else { at + 1 };
    if !is_mark(at, '#') || !is_mark(bracket, '[') {
        return None;
    }
    Some(bracket + 1..group_end(tokens, bracket))
}

/// The index of the mark that closes the group opened at `open`.
pub(crate) fn group_end(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.kind {
            Kind::Mark('(' | '[' | '{') => depth += 1,
            Kind::Mark(')' | ']' | '}') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    tokens.len()
}

fn is_test_only(attribute: &[Token]) -> bool {
    match attribute {
        [only] => only.is_word("test"),
        [name, _open, condition @ .., _close] if name.is_word("cfg") => implies_test(condition),
        _ => false,
    }
}

/// Whether a `cfg` condition can hold in test builds only.
fn implies_test(condition: &[Token]) -> bool {
    match condition {
        [only] => only.is_word("test"),
        [name, open, inner @ .., _close] if open.is_mark('(') => {
            let mut parts = split_at_commas(inner).into_iter();
            match name.word() {
                Some("all") => parts.any(implies_test),
                Some("any") => parts.all(implies_test),
                _ => false,
            }
        }
        _ => false,
    }
}

fn split_at_commas(tokens: &[Token]) -> Vec<&[Token]> {
    let mut parts = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < tokens.len() {
        if tokens[at].is_mark(',') {
            parts.push(&tokens[start..at]);
            start = at + 1;
        } else if tokens[at].is_mark('(') {
            at = group_end(tokens, at);
        }
        at += 1;
    }
    parts.push(&tokens[start..]);
    parts.retain(|part| !part.is_empty());
    parts
}

fn after_visibility(tokens: &[Token], at: usize) -> usize {
    match &tokens[at.min(tokens.len())..] {
        [word, open, ..] if word.is_word("pub") && open.is_mark('(') => group_end(tokens, at + 1) + 1,
        [word, ..] if word.is_word("pub") => at + 1,
        _ => at,
    }
}

/// Items that end with a semicolon even if they have a group in braces.
const ENDED_BY_SEMICOLON: [&str; 5] = ["use", "const", "static", "type", "let"];
/// Items that end with their block, or with a semicolon in its place.
const ENDED_BY_BLOCK: [&str; 10] =
    ["mod", "fn", "impl", "struct", "enum", "trait", "unsafe", "async", "extern", "macro_rules"];

/// The index past the item (or field, variant, statement) that starts at `at`.
fn item_end(tokens: &[Token], start: usize) -> usize {
    let first = tokens.get(start).and_then(Token::word).unwrap_or_default();
    let is_const_fn = first == "const" && tokens.get(start + 1).is_some_and(|next| next.is_word("fn"));
    let needs_semicolon = ENDED_BY_SEMICOLON.contains(&first) && !is_const_fn;
    let is_item = needs_semicolon || is_const_fn || ENDED_BY_BLOCK.contains(&first);
    let mut at = start;
    while at < tokens.len() {
        match tokens[at].kind {
            Kind::Mark(';') => return at + 1,
            Kind::Mark(',') if !is_item => return at + 1,
            Kind::Mark(')' | ']' | '}') => return at,
            Kind::Mark('{') if !needs_semicolon => return group_end(tokens, at) + 1,
            Kind::Mark('(' | '[' | '{') => at = group_end(tokens, at),
            _ => {}
        }
        at += 1;
    }
    tokens.len()
}

fn test_lines(text: &str) -> Vec<usize> {
    let (tokens, _) = super::lex::lex(text);
    let found = find(&tokens);
    found.items.into_iter().flat_map(|item| tokens[item].iter().map(|token| token.line)).collect()
}

#[test]
fn test_items_end_where_they_end() {
    let text = "#[cfg(test)]\n#[allow(x)]\npub(super) mod tests { fn f() { } }\nfn g() {}\n";
    assert_eq!(test_lines(text).last(), Some(&3));
    let text = "#[cfg(test)]\nuse a::{b,\nc};\nstruct S {\n#[cfg(test)] x: u8,\ny: u8 }\n";
    let mut lines = test_lines(text);
    lines.dedup();
    assert_eq!(lines, [1, 2, 3, 5]);
    assert_eq!(test_lines("struct S { #[cfg(test)]\nx: u8 }\nfn f() {}").last(), Some(&2));
}

#[test]
fn only_conditions_that_need_test_make_test_code() {
    for (condition, expected) in [
        ("test", true),
        ("all(test, not(loom))", true),
        ("any(test, feature = \"testing\")", false),
        ("not(test)", false),
        ("any(all(test, a), all(b, test))", true),
    ] {
        let found = find(&super::lex::lex(&format!("#[cfg({condition})] mod m;")).0);
        assert_eq!(found.modules == ["m"], expected, "{condition}");
    }
    assert!(find(&super::lex::lex("#![cfg(test)] fn f() {}").0).whole_file);
}
