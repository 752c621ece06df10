//! Lines of words, some of them in quotes, as files of users and selectors have them.

/// The words of a line; `None` if quotes do not match. Within double quotes a backslash escapes (`\n`, `\x41`); within
/// single quotes only `\'` means something.
pub(super) fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut words, mut rest) = (Vec::new(), line);
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Some(words);
        }
        let mut word = Vec::new();
        while let Some((byte, tail)) = rest.split_first() {
            match byte {
                b'"' | b'\'' => rest = quoted(tail, *byte, &mut word)?,
                byte if byte.is_ascii_whitespace() || *byte == 0 => break,
                byte => {
                    word.push(*byte);
                    rest = tail;
                }
            }
        }
        if rest.first() == Some(&0) {
            rest = &rest[1..];
        }
        words.push(word);
    }
}

/// Reads up to the closing quote, after which a blank or the end has to come; returns what follows.
fn quoted<'a>(mut rest: &'a [u8], quote: u8, word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (byte, tail) = rest.split_first()?;
        rest = tail;
        match (*byte, rest) {
            (byte, _) if byte == quote => {
                return rest.first().is_none_or(u8::is_ascii_whitespace).then_some(rest);
            }
            (b'\\', [b'\'', tail @ ..]) if quote == b'\'' => {
                word.push(b'\'');
                rest = tail;
            }
            (b'\\', [b'x', high, low, tail @ ..])
                if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
                word.push(digit(*high) << 4 | digit(*low));
                rest = tail;
            }
            (b'\\', [escaped, tail @ ..]) if quote == b'"' => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                rest = tail;
            }
            (byte, _) => word.push(byte),
        }
    }
}

/// Whether a text has something in it that a name must not have.
pub(crate) fn has_spaces(text: &[u8]) -> bool {
    text.iter().any(|byte| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b))
}

/// Puts the words of a selector together, from the one that begins with `(` to the one that ends with `)`. `Err` has
/// the position of a parenthesis that is never closed.
pub(super) fn merge_selectors(words: &[&[u8]]) -> Result<Vec<Vec<u8>>, usize> {
    let mut merged: Vec<Vec<u8>> = Vec::new();
    let mut open: Option<(usize, Vec<u8>)> = None;
    for (at, word) in words.iter().enumerate() {
        let (begun, mut text) = match open.take() {
            None if word.first() == Some(&b'(') => (at, word.to_vec()),
            None => {
                merged.push(word.to_vec());
                continue;
            }
            Some((begun, mut text)) => {
                text.push(b' ');
                text.extend_from_slice(word);
                (begun, text)
            }
        };
        if text.len() > 1 && word.last() == Some(&b')') {
            merged.push(std::mem::take(&mut text));
        } else {
            open = Some((begun, text));
        }
    }
    open.map_or(Ok(merged), |(begun, _)| Err(begun))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Option<Vec<String>> {
        let text = |word: Vec<u8>| String::from_utf8_lossy(&word).into_owned();
        split(line.as_bytes()).map(|words| words.into_iter().map(text).collect())
    }

    #[test]
    fn quotes_are_taken_away() {
        assert_eq!(words("  a  b\tc\n").unwrap(), ["a", "b", "c"]);
        assert_eq!(words(r#""a \x41\n" 'it\'s' x"#).unwrap(), ["a A\n", "it's", "x"]);
        assert_eq!(words("").unwrap(), [""; 0]);
        for bad in ["\"a", "'a", "\"a\"b", "'a'b"] {
            assert_eq!(words(bad), None, "{bad}");
        }
    }

    #[test]
    fn selectors_are_put_together() {
        let merged = |words: &[&str]| {
            let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
            let text = |word: Vec<u8>| String::from_utf8_lossy(&word).into_owned();
            merge_selectors(&words).map(|words| words.into_iter().map(text).collect::<Vec<_>>())
        };
        assert_eq!(merged(&["on", "(a", "b)", "c", "(d)"]).unwrap(), ["on", "(a b)", "c", "(d)"]);
        assert_eq!(merged(&["on", "(a", "b"]), Err(1));
        assert_eq!(merged(&["(", "a", ")"]).unwrap(), ["( a )"]);
    }
}
