//! Large values on their way into blob files: those that come inline, and those that leave a blob file which is mostly
//! garbage.
//!
//! The values of one run go to blob files of their own, cut at a size; which file a value goes to says nothing. A
//! value that is moved is verified and copied as it is stored. At most one value is in memory at a time, beside what
//! the writer gathers.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::RunWriter;
use crate::base::compression::Compression;
use crate::base::key::split;
use crate::base::{EntryMeta, FileId, KeyspaceId, Kind, Result, Seqno};
use crate::blob::{BlobMeta, BlobWriter, Pointer};
use crate::version::Blobs;

/// The values of which blob files are moved.
#[derive(Clone, Copy)]
pub(crate) enum Relocate<'a> {
    /// Those of none.
    Nothing,
    /// Those of these files.
    These(&'a BTreeSet<FileId>),
    /// Those of all.
    Everything,
}

/// The length from which on values go to blob files; `usize::MAX` for never.
#[derive(Clone, Debug)]
pub(crate) struct Threshold {
    usual: usize,
    /// The keyspaces that have one of their own.
    own: Arc<[(KeyspaceId, usize)]>,
    /// The least of all.
    least: usize,
}

impl Threshold {
    /// No value goes.
    pub(crate) fn never() -> Self {
        Self::new(usize::MAX, Vec::new())
    }

    /// The one of most keyspaces, and those of some.
    pub(crate) fn new(usual: usize, own: Vec<(KeyspaceId, usize)>) -> Self {
        let least = own.iter().map(|(_, bytes)| *bytes).fold(usual, usize::min);
        Self { usual, own: own.into(), least }
    }

    /// Whether the value of a key is that long.
    #[inline]
    fn reaches(&self, key: &[u8], value: &[u8]) -> bool {
        value.len() >= self.least && (self.own.is_empty() || value.len() >= self.of(key))
    }

    fn of(&self, key: &[u8]) -> usize {
        let id = split(key).map(|(id, _)| id);
        self.own.iter().find(|(own, _)| Some(*own) == id).map_or(self.usual, |(_, bytes)| *bytes)
    }
}

/// Which values go to blob files, and how those are written.
#[derive(Clone)]
pub(crate) struct Separation<'a> {
    /// Values from this length on.
    pub(crate) from: Threshold,
    /// How they are stored.
    pub(crate) compression: Compression,
    /// The length at which a blob file is cut.
    pub(crate) target_file_bytes: u64,
    /// The blob files that pointers in the input lead to.
    pub(crate) blobs: &'a Blobs,
    /// Whose values are moved.
    pub(crate) relocate: Relocate<'a>,
}

impl Separation<'_> {
    /// Every value stays in the tables, or where it is.
    #[cfg(test)]
    pub(crate) fn none(blobs: &Blobs) -> Separation<'_> {
        let (compression, relocate) = (Compression::None, Relocate::Nothing);
        Separation { from: Threshold::never(), compression, target_file_bytes: u64::MAX, blobs, relocate }
    }

    /// Whether an entry is not simply written as it is.
    #[inline]
    pub(super) fn concerns(&self, key: &[u8], meta: EntryMeta, value: &[u8]) -> bool {
        meta.kind == Kind::Pointer || (meta.kind == Kind::Put && self.from.reaches(key, value))
    }

    fn moves(&self, pointer: &[u8]) -> bool {
        match self.relocate {
            Relocate::Nothing => false,
            Relocate::These(files) if files.is_empty() => false,
            Relocate::These(files) => {
                Pointer::decode(pointer).is_some_and(|pointer| files.contains(&pointer.file))
            }
            Relocate::Everything => true,
        }
    }
}

/// The blob files written so far and the one being written.
#[derive(Default)]
pub(super) struct ValueWriter {
    open: Option<BlobWriter>,
    done: Vec<BlobMeta>,
    relocated_bytes: u64,
    /// Bytes of values moved since they were last asked for.
    moved_bytes: usize,
    pointer: Vec<u8>,
}

impl ValueWriter {
    /// Ends the open file.
    pub(super) fn cut(&mut self) -> Result<()> {
        if let Some(writer) = self.open.take() {
            self.done.push(writer.finish()?);
        }
        Ok(())
    }

    /// The files, and the bytes of the values that were moved.
    pub(super) fn into_written(self) -> (Vec<BlobMeta>, u64) {
        (self.done, self.relocated_bytes)
    }

    /// Bytes of values moved since the last call.
    #[inline]
    pub(super) fn take_moved(&mut self) -> usize {
        std::mem::take(&mut self.moved_bytes)
    }

    /// Gives up the open file; those that are written.
    pub(super) fn abandon(self) -> Vec<BlobMeta> {
        if let Some(writer) = self.open {
            writer.abandon();
        }
        self.done
    }

    /// The open file, begun if there is none or if it is long enough.
    fn writer(
        &mut self,
        target_bytes: u64,
        create: impl FnOnce() -> Result<BlobWriter>,
    ) -> Result<&mut BlobWriter> {
        if self.open.as_ref().is_some_and(|writer| writer.file_bytes() >= target_bytes) {
            self.cut()?;
        }
        let writer = match self.open.take() {
            Some(writer) => writer,
            None => create()?,
        };
        Ok(self.open.insert(writer))
    }
}

impl RunWriter<'_> {
    /// Writes an entry whose value goes to a blob file or lies in one.
    #[cold]
    pub(super) fn add_separated(
        &mut self,
        key: &[u8],
        seqno: Seqno,
        meta: EntryMeta,
        value: &[u8],
    ) -> Result<()> {
        let output = self.output;
        let values = &output.values;
        let is_inline = meta.kind == Kind::Put;
        if !is_inline && !values.moves(value) {
            return self.table()?.add(key, seqno, meta, value);
        }
        let create = || {
            let (id, origin) = ((output.next_id)(), output.options.origin);
            BlobWriter::create(output.fs, output.dir, id, values.compression, origin)
        };
        let pointer = if is_inline {
            self.values.writer(values.target_file_bytes, create)?.add(key, value)?
        } else {
            let (stored, value_bytes) = values.blobs.read_stored(key, value)?;
            let writer = self.values.writer(values.target_file_bytes, create)?;
            let pointer = writer.add_stored(key, &stored, value_bytes)?;
            self.values.relocated_bytes += pointer.record_bytes;
            self.values.moved_bytes += stored.stored().len();
            pointer
        };
        let mut bytes = std::mem::take(&mut self.values.pointer);
        pointer.encode(&mut bytes);
        let meta = EntryMeta { kind: Kind::Pointer, ..meta };
        let added = self.table().and_then(|table| table.add(key, seqno, meta, &bytes));
        self.values.pointer = bytes;
        added
    }
}
