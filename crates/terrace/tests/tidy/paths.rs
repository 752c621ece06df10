//! Paths in code (`a::b::c`), inline and in `use` trees, each with the module that it stands in.

use super::lex::{Kind, Token};

/// A path as written, a `use` tree taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PathUse {
    /// From `crate`, `super`, `self` or a crate's name on; a glob ends in `*`.
    pub(crate) segments: Vec<String>,
    /// The inline modules around it, outermost first.
    pub(crate) inside: Vec<String>,
    pub(crate) line: usize,
    /// The index of the token that it begins with.
    pub(crate) token: usize,
}

/// The paths that start with one of `roots`.
pub(crate) fn find(tokens: &[Token], roots: &[&str]) -> Vec<PathUse> {
    let mut found = Vec::new();
    let mut modules: Vec<(String, usize)> = Vec::new();
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match &token.kind {
            Kind::Mark('{') => {
                depth += 1;
                if let Some(name) = module_opened_at(tokens, at) {
                    modules.push((name.to_string(), depth));
                }
            }
            Kind::Mark('}') => {
                modules.pop_if(|(_, opened)| *opened == depth);
                depth -= 1;
            }
            Kind::Word(word) if roots.contains(&&word[..]) && starts_a_path(tokens, at) => {
                let inside: Vec<String> = modules.iter().map(|(name, _)| name.clone()).collect();
                let mut tree = Tree { tokens, found: Vec::new() };
                tree.read(at, &[]);
                let path = |(segments, line)| PathUse { segments, inside: inside.clone(), line, token: at };
                found.extend(tree.found.into_iter().map(path));
            }
            _ => {}
        }
    }
    found
}

fn module_opened_at(tokens: &[Token], brace: usize) -> Option<&str> {
    let before = brace.checked_sub(2)?;
    if tokens[before].is_word("mod") { tokens[before + 1].word() } else { None }
}

fn is_separator(tokens: &[Token], at: usize) -> bool {
    matches!(tokens.get(at..at + 2), Some([a, b]) if a.is_mark(':') && b.is_mark(':'))
}

/// Whether the word at `at` begins a path: `::` follows, and nothing but perhaps a leading `::` precedes.
fn starts_a_path(tokens: &[Token], at: usize) -> bool {
    let continues =
        at >= 3 && is_separator(tokens, at - 2) && tokens[at - 3].word().is_some_and(|word| word != "use");
    is_separator(tokens, at + 1) && !continues
}

struct Tree<'a> {
    tokens: &'a [Token],
    found: Vec<(Vec<String>, usize)>,
}

impl Tree<'_> {
    /// Reads the path or tree at `at`; the index past it.
    fn read(&mut self, mut at: usize, prefix: &[String]) -> usize {
        let mut segments = prefix.to_vec();
        let line = self.tokens.get(at).map_or(0, |token| token.line);
        loop {
            match self.tokens.get(at).map(|token| &token.kind) {
                Some(Kind::Word(word)) => segments.push(word.clone()),
                Some(Kind::Mark('*')) => segments.push("*".to_string()),
                Some(Kind::Mark('{')) => return self.read_group(at + 1, &segments),
                _ => break,
            }
            at += 1;
            if !is_separator(self.tokens, at) {
                break;
            }
            at += 2;
        }
        self.found.push((segments, line));
        at
    }

    fn read_group(&mut self, mut at: usize, prefix: &[String]) -> usize {
        while at < self.tokens.len() && !self.tokens[at].is_mark('}') {
            at = self.read(at, prefix);
            // What follows is a comma, a rename, or the end of the group.
            while self.tokens.get(at).is_some_and(|token| !token.is_mark(',') && !token.is_mark('}')) {
                at += 1;
            }
            at += usize::from(self.tokens.get(at).is_some_and(|token| token.is_mark(',')));
        }
        at + 1
    }
}

fn found(text: &str, roots: &[&str]) -> Vec<String> {
    let (tokens, _) = super::lex::lex(text);
    find(&tokens, roots).iter().map(|path| path.segments.join("::")).collect()
}

#[test]
fn use_trees_are_taken_apart() {
    let text = "pub(crate) use crate::{a, b::{self, c as d, e::*}, f}; fn g() { crate::h::i::<u8>(); }";
    let expected = ["crate::a", "crate::b::self", "crate::b::c", "crate::b::e::*", "crate::f", "crate::h::i"];
    assert_eq!(found(text, &["crate"]), expected);
}

#[test]
fn a_path_starts_once() {
    assert_eq!(
        found("use super::super::a; use ::std::fs; x::std::y();", &["super", "std"]),
        ["super::super::a", "std::fs"]
    );
}

#[test]
fn inline_modules_are_known() {
    let (tokens, _) = super::lex::lex("mod a { mod b { use super::x; } } use super::y;");
    let inside: Vec<usize> = find(&tokens, &["super"]).iter().map(|path| path.inside.len()).collect();
    assert_eq!(inside, [2, 0]);
}
