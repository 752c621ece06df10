//! CSV and TSV: the columns key, value, `expires_at_ms`, tag.
//!
//! With a header the columns are found by name and may stand in any order; without one they stand in the order
//! above and the last two may be missing. Fields carry the escape of [`super::escape`], so a field never holds
//! a line break; CSV quotes commas and quotes on top of that, TSV needs no quotes and knows none.

use std::io::{BufRead, Write};

use anyhow::{Context as _, Result, bail};
use csv::{ByteRecord, QuoteStyle};

use super::escape::{escape, unescape};
use super::{BadLine, Format, Layout, Record, RecordReader, RecordWriter, Step};

/// Where the columns are.
struct Columns {
    key: usize,
    value: usize,
    expires_at_ms: Option<usize>,
    tag: Option<usize>,
}

impl Columns {
    const FIXED: Self = Self { key: 0, value: 1, expires_at_ms: Some(2), tag: Some(3) };

    /// Finds the columns by their names.
    fn named(header: &ByteRecord, layout: &Layout) -> Result<Self> {
        let find = |name: &str| header.iter().position(|column| column == name.as_bytes());
        let need = |name: &str| {
            let found = header.iter().map(escape).collect::<Vec<_>>().join(", ");
            find(name).with_context(|| format!("line 1: no column {name:?} among: {found}"))
        };
        Ok(Self {
            key: need(&layout.key_field)?,
            value: need(&layout.value_field)?,
            expires_at_ms: find("expires_at_ms"),
            tag: find("tag"),
        })
    }
}

/// Reads CSV or TSV.
pub(crate) struct DelimitedReader<R> {
    input: csv::Reader<R>,
    columns: Columns,
    escapes: bool,
    row: ByteRecord,
}

impl<R: BufRead> DelimitedReader<R> {
    /// A reader from the start of `input`; reads the header if there is one.
    pub(crate) fn new(input: R, layout: &Layout) -> Result<Self> {
        let csv = layout.format == Format::Csv;
        let mut input = csv::ReaderBuilder::new()
            .delimiter(if csv { b',' } else { b'\t' })
            .quoting(csv)
            .has_headers(layout.header)
            .flexible(true)
            .from_reader(input);
        let columns = if layout.header {
            let header = input.byte_headers()?;
            // An empty file is an empty table; anything else must have the columns.
            if header.is_empty() { Columns::FIXED } else { Columns::named(header, layout)? }
        } else {
            Columns::FIXED
        };
        Ok(Self { input, columns, escapes: layout.escapes, row: ByteRecord::new() })
    }

    fn parse(&self) -> Result<Record, String> {
        let column = |at: usize, name: &str| {
            let missing =
                || format!("no {name}: it is column {} and this line has {}", at + 1, self.row.len());
            let field = self.row.get(at).ok_or_else(missing)?;
            if self.escapes {
                unescape(field).map_err(|e| format!("{name}, {e}"))
            } else {
                Ok(field.to_vec())
            }
        };
        let number = |at: Option<usize>, name: &str| match at.and_then(|at| self.row.get(at)) {
            None | Some(b"") => Ok(None),
            Some(digits) => {
                let parsed = std::str::from_utf8(digits).ok().and_then(|text| text.parse::<u64>().ok());
                parsed.map(Some).ok_or_else(|| format!("{name} is not a whole number: {}", escape(digits)))
            }
        };
        let tag = number(self.columns.tag, "tag")?.unwrap_or(0);
        let record = Record {
            key: column(self.columns.key, "key")?,
            value: column(self.columns.value, "value")?,
            expires_at_ms: number(self.columns.expires_at_ms, "expires_at_ms")?,
            tag: u8::try_from(tag).unwrap_or(u8::MAX),
            keyspace: None,
        };
        record.check()
    }
}

impl<R: BufRead> RecordReader for DelimitedReader<R> {
    fn next_record(&mut self) -> Result<Option<Step>> {
        match self.input.read_byte_record(&mut self.row) {
            Ok(false) => return Ok(None),
            Ok(true) => {}
            Err(e) => bail!("line {}: {e}", self.input.position().line()),
        }
        let line = self.row.position().map_or(0, csv::Position::line);
        Ok(Some(self.parse().map(|record| (line, record)).map_err(|reason| BadLine { line, reason })))
    }
}

/// Writes CSV or TSV.
pub(crate) struct DelimitedWriter<W: Write> {
    output: csv::Writer<W>,
    escapes: bool,
}

impl<W: Write> DelimitedWriter<W> {
    /// A writer to `output`; writes the header if there is one.
    pub(crate) fn new(output: W, layout: &Layout) -> Result<Self> {
        let csv = layout.format == Format::Csv;
        let mut output = csv::WriterBuilder::new()
            .delimiter(if csv { b',' } else { b'\t' })
            .quote_style(if csv { QuoteStyle::Necessary } else { QuoteStyle::Never })
            .from_writer(output);
        if layout.header {
            output.write_record([&*layout.key_field, &layout.value_field, "expires_at_ms", "tag"])?;
        }
        Ok(Self { output, escapes: layout.escapes })
    }
}

impl<W: Write> RecordWriter for DelimitedWriter<W> {
    fn write(&mut self, record: &Record) -> Result<()> {
        let expires = record.expires_at_ms.map(|at| at.to_string()).unwrap_or_default();
        let tag = if record.tag == 0 { String::new() } else { record.tag.to_string() };
        if self.escapes {
            self.output.write_record([&*escape(&record.key), &*escape(&record.value), &*expires, &*tag])?;
        } else {
            self.output.write_record([&*record.key, &*record.value, expires.as_bytes(), tag.as_bytes()])?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        Ok(self.output.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, layout: &Layout) -> Vec<Step> {
        let mut reader = DelimitedReader::new(text.as_bytes(), layout).unwrap();
        std::iter::from_fn(|| reader.next_record().unwrap()).collect()
    }

    #[test]
    fn columns_are_found_by_name_and_lines_are_counted() {
        let layout =
            Layout { key_field: "id".into(), value_field: "city".into(), ..Layout::new(Format::Csv) };
        let steps = read("x,city,id\n1,\"Ulm, an der\nDonau\",7\n,,\n2,Köln,8\n", &layout);
        let (line, record) = steps[0].as_ref().unwrap();
        assert_eq!((*line, &*record.key, &*record.value), (2, &b"7"[..], "Ulm, an der\nDonau".as_bytes()));
        assert_eq!(steps[1].as_ref().unwrap_err().line, 4);
        assert_eq!(steps[2].as_ref().unwrap().0, 5);
    }

    #[test]
    fn a_missing_column_is_named_with_what_was_found() {
        let error =
            DelimitedReader::new(&b"id,city\n"[..], &Layout::new(Format::Csv)).err().unwrap().to_string();
        assert_eq!(error, "line 1: no column \"key\" among: id, city");
        assert!(read("", &Layout::new(Format::Csv)).is_empty());
    }

    #[test]
    fn raw_fields_keep_their_backslashes() {
        let layout = Layout { escapes: false, header: false, ..Layout::new(Format::Tsv) };
        assert_eq!(read("a\tC:\\temp\n", &layout)[0].as_ref().unwrap().1.value, b"C:\\temp");
        let escaped = Layout { escapes: true, ..layout };
        assert!(read("a\tC:\\dir\n", &escaped)[0].as_ref().unwrap_err().reason.contains("unknown escape"));
    }

    #[test]
    fn short_rows_and_wrong_numbers_are_bad_lines() {
        let layout = Layout { header: false, ..Layout::new(Format::Csv) };
        let steps = read("a\na,b,x\na,b,,99\na,b,,\n", &layout);
        let reasons: Vec<_> = steps[..3].iter().map(|s| s.as_ref().unwrap_err().reason.clone()).collect();
        assert!(reasons[0].contains("no value") && reasons[1].contains("expires_at_ms"), "{reasons:?}");
        assert!(reasons[2].contains("0 to 15"));
        assert!(steps[3].is_ok());
    }
}
