//! Glob patterns as Redis matches them: `*`, `?`, `[a-z]`, `[^a-z]`, and `\` to take a character literally.
//!
//! Matching is iterative: after a mismatch it goes back to the last `*` only, so its time is bounded by
//! pattern length × text length and it uses no stack, whatever the pattern. As in Redis, a pattern with more than a
//! thousand `*` matches nothing, so that nobody makes the server work for long with one.

/// The most `*` of a pattern; neighbours count as one.
const MAX_STARS: usize = 1000;

/// Whether `text` matches `pattern`.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    let mut stars = 0;
    loop {
        if let Some(b'*') = pattern.get(p) {
            stars += 1;
            if stars > MAX_STARS {
                return false;
            }
            while pattern.get(p) == Some(&b'*') {
                p += 1;
            }
            if p == pattern.len() {
                return true;
            }
            last_star = Some((p, t));
            continue;
        }
        let step = match (pattern.get(p), text.get(t)) {
            (None, None) => return true,
            (_, None) => return false,
            (None, Some(_)) => None,
            (Some(_), Some(byte)) => match_one(&pattern[p..], *byte),
        };
        match (step, last_star) {
            (Some(width), _) => {
                p += width;
                t += 1;
            }
            (None, Some((after_star, from))) => {
                last_star = Some((after_star, from + 1));
                p = after_star;
                t = from + 1;
            }
            (None, None) => return false,
        }
    }
}

/// Matches one byte against the pattern's first element; returns the element's width.
fn match_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'[', class @ ..] => match_class(class, byte).map(|width| width + 1),
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

/// Matches one byte against a class whose `[` has been taken; an unclosed class ends with the pattern.
fn match_class(class: &[u8], byte: u8) -> Option<usize> {
    let (negated, mut at) = if class.first() == Some(&b'^') { (true, 1) } else { (false, 0) };
    let mut found = false;
    loop {
        match class.get(at..).unwrap_or_default() {
            [] => break,
            [b'\\', literal, ..] => {
                found |= *literal == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [low, b'-', high, ..] => {
                found |= (*low.min(high)..=*low.max(high)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= *literal == byte;
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

/// The bytes that every match starts with.
pub(crate) fn literal_prefix(pattern: &[u8]) -> Vec<u8> {
    let mut prefix = Vec::new();
    let mut at = 0;
    while let Some(byte) = pattern.get(at) {
        match byte {
            b'*' | b'?' | b'[' => break,
            b'\\' if at + 1 < pattern.len() => {
                prefix.push(pattern[at + 1]);
                at += 2;
            }
            literal => {
                prefix.push(*literal);
                at += 1;
            }
        }
    }
    prefix
}

/// Whether the pattern has no wildcard, so that it matches one text only.
pub(crate) fn is_literal(pattern: &[u8]) -> bool {
    !pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_match_as_in_redis() {
        let check = |pattern: &str, yes: &[&str], no: &[&str]| {
            for text in yes {
                assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} should match {text}");
            }
            for text in no {
                assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} should not match {text}");
            }
        };
        check("", &[""], &["a"]);
        check("*", &["", "a", "abc"], &[]);
        check("h?llo", &["hello", "hallo"], &["hllo", "heello"]);
        check("h*llo", &["hllo", "heeeello"], &["hell"]);
        check("h[ae]llo", &["hello", "hallo"], &["hillo"]);
        check("h[^e]llo", &["hallo", "hbllo"], &["hello"]);
        check("h[a-c]llo", &["hallo", "hbllo"], &["hdllo"]);
        check("h[c-a]llo", &["hbllo"], &["hdllo"]);
        check("[^a-z]*", &["1x", "A"], &["a", ""]);
        check(r"a\*b", &["a*b"], &["axb"]);
        check(r"[\]a]", &["]", "a"], &["\\"]);
        check("a[", &[], &["a", "ab"]);
        check("a[b", &["ab"], &["ac"]);
        check("*a*b*c", &["abc", "xaxbxc", "aabbcc"], &["acb", "abcd"]);
        check("a**b", &["ab", "axb"], &["a"]);
    }

    #[test]
    fn hostile_patterns_end_soon() {
        let pattern = b"a*".repeat(200);
        let text = b"a".repeat(20_000);
        let with_tail = [&pattern[..], b"b"].concat();
        assert!(matches(&pattern, &text));
        assert!(!matches(&with_tail, &text));
    }

    #[test]
    fn prefixes() {
        assert_eq!(literal_prefix(b"user:*"), b"user:");
        assert_eq!(literal_prefix(br"a\*b?"), b"a*b");
        assert_eq!(literal_prefix(b"*"), b"");
        assert_eq!(literal_prefix(b"plain"), b"plain");
    }

    /// The recursive definition, for comparison.
    fn model(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.first(), text.first()) {
            (None, None) => true,
            (Some(b'*'), _) => model(&pattern[1..], text) || (!text.is_empty() && model(pattern, &text[1..])),
            (Some(_), Some(byte)) => match_one(pattern, *byte)
                .is_some_and(|width| model(&pattern[width.min(pattern.len())..], &text[1..])),
            _ => false,
        }
    }

    #[test]
    fn too_many_stars_match_nothing() {
        let pattern = |stars: usize| b"*?".repeat(stars);
        assert!(matches(&pattern(MAX_STARS), &[b'a'; MAX_STARS]));
        assert!(!matches(&pattern(MAX_STARS + 1), &[b'a'; MAX_STARS + 1]));
        assert!(matches(&[b'*'; 5000], b"a"), "neighbours count as one");
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*?\\[\\]\\^\\\\-]{0,8}", text in "[ab]{0,8}") {
            prop_assert_eq!(matches(pattern.as_bytes(), text.as_bytes()),
                model(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn a_match_starts_with_the_prefix(pattern in "[ab*?\\\\]{0,6}", text in "[ab]{0,6}") {
            if matches(pattern.as_bytes(), text.as_bytes()) {
                prop_assert!(text.as_bytes().starts_with(&literal_prefix(pattern.as_bytes())));
            }
        }
    }
}
