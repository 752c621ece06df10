//! The store's figures: as JSON, and as tables for a reader.
//!
//! Directory and server both end in one JSON object, so both are shown by the same code. Values whose name ends
//! in `_bytes` or `_ns` get a unit in the tables; the JSON keeps plain numbers.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use terrace::Db;

use crate::table;
use crate::units;

/// The figures of an open store.
pub(crate) fn to_json(db: &Db) -> Value {
    let s = db.stats();
    let levels: Vec<Value> = s
        .levels
        .iter()
        .enumerate()
        .map(|(number, l)| {
            json!({
                "level": number, "runs": l.runs, "tables": l.tables, "bytes": l.bytes, "entries": l.entries,
                "compactions": l.compactions, "read_bytes": l.read_bytes, "written_bytes": l.written_bytes,
            })
        })
        .collect();
    json!({
        "directory": db.path().display().to_string(),
        "keyspaces": db.keyspaces(),
        "entries": s.entries,
        "last_seqno": s.last_seqno,
        "snapshots": s.snapshots,
        "flushed_bytes": s.flushed_bytes,
        "write_amplification": s.write_amplification,
        "read_amplification": s.read_amplification,
        "space_amplification": s.space_amplification,
        "background_error": s.background_error,
        "damage": s.damage,
        "levels": levels,
        "blobs": {
            "files": s.blobs.files, "bytes": s.blobs.bytes, "records": s.blobs.records,
            "garbage_bytes": s.blobs.garbage_bytes,
        },
        "log": {
            "segments": s.log.segments, "appended_bytes": s.log.appended_bytes, "syncs": s.log.syncs,
            "durable_seqno": s.log.durable_seqno,
        },
        "memtable": {
            "active_bytes": s.memtable.active_bytes, "active_entries": s.memtable.active_entries,
            "sealed": s.memtable.sealed, "sealed_bytes": s.memtable.sealed_bytes, "flushes": s.memtable.flushes,
        },
        "cache": {
            "capacity_bytes": s.cache.capacity_bytes, "used_bytes": s.cache.used_bytes,
            "pinned_bytes": s.cache.pinned_bytes, "hits": s.cache.hits, "misses": s.cache.misses,
        },
        "filter": {
            "rejected": s.filter.rejected, "found": s.filter.found, "false_positives": s.filter.false_positives,
        },
        "stalls": { "count": s.stalls.count, "total_ns": s.stalls.total_ns, "max_ns": s.stalls.max_ns },
    })
}

/// The figures in a server's reply, whichever form it chose: JSON text, `name:value` lines, or a map.
pub(crate) fn from_reply(reply: redis::Value) -> Value {
    match reply {
        redis::Value::BulkString(bytes) => from_text(&String::from_utf8_lossy(&bytes)),
        redis::Value::SimpleString(text) | redis::Value::VerbatimString { text, .. } => from_text(&text),
        redis::Value::Map(pairs) => pairs_to_json(pairs),
        redis::Value::Array(items)
            if items.len() % 2 == 0 && matches!(items.first(), Some(redis::Value::BulkString(_))) =>
        {
            let mut items = items.into_iter();
            let pairs = std::iter::from_fn(|| Some((items.next()?, items.next()?)));
            pairs_to_json(pairs)
        }
        redis::Value::Array(items) => Value::Array(items.into_iter().map(from_reply).collect()),
        redis::Value::Int(number) => number.into(),
        redis::Value::Double(number) => json!(number),
        redis::Value::Boolean(flag) => flag.into(),
        _ => Value::Null,
    }
}

fn pairs_to_json(pairs: impl IntoIterator<Item = (redis::Value, redis::Value)>) -> Value {
    let name = |value| match value {
        redis::Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        redis::Value::SimpleString(text) => text,
        other => format!("{other:?}"),
    };
    Value::Object(pairs.into_iter().map(|(key, value)| (name(key), from_reply(value))).collect())
}

fn from_text(text: &str) -> Value {
    if let Ok(value) = serde_json::from_str(text) {
        return value;
    }
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    let object: Map<String, Value> = pairs
        .map(|(name, value)| {
            let value = value.trim();
            (name.trim().to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into()))
        })
        .collect();
    if object.is_empty() { text.into() } else { Value::Object(object) }
}

/// Tables for a reader: plain figures first, then one table per group.
pub(crate) fn to_text(stats: &Value) -> String {
    let Value::Object(fields) = stats else { return format!("{}\n", plain("", stats)) };
    let is_group = |value: &Value| match value {
        Value::Object(_) => true,
        Value::Array(rows) => rows.first().is_some_and(Value::is_object),
        _ => false,
    };
    let mut out = table::pairs(
        fields.iter().filter(|(_, v)| !is_group(v)).map(|(name, v)| (name.clone(), plain(name, v))),
    );
    for (name, value) in fields.iter().filter(|(_, v)| is_group(v)) {
        let _ = writeln!(out, "\n{name}"); // Writing to a string cannot fail.
        out.push_str(&match value {
            Value::Object(group) => {
                table::pairs(group.iter().map(|(name, v)| (name.clone(), plain(name, v))))
            }
            Value::Array(rows) => rows_to_text(rows),
            _ => String::new(),
        });
    }
    out
}

fn rows_to_text(rows: &[Value]) -> String {
    let Some(first) = rows.first().and_then(Value::as_object) else { return String::new() };
    let names: Vec<&String> = first.keys().collect();
    let cells = rows.iter().map(|row| {
        let cell = |name: &&String| row.get(name.as_str()).map_or(String::new(), |v| plain(name, v));
        names.iter().map(cell).collect()
    });
    table::rows(&names.iter().map(|n| n.as_str()).collect::<Vec<_>>(), cells)
}

/// A figure as text, with the unit that its name promises.
fn plain(name: &str, value: &Value) -> String {
    match value {
        Value::Number(n) if name.contains("bytes") => n.as_u64().map_or_else(|| n.to_string(), units::bytes),
        Value::Number(n) if name.ends_with("_ns") => {
            n.as_u64().map_or_else(|| n.to_string(), units::nanoseconds)
        }
        Value::Number(n) => match n.as_u64() {
            Some(whole) => units::grouped(whole),
            None => n.as_f64().map_or_else(|| n.to_string(), |f| format!("{f:.2}")),
        },
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        Value::Array(items) => items.iter().map(|item| plain(name, item)).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_reply_becomes_an_object() {
        let bulk = |text: &str| redis::Value::BulkString(text.as_bytes().to_vec());
        assert_eq!(from_reply(bulk(r#"{"a":{"b_bytes":1}}"#)), json!({"a": {"b_bytes": 1}}));
        assert_eq!(from_reply(bulk("# x\r\na:1\r\nb:text\r\n")), json!({"a": 1, "b": "text"}));
        assert_eq!(from_reply(redis::Value::Array(vec![bulk("a"), redis::Value::Int(1)])), json!({"a": 1}));
        assert_eq!(from_reply(redis::Value::Map(vec![(bulk("a"), bulk("2"))])), json!({"a": 2}));
    }

    #[test]
    fn tables_show_units_and_groups() {
        let text = to_text(
            &json!({"entries": 12345, "log": {"appended_bytes": 2048}, "levels": [{"level": 0, "bytes": 0}]}),
        );
        assert!(text.contains("12,345") && text.contains("2.0 KiB") && text.contains("\nlog\n"), "{text}");
        assert!(text.contains("level"), "{text}");
    }
}
