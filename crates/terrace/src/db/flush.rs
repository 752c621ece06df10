//! Flush: the oldest sealed memtable becomes one run in level 0.
//!
//! A sealed memtable stays readable until its tables are installed, in the same step that removes it. Flushes
//! happen oldest first and one at a time, so `flushed_seqno` only grows.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::core::Core;
use super::super_version::{Sealed, SuperVersion};
use crate::base::id::MAX_SEQNO;
use crate::base::{Cursor, Error, Fragments, RangeDelete, Result};
use crate::blob::{BlobFile, BlobMeta};
use crate::compaction::executor::{KeyRange, Readers};
use crate::compaction::output::{Output, Written, discard, write_run};
use crate::compaction::visible::{Below, Retention};
use crate::table::{Table, TableMeta};
use crate::version::{Blobs, Edit, Placed};

/// A part of a flush has at least this much to write, or it is not worth a thread.
const MIN_PART_BYTES: u64 = 8 << 20;

impl Core {
    /// Flushes the oldest sealed memtable; `false` if there is none.
    pub(super) fn flush_oldest(&self) -> Result<bool> {
        let one_at_a_time = self.work.flushing.lock();
        self.check_held()?;
        let Some(sealed) = self.current().oldest_sealed().cloned() else { return Ok(false) };
        self.poison.check()?;
        let range_deletes = sealed.memtable.range_deletes();
        let Written { tables, blobs, .. } = self.write_memtable(&sealed, &range_deletes)?;
        let blob_bytes: u64 = blobs.iter().map(|b| b.file_bytes).sum();
        let written = tables.iter().map(|t| t.file_bytes).sum::<u64>() + blob_bytes;
        let user_bytes: u64 = tables.iter().map(|t| t.raw_bytes).sum();
        let run = self.new_file_id().0; // File numbers only grow, so a later run has the larger ordinal.
        let added = tables.into_iter().map(|meta| Placed { level: 0, run, meta }).collect();
        let flushed_seqno = Some(sealed.last_seqno);
        let log_start = self.wal.as_ref().and_then(|wal| wal.first_needed(sealed.last_seqno));
        let edit = Edit { added, flushed_seqno, range_deletes, log_start, blobs, ..Edit::default() };
        self.commit_edit(edit, Some(&sealed))?;
        self.counters.flushed(user_bytes, written);
        self.stall.flushed(sealed.bytes, &*self.env.clock);
        let retired = self.wal.as_ref().map_or(Ok(()), |wal| wal.retire(sealed.last_seqno));
        self.work.flushed();
        drop(one_at_a_time);
        // Runs callbacks, so under no lock: they may flush.
        self.syncer.advance(sealed.last_seqno);
        retired.map(|()| true)
    }

    /// Writes a sealed memtable as one run, in parallel key ranges.
    fn write_memtable(&self, sealed: &Sealed, range_deletes: &[RangeDelete]) -> Result<Written> {
        let readers = self.readers();
        let applied = range_deletes.iter().map(|delete| delete.seqno).max().unwrap_or(0);
        let range_deletes = Arc::new(Fragments::new(range_deletes, &readers.snapshots));
        let by_size = (sealed.bytes / MIN_PART_BYTES).max(1) as usize;
        let borders = sealed.memtable.split_keys(self.parallelism().min(by_size));
        let mut ranges = Vec::with_capacity(borders.len() + 1);
        let mut start = None;
        for border in borders {
            ranges.push(KeyRange { start: start.replace(border.clone()), end: Some(border) });
        }
        ranges.push(KeyRange { start, end: None });
        let new_id = || self.new_file_id();
        let none = Blobs::default(); // Nothing in a memtable is a pointer.
        let output = self.output(0, &none, &new_id, &|| Ok(false));
        let output = Output { cleared_seqno: readers.cleared(applied), ..output };
        let write = |range: &KeyRange| {
            let mut cursor = sealed.memtable.cursor(MAX_SEQNO);
            match &range.start {
                Some(start) => cursor.seek(start)?,
                None => cursor.seek_to_first()?,
            }
            let Readers { snapshots, now_ms, keyspaces } = readers.clone();
            let rule = Retention::new(snapshots, now_ms, keyspaces, Below::Unknown);
            let mut rule = rule.under(Arc::clone(&range_deletes));
            write_run(&mut cursor, range.end.as_deref(), &mut rule, None, &output)
        };
        let mut run = Written::default();
        let mut failed = None;
        for outcome in self.side_by_side(&ranges, &write) {
            match outcome {
                Ok(written) => {
                    let part = written.unwrap_or_default();
                    run.tables.extend(part.tables);
                    run.blobs.extend(part.blobs);
                }
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            discard(&*self.env.fs, &self.dir, &run.tables, &run.blobs);
            return Err(error);
        }
        Ok(run)
    }

    /// Seals what there is and flushes everything sealed so far.
    pub(super) fn flush_all(&self) -> Result<()> {
        self.poison.check()?;
        let target = self.last_seqno();
        self.shards.await_numbered();
        let active = Arc::clone(&self.current().active);
        if !active.is_empty() {
            self.seal(&active, 0)?;
        }
        while self.current().flushed_seqno < target && self.flush_oldest()? {}
        Ok(())
    }

    /// Makes an edit durable and installs what it leads to, together with the removal of a flushed memtable.
    pub(super) fn commit_edit(&self, mut edit: Edit, flushed: Option<&Sealed>) -> Result<()> {
        let mut manifest = self.manifest.lock();
        self.check_held()?;
        self.poison.check()?;
        edit.next_file_id = Some(self.next_file_id.load(Ordering::Relaxed));
        edit.clock_ms = Some(self.clock.now_ms());
        // First, because an edit that makes no version must not become durable: no opening would get past it.
        let base = Arc::clone(&self.current().version);
        let version = base.apply(&edit, |meta| self.open_table(meta.clone())).map_err(Error::invalid)?;
        let version = version.settle_range_deletes(&mut edit, &self.shards.snapshots().seqnos());
        manifest.append(&edit).map_err(|error| match error {
            Error::Full { .. } if !manifest.is_poisoned() => {
                // The edit is certainly not recorded, and so its new tables are nobody's.
                let is_new = |placed: &&Placed| !edit.removed.iter().any(|(_, id)| *id == placed.meta.id);
                let tables: Vec<_> = edit.added.iter().filter(is_new).map(|p| p.meta.clone()).collect();
                discard(&*self.env.fs, &self.dir, &tables, &edit.blobs);
                error
            }
            error => self.poison.set(error),
        })?;
        let blobs = base.blobs().next(&manifest.state().blobs, |meta| self.open_blob(meta));
        let version = Arc::new(version.with_blobs(blobs.clone()));
        self.install(|now| SuperVersion {
            active: Arc::clone(&now.active),
            sealed: match flushed {
                None => now.sealed.clone(),
                Some(gone) => {
                    let stays = |s: &&Sealed| !Arc::ptr_eq(&s.memtable, &gone.memtable);
                    now.sealed.iter().filter(stays).cloned().collect()
                }
            },
            version,
            flushed_seqno: flushed.map_or(now.flushed_seqno, |gone| gone.last_seqno),
        });
        // Only now may the files of removed tables go: the edit is durable, and readers that still pin the old
        // version keep them until they are done.
        for table in base.obsolete_after(&edit) {
            self.counters.retire_filter(table.filter_stats());
            table.delete_on_drop();
        }
        for blob in base.blobs().obsolete_after(&blobs) {
            blob.delete_on_drop();
        }
        Ok(())
    }

    /// A reader of a blob file that the manifest names. Does no I/O.
    fn open_blob(&self, meta: BlobMeta) -> Arc<BlobFile> {
        Arc::new(BlobFile::open(Arc::clone(&self.env.fs), &self.dir, meta))
    }

    /// A reader of a table that the manifest names. Does no I/O.
    pub(super) fn open_table(&self, meta: TableMeta) -> Arc<Table> {
        let table = Table::open(Arc::clone(&self.env.fs), &self.dir, meta, Arc::clone(&self.cache));
        Arc::new(table.mapped(self.options.map_tables))
    }
}
