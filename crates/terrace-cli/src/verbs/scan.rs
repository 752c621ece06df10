//! `terrace scan`: entries in key order, as JSON lines for a program or as a table for a reader.

use std::ffi::OsString;
use std::io::{self, BufWriter, IsTerminal as _, Write as _};

use anyhow::Result;

use crate::codec::{Format, JsonWriter, Layout, Record, RecordWriter as _, escape};
use crate::exit::Code;
use crate::store::{Access, Range, Store, Target};
use crate::table;

/// Rows of a table when no limit is given: a table is held in memory to find its column widths.
const TABLE_ROWS: u64 = 1_000;
/// Characters of a key or value shown in a table.
const CELL_CHARS: usize = 60;

/// Flags of `scan`.
#[derive(clap::Args)]
pub(crate) struct Scan {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    keys: KeyRange,
    /// At most this many entries.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// From the last key to the first.
    #[arg(long)]
    reverse: bool,
    /// Only the keys.
    #[arg(long)]
    keys_only: bool,
    /// JSON lines, also at a terminal.
    #[arg(long)]
    json: bool,
}

/// The flags that choose keys, shared with `count`.
#[derive(clap::Args)]
pub(crate) struct KeyRange {
    /// Keys that start with this.
    #[arg(long)]
    prefix: Option<OsString>,
    /// Keys at or after this.
    #[arg(long, value_name = "KEY")]
    from: Option<OsString>,
    /// Keys before this.
    #[arg(long, value_name = "KEY")]
    to: Option<OsString>,
}

impl KeyRange {
    /// The range, without a limit.
    pub(crate) fn to_range(&self, target: &Target) -> Result<Range> {
        let bytes = |argument: &Option<OsString>| argument.as_ref().map(|a| target.bytes(a)).transpose();
        let prefix = bytes(&self.prefix)?.unwrap_or_default();
        Ok(Range { prefix, from: bytes(&self.from)?, to: bytes(&self.to)?, ..Range::default() })
    }
}

impl Scan {
    pub(crate) fn run(self) -> Result<Code> {
        let range = Range {
            limit: self.limit,
            reverse: self.reverse,
            keys_only: self.keys_only,
            ..self.keys.to_range(&self.target)?
        };
        let mut store = self.target.open(Access::Read)?;
        if self.json || !io::stdout().is_terminal() {
            print_lines(&mut *store, &range)?;
        } else {
            print_table(&mut *store, range)?;
        }
        store.close()?;
        Ok(Code::Done)
    }
}

fn print_lines(store: &mut dyn Store, range: &Range) -> Result<()> {
    let mut lines = JsonWriter::new(BufWriter::new(io::stdout().lock()), &Layout::new(Format::Jsonl));
    store.scan(range, &mut |record| {
        if range.keys_only {
            lines.write_key(&record.key)?;
        } else {
            lines.write(&record)?;
        }
        Ok(true)
    })?;
    lines.finish()
}

fn print_table(store: &mut dyn Store, mut range: Range) -> Result<()> {
    // One more than is shown tells whether there is more.
    let shown = range.limit.unwrap_or(TABLE_ROWS);
    range.limit = Some(shown.saturating_add(u64::from(range.limit.is_none())));
    let mut rows = Vec::new();
    store.scan(&range, &mut |record| {
        rows.push(row_of(&record, range.keys_only));
        Ok(true)
    })?;
    let more = rows.len() as u64 > shown;
    rows.truncate(shown as usize);
    let header = if range.keys_only { &["key"][..] } else { &["key", "value", "expires_at_ms", "tag"] };
    let mut out = io::stdout().lock();
    write!(out, "{}", table::text(header, rows.into_iter()))?;
    if more {
        writeln!(out, "… and more; --limit or --json shows them")?;
    }
    Ok(())
}

fn row_of(record: &Record, keys_only: bool) -> Vec<String> {
    let text = |bytes: &[u8]| table::shorten(&escape::escape(bytes), CELL_CHARS);
    if keys_only {
        return vec![escape::escape(&record.key)];
    }
    let expires = record.expires_at_ms.map(|at| at.to_string()).unwrap_or_default();
    let tag = if record.tag == 0 { String::new() } else { record.tag.to_string() };
    vec![text(&record.key), text(&record.value), expires, tag]
}
