//! `terrace import`: streams entries from a file into the store, one atomic batch after another.
//!
//! Invariants: memory is bounded by one batch and one line. Every error names its line. Without `--skip-bad` a
//! bad line stops the import: everything before it is in the store, nothing after it.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::num::NonZeroUsize;

use anyhow::{Context as _, Result};

use super::export::{LayoutFlags, check_all};
use crate::codec::{self, BadLine, Layout, Record};
use crate::exit::{Code, Failure};
use crate::progress::Progress;
use crate::store::{Access, Store, Target};

/// A batch is written when it has this many bytes, whatever the number of its entries.
const BATCH_LIMIT_BYTES: usize = 16 << 20;
/// How many bad lines `--skip-bad` prints; the rest is only counted.
const BAD_LINES_SHOWN: u64 = 10;

/// Flags of `import`.
#[derive(clap::Args)]
pub(crate) struct Import {
    #[command(flatten)]
    target: Target,
    /// The file; `-` reads standard input.
    file: String,
    #[command(flatten)]
    layout: LayoutFlags,
    /// Put each entry into the keyspace that its JSON line names, as `export --all` writes them.
    #[arg(long, conflicts_with_all = ["keyspace", "url"])]
    all: bool,
    /// CSV and TSV: take fields as they are, without the escapes \\, \t, \n, \r and \xHH.
    #[arg(long)]
    raw: bool,
    /// Entries written together or not at all.
    #[arg(long, value_name = "N", default_value = "1000")]
    batch: NonZeroUsize,
    /// Count bad lines (and print the first few) instead of stopping at the first.
    #[arg(long)]
    skip_bad: bool,
}

impl Import {
    pub(crate) fn run(self) -> Result<Code> {
        let layout = Layout { escapes: !self.raw, keyspaces: self.all, ..self.layout.layout(&self.file) };
        check_all(self.all, &layout)?;
        let (input, size_bytes) = open_input(&self.file)?;
        let progress = Progress::start("imported", size_bytes, true);
        let input = BufReader::with_capacity(256 << 10, progress.reading(input));
        let store = self.target.open(Access::Create)?;
        let mut copy = Copy {
            store,
            progress,
            batch: Vec::new(),
            batch_bytes: 0,
            first_line: 0,
            written_bytes: 0,
            bad_lines: 0,
            batch_entries: self.batch.get(),
            skip_bad: self.skip_bad,
        };
        let result = codec::reader(input, &layout).and_then(|mut reader| copy.run(&mut *reader));
        // Closed in either case: what was imported before an error is to stay.
        let (closed, summary) = (copy.store.close(), copy.progress.finish(copy.written_bytes));
        let imported = copy.progress.entries();
        result.with_context(|| {
            let name = if self.file == "-" { "standard input" } else { &self.file };
            format!("{name}: stopped after {imported} imported entries")
        })?;
        closed?;
        println!("{summary}; {} bad lines skipped", copy.bad_lines);
        Ok(Code::Done)
    }
}

/// The input and its size, when known.
fn open_input(name: &str) -> Result<(Box<dyn Read>, Option<u64>)> {
    if name == "-" {
        return Ok((Box::new(io::stdin().lock()), None));
    }
    let file = File::open(name).with_context(|| format!("cannot open {name}"))?;
    let meta = file.metadata().with_context(|| format!("cannot read {name}"))?;
    Ok((Box::new(file), meta.is_file().then_some(meta.len())))
}

/// The state of an import.
struct Copy {
    store: Box<dyn Store>,
    progress: Progress,
    batch: Vec<Record>,
    batch_bytes: usize,
    /// The line where the first entry of the batch began.
    first_line: u64,
    written_bytes: u64,
    bad_lines: u64,
    batch_entries: usize,
    skip_bad: bool,
}

impl Copy {
    fn run(&mut self, reader: &mut dyn codec::RecordReader) -> Result<()> {
        loop {
            let step = match reader.next_record() {
                Ok(Some(step)) => step,
                Ok(None) => return self.write_batch(),
                Err(error) => {
                    self.write_batch()?;
                    return Err(error);
                }
            };
            match step {
                Ok((line, record)) => self.add(line, record)?,
                Err(bad) => self.bad_line(&bad)?,
            }
        }
    }

    fn add(&mut self, line: u64, record: Record) -> Result<()> {
        if self.batch.is_empty() {
            self.first_line = line;
        }
        self.batch_bytes += record.len_bytes();
        self.batch.push(record);
        if self.batch.len() >= self.batch_entries || self.batch_bytes >= BATCH_LIMIT_BYTES {
            self.write_batch()?;
        }
        Ok(())
    }

    fn bad_line(&mut self, bad: &BadLine) -> Result<()> {
        if !self.skip_bad {
            // What stands before the bad line is imported, so that the rest can be imported from there.
            self.write_batch()?;
            let (line, reason) = (bad.line, &bad.reason);
            let said = format!("line {line}: {reason}; --skip-bad leaves such lines out");
            return Err(Failure::error(Code::Data, said));
        }
        self.bad_lines += 1;
        if self.bad_lines <= BAD_LINES_SHOWN {
            self.progress.note(&format!("line {}: {}", bad.line, bad.reason));
        }
        Ok(())
    }

    fn write_batch(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let written = self.store.write(&self.batch);
        written
            .with_context(|| format!("the batch that begins at line {} was not imported", self.first_line))?;
        self.progress.add(self.batch.len() as u64);
        self.written_bytes += self.batch_bytes as u64;
        self.batch.clear();
        self.batch_bytes = 0;
        Ok(())
    }
}
