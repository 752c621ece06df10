//! Whether what a conditional commit has read is unchanged.
//!
//! Under the locks only memory is looked at. Keys: the memtables have everything newer than the flush horizon, so
//! a key that was read before it is judged by the tables first, without the locks. Ranges: everything is judged
//! without the locks, and under them only what the active memtable got since. When a flush or a seal comes in
//! between, the judgement is of the wrong state and is made again.

use std::sync::Arc;

use super::core::Core;
use super::super_version::SuperVersion;
use super::transaction::Scan;
use super::types::Stamp;
use super::write::Commit;
use crate::base::hash::filter_hash;
use crate::base::id::MAX_SEQNO;
use crate::base::{Cursor, Error, Result, Seqno};
use crate::memtable::Mark;

/// What was found unchanged before the locks were taken.
pub(super) struct Judged {
    state: Arc<SuperVersion>,
    /// Where the active memtable ended.
    mark: Mark,
}

impl Core {
    /// Judges what cannot be judged under the locks, which the caller does not hold; `Error::Conflict` if any of
    /// it has changed.
    pub(super) fn judge(&self, commit: &Commit<'_>) -> Result<Judged> {
        let state = self.shards.state_full();
        let mark = state.active.mark();
        for (key, stamp) in commit.reads {
            if stamp.seqno < state.flushed_seqno {
                state.judge_in_tables(key, *stamp, commit.pinned.is_some())?;
            }
        }
        for scan in commit.scans {
            state.judge_scan(scan, commit.pinned.unwrap_or(0))?;
        }
        Ok(Judged { state, mark })
    }

    /// `Error::Conflict` unless everything read is as it was; `false` if that is to be judged (again) without the
    /// locks. The shards of the keys are locked, and all of them if ranges were read, so the active memtable
    /// stands still there.
    pub(super) fn check_reads(
        &self,
        commit: &Commit<'_>,
        hashes: &[u64],
        judged: Option<&Judged>,
    ) -> Result<bool> {
        if commit.reads.is_empty() && commit.scans.is_empty() {
            return Ok(true);
        }
        let state = self.current();
        for ((key, stamp), hash) in commit.reads.iter().zip(hashes) {
            let in_sealed = || state.sealed.iter().find_map(|s| s.memtable.newest(*hash, key));
            let newest = state.active.newest(*hash, key).or_else(in_sealed).unwrap_or(0);
            if newest > stamp.seqno {
                return Err(Error::Conflict);
            }
            let in_tables = judged.is_some_and(|judged| judged.state.flushed_seqno == state.flushed_seqno);
            if stamp.seqno < state.flushed_seqno && !in_tables {
                return Ok(false);
            }
        }
        if commit.scans.is_empty() {
            return Ok(true);
        }
        let Some(judged) = judged.filter(|judged| Arc::ptr_eq(&judged.state.active, &state.active)) else {
            return Ok(false);
        };
        let mut changed = false;
        state.active.written_since(&judged.mark, |key| {
            changed = changed || commit.scans.iter().any(|scan| scan.holds(key));
        });
        let since = commit.pinned.unwrap_or(0);
        changed = changed || commit.scans.iter().any(|scan| state.range_deleted_since(scan, since));
        if changed { Err(Error::Conflict) } else { Ok(true) }
    }
}

impl SuperVersion {
    /// `Error::Conflict` unless the tables say that the key is as it was at the stamp.
    ///
    /// If a snapshot at the stamp was held, every newer entry has kept its number, and a tombstone has stayed.
    /// Otherwise only an entry that is still there under an old number tells that nothing came after it: one
    /// without a number may be newer, and one that is gone may have been there.
    fn judge_in_tables(&self, key: &[u8], stamp: Stamp, pinned: bool) -> Result<()> {
        let found = self.version.get(key, filter_hash(key), MAX_SEQNO)?.map_or(0, |found| found.seqno);
        let deleted = self.version.range_deletes().newest(key, MAX_SEQNO);
        let unchanged = found <= stamp.seqno && deleted <= stamp.seqno && (pinned || found > deleted);
        if unchanged { Ok(()) } else { Err(Error::Conflict) }
    }

    /// `Error::Conflict` if anything in the range is newer than `since`, at which a snapshot is held.
    fn judge_scan(&self, scan: &Scan, since: Seqno) -> Result<()> {
        if self.range_deleted_since(scan, since) {
            return Err(Error::Conflict);
        }
        // The active one may already have an entry that its largest number does not tell of, and that lies before
        // the mark; sealed ones are complete.
        judge_cursor(&mut self.active.cursor(MAX_SEQNO), scan, since)?;
        let sealed = self.sealed.iter().map(|sealed| &sealed.memtable);
        for memtable in sealed.filter(|memtable| memtable.max_seqno().is_some_and(|newest| newest > since)) {
            judge_cursor(&mut memtable.cursor(MAX_SEQNO), scan, since)?;
        }
        for run in self.version.runs() {
            let tables = match &scan.high {
                Some(high) => run.overlapping(&scan.low, high),
                None => run.first_reaching(&scan.low)..run.tables().len(),
            };
            for table in run.tables()[tables].iter().filter(|table| table.meta().max_seqno > since) {
                judge_cursor(&mut table.cursor(true), scan, since)?;
            }
        }
        Ok(())
    }

    /// Whether a range delete newer than `since` meets the range.
    fn range_deleted_since(&self, scan: &Scan, since: Seqno) -> bool {
        let lists = self.range_fragments();
        lists.iter().any(|list| list.newest_within(&scan.low, scan.high.as_deref()) > since)
    }
}

fn judge_cursor(cursor: &mut impl Cursor, scan: &Scan, since: Seqno) -> Result<()> {
    cursor.seek(&scan.low)?;
    while cursor.valid() && scan.holds(cursor.key()) {
        if cursor.seqno() > since {
            return Err(Error::Conflict);
        }
        cursor.next()?;
    }
    Ok(())
}
