//! How entries look outside the store: JSON lines, CSV, TSV, and the escape that makes them binary-safe.
//!
//! Invariant: for every format, reading what was written gives the same entries, byte for byte, with their
//! expiry and tag. Nothing here touches a store or the command line.

mod delimited;
pub(crate) mod escape;
mod jsonl;
mod record;

use std::io::{BufRead, Write};

use anyhow::Result;

pub(crate) use delimited::{DelimitedReader, DelimitedWriter};
pub(crate) use jsonl::{JsonReader, JsonWriter};
pub(crate) use record::Record;

/// A file format.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Format {
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated values, quoted where needed.
    Csv,
    /// Tab-separated values, never quoted.
    Tsv,
}

impl Format {
    /// The format that a file name suggests; JSON lines when it says nothing.
    pub(crate) fn of_name(name: &str) -> Self {
        match name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).as_deref() {
            Some("csv") => Self::Csv,
            Some("tsv" | "tab") => Self::Tsv,
            _ => Self::Jsonl,
        }
    }
}

/// What a reader or writer needs to know about the layout.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// The format.
    pub(crate) format: Format,
    /// The field (or column) that holds the key.
    pub(crate) key_field: String,
    /// The field (or column) that holds the value.
    pub(crate) value_field: String,
    /// Whether CSV and TSV begin with a line of column names.
    pub(crate) header: bool,
    /// Whether CSV and TSV fields use the escape of [`escape`].
    pub(crate) escapes: bool,
    /// Whether JSON lines name the keyspace of each entry, in the field `keyspace`.
    pub(crate) keyspaces: bool,
}

impl Layout {
    /// The layout that `export` writes by default in this format.
    pub(crate) fn new(format: Format) -> Self {
        Self {
            format,
            key_field: "key".into(),
            value_field: "value".into(),
            header: true,
            escapes: true,
            keyspaces: false,
        }
    }
}

/// A line that does not hold an entry; the import may go on after it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadLine {
    /// The line's number, from 1.
    pub(crate) line: u64,
    /// What is wrong with it.
    pub(crate) reason: String,
}

/// One step of a reader: an entry and the number of the line where it began, or a bad line.
pub(crate) type Step = Result<(u64, Record), BadLine>;

/// Reads entries one at a time, holding no more than one line.
pub(crate) trait RecordReader {
    /// The next entry or bad line; `None` at the end. The outer error is an I/O error or a file that cannot be
    /// read at all (a header without the key column).
    fn next_record(&mut self) -> Result<Option<Step>>;
}

/// Writes entries one at a time.
pub(crate) trait RecordWriter {
    /// Writes one entry.
    fn write(&mut self, record: &Record) -> Result<()>;
    /// Writes what is buffered; must be called at the end.
    fn finish(&mut self) -> Result<()>;
}

/// Opens a reader of this layout.
pub(crate) fn reader<'a>(input: impl BufRead + 'a, layout: &Layout) -> Result<Box<dyn RecordReader + 'a>> {
    Ok(match layout.format {
        Format::Jsonl => Box::new(JsonReader::new(input, layout)),
        Format::Csv | Format::Tsv => Box::new(DelimitedReader::new(input, layout)?),
    })
}

/// Opens a writer of this layout.
pub(crate) fn writer<'a>(output: impl Write + 'a, layout: &Layout) -> Result<Box<dyn RecordWriter + 'a>> {
    Ok(match layout.format {
        Format::Jsonl => Box::new(JsonWriter::new(output, layout)),
        Format::Csv | Format::Tsv => Box::new(DelimitedWriter::new(output, layout)?),
    })
}

#[cfg(test)]
mod tests;
