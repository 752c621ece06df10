//! `StoreFiles::dump`: one file of a store in words, whatever kind it is.
//!
//! The kind is told by the content, not by the name; the name only says which number the checksums are bound to.

use std::fmt::Write as _;
use std::path::Path;

use super::StoreFiles;
use super::finding::key_at;
use super::inspect::summary;
use crate::base::entry::take_entry;
use crate::base::error::IoContext;
use crate::base::{Cursor, EntryMeta, Error, FileId, Kind, Result};
use crate::blob::{Piece, Pointer, read_origin, scan};
use crate::table::{Salvaged, Table};
use crate::version::{History, State, names};
use crate::wal::salvage;

/// Takes one line of a dump; its error ends it.
pub type DumpLine<'a> = dyn FnMut(&str) -> Result<()> + 'a;

/// Values are shown up to this length.
const VALUE_BYTES: usize = 48;

impl StoreFiles {
    /// Writes what the file `name` of this directory holds, line by line: a table, a blob file, a segment of the log,
    /// a manifest or `CURRENT`. Goes on behind damage, which it points out. Works on a store that is open, too.
    pub fn dump(&self, name: &str, line: &mut DumpLine<'_>) -> Result<()> {
        let path = self.dir.join(name);
        let file = self.env.fs.open(&path).at("open", &path)?;
        let len = file.len().at("read the length of", &path)?;
        let mut head = vec![0; len.min(64) as usize];
        file.read_exact_at(&mut head, 0).at("read", &path)?;
        let mut tail = vec![0; len.min(8) as usize];
        file.read_exact_at(&mut tail, len.saturating_sub(8)).at("read", &path)?;
        let digits: String = name.chars().filter(char::is_ascii_digit).collect();
        let id = FileId(digits.parse().unwrap_or(0));
        line(&format!("{}: {len} bytes", path.display()))?;
        if tail == b"TERRATBL" || names::parse_table(name).is_some() {
            return self.dump_table(id, line);
        }
        if tail == b"TERRABLB" || head.starts_with(b"TERRABLB") || names::parse_blob(name).is_some() {
            return self.dump_blob(&path, id, line);
        }
        if head.get(4..12) == Some(b"TERRAWAL") || salvage::is_segment_name(name) {
            return self.dump_segment(&path, id, line);
        }
        if head.get(13..21) == Some(b"TERRACE\0") || names::parse_manifest(name).is_some() {
            return self.dump_manifest(&path, id, line);
        }
        if head.starts_with(b"MANIFEST-") && len <= 64 {
            return line(&format!("CURRENT: the manifest that counts and its checksum: {}", text(&head)));
        }
        let kinds = "expected a table, a blob file, a segment of the log, a manifest or CURRENT";
        Err(Error::corruption(&path, 0, format!("{kinds}, found \"{}\"", head.escape_ascii())))
    }

    fn dump_table(&self, id: FileId, line: &mut DumpLine<'_>) -> Result<()> {
        let fs = &self.env.fs;
        match Table::read_meta(&**fs, &self.dir, id) {
            Ok(meta) => line(&format!("table: {meta:?}"))?,
            Err(error) => line(&format!("DAMAGE: {error}"))?,
        }
        match Table::read_summary(&**fs, &self.dir, id) {
            Ok(summary) => line(&format!("summary: {summary:?}"))?,
            Err(error) => line(&format!("DAMAGE: {error}"))?,
        }
        let table = Salvaged::open(fs, &self.dir, id, None, &mut |_| ())?;
        for loss in &table.damage {
            line(&format!("DAMAGE: {}", loss.damage.error))?;
        }
        let mut cursor = table.cursor();
        cursor.seek_to_first()?;
        while cursor.valid() {
            line(&entry(cursor.key(), cursor.seqno(), cursor.meta(), cursor.value()))?;
            cursor.next()?;
        }
        Ok(())
    }

    fn dump_blob(&self, path: &Path, id: FileId, line: &mut DumpLine<'_>) -> Result<()> {
        match read_origin(&*self.env.fs, path, id) {
            Ok(origin) => line(&format!("blob file: origin {origin:016x}"))?,
            Err(error) => line(&format!("DAMAGE: {error}"))?,
        }
        let mut show = |piece: Piece<'_>| match piece {
            Piece::Record { offset, record_bytes, key, stored_bytes, compression } => line(&format!(
                "at byte {offset}: {record_bytes} bytes, {}: a value of {stored_bytes} bytes under compression \
                 {compression}",
                key_at(key, &State::default())
            )),
            Piece::Damage(error) => line(&format!("DAMAGE: {error}")),
        };
        let meta = scan(&*self.env.fs, &self.dir, id, &mut show)?;
        meta.map_or(Ok(()), |meta| line(&format!("{} values in {} bytes", meta.records, meta.data_bytes())))
    }

    fn dump_segment(&self, path: &Path, id: FileId, line: &mut DumpLine<'_>) -> Result<()> {
        let survey = salvage::survey(&self.env, path, id, &mut |piece| {
            let last = piece.first + u64::from(piece.count) - 1;
            line(&format!("at byte {}: writes {} to {last}", piece.offset, piece.first))?;
            let mut input = piece.body;
            for seqno in piece.first..=last {
                let Some(found) = take_entry(&mut input) else {
                    line("  DAMAGE: the rest of the record holds no entry")?;
                    break;
                };
                line(&format!("  {}", entry(found.key, seqno, found.meta, found.value)))?;
            }
            Ok(())
        })?;
        for wrong in &survey.wrong {
            line(&format!("DAMAGE at byte {}: {}", wrong.offset, wrong.detail))?;
        }
        line(&format!(
            "segment: {} records, {} bytes of them, in {} chunks; durable up to {}; clock {} ms",
            survey.records, survey.record_bytes, survey.chunks, survey.horizon, survey.clock_ms
        ))
    }

    fn dump_manifest(&self, path: &Path, id: FileId, line: &mut DumpLine<'_>) -> Result<()> {
        let history = History::read(&*self.env.fs, path, id)?;
        for (offset, edit) in &history.edits {
            line(&format!("edit at byte {offset}"))?;
            for change in summary(*offset, edit).changes {
                line(&format!("  {change}"))?;
            }
        }
        for error in &history.wrong {
            line(&format!("DAMAGE: {error}"))?;
        }
        line(&format!("manifest: {} edits, {} tables", history.edits.len(), history.state.tables.len()))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_string()
}

/// One entry on one line.
fn entry(key: &[u8], seqno: u64, meta: EntryMeta, value: &[u8]) -> String {
    let mut line = format!("{seqno} {:?} {}", meta.kind, key_at(key, &State::default()));
    if meta.kind == Kind::RangeDelete {
        let _ = write!(line, " up to {}", key_at(value, &State::default()));
    } else if let Some(pointer) = Pointer::decode(value).filter(|_| meta.kind == Kind::Pointer) {
        let Pointer { file, offset, value_bytes, .. } = pointer;
        let _ = write!(line, " = byte {offset} of {} ({value_bytes} bytes)", names::blob(file));
    } else if meta.kind != Kind::Delete {
        let shown = &value[..value.len().min(VALUE_BYTES)];
        let more = if shown.len() < value.len() { "…" } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(line, " = \"{}\"{more} ({} bytes)", shown.escape_ascii(), value.len());
    }
    if meta.tag != 0 {
        let _ = write!(line, " tag {}", meta.tag);
    }
    if meta.expires_at_ms != 0 {
        let _ = write!(line, " expires at {} ms", meta.expires_at_ms);
    }
    line
}
