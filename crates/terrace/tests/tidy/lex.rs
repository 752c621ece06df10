//! A lexer for as much of Rust as the rules need.
//!
//! It tells words and punctuation from literals and comments, and knows the line of each. Literals and
//! lifetimes lose their text, because no rule may look into them.

/// What a rule sees of the code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// An identifier or keyword.
    Word(String),
    /// One character of punctuation.
    Mark(char),
    /// A string, character or number, or a lifetime.
    Literal,
}

/// A token and its place.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    /// Counted from 1.
    pub(crate) line: usize,
}

impl Token {
    pub(crate) fn is_word(&self, word: &str) -> bool {
        matches!(&self.kind, Kind::Word(own) if own == word)
    }

    pub(crate) fn is_mark(&self, mark: char) -> bool {
        self.kind == Kind::Mark(mark)
    }

    pub(crate) fn word(&self) -> Option<&str> {
        if let Kind::Word(word) = &self.kind { Some(word) } else { None }
    }
}

/// A comment, with the marks that open it.
#[derive(Clone, Debug)]
pub(crate) struct Comment {
    pub(crate) text: String,
    pub(crate) first_line: usize,
    pub(crate) last_line: usize,
}

/// Tokens and comments of a source, each in order.
pub(crate) fn lex(text: &str) -> (Vec<Token>, Vec<Comment>) {
    let mut lexer = Lexer { rest: text, line: 1, tokens: Vec::new(), comments: Vec::new() };
    while let Some(next) = lexer.rest.chars().next() {
        lexer.step(next);
    }
    (lexer.tokens, lexer.comments)
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    tokens: Vec<Token>,
    comments: Vec<Comment>,
}

impl Lexer<'_> {
    fn step(&mut self, next: char) {
        if self.rest.starts_with("//") {
            let len = self.rest.find('\n').unwrap_or(self.rest.len());
            self.comment(len);
        } else if self.rest.starts_with("/*") {
            self.comment(block_comment_len(self.rest));
        } else if next.is_whitespace() {
            self.skip(next.len_utf8());
        } else if let Some(len) = literal_len(self.rest) {
            self.token(Kind::Literal, len);
        } else if next == '_' || next.is_alphabetic() {
            let raw = if self.rest.starts_with("r#") { 2 } else { 0 };
            let len = raw + word_len(&self.rest[raw..]);
            self.token(Kind::Word(self.rest[raw..len].to_string()), len);
        } else {
            self.token(Kind::Mark(next), next.len_utf8());
        }
    }

    fn token(&mut self, kind: Kind, len: usize) {
        self.tokens.push(Token { kind, line: self.line });
        self.skip(len);
    }

    fn comment(&mut self, len: usize) {
        let (text, first_line) = (self.rest[..len].to_string(), self.line);
        self.skip(len);
        self.comments.push(Comment { text, first_line, last_line: self.line });
    }

    fn skip(&mut self, len: usize) {
        self.line += self.rest[..len].matches('\n').count();
        self.rest = &self.rest[len..];
    }
}

fn word_len(text: &str) -> usize {
    text.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(text.len())
}

/// Block comments nest.
fn block_comment_len(text: &str) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at < text.len() {
        if text.as_bytes()[at..].starts_with(b"/*") {
            (at, depth) = (at + 2, depth + 1);
        } else if text.as_bytes()[at..].starts_with(b"*/") {
            (at, depth) = (at + 2, depth - 1);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// The length of the literal or lifetime that `text` starts with, if it starts with one.
fn literal_len(text: &str) -> Option<usize> {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        let len = word_len(text);
        let has_fraction =
            text[len..].starts_with('.') && text[len + 1..].starts_with(|c: char| c.is_ascii_digit());
        return Some(if has_fraction { len + 1 + word_len(&text[len + 1..]) } else { len });
    }
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        let quote = text.strip_prefix(prefix).unwrap_or_default();
        let raw = prefix.ends_with('r') && quote.trim_start_matches('#').starts_with('"');
        raw || quote.starts_with('"') || (quote.starts_with('\'') && matches!(*prefix, "b" | ""))
    })?;
    let body = &text[prefix.len()..];
    let len = match body.chars().next() {
        _ if prefix.ends_with('r') => raw_string_len(body),
        Some('"') => quoted_len(body, '"'),
        _ => char_or_lifetime_len(body),
    };
    Some(prefix.len() + len)
}

fn raw_string_len(body: &str) -> usize {
    let hashes = body.len() - body.trim_start_matches('#').len();
    let end = format!("\"{}", "#".repeat(hashes));
    let start = hashes + 1;
    body[start..].find(&end).map_or(body.len(), |at| start + at + end.len())
}

fn quoted_len(body: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in body.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + 1;
        }
    }
    body.len()
}

fn char_or_lifetime_len(body: &str) -> usize {
    let mut chars = body.chars().skip(1);
    let (first, second) = (chars.next(), chars.next());
    if first == Some('\\') || second == Some('\'') {
        return quoted_len(body, '\'');
    }
    1 + word_len(&body[1..])
}

#[test]
fn literals_and_comments_hide_what_is_in_them() {
    let text = r##"
        let a = "fn \" {"; let b = r#"fn " {"#; let c = b"{"; let d = '{'; let e = b'\''; // fn {
        /* fn /* { */ fn */ fn f<'a>(x: &'a str) -> char { '"' }
        let r#fn = 1.5; let g = 0..2; let h = c"{"; let i = '\u{7b}';
    "##;
    let (tokens, comments) = lex(text);
    let braces = tokens.iter().filter(|t| t.is_mark('{') || t.is_mark('}')).count();
    let functions: Vec<usize> = tokens.iter().filter(|t| t.is_word("fn")).map(|t| t.line).collect();
    assert_eq!((braces, functions, comments.len()), (2, vec![3, 4], 2));
    assert_eq!(tokens.iter().filter(|t| t.is_mark('.')).count(), 2, "a range, not a fraction");
}

#[test]
fn lines_are_counted_through_strings_and_comments() {
    let (tokens, comments) = lex("/* a\nb */ x \"c\nd\" y // e");
    let lines: Vec<usize> = tokens.iter().map(|t| t.line).collect();
    assert_eq!(lines, [2, 2, 3]);
    assert_eq!((comments[0].first_line, comments[0].last_line, comments[1].first_line), (1, 2, 3));
}
