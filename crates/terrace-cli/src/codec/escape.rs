//! The reversible escape for bytes in tables, CSV and TSV.
//!
//! UTF-8 text stands for itself. A backslash is `\\`; tab, newline and carriage return are `\t`, `\n`, `\r`;
//! every byte of another control character, of a byte-order mark and of anything that is not UTF-8 is `\xHH`.
//! So the result is always one line of printable text, and `unescape(escape(x)) == x` for every `x`.

use std::fmt::Write as _;

/// Text that stands for these bytes.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '\t' => out.push_str("\\t"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                // A byte-order mark at the start of a file would be taken for one.
                c if c.is_control() || c == '\u{feff}' => {
                    push_hex(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                c => out.push(c),
            }
        }
        push_hex(&mut out, chunk.invalid());
    }
    out
}

fn push_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(out, "\\x{byte:02x}"); // Writing to a string cannot fail.
    }
}

/// The bytes that an escaped text stands for; the error says where the escape is wrong.
pub(crate) fn unescape(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'\\' {
            out.push(first);
            continue;
        }
        let at = text.len() - tail.len();
        let Some((&kind, tail)) = rest.split_first() else {
            return Err(format!("byte {at}: a backslash at the end; write \\\\ for a backslash"));
        };
        rest = tail;
        match kind {
            b'\\' => out.push(b'\\'),
            b't' => out.push(b'\t'),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b'x' => {
                let Some(byte) = rest.get(..2).and_then(hex_pair) else {
                    return Err(format!("byte {at}: \\x takes two hexadecimal digits"));
                };
                out.push(byte);
                rest = &rest[2..];
            }
            _ => {
                let kind = char::from(kind).escape_default();
                return Err(format!("byte {at}: unknown escape \\{kind}; write \\\\ for a backslash"));
            }
        }
    }
    Ok(out)
}

fn hex_pair(digits: &[u8]) -> Option<u8> {
    let value = |d: u8| char::from(d).to_digit(16);
    match digits {
        &[high, low] => Some((value(high)? * 16 + value(low)?) as u8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_stands_for_itself_and_the_rest_is_visible() {
        assert_eq!(escape("naïve \"x\", y".as_bytes()), "naïve \"x\", y");
        assert_eq!(escape(b"a\\b\t\n\r\x00\x1b[1m"), "a\\\\b\\t\\n\\r\\x00\\x1b[1m");
        assert_eq!(escape(b"\xff\xc3"), "\\xff\\xc3");
    }

    #[test]
    fn wrong_escapes_are_refused_with_their_place() {
        assert_eq!(unescape(b"ab\\q").unwrap_err(), "byte 3: unknown escape \\q; write \\\\ for a backslash");
        assert!(unescape(b"\\").unwrap_err().contains("byte 1"));
        assert!(unescape(b"\\x1").unwrap_err().contains("two hexadecimal"));
        assert!(unescape(b"\\x+1").is_err());
    }

    proptest! {
        #[test]
        fn what_was_escaped_comes_back(bytes: Vec<u8>, text: String) {
            for bytes in [&bytes[..], text.as_bytes()] {
                let escaped = escape(bytes);
                let one_line = !escaped.contains(|c: char| c.is_control() || c == '\u{feff}');
                prop_assert!(one_line);
                prop_assert_eq!(unescape(escaped.as_bytes()).unwrap(), bytes);
            }
        }
    }
}
