//! `terrace inspect`: what a store that nobody has open consists of.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};
use terrace::{Inspection, KeyRange, StoreFiles, TableInfo};

use crate::exit::{self, Code};
use crate::{table, units};

/// Keys are shown up to this length.
const KEY_CHARS: usize = 28;

/// Flags of `inspect`.
#[derive(clap::Args)]
pub(crate) struct Inspect {
    /// The directory of a store that no process has open.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Every edit of the manifest, too.
    #[arg(long)]
    history: bool,
    /// Count the entries that have expired, also where that needs reading whole tables.
    #[arg(long)]
    expired: bool,
    /// One JSON object, with everything.
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub(crate) fn run(self) -> Result<Code> {
        let files = StoreFiles::new(&self.dir);
        let seen = if self.expired { files.inspect_expired() } else { files.inspect() };
        let seen = seen.map_err(exit::explain_files)?;
        if self.json {
            println!("{}", to_json(&seen));
        } else {
            print!("{}", to_text(&seen, self.history));
        }
        Ok(if seen.errors.is_empty() { Code::Done } else { Code::Difference })
    }
}

fn key(at: &terrace::KeyAt) -> String {
    table::shorten(&at.to_string(), KEY_CHARS)
}

fn last_key(keys: &KeyRange) -> String {
    keys.last.as_ref().map_or_else(String::new, key)
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", part as f64 * 100.0 / whole.max(1) as f64)
}

fn to_text(seen: &Inspection, history: bool) -> String {
    let mut text = String::new();
    let spaces: Vec<_> = seen.keyspaces.iter().map(|(id, name)| format!("{name} ({id})")).collect();
    let pairs = [
        ("manifest", format!("{}, {}", seen.manifest, units::bytes(seen.manifest_bytes))),
        ("edits", units::grouped(seen.history.len() as u64)),
        ("writes in tables", format!("up to {}", units::grouped(seen.flushed_seqno))),
        ("clock (UTC)", units::utc(seen.clock_ms)),
        ("keyspaces", spaces.join(", ")),
        ("other files", seen.other_files.join(", ")),
    ];
    text += &table::pairs(pairs.into_iter().map(|(name, value)| (name.to_string(), value)));
    text += &levels(&seen.tables);
    text += &tables(&seen.tables);
    if !seen.blobs.is_empty() {
        let header = ["blob file", "size", "values", "garbage", "share"];
        let rows = seen.blobs.iter().map(|blob| {
            vec![
                blob.file.clone(),
                units::bytes(blob.bytes),
                units::grouped(blob.records),
                units::bytes(blob.garbage_bytes),
                percent(blob.garbage_bytes, blob.bytes),
            ]
        });
        text += &table::rows(&header, rows);
    }
    if !seen.log.is_empty() {
        let header = ["segment", "size", "used", "records", "writes", "durable up to", "damaged places"];
        let rows = seen.log.iter().map(|segment| {
            vec![
                segment.file.clone(),
                units::bytes(segment.bytes),
                units::bytes(segment.used_bytes),
                units::grouped(segment.records),
                format!("{} to {}", segment.seqnos.0, segment.seqnos.1),
                segment.durable_seqno.to_string(),
                segment.damaged_places.to_string(),
            ]
        });
        text += &table::rows(&header, rows);
    }
    if history {
        for edit in &seen.history {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "edit at byte {}: {}", edit.offset, edit.changes.join("; "));
        }
    }
    for error in &seen.errors {
        let _ = writeln!(text, "error: {error}");
    }
    text
}

fn levels(tables: &[TableInfo]) -> String {
    let mut levels: BTreeMap<usize, Vec<&TableInfo>> = BTreeMap::new();
    for info in tables {
        levels.entry(info.level).or_default().push(info);
    }
    let header =
        ["level", "runs", "tables", "size", "entries", "tombstones", "expiring", "expired", "filter bits"];
    let rows = levels.iter().map(|(level, tables)| {
        let sum = |of: fn(&TableInfo) -> u64| tables.iter().map(|info| of(info)).sum::<u64>();
        let entries = sum(|info| info.entries);
        let bits: f64 = tables.iter().map(|info| info.filter_bits_per_entry * info.entries as f64).sum();
        let runs: std::collections::BTreeSet<u64> = tables.iter().map(|info| info.run).collect();
        vec![
            level.to_string(),
            runs.len().to_string(),
            tables.len().to_string(),
            units::bytes(sum(|info| info.bytes)),
            units::grouped(entries),
            percent(sum(|info| info.tombstones), entries),
            percent(sum(|info| info.expiring), entries),
            expired(tables),
            format!("{:.1}", bits / entries.max(1) as f64),
        ]
    });
    table::rows(&header, rows)
}

/// The expired share of some tables; a lower bound if only reading them would tell.
fn expired(tables: &[&TableInfo]) -> String {
    let known = tables.iter().filter_map(|info| info.expired).sum();
    let share = percent(known, tables.iter().map(|info| info.entries).sum());
    if tables.iter().all(|info| info.expired.is_some()) { share } else { format!(">= {share}") }
}

fn tables(tables: &[TableInfo]) -> String {
    let header =
        ["table", "level", "run", "size", "entries", "tombstones", "writes", "first key", "last key"];
    let rows = tables.iter().map(|info| {
        vec![
            info.file.clone(),
            info.level.to_string(),
            info.run.to_string(),
            units::bytes(info.bytes),
            units::grouped(info.entries),
            units::grouped(info.tombstones),
            format!("{} to {}", info.seqnos.0, info.seqnos.1),
            key(&info.keys.first),
            last_key(&info.keys),
        ]
    });
    table::rows(&header, rows)
}

fn to_json(seen: &Inspection) -> Value {
    let at =
        |at: &terrace::KeyAt| json!({ "keyspace": at.keyspace, "key": at.key.escape_ascii().to_string() });
    let tables: Vec<Value> = seen.tables.iter().map(|info| table_json(info, &at)).collect();
    let log = seen.log.iter().map(|segment| {
        json!({
            "file": segment.file, "bytes": segment.bytes, "used_bytes": segment.used_bytes,
            "records": segment.records, "chunks": segment.chunks, "first_seqno": segment.seqnos.0,
            "last_seqno": segment.seqnos.1, "durable_seqno": segment.durable_seqno,
            "damaged_places": segment.damaged_places,
        })
    });
    let blobs = seen.blobs.iter().map(|blob| {
        json!({
            "file": blob.file, "bytes": blob.bytes, "records": blob.records,
            "garbage_bytes": blob.garbage_bytes,
        })
    });
    let history = seen.history.iter().map(|edit| json!({ "offset": edit.offset, "changes": edit.changes }));
    let keyspaces = seen.keyspaces.iter().map(|(id, name)| json!({ "id": id, "name": name }));
    json!({
        "manifest": seen.manifest,
        "manifest_bytes": seen.manifest_bytes,
        "flushed_seqno": seen.flushed_seqno,
        "clock_ms": seen.clock_ms,
        "keyspaces": keyspaces.collect::<Vec<_>>(),
        "tables": tables,
        "blobs": blobs.collect::<Vec<_>>(),
        "log": log.collect::<Vec<_>>(),
        "history": history.collect::<Vec<_>>(),
        "other_files": seen.other_files,
        "errors": seen.errors.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn table_json(info: &TableInfo, at: &dyn Fn(&terrace::KeyAt) -> Value) -> Value {
    json!({
        "file": info.file, "level": info.level, "run": info.run, "bytes": info.bytes, "entries": info.entries,
        "tombstones": info.tombstones, "expiring": info.expiring, "first_expiry_ms": info.first_expiry_ms,
        "last_expiry_ms": info.last_expiry_ms, "expired": info.expired, "first_seqno": info.seqnos.0, "last_seqno": info.seqnos.1,
        "raw_bytes": info.raw_bytes, "blocks": info.blocks,
        "filter_bits_per_entry": info.filter_bits_per_entry, "created_at_ms": info.created_at_ms,
        "first_key": at(&info.keys.first), "last_key": info.keys.last.as_ref().map(at),
    })
}
