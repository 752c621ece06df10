//! JSON lines: one object a line.
//!
//! `{"key": …, "value": …, "expires_at_ms": …, "tag": …}`; `expires_at_ms` only with an expiry, `tag` only when
//! it is not zero, `keyspace` only in a file of several. A key or value that is not UTF-8 goes under `key_b64` or `value_b64` as Base64. On reading,
//! a value that is not a string (a number, an object) is taken as its JSON text, and other fields are ignored.

use std::borrow::Cow;
use std::fmt;
use std::io::{BufRead, Read as _, Write};

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserializer as _;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::{SerializeMap as _, Serializer as _};
use serde_json::value::RawValue;

use super::{BadLine, Layout, Record, RecordReader, RecordWriter, Step};

/// The longest line; a longer one ends the import, because it can be neither read nor skipped safely.
const LINE_LIMIT_BYTES: u64 = 1 << 30;

/// Reads JSON lines.
pub(crate) struct JsonReader<R> {
    input: R,
    names: Names,
    line: u64,
    buffer: Vec<u8>,
}

impl<R: BufRead> JsonReader<R> {
    /// A reader from the start of `input`.
    pub(crate) fn new(input: R, layout: &Layout) -> Self {
        Self { input, names: Names::new(layout), line: 0, buffer: Vec::new() }
    }
}

impl<R: BufRead> RecordReader for JsonReader<R> {
    fn next_record(&mut self) -> Result<Option<Step>> {
        loop {
            self.buffer.clear();
            let taken = self.input.by_ref().take(LINE_LIMIT_BYTES).read_until(b'\n', &mut self.buffer)?;
            if taken == 0 {
                return Ok(None);
            }
            self.line += 1;
            let line = self.line;
            if taken as u64 == LINE_LIMIT_BYTES && self.buffer.last() != Some(&b'\n') {
                anyhow::bail!("line {line}: longer than {LINE_LIMIT_BYTES} bytes");
            }
            let text = self.buffer.trim_ascii();
            if !text.is_empty() {
                return Ok(Some(
                    self.names.parse(text).map_err(|reason| BadLine { line, reason }).map(|r| (line, r)),
                ));
            }
        }
    }
}

/// The names of the fields.
struct Names {
    key: String,
    key_b64: String,
    value: String,
    value_b64: String,
    /// Whether the field `keyspace` means something.
    keyspaces: bool,
}

impl Names {
    fn new(layout: &Layout) -> Self {
        let Layout { key_field: key, value_field: value, .. } = layout;
        let (key_b64, value_b64) = (format!("{key}_b64"), format!("{value}_b64"));
        Self { key: key.clone(), key_b64, value: value.clone(), value_b64, keyspaces: layout.keyspaces }
    }

    /// The entry on one line.
    fn parse(&self, text: &[u8]) -> Result<Record, String> {
        let mut input = serde_json::Deserializer::from_slice(text);
        let say = |e: serde_json::Error| {
            // The parser sees one line and calls it line 1, which would mislead beside the real number.
            let (text, column) = (e.to_string(), e.column());
            let text = if e.is_data() { text } else { format!("not a JSON object: {text}") };
            match text.rsplit_once(" at line ") {
                Some((what, _)) if column > 0 => format!("{what} (column {column})"),
                Some((what, _)) => what.to_owned(),
                None => text,
            }
        };
        let record = input.deserialize_map(self).map_err(say)?;
        input.end().map_err(say)?;
        record.check()
    }
}

impl<'de> Visitor<'de> for &Names {
    type Value = Record;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with {:?} and {:?}", self.key, self.value)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Record, A::Error> {
        let (mut key, mut value) = (None, None);
        let (mut expires_at_ms, mut tag, mut keyspace) = (None, None, None);
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            let raw = map.next_value::<&'de RawValue>()?.get();
            let name = &*name;
            if name == self.key {
                set(&mut key, name, text_bytes(raw).map_err(A::Error::custom)?)?;
            } else if name == self.value {
                set(&mut value, name, text_bytes(raw).map_err(A::Error::custom)?)?;
            } else if name == self.key_b64 {
                set(&mut key, name, decode(name, raw).map_err(A::Error::custom)?)?;
            } else if name == self.value_b64 {
                set(&mut value, name, decode(name, raw).map_err(A::Error::custom)?)?;
            } else if name == "expires_at_ms" {
                set(&mut expires_at_ms, name, number(name, raw).map_err(A::Error::custom)?)?;
            } else if name == "tag" {
                let found: u64 = number(name, raw).map_err(A::Error::custom)?;
                set(&mut tag, name, u8::try_from(found).unwrap_or(u8::MAX))?;
            } else if name == "keyspace" && self.keyspaces {
                let found: String = serde_json::from_str(raw)
                    .map_err(|_| A::Error::custom(format!("\"keyspace\" is not a string: {raw}")))?;
                set(&mut keyspace, name, found)?;
            }
        }
        let missing = |name: &str| A::Error::custom(format!("no field {name:?} (or \"{name}_b64\")"));
        Ok(Record {
            key: key.ok_or_else(|| missing(&self.key))?,
            value: value.ok_or_else(|| missing(&self.value))?,
            expires_at_ms,
            tag: tag.unwrap_or(0),
            keyspace,
        })
    }
}

/// Fills a field once; the second time the line contradicts itself.
fn set<T, E: serde::de::Error>(slot: &mut Option<T>, name: &str, found: T) -> Result<(), E> {
    match slot.replace(found) {
        None => Ok(()),
        Some(_) => Err(E::custom(format!("{name:?} is given twice"))),
    }
}

/// A string's text, or the JSON text of a number, a boolean, an object or an array.
fn text_bytes(raw: &str) -> Result<Vec<u8>, String> {
    if raw.starts_with('"') {
        let text: String = serde_json::from_str(raw).map_err(|e| e.to_string())?;
        return Ok(text.into_bytes());
    }
    if raw == "null" {
        return Err("a key or value cannot be null".into());
    }
    Ok(raw.as_bytes().to_vec())
}

fn decode(name: &str, raw: &str) -> Result<Vec<u8>, String> {
    let text: String = serde_json::from_str(raw).map_err(|_| format!("{name:?} is not a string"))?;
    BASE64.decode(text).map_err(|e| format!("{name:?} is not Base64: {e}"))
}

fn number(name: &str, raw: &str) -> Result<u64, String> {
    serde_json::from_str(raw).map_err(|_| format!("{name:?} is not a whole number: {raw}"))
}

/// Writes JSON lines.
pub(crate) struct JsonWriter<W> {
    output: W,
    names: Names,
}

impl<W: Write> JsonWriter<W> {
    /// A writer to `output`, which should be buffered.
    pub(crate) fn new(output: W, layout: &Layout) -> Self {
        Self { output, names: Names::new(layout) }
    }

    /// Writes a line with the key alone.
    pub(crate) fn write_key(&mut self, key: &[u8]) -> Result<()> {
        let mut json = serde_json::Serializer::new(&mut self.output);
        let mut map = json.serialize_map(None)?;
        push_bytes(&mut map, &self.names.key, &self.names.key_b64, key)?;
        map.end()?;
        self.output.write_all(b"\n")?;
        Ok(())
    }
}

fn push_bytes<M: serde::ser::SerializeMap>(
    map: &mut M,
    name: &str,
    name_b64: &str,
    bytes: &[u8],
) -> Result<(), M::Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) => map.serialize_entry(name, text),
        Err(_) => map.serialize_entry(name_b64, &BASE64.encode(bytes)),
    }
}

impl<W: Write> RecordWriter for JsonWriter<W> {
    fn write(&mut self, record: &Record) -> Result<()> {
        let mut json = serde_json::Serializer::new(&mut self.output);
        let mut map = json.serialize_map(None)?;
        if let Some(keyspace) = &record.keyspace {
            map.serialize_entry("keyspace", keyspace)?;
        }
        push_bytes(&mut map, &self.names.key, &self.names.key_b64, &record.key)?;
        push_bytes(&mut map, &self.names.value, &self.names.value_b64, &record.value)?;
        if let Some(at) = record.expires_at_ms {
            map.serialize_entry("expires_at_ms", &at)?;
        }
        if record.tag != 0 {
            map.serialize_entry("tag", &record.tag)?;
        }
        map.end()?;
        self.output.write_all(b"\n")?;
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        Ok(self.output.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::*;

    fn parse(text: &str) -> Result<Record, String> {
        Names::new(&Layout::new(Format::Jsonl)).parse(text.as_bytes())
    }

    #[test]
    fn values_that_are_no_strings_keep_their_text() {
        assert_eq!(parse(r#"{"key":7,"value":{"a": [1]},"other":null}"#).unwrap().value, br#"{"a": [1]}"#);
        assert_eq!(parse(r#"{"key":7,"value":""}"#).unwrap().key, b"7");
    }

    #[test]
    fn wrong_lines_say_what_is_wrong() {
        let cases = [
            (r#"{"key":"a"}"#, "no field \"value\""),
            (r#"{"value":"a"}"#, "no field \"key\""),
            (r#"{"key":"a","key_b64":"YQ==","value":""}"#, "given twice"),
            (r#"{"key":"a","value":null}"#, "null"),
            (r#"{"key_b64":"!","value":""}"#, "not Base64"),
            (r#"{"key":"a","value":"","tag":16}"#, "0 to 15"),
            (r#"{"key":"a","value":"","tag":256}"#, "0 to 15"),
            (r#"{"key":"a","value":"","expires_at_ms":-1}"#, "whole number"),
            (r#"{"key":"","value":""}"#, "1 to 65,535"),
            (r#"{"key":"a","value":"b"} x"#, "trailing"),
            (r#"["a","b"]"#, "expected an object"),
            ("plain text", "not a JSON object: expected"),
            (r#"{"key":"a","value":"b""#, "not a JSON object: EOF"),
            ("{", "EOF"),
        ];
        for (text, expected) in cases {
            let reason = parse(text).unwrap_err();
            assert!(reason.contains(expected), "{text}: {reason}");
            assert!(!reason.contains("line 1"), "{reason}");
        }
    }

    #[test]
    fn blank_lines_are_counted_and_skipped() {
        let text = "\n{\"key\":\"a\",\"value\":\"\"}\r\n\n  \nbad";
        let layout = Layout::new(Format::Jsonl);
        let mut reader = JsonReader::new(text.as_bytes(), &layout);
        assert_eq!(reader.next_record().unwrap().unwrap().unwrap().0, 2);
        assert_eq!(reader.next_record().unwrap().unwrap().unwrap_err().line, 5);
        assert!(reader.next_record().unwrap().is_none());
    }
}
