//! The client's side: encoding requests and decoding replies.
//!
//! Decoding is not resumable: a reply that is not complete is decoded again from its start. Tools and tests
//! can afford that; a server never decodes replies.

use crate::{ProtocolError, number};

/// How deeply replies may be nested.
const MAX_DEPTH: usize = 32;

/// A reply.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Value {
    /// Null of either version, of any type.
    Null,
    /// A simple string.
    Simple(String),
    /// An error, its code included.
    Error(String),
    /// An integer.
    Integer(i64),
    /// A floating-point number.
    Double(f64),
    /// A boolean.
    Boolean(bool),
    /// A bulk string, or verbatim text without its format.
    Bulk(Vec<u8>),
    /// An integer of any size, as its digits.
    BigNumber(String),
    /// An array.
    Array(Vec<Value>),
    /// A map.
    Map(Vec<(Value, Value)>),
    /// A set.
    Set(Vec<Value>),
    /// An out-of-band push.
    Push(Vec<Value>),
}

/// Appends a request with these arguments.
pub fn encode_request<A: AsRef<[u8]>>(out: &mut Vec<u8>, args: &[A]) {
    let mut digits = itoa::Buffer::new();
    out.push(b'*');
    out.extend_from_slice(digits.format(args.len()).as_bytes());
    out.extend_from_slice(b"\r\n");
    for arg in args {
        let arg = arg.as_ref();
        out.push(b'$');
        out.extend_from_slice(digits.format(arg.len()).as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

/// Decodes the reply at the start of `buf`: it and its length, or `None` if it is not complete.
pub fn decode_reply(buf: &[u8]) -> Result<Option<(Value, usize)>, ProtocolError> {
    let mut reader = Reader { buf, position: 0 };
    Ok(reader.value(0)?.map(|value| (value, reader.position)))
}

struct Reader<'a> {
    buf: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    fn line(&mut self) -> Option<&'a [u8]> {
        let rest = &self.buf[self.position..];
        let end = memchr::memchr(b'\n', rest)?;
        self.position += end + 1;
        Some(rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]))
    }

    fn value(&mut self, depth: usize) -> Result<Option<Value>, ProtocolError> {
        if depth > MAX_DEPTH {
            return Err(ProtocolError::NestedTooDeeply);
        }
        let Some(line) = self.line() else { return Ok(None) };
        let Some((&kind, rest)) = line.split_first() else { return Err(ProtocolError::MalformedReply) };
        let text = || String::from_utf8_lossy(rest).into_owned();
        let value = match kind {
            b'+' => Value::Simple(text()),
            b'-' => Value::Error(text()),
            b':' => Value::Integer(number::parse_i64(rest).ok_or(ProtocolError::MalformedReply)?),
            b',' => Value::Double(text().parse().map_err(|_| ProtocolError::MalformedReply)?),
            b'#' => Value::Boolean(rest == b"t"),
            b'_' => Value::Null,
            b'(' => Value::BigNumber(text()),
            b'$' | b'=' | b'!' => return self.blob(kind, rest),
            b'*' | b'~' | b'>' => return self.sequence(kind, rest, depth),
            b'%' => return self.map(rest, depth),
            other => return Err(ProtocolError::UnknownReply(other)),
        };
        Ok(Some(value))
    }

    fn blob(&mut self, kind: u8, header: &[u8]) -> Result<Option<Value>, ProtocolError> {
        let Some(len) = length(header)? else { return Ok(Some(Value::Null)) };
        let rest = &self.buf[self.position..];
        if rest.len() < len.saturating_add(2) {
            return Ok(None);
        }
        self.position += len + 2;
        let bytes = &rest[..len];
        Ok(Some(match kind {
            b'!' => Value::Error(String::from_utf8_lossy(bytes).into_owned()),
            b'=' => Value::Bulk(bytes.get(4..).unwrap_or_default().to_vec()),
            _ => Value::Bulk(bytes.to_vec()),
        }))
    }

    fn sequence(&mut self, kind: u8, header: &[u8], depth: usize) -> Result<Option<Value>, ProtocolError> {
        let Some(len) = length(header)? else { return Ok(Some(Value::Null)) };
        let mut values = Vec::new();
        for _ in 0..len {
            match self.value(depth + 1)? {
                Some(value) => values.push(value),
                None => return Ok(None),
            }
        }
        Ok(Some(match kind {
            b'~' => Value::Set(values),
            b'>' => Value::Push(values),
            _ => Value::Array(values),
        }))
    }

    fn map(&mut self, header: &[u8], depth: usize) -> Result<Option<Value>, ProtocolError> {
        let Some(len) = length(header)? else { return Ok(Some(Value::Null)) };
        let mut pairs = Vec::new();
        for _ in 0..len {
            let Some(key) = self.value(depth + 1)? else { return Ok(None) };
            let Some(value) = self.value(depth + 1)? else { return Ok(None) };
            pairs.push((key, value));
        }
        Ok(Some(Value::Map(pairs)))
    }
}

/// A length; `None` for the -1 of version 2's nulls.
fn length(header: &[u8]) -> Result<Option<usize>, ProtocolError> {
    match number::parse_i64(header) {
        Some(-1) => Ok(None),
        Some(len) => usize::try_from(len).map(Some).map_err(|_| ProtocolError::MalformedReply),
        None => Err(ProtocolError::MalformedReply),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn replies_of_both_versions_decode() {
        let check = |bytes: &[u8], expected: Value| {
            assert_eq!(decode_reply(bytes), Ok(Some((expected, bytes.len()))));
            for cut in 0..bytes.len() {
                assert_eq!(decode_reply(&bytes[..cut]), Ok(None), "cut at {cut}");
            }
        };
        check(b"+OK\r\n", Value::Simple("OK".into()));
        check(b"-ERR x\r\n", Value::Error("ERR x".into()));
        check(b"$-1\r\n", Value::Null);
        check(b"*-1\r\n", Value::Null);
        check(b"_\r\n", Value::Null);
        check(b"$3\r\na\r\n\r\n", Value::Bulk(b"a\r\n".to_vec()));
        check(b"*2\r\n:1\r\n*0\r\n", Value::Array(vec![Value::Integer(1), Value::Array(vec![])]));
        check(b"%1\r\n+k\r\n,1.5\r\n", Value::Map(vec![(Value::Simple("k".into()), Value::Double(1.5))]));
        check(b"=6\r\ntxt:ab\r\n", Value::Bulk(b"ab".to_vec()));
        check(b"~1\r\n#t\r\n", Value::Set(vec![Value::Boolean(true)]));
    }

    #[test]
    fn hostile_replies_are_refused() {
        assert_eq!(decode_reply(b"?\r\n"), Err(ProtocolError::UnknownReply(b'?')));
        assert_eq!(decode_reply(b"$-2\r\n"), Err(ProtocolError::MalformedReply));
        let nested = b"*1\r\n".repeat(100);
        assert_eq!(decode_reply(&nested), Err(ProtocolError::NestedTooDeeply));
        assert_eq!(decode_reply(b"$9223372036854775807\r\nx"), Ok(None));
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = decode_reply(&bytes);
        }
    }
}
