//! `StoreFiles::inspect`: what a store consists of, without reading its data (but to count what has expired).

use std::sync::Arc;

use super::StoreFiles;
use super::finding::{KeyRange, key_range};
use crate::base::{Cursor, Error, FileId, Result};
use crate::table::{Cache, Table, TableMeta};
use crate::version::{Edit, LiveBlob, names};
use crate::wal::salvage;

/// What a store consists of.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Inspection {
    /// The manifest that counts.
    pub manifest: String,
    /// The size of its records in bytes; the file is longer, by what is reserved for more.
    pub manifest_bytes: u64,
    /// Its edits, oldest first; the first is a snapshot of all that was before.
    pub history: Vec<EditSummary>,
    /// Every entry up to this sequence number is in a table.
    pub flushed_seqno: u64,
    /// The time below which the store's clock never runs, in milliseconds since the Unix epoch.
    pub clock_ms: u64,
    /// The keyspaces: number and name.
    pub keyspaces: Vec<(u32, String)>,
    /// The tables: by level, newest run first, in key order.
    pub tables: Vec<TableInfo>,
    /// The blob files, oldest first.
    pub blobs: Vec<BlobInfo>,
    /// The segments of the log, oldest first. Empty after a clean close.
    pub log: Vec<SegmentInfo>,
    /// Other files in the directory.
    pub other_files: Vec<String>,
    /// What could not be read.
    pub errors: Vec<Error>,
}

/// One edit of the manifest.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct EditSummary {
    /// Where its record begins.
    pub offset: u64,
    /// What it does, a line for each change.
    pub changes: Vec<String>,
}

/// One table.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct TableInfo {
    /// The file.
    pub file: String,
    /// Its level, from 0.
    pub level: usize,
    /// The ordinal of its run in the level; larger is newer.
    pub run: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its entries, old versions and tombstones included.
    pub entries: u64,
    /// Tombstones among them.
    pub tombstones: u64,
    /// Entries that expire at some time.
    pub expiring: u64,
    /// When the first of them expires, in milliseconds since the Unix epoch.
    pub first_expiry_ms: Option<u64>,
    /// When the last entry expires, if all of them do.
    pub last_expiry_ms: Option<u64>,
    /// Entries that have expired by the store's clock or the machine's, whichever is later; `None` if only reading
    /// the table would tell. Flushes and compactions drop them.
    pub expired: Option<u64>,
    /// The smallest and the largest sequence number.
    pub seqnos: (u64, u64),
    /// Bytes of keys and values before compression.
    pub raw_bytes: u64,
    /// Data blocks.
    pub blocks: u64,
    /// Bits of its filter for each entry; 0 without one.
    pub filter_bits_per_entry: f64,
    /// When it was written, in milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// The keys.
    pub keys: KeyRange,
}

/// One blob file.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct BlobInfo {
    /// The file.
    pub file: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// The values in it.
    pub records: u64,
    /// Bytes of the values to which no table points any more.
    pub garbage_bytes: u64,
}

/// One segment of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// The file.
    pub file: String,
    /// Its size in bytes, most of it reserved ahead.
    pub bytes: u64,
    /// Bytes of the records in it.
    pub used_bytes: u64,
    /// Records.
    pub records: u64,
    /// Chunks that lanes have begun.
    pub chunks: u64,
    /// The smallest and the largest sequence number; 0 without records.
    pub seqnos: (u64, u64),
    /// Every write up to here was known to survive a power loss.
    pub durable_seqno: u64,
    /// Places that hold neither a record nor nothing.
    pub damaged_places: u64,
}

impl StoreFiles {
    /// What the store consists of: manifest, keyspaces, tables and log. Reads the manifest, the summary of each table
    /// and the log, not the data; changes nothing.
    pub fn inspect(&self) -> Result<Inspection> {
        self.look(false)
    }

    /// As [`StoreFiles::inspect`], with [`TableInfo::expired`] known for every table: reads the entries of those of which
    /// some have expired and some have not.
    pub fn inspect_expired(&self) -> Result<Inspection> {
        self.look(true)
    }

    fn look(&self, count_expired: bool) -> Result<Inspection> {
        let listed = self.list()?;
        let registry = self.registry(&listed);
        let state = registry.state();
        let known = |name: &String| names::is_of_store(name) || salvage::is_segment_name(name);
        let mut inspection = Inspection {
            manifest: registry.manifest.map_or_else(String::new, names::manifest),
            manifest_bytes: registry.history.bytes,
            history: registry.history.edits.iter().map(|(offset, edit)| summary(*offset, edit)).collect(),
            flushed_seqno: state.flushed_seqno,
            clock_ms: state.clock_ms,
            keyspaces: state.keyspaces.iter().map(|(id, name)| (id.0, name.clone())).collect(),
            other_files: listed.iter().filter(|name| !known(name)).cloned().collect(),
            errors: registry.current.iter().chain(&registry.history.wrong).cloned().collect(),
            ..Inspection::default()
        };
        let now_ms = state.clock_ms.max(self.env.clock.now_ms());
        for placed in state.tables.values() {
            let meta = &placed.meta;
            let summary = Table::read_summary(&*self.env.fs, &self.dir, meta.id).unwrap_or_else(|error| {
                inspection.errors.push(error);
                crate::table::Summary::default()
            });
            let mut expired = known_expired(meta, now_ms);
            if expired.is_none() && count_expired {
                let counted = self.count_expired(meta, now_ms);
                expired = counted.map_err(|error| inspection.errors.push(error)).ok();
            }
            inspection.tables.push(TableInfo {
                file: names::table(meta.id),
                level: placed.level,
                run: placed.run,
                bytes: meta.file_bytes,
                entries: meta.entries,
                tombstones: meta.tombstones,
                expiring: summary.expiring,
                first_expiry_ms: Some(meta.min_expires_at_ms).filter(|at| *at != 0),
                last_expiry_ms: Some(meta.max_expires_at_ms).filter(|at| *at != 0),
                expired,
                seqnos: (meta.min_seqno, meta.max_seqno),
                raw_bytes: meta.raw_bytes,
                blocks: summary.blocks,
                filter_bits_per_entry: summary.filter_bytes as f64 * 8.0 / meta.entries.max(1) as f64,
                created_at_ms: summary.created_at_ms,
                keys: key_range(&meta.smallest, &meta.largest, state),
            });
        }
        inspection
            .tables
            .sort_by(|a, b| (a.level, b.run, &state_key(a)).cmp(&(b.level, a.run, &state_key(b))));
        inspection.blobs = state.blobs.iter().map(blob_info).collect();
        self.inspect_log(&mut inspection)?;
        Ok(inspection)
    }

    fn count_expired(&self, meta: &TableMeta, now_ms: u64) -> Result<u64> {
        let table = Table::open(Arc::clone(&self.env.fs), &self.dir, meta.clone(), Cache::new(0));
        let mut cursor = Arc::new(table).cursor(false);
        let mut expired = 0;
        cursor.seek_to_first()?;
        while cursor.valid() {
            expired += u64::from(cursor.meta().expires_at_ms != 0 && cursor.meta().expires_at_ms <= now_ms);
            cursor.next()?;
        }
        Ok(expired)
    }

    fn inspect_log(&self, inspection: &mut Inspection) -> Result<()> {
        for id in salvage::segments(&self.env, &self.dir)? {
            let path = salvage::segment_path(&self.dir, id);
            match salvage::survey(&self.env, &path, id, &mut |_| Ok(())) {
                Ok(survey) => inspection.log.push(SegmentInfo {
                    file: file_name(id),
                    bytes: survey.bytes,
                    used_bytes: survey.record_bytes,
                    records: survey.records,
                    chunks: survey.chunks,
                    seqnos: (survey.first_seqno, survey.last_seqno),
                    durable_seqno: survey.horizon,
                    damaged_places: survey.wrong.len() as u64,
                }),
                Err(error) => inspection.errors.push(error),
            }
        }
        Ok(())
    }
}

fn blob_info(blob: &LiveBlob) -> BlobInfo {
    BlobInfo {
        file: names::blob(blob.meta.id),
        bytes: blob.meta.file_bytes,
        records: blob.meta.records,
        garbage_bytes: blob.garbage_bytes(),
    }
}

/// How many entries of a table have expired, as far as their earliest and latest expiry tell.
fn known_expired(meta: &TableMeta, now_ms: u64) -> Option<u64> {
    if meta.min_expires_at_ms == 0 || now_ms < meta.min_expires_at_ms {
        return Some(0);
    }
    (meta.max_expires_at_ms != 0 && meta.max_expires_at_ms <= now_ms).then_some(meta.entries)
}

fn state_key(table: &TableInfo) -> (String, Vec<u8>) {
    (table.keys.first.keyspace.clone(), table.keys.first.key.clone())
}

fn file_name(id: FileId) -> String {
    let path = salvage::segment_path(std::path::Path::new(""), id);
    path.display().to_string()
}

/// An edit in words.
pub(super) fn summary(offset: u64, edit: &Edit) -> EditSummary {
    let mut changes = Vec::new();
    let mut say = |text: String| changes.push(text);
    for (level, id) in &edit.removed {
        say(format!("remove {} from level {level}", names::table(*id)));
    }
    for placed in &edit.added {
        let (name, level, run) = (names::table(placed.meta.id), placed.level, placed.run);
        say(format!("add {name} to level {level}, run {run}: {} entries", placed.meta.entries));
    }
    for blob in &edit.blobs {
        say(format!("add {}: {} values", names::blob(blob.id), blob.records));
    }
    for (id, name) in &edit.created {
        say(format!("create keyspace {} {name:?}", id.0));
    }
    for id in &edit.dropped {
        say(format!("drop keyspace {}", id.0));
    }
    for (id, name) in &edit.renamed {
        say(format!("rename keyspace {} to {name:?}", id.0));
    }
    for delete in &edit.range_deletes {
        let [start, end] = [&delete.start, &delete.end].map(|key| key.escape_ascii());
        say(format!("range delete {} from \"{start}\" up to \"{end}\"", delete.seqno));
    }
    for seqno in &edit.settled_range_deletes {
        say(format!("range delete {seqno} is applied"));
    }
    if let Some(name) = &edit.merge_operator {
        say(format!("merge operator {name:?}"));
    }
    let numbers = [
        ("flushed up to", edit.flushed_seqno),
        ("next file", edit.next_file_id),
        ("clock ms", edit.clock_ms),
        ("next keyspace", edit.next_keyspace_id.map(u64::from)),
        ("log from file", edit.log_start.map(|id| id.0)),
    ];
    for (what, number) in numbers {
        if let Some(number) = number {
            say(format!("{what} {number}"));
        }
    }
    EditSummary { offset, changes }
}
