//! `Source`: one file as the rules see it, and `Violation`: what they say about it.

use std::fmt;
use std::ops::Range;

use super::lex::{Comment, Token, lex};
use super::spans;

/// A file and what is known about it.
#[derive(Debug)]
pub(crate) struct Source {
    /// From the root of the workspace, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) tokens: Vec<Token>,
    pub(crate) comments: Vec<Comment>,
    /// Whether all of it is test code: where it lies, or how it is declared, says so.
    pub(crate) is_test: bool,
    /// The items that are compiled for tests only, as ranges of tokens.
    pub(crate) test_items: Vec<Range<usize>>,
    /// The modules declared here, in files of their own, that are compiled for tests only.
    pub(crate) test_modules: Vec<String>,
}

/// Directories and files that hold no code of the product.
const TEST_PLACES: [&str; 4] = ["tests", "benches", "examples", "tests.rs"];

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (tokens, comments) = lex(text);
        let found = spans::find(&tokens);
        Self {
            path: path.to_string(),
            text: text.to_string(),
            is_test: found.whole_file || path.split('/').any(|part| TEST_PLACES.contains(&part)),
            test_items: found.items,
            test_modules: found.modules,
            tokens,
            comments,
        }
    }

    /// Whether the token of this index belongs to a test.
    pub(crate) fn in_test(&self, token: usize) -> bool {
        self.is_test || self.test_items.iter().any(|item| item.contains(&token))
    }

    pub(crate) fn violation(&self, line: usize, message: impl Into<String>) -> Violation {
        Violation { path: self.path.clone(), line, message: message.into() }
    }

    /// The file's path within the sources of the engine, if it is one of them.
    pub(crate) fn engine_path(&self) -> Option<&str> {
        self.path.strip_prefix("crates/terrace/src/")
    }
}

/// A rule broken at a place.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// The lines at which a rule finds fault with a made-up source.
pub(crate) fn lines(rule: impl Fn(&Source) -> Vec<Violation>, path: &str, text: &str) -> Vec<usize> {
    rule(&Source::new(path, text)).iter().map(|violation| violation.line).collect()
}
