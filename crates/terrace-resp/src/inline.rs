//! Plain text requests: one line, split at blanks, with quotes.
//!
//! `"..."` understands `\n \r \t \a \b \xHH` and takes any other escaped byte as it is; `'...'` understands
//! `\'` only; a closing quote must be followed by a blank or the end. The arguments are unescaped in place,
//! which works because unescaping never makes text longer.

use crate::ProtocolError;

/// Splits `line`, pushing the ranges of its arguments (relative to `line`), unescaped in place.
pub(crate) fn split(line: &mut [u8], args: &mut Vec<(u32, u32)>) -> Result<(), ProtocolError> {
    let mut read = 0;
    let mut write = 0;
    loop {
        while line.get(read).is_some_and(|b| is_blank(*b)) {
            read += 1;
        }
        if read >= line.len() {
            return Ok(());
        }
        let start = write.min(read);
        write = start;
        (read, write) = take_argument(line, read, write)?;
        args.push((start as u32, write as u32));
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c)
}

/// Copies one argument from `read` to `write`; returns both positions after it.
fn take_argument(
    line: &mut [u8],
    mut read: usize,
    mut write: usize,
) -> Result<(usize, usize), ProtocolError> {
    while let Some(&byte) = line.get(read) {
        match byte {
            b'"' => (read, write) = take_double_quoted(line, read + 1, write)?,
            b'\'' => (read, write) = take_single_quoted(line, read + 1, write)?,
            0 => return Ok((read + 1, write)),
            _ if is_blank(byte) => return Ok((read, write)),
            _ => {
                line[write] = byte;
                write += 1;
                read += 1;
                continue;
            }
        }
        // A closing quote ends the argument.
        return match line.get(read) {
            Some(after) if !is_blank(*after) => Err(ProtocolError::UnbalancedQuotes),
            _ => Ok((read, write)),
        };
    }
    Ok((read, write))
}

fn take_double_quoted(
    line: &mut [u8],
    mut read: usize,
    mut write: usize,
) -> Result<(usize, usize), ProtocolError> {
    loop {
        let (byte, width) = match line.get(read..).unwrap_or_default() {
            [] => return Err(ProtocolError::UnbalancedQuotes),
            [b'"', ..] => return Ok((read + 1, write)),
            [b'\\', b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex(*high) << 4 | hex(*low), 4)
            }
            [b'\\', escaped, ..] => (unescape(*escaped), 2),
            [byte, ..] => (*byte, 1),
        };
        line[write] = byte;
        write += 1;
        read += width;
    }
}

fn take_single_quoted(
    line: &mut [u8],
    mut read: usize,
    mut write: usize,
) -> Result<(usize, usize), ProtocolError> {
    loop {
        let (byte, width) = match line.get(read..).unwrap_or_default() {
            [] => return Err(ProtocolError::UnbalancedQuotes),
            [b'\'', ..] => return Ok((read + 1, write)),
            [b'\\', b'\'', ..] => (b'\'', 2),
            [byte, ..] => (*byte, 1),
        };
        line[write] = byte;
        write += 1;
        read += width;
    }
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(text: &[u8]) -> Result<Vec<Vec<u8>>, ProtocolError> {
        let mut line = text.to_vec();
        let mut args = Vec::new();
        split(&mut line, &mut args)?;
        Ok(args.iter().map(|(a, b)| line[*a as usize..*b as usize].to_vec()).collect())
    }

    #[test]
    fn blanks_quotes_and_escapes() {
        let check = |text: &str, expected: &[&[u8]]| assert_eq!(parts(text.as_bytes()).unwrap(), expected);
        check("", &[]);
        check("  \t ", &[]);
        check("set k v", &[b"set", b"k", b"v"]);
        check("  set   k\tv  ", &[b"set", b"k", b"v"]);
        check(r#"set k "a b""#, &[b"set", b"k", b"a b"]);
        check(r#"set "" ''"#, &[b"set", b"", b""]);
        check(r#""\x41\n\r\t\a\b\"\q\x4g""#, &[b"A\n\r\t\x07\x08\"qx4g"]);
        check(r"'a\'b\n'", &[br"a'b\n"]);
        check(r#"pre"fix" x"#, &[b"prefix", b"x"]);
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for text in [r#"set "a"#, "set 'a", r#"set "a"b"#, "set 'a'b", r#"set "a\"#, r#"""""#] {
            assert_eq!(parts(text.as_bytes()), Err(ProtocolError::UnbalancedQuotes), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_stays_in_the_line(text: Vec<u8>) {
            let _ = parts(&text);
        }

        #[test]
        fn quoting_round_trips(args in prop::collection::vec(any::<Vec<u8>>(), 1..6)) {
            let mut text = Vec::new();
            for arg in &args {
                text.extend_from_slice(b" \"");
                for byte in arg {
                    text.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
                }
                text.extend_from_slice(b"\" ");
            }
            prop_assert_eq!(parts(&text).unwrap(), args);
        }
    }
}
