//! Counts replies without taking them apart: where one ends, and whether it is what the load may get.

use anyhow::{Result, bail, ensure};

/// Of an error, so much is told.
const MAX_ERROR_BYTES: usize = 60;

/// The end of the reply at the start of `bytes`, or `None` if it is not complete. An error or a missing value is a
/// failure: the load only asks for what was loaded.
pub(super) fn end_of_reply(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(line) = line_end(bytes) else { return Ok(None) };
    let text = &bytes[1..line - 2];
    match bytes[0] {
        b'+' | b':' => Ok(Some(line)),
        b'$' => {
            let end = line + length(text)? + 2;
            Ok((bytes.len() >= end).then_some(end))
        }
        b'*' => {
            let mut end = line;
            for _ in 0..length(text)? {
                let Some(next) = end_of_reply(&bytes[end..])? else { return Ok(None) };
                end += next;
            }
            Ok(Some(end))
        }
        b'-' => bail!("the server said: {}", text[..text.len().min(MAX_ERROR_BYTES)].escape_ascii()),
        other => bail!("a reply starts with {:?}", char::from(other)),
    }
}

/// Where the first line ends, its line feed included.
#[inline]
fn line_end(bytes: &[u8]) -> Option<usize> {
    let at = bytes.iter().position(|byte| *byte == b'\n')?;
    (at >= 2).then_some(at + 1)
}

fn length(digits: &[u8]) -> Result<usize> {
    ensure!(digits != b"-1", "a key that was loaded is missing");
    let (mut length, valid) = (0usize, (1..=9).contains(&digits.len()));
    ensure!(
        valid && digits.iter().all(u8::is_ascii_digit),
        "a length of {:?}",
        digits.escape_ascii().to_string()
    );
    for digit in digits {
        length = length * 10 + usize::from(digit - b'0');
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_ends_where_it_ends_and_not_before() {
        for reply in [
            &b"+OK\r\n"[..],
            b":12\r\n",
            b"$5\r\nhel\nl\r\n",
            b"$0\r\n\r\n",
            b"*2\r\n$1\r\na\r\n:1\r\n",
            b"*0\r\n",
        ] {
            for len in 0..reply.len() {
                assert_eq!(end_of_reply(&reply[..len]).unwrap(), None, "{len} of {}", reply.escape_ascii());
            }
            let more = [reply, b"+OK"].concat();
            assert_eq!(end_of_reply(&more).unwrap(), Some(reply.len()));
        }
    }

    #[test]
    fn errors_and_missing_values_are_failures() {
        for reply in
            [&b"-ERR no\r\n"[..], b"$-1\r\n", b"*1\r\n$-1\r\n", b"?\r\n\r\n", b"$1a\r\n", b"$\r\nx\r\n"]
        {
            assert!(end_of_reply(reply).is_err(), "{}", reply.escape_ascii());
        }
    }
}
