//! `write_run`: sorted entries in, tables of one run out. Shared by flush and compaction.
//!
//! Tables are cut only between different user keys: at the target size, or from half of it on where a table
//! of the level below ends, so that later compactions find their borders aligned. On an error or a cancel
//! nothing that was written is left behind. Returning tables means that their files and names are durable.

mod fold;
mod values;

use std::path::Path;
use std::sync::Arc;

use self::fold::Chain;
use self::values::ValueWriter;
pub(crate) use self::values::{Relocate, Separation, Threshold};
use super::visible::{Counts, Retention, Verdict};
use super::whole::{Input, Situation, is_kept_whole, pays};
use crate::base::error::IoContext;
use crate::base::{EntryMeta, FileId, Kind, Merging, Result, Seqno};
use crate::blob::{BlobMeta, blob_path};
use crate::io::Fs;
use crate::table::{TableMeta, TableOptions, TableWriter, table_path};
use crate::version::Run;

/// The yield point is visited after about this many bytes of input.
const YIELD_BYTES: usize = 64 << 10;

/// A table is cut when it overlaps this many target tables of the level below its own, whatever its size.
const BELOW_TABLES_MAX: u64 = 10;

/// Gives out file numbers; may be called from several threads.
pub(crate) type NextId<'a> = &'a (dyn Fn() -> FileId + Sync);

/// Visited often while tables are written. May sleep to let others pass; `true` cancels the work.
pub(crate) type YieldPoint<'a> = &'a (dyn Fn() -> Result<bool> + Sync);

/// Where and how tables are written.
#[derive(Clone)]
pub(crate) struct Output<'a> {
    /// The file system.
    pub(crate) fs: &'a Arc<dyn Fs>,
    /// The directory of the tables.
    pub(crate) dir: &'a Path,
    /// How each table is written.
    pub(crate) options: TableOptions,
    /// The size at which tables are cut.
    pub(crate) target_table_bytes: u64,
    /// The time, for the tables' properties.
    pub(crate) now_ms: u64,
    /// Range deletes up to this one have been applied to what is written.
    pub(crate) cleared_seqno: Seqno,
    /// Where large values go.
    pub(crate) values: Separation<'a>,
    /// Folds merge operands.
    pub(crate) merging: &'a Merging,
    /// Gives out file numbers.
    pub(crate) next_id: NextId<'a>,
    /// Visited every 64 KiB of input.
    pub(crate) yield_point: YieldPoint<'a>,
}

/// What came of the entries.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Written {
    /// The tables in key order, disjoint.
    pub(crate) tables: Vec<TableMeta>,
    /// The blob files.
    pub(crate) blobs: Vec<BlobMeta>,
    /// Bytes of values that were moved out of older blob files.
    pub(crate) relocated_bytes: u64,
    /// What happened to the entries.
    pub(crate) counts: Counts,
}

impl Written {
    /// Total file size in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let blobs: u64 = self.blobs.iter().map(|meta| meta.file_bytes).sum();
        self.tables.iter().map(|meta| meta.file_bytes).sum::<u64>() + blobs
    }
}

/// Writes what `rule` keeps of the entries from `cursor`'s position up to `end` (exclusive; without it, to the
/// cursor's end). `below` is the run under the level that the tables are for. `None` means cancelled.
pub(crate) fn write_run(
    cursor: &mut impl Input,
    end: Option<&[u8]>,
    rule: &mut Retention,
    below: Option<Arc<Run>>,
    output: &Output<'_>,
) -> Result<Option<Written>> {
    let mut writer = RunWriter {
        output,
        open: None,
        tables: Vec::new(),
        values: ValueWriter::default(),
        below: Below::new(below),
        chain: Chain::default(),
    };
    let result = copy(cursor, end, rule, &mut writer)
        .and_then(|done| if done { writer.finish().map(|()| true) } else { Ok(false) });
    match result {
        Ok(true) => {
            let (blobs, relocated_bytes) = writer.values.into_written();
            let written = Written { tables: writer.tables, blobs, relocated_bytes, counts: rule.counts() };
            let kept: u64 = written.tables.iter().map(|meta| meta.entries).sum();
            assert!(
                kept == written.counts.kept && written.counts.read == kept + written.counts.dropped(),
                "every entry read is either written or counted as dropped: {:?}, {kept} written",
                written.counts
            );
            Ok(Some(written))
        }
        Ok(false) => {
            writer.discard();
            Ok(None)
        }
        Err(error) => {
            writer.discard();
            Err(error)
        }
    }
}

/// Removes files that will not be used after all. What cannot be removed is an orphan.
pub(crate) fn discard(fs: &dyn Fs, dir: &Path, tables: &[TableMeta], blobs: &[BlobMeta]) {
    for meta in tables {
        let _ = fs.remove(&table_path(dir, meta.id));
    }
    for meta in blobs {
        let _ = fs.remove(&blob_path(dir, meta.id));
    }
}

/// `false` means cancelled.
fn copy(
    cursor: &mut impl Input,
    end: Option<&[u8]>,
    rule: &mut Retention,
    writer: &mut RunWriter<'_>,
) -> Result<bool> {
    let mut unyielded_bytes = 0;
    while cursor.valid() && end.is_none_or(|end| cursor.key() < end) {
        if writer.chain.is_left_by(Some(cursor.key())) {
            writer.end_chain(rule)?;
        }
        unyielded_bytes += match move_block(cursor, end, rule, writer)? {
            Some(bytes) => bytes,
            None => copy_entry(cursor, rule, writer)?,
        };
        if unyielded_bytes >= YIELD_BYTES {
            unyielded_bytes = 0;
            if (writer.output.yield_point)()? {
                return Ok(false);
            }
        }
    }
    if writer.chain.is_left_by(None) {
        writer.end_chain(rule)?;
    }
    Ok(true)
}

/// Judges the entry under the cursor, writes it if it is kept, and moves on; its size.
#[inline]
fn copy_entry(cursor: &mut impl Input, rule: &mut Retention, writer: &mut RunWriter<'_>) -> Result<usize> {
    let key = cursor.key();
    let read = cursor.meta();
    let verdict = rule.judge(key, cursor.seqno(), read);
    if rule.entered_key() {
        writer.enter_key(key)?;
    }
    let value = cursor.value();
    match verdict {
        Verdict::Drop => {}
        Verdict::Keep(seqno, meta) => {
            if writer.chain.is_left_by(None) {
                writer.pass_chain(rule)?;
            }
            writer.add(key, seqno, meta, value)?;
        }
        Verdict::Operand { first } => writer.operand(rule, first, key, cursor.seqno(), value)?,
        Verdict::Base { base, alone } => writer.base(rule, base, alone, key, (read, value))?,
    }
    let bytes = key.len() + value.len() + writer.values.take_moved();
    cursor.next()?;
    Ok(bytes)
}

/// Writes the block that begins under the cursor as it is, if that is right and pays, and moves behind it; its
/// size.
#[inline]
fn move_block(
    cursor: &mut impl Input,
    end: Option<&[u8]>,
    rule: &mut Retention,
    writer: &mut RunWriter<'_>,
) -> Result<Option<usize>> {
    let Some((block, next)) = cursor.block_here() else { return Ok(None) };
    let limit = next.into_iter().chain(end).min();
    let at = Situation {
        lone_blocks: block.blocks_before(limit)?,
        block_bytes: block.plain_bytes(),
        open_bytes: writer.open.as_ref().map_or(0, TableWriter::open_block_bytes),
        target_bytes: writer.output.options.block_bytes,
    };
    if !pays(at) {
        return Ok(None);
    }
    let fence = block.fence()?;
    if !is_kept_whole(&block, &fence, rule) {
        return Ok(None);
    }
    writer.enter_key(&block.first_key())?;
    writer.table()?.add_block(&block, &fence)?;
    rule.keep_unjudged(block.entries() as u64);
    cursor.skip_block()?;
    Ok(Some(at.block_bytes))
}

/// The tables written so far and the one being written.
struct RunWriter<'a> {
    output: &'a Output<'a>,
    open: Option<TableWriter>,
    tables: Vec<TableMeta>,
    values: ValueWriter,
    below: Below,
    chain: Chain,
}

impl RunWriter<'_> {
    /// Cuts the open table in front of a new key if it should end there.
    fn enter_key(&mut self, key: &[u8]) -> Result<()> {
        let crossed = self.below.advance(key);
        let Some(writer) = &self.open else {
            self.below.overlapped_bytes = 0;
            return Ok(());
        };
        let (target, bytes) = (self.output.target_table_bytes, writer.file_bytes());
        let aligned = crossed && bytes >= target / 2;
        if bytes >= target || aligned || self.below.overlapped_bytes > BELOW_TABLES_MAX * target {
            self.cut()?;
        }
        Ok(())
    }

    fn cut(&mut self) -> Result<()> {
        self.below.overlapped_bytes = 0;
        if let Some(writer) = self.open.take() {
            self.tables.push(writer.finish()?);
        }
        Ok(())
    }

    /// Writes an entry.
    #[inline]
    fn add(&mut self, key: &[u8], seqno: Seqno, meta: EntryMeta, value: &[u8]) -> Result<()> {
        if self.output.values.concerns(key, meta, value) {
            return self.add_separated(key, seqno, meta, value);
        }
        let value = if meta.kind == Kind::Delete { &[] } else { value };
        self.table()?.add(key, seqno, meta, value)
    }

    /// The open table, begun if there is none.
    fn table(&mut self) -> Result<&mut TableWriter> {
        let writer = match self.open.take() {
            Some(writer) => writer,
            None => {
                let Output { fs, dir, options, .. } = self.output;
                let mut writer = TableWriter::create(fs, dir, (self.output.next_id)(), *options)?;
                writer.set_created_at_ms(self.output.now_ms);
                writer.set_cleared_seqno(self.output.cleared_seqno);
                writer
            }
        };
        Ok(self.open.insert(writer))
    }

    /// Ends the last table and makes the names durable.
    fn finish(&mut self) -> Result<()> {
        self.values.cut()?;
        self.cut()?;
        if self.tables.is_empty() {
            return Ok(());
        }
        self.output.fs.sync_dir(self.output.dir).at("sync", self.output.dir)
    }

    fn discard(self) {
        if let Some(writer) = self.open {
            writer.abandon();
        }
        let (fs, dir) = (&**self.output.fs, self.output.dir);
        let blobs = self.values.abandon();
        discard(fs, dir, &self.tables, &blobs);
    }
}

/// How far the output has come along the run below it.
struct Below {
    run: Option<Arc<Run>>,
    index: usize,
    overlapped_bytes: u64,
}

impl Below {
    fn new(run: Option<Arc<Run>>) -> Self {
        Self { run, index: 0, overlapped_bytes: 0 }
    }

    /// Moves on to `key`; whether a table ended before it.
    fn advance(&mut self, key: &[u8]) -> bool {
        let start = self.index;
        let tables = self.run.as_ref().map_or(&[][..], |run| run.tables());
        while let Some(table) = tables.get(self.index).filter(|t| t.meta().largest.as_slice() < key) {
            self.overlapped_bytes += table.meta().file_bytes;
            self.index += 1;
        }
        self.index > start
    }
}

#[cfg(test)]
mod tests;
