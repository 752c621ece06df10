//! Recovery: what the log has and the tables have not is replayed and flushed, so that a recovered store starts
//! with an empty log.
//!
//! Every step can be interrupted and repeated: the old segments go only after what they held is durable in tables.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::clock::StoreClock;
use super::core::Core;
use super::open::start_log;
use super::options::{Durability, RecoveryObserver, RecoveryProgress};
use super::syncer::Syncer;
use crate::base::entry::take_entry;
use crate::base::key::{MAX_INTERNAL_KEY_BYTES, MAX_VALUE_BYTES};
use crate::base::{EntryRef, Error, FileId, Kind, RangeDelete, Result, Seqno};
use crate::version::Edit;
use crate::wal::{ReplayReport, Writer, replay};

/// Recovery tells of its progress after this many entries.
const PROGRESS_ENTRIES: u64 = 1 << 16;

/// Replays the log into tables and starts a fresh one.
pub(super) fn recover_log(core: &mut Core) -> Result<()> {
    let flushed = core.current().flushed_seqno;
    let report = {
        let core = &*core;
        let mut progress = Progress::new(core.options.on_recovery.as_ref());
        let mut visit = |first, count, body: &[u8]| {
            replay_record(core, first, count, body)?;
            make_room(core)?;
            progress.add(count, body.len());
            Ok(())
        };
        let log_start = core.manifest.lock().state().log_start;
        let report = replay(&core.env, &core.dir, log_start, flushed, Writer::None, &mut visit)?;
        progress.finish();
        report
    };
    let seen_ms = report.clock_high_water_ms.max(core.clock.now_ms());
    core.clock = StoreClock::new(Arc::clone(&core.env.clock), seen_ms);
    finish_replay(core, &report)?;
    if core.options.durability != Durability::Memory {
        start_log(core, &report)?;
    }
    core.syncer = Syncer::new(core.last_seqno());
    Ok(())
}

/// Tells the observer, if there is one, how far replay has come.
struct Progress<'a> {
    observer: Option<&'a RecoveryObserver>,
    so_far: RecoveryProgress,
    /// The number of entries at which the observer is told next.
    due: u64,
}

impl<'a> Progress<'a> {
    fn new(observer: Option<&'a RecoveryObserver>) -> Self {
        Self { observer, so_far: RecoveryProgress::default(), due: PROGRESS_ENTRIES }
    }

    fn add(&mut self, entries: u32, bytes: usize) {
        self.so_far.entries += u64::from(entries);
        self.so_far.bytes += bytes as u64;
        if self.so_far.entries >= self.due {
            self.due = self.so_far.entries + PROGRESS_ENTRIES;
            self.tell();
        }
    }

    fn finish(&self) {
        if self.so_far.entries > 0 {
            self.tell();
        }
    }

    fn tell(&self) {
        if let Some(RecoveryObserver(observer)) = self.observer {
            observer(self.so_far);
        }
    }
}

/// Inserts the entries of a record.
pub(super) fn replay_record(core: &Core, first: Seqno, count: u32, body: &[u8]) -> Result<()> {
    let mut input = body;
    for seqno in first..first + u64::from(count) {
        let within = |entry: &EntryRef<'_>| {
            entry.key.len() <= MAX_INTERNAL_KEY_BYTES && entry.value.len() <= MAX_VALUE_BYTES
        };
        let malformed = || {
            let detail = format!("the record of write {first} holds fewer than {count} well-formed entries");
            Error::corruption(&core.dir, 0, detail)
        };
        let entry = take_entry(&mut input).ok_or_else(malformed)?;
        if entry.meta.kind == Kind::RangeDelete {
            let delete = RangeDelete::from_entry(&entry, seqno).ok_or_else(malformed)?;
            core.current().active.delete_ranges(vec![delete], &[]);
            continue;
        }
        if !within(&entry) {
            return Err(malformed());
        }
        let hash = core.hash(entry.key);
        let mut shard = core.shards.lock(core.shards.of(hash));
        shard.writer.insert(hash, entry.key, seqno, entry.meta, entry.value);
    }
    core.shards.raise_seqno(first + u64::from(count) - 1);
    Ok(())
}

/// Flushes the memtable if it has reached its size.
fn make_room(core: &Core) -> Result<()> {
    let active = Arc::clone(&core.current().active);
    if active.bytes() as u64 >= core.write_buffer_bytes {
        core.seal(&active, 0)?;
        while core.flush_oldest()? {}
    }
    Ok(())
}

/// Flushes what was replayed, then removes the log files, durably, before a new one is made: records that
/// recovery has cut off must never meet newer ones.
fn finish_replay(core: &Core, report: &ReplayReport) -> Result<()> {
    core.flush_all()?;
    core.next_file_id.fetch_max(report.max_id().0 + 1, Ordering::Relaxed);
    if report.segments.is_empty() && report.spares.is_empty() {
        return Ok(());
    }
    // The log may have seen a later time than the manifest has; and nobody is to miss it once it is gone.
    core.commit_edit(Edit { log_start: Some(FileId(0)), ..Edit::default() }, None)?;
    report.remove_files(&core.env, &core.dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::EntryMeta;
    use crate::db::open::open;
    use crate::db::options::Options;

    /// A record in the log with a sound checksum and a key beyond the limit ran into an assertion of the
    /// memtable: a store that panicked whenever it was opened.
    #[test]
    fn a_logged_entry_beyond_the_limits_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let core = open(dir.path(), Options::new().durability(Durability::Memory)).unwrap();
        let mut body = Vec::new();
        EntryRef { key: &vec![7; MAX_INTERNAL_KEY_BYTES + 1], meta: EntryMeta::PUT, value: b"" }
            .encode(&mut body);
        assert!(matches!(replay_record(&core, 1, 1, &body), Err(Error::Corruption { .. })));
        core.shut_down().unwrap();
    }
}
