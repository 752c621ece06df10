//! The write path: lock the shards, take sequence numbers, append to the log, insert, unlock.
//!
//! A batch takes its shards' locks in ascending order, one range of sequence numbers and one log record, so
//! it is atomic to snapshots (which wait for the locks), to reads of the newest state (which wait for a batch of
//! which they have found a part) and to recovery (one checksum). Nothing between
//! taking the numbers and the insert can fail but the log append itself, and that poisons the store: a number
//! once taken is either in the log or the store is refused further writes.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use super::core::{Core, Shard};
use super::keyspaces::KeyspaceState;
use super::options::Durability;
use super::shards::LockedShards;
use super::stall::Admission;
use super::transaction::Scan;
use super::types::Stamp;
use crate::base::entry::take_entry;
use crate::base::{EntryRef, Error, KeyspaceId, Result, Seqno, checksum};
use crate::memtable::Memtable;
use crate::wal::Reserve;

thread_local! {
    /// Encoded record bodies are built here, so that a single put allocates nothing.
    static BODY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A larger buffer is given back after use.
const KEPT_BODY_BYTES: usize = 64 << 10;

/// A batch as the write path sees it: an encoded body and what must not have changed.
pub(super) struct Commit<'a> {
    /// Entries in log encoding.
    pub(super) body: &'a [u8],
    /// How many.
    pub(super) count: u32,
    /// Whether range deletes are among them.
    pub(super) has_ranges: bool,
    /// Keys that were read, with the stamp of the read.
    pub(super) reads: &'a [(Vec<u8>, Stamp)],
    /// Ranges that were read, all as of the snapshot `pinned`.
    pub(super) scans: &'a [Scan],
    /// The stamp of every read, if a snapshot there is held until the commit.
    pub(super) pinned: Option<Seqno>,
    /// The keyspaces of all these, with the numbers under which their keys are here.
    pub(super) keyspaces: &'a [(Arc<KeyspaceState>, KeyspaceId)],
    /// What the write must survive.
    pub(super) durability: Durability,
    /// Whether it waits when the store is under pressure.
    pub(super) waits: bool,
}

impl Core {
    /// Writes one entry.
    pub(super) fn write_one(&self, entry: EntryRef<'_>, durability: Durability) -> Result<Seqno> {
        let seqno = BODY.with_borrow_mut(|body| {
            body.clear();
            entry.encode(body);
            let hash = self.hash(entry.key);
            let applied = self.apply_one(hash, entry, body);
            if body.capacity() > KEPT_BODY_BYTES {
                *body = Vec::new();
            }
            applied
        })?;
        // The buffer is free again: this may run callbacks, and they may write.
        self.after_write(seqno, durability)?;
        Ok(seqno)
    }

    fn apply_one(&self, hash: u64, entry: EntryRef<'_>, body: &[u8]) -> Result<Seqno> {
        let body_crc = if self.wal.is_some() { checksum::plain(body) } else { 0 };
        loop {
            self.admit(body.len() as u64, true)?;
            let mut shard = self.shards.lock(self.shards.of(hash));
            let active = if self.reserve(&mut shard, body.len())? {
                let seqno = self.append(&mut shard, 1, body, body_crc)?;
                shard.writer.insert(hash, entry.key, seqno, entry.meta, entry.value);
                match self.outgrown(&shard) {
                    None => return Ok(seqno),
                    Some(active) => {
                        drop(shard);
                        self.seal_in_passing(&active);
                        return Ok(seqno);
                    }
                }
            } else {
                Arc::clone(shard.writer.memtable())
            };
            drop(shard);
            self.seal(&active, body.len())?;
        }
    }

    /// Writes a batch, if what it read has not changed and its keyspaces have the numbers it says; otherwise
    /// `Error::Conflict`.
    pub(super) fn write_batch(&self, commit: &Commit<'_>) -> Result<Seqno> {
        let mut hashes = Vec::with_capacity(commit.count as usize);
        let mut input = commit.body;
        while let Some(entry) = take_entry(&mut input) {
            hashes.push(self.hash(entry.key));
        }
        assert!(input.is_empty() && hashes.len() == commit.count as usize, "a batch body is well formed");
        let read_hashes: Vec<u64> = commit.reads.iter().map(|(key, _)| self.hash(key)).collect();
        let body_crc = if self.wal.is_some() { checksum::plain(commit.body) } else { 0 };
        let mut judged = None;
        let mut judge = !commit.scans.is_empty();
        let last = loop {
            self.admit(commit.body.len() as u64, commit.waits)?;
            if judge {
                judged = Some(self.judge(commit)?);
            }
            let mut locked = if commit.has_ranges || !commit.scans.is_empty() {
                self.shards.lock_several(0..self.shards.count())
            } else {
                self.shards.lock_several(hashes.iter().chain(&read_hashes).map(|hash| self.shards.of(*hash)))
            };
            check_keyspaces(commit.keyspaces)?;
            if !self.check_reads(commit, &read_hashes, judged.as_ref())? {
                judge = true;
                continue;
            }
            if hashes.is_empty() {
                return Ok(self.last_seqno());
            }
            let home = self.shards.of(hashes[0]);
            if !self.reserve(locked.get(home), commit.body.len())? {
                let active = Arc::clone(locked.get(home).writer.memtable());
                drop(locked);
                self.seal(&active, commit.body.len())?;
                continue;
            }
            let first = self.append(locked.get(home), commit.count, commit.body, body_crc)?;
            if commit.has_ranges {
                self.shards.insert_whole(&mut locked, first, |locked| {
                    self.insert_with_ranges(locked, first, commit.body, &hashes);
                });
            } else if commit.count > 1 {
                self.shards.insert_whole(&mut locked, first, |locked| {
                    self.insert_all(locked, first, commit.body, &hashes);
                });
            } else {
                self.insert_all(&mut locked, first, commit.body, &hashes);
            }
            let outgrown = self.outgrown(locked.get(home));
            drop(locked);
            if let Some(active) = outgrown {
                self.seal_in_passing(&active);
            }
            break first + u64::from(commit.count) - 1;
        };
        if commit.has_ranges {
            self.hasten_range_deletes(commit.body);
        }
        self.after_write(last, commit.durability)?;
        Ok(last)
    }

    /// Refuses, delays or admits a write, as the state of the store asks.
    #[inline]
    fn admit(&self, bytes: u64, waits: bool) -> Result<()> {
        self.check_open()?;
        self.poison.check()?;
        if self.stall.is_pressed() { self.admit_under_pressure(bytes, waits) } else { Ok(()) }
    }

    #[cold]
    fn admit_under_pressure(&self, bytes: u64, waits: bool) -> Result<()> {
        // Without threads nobody else makes room.
        let waits = waits || self.env.spawn.is_none();
        while self.stall.admit(bytes, self.active_bytes(), waits, &*self.env.clock) == Admission::Full {
            if !waits {
                return self.check_room_comes();
            }
            self.wait_for_room()?;
        }
        Ok(())
    }

    /// How long a write should wait before it comes; zero if it is admitted, or refused, at once.
    pub(super) fn write_delay(&self) -> Duration {
        let refused = || {
            self.check_open().and_then(|()| self.poison.check()).is_err() || self.check_room_comes().is_err()
        };
        if !self.stall.is_pressed() || refused() {
            return Duration::ZERO;
        }
        self.stall.delay(self.active_bytes(), &*self.env.clock)
    }

    /// Why it is of no use to wait until a full store has room, if it is of none.
    fn check_room_comes(&self) -> Result<()> {
        self.work.retryable_error()?;
        self.check_compaction_goes_on()
    }

    pub(super) fn active_bytes(&self) -> u64 {
        self.current().active.bytes() as u64
    }

    #[cold]
    fn wait_for_room(&self) -> Result<()> {
        if self.env.spawn.is_none() {
            self.work_inline()?;
            self.update_pressure();
        }
        self.check_open()?;
        self.poison.check()?;
        self.check_room_comes()?;
        self.stall.wait_for_room(self.active_bytes(), Duration::from_millis(10), &*self.env.clock);
        Ok(())
    }

    /// Makes room in the shard's lane; `false` when the segment is full. Takes no sequence number. Closing
    /// is checked again here, under the shard's lock: the close passes through all of them before its last
    /// flush, so no write can slip in behind it.
    #[inline]
    fn reserve(&self, shard: &mut Shard, body_bytes: usize) -> Result<bool> {
        self.check_open()?;
        match &mut shard.log {
            None => Ok(true),
            Some((lane, segment)) => {
                // Under the lock too: a lane is not to be used again once an append has failed.
                self.poison.check()?;
                let reserved = lane.reserve(segment, body_bytes).map_err(|error| match error {
                    Error::Io { .. } => self.poison.set(error),
                    refused => refused,
                });
                let ready = reserved? == Reserve::Ready;
                if lane.took_chunk() && segment.wants_prefault() {
                    self.work.prepare_wanted();
                }
                Ok(ready)
            }
        }
    }

    /// Takes `count` sequence numbers and logs the record under them.
    #[inline]
    fn append(&self, shard: &mut Shard, count: u32, body: &[u8], body_crc: u32) -> Result<Seqno> {
        let first = self.shards.take_seqnos(shard, u64::from(count));
        if let Some((lane, _)) = &mut shard.log {
            lane.append(first, count, body, body_crc).map_err(|error| self.poison.set(error))?;
        }
        Ok(first)
    }

    /// Inserts a batch's entries into its shards.
    fn insert_all(&self, locked: &mut LockedShards<'_, Shard>, first: Seqno, body: &[u8], hashes: &[u64]) {
        let mut input = body;
        for (seqno, hash) in (first..).zip(hashes) {
            let Some(entry) = take_entry(&mut input) else { break };
            let shard = locked.get(self.shards.of(*hash));
            shard.writer.insert(*hash, entry.key, seqno, entry.meta, entry.value);
        }
    }

    /// The active memtable, if it has reached its size.
    #[inline]
    fn outgrown(&self, shard: &Shard) -> Option<Arc<Memtable>> {
        let active = shard.writer.memtable();
        let full = active.bytes() as u64 >= self.write_buffer_bytes;
        full.then(|| Arc::clone(active))
    }

    /// Waits for the durability that was asked for.
    #[inline]
    fn after_write(&self, seqno: Seqno, durability: Durability) -> Result<()> {
        if !self.leaves_work() && !self.current().sealed.is_empty() {
            self.work_inline()?;
        }
        if self.wal.is_none() {
            // Without a log, the only way to keep a write for certain is to flush it.
            return if durability.rank() > Durability::Memory.rank() { self.flush_all() } else { Ok(()) };
        }
        if durability == Durability::Sync { self.sync_to(seqno) } else { Ok(()) }
    }
}

/// `Error::Conflict` if a keyspace was cleared since its keys were made. Asked under the batch's locks: clearing
/// passes through all of them before it returns, so a batch that passes here is before the clear.
pub(super) fn check_keyspaces(keyspaces: &[(Arc<KeyspaceState>, KeyspaceId)]) -> Result<()> {
    for (state, id) in keyspaces {
        if state.id()? != *id {
            return Err(Error::Conflict);
        }
    }
    Ok(())
}
