//! Sealing: the active memtable and its log segment make way for fresh ones.
//!
//! It is a pointer swap, not a pause. The next memtable and the next segment are prepared ahead, without any
//! lock that a writer needs; all shard locks are then held together for as long as it takes to swap them in.
//! Together, because a batch that spans shards must not straddle two segments: thus each memtable and each
//! segment cover one contiguous range of sequence numbers.

use std::sync::Arc;

use super::core::{Core, Ready};
use super::super_version::{Sealed, SuperVersion};
use crate::base::Result;
use crate::memtable::Memtable;
use crate::wal::record_bytes;

impl Core {
    /// Prepares the next memtable and log segment, the latter with room for a record of `body_bytes`.
    pub(super) fn prepare_next(&self, body_bytes: usize) -> Result<()> {
        let mut ready = self.ready.lock();
        self.prepare_locked(&mut ready, body_bytes)
    }

    fn prepare_locked(&self, ready: &mut Option<Ready>, body_bytes: usize) -> Result<()> {
        self.check_held()?;
        if let Some(wal) = &self.wal {
            wal.prepare(record_bytes(body_bytes))?;
        }
        if ready.is_none() {
            let (memtable, writers) = Memtable::new(&self.pool, &self.memtable_options);
            *ready = Some(Ready { memtable, writers });
        }
        Ok(())
    }

    /// Seals `expected` unless somebody else has done so already. The new segment has room for a record of
    /// `body_bytes`.
    pub(super) fn seal(&self, expected: &Arc<Memtable>, body_bytes: usize) -> Result<()> {
        let mut ready = self.ready.lock();
        if !Arc::ptr_eq(&self.current().active, expected) {
            return Ok(());
        }
        self.prepare_locked(&mut ready, body_bytes)?;
        if let Some(next) = ready.take() {
            self.swap(next);
        }
        drop(ready);
        self.work.sealed();
        Ok(())
    }

    /// Seals a memtable that has reached its size, if that can be done at once: the write that noticed is
    /// complete, and the next one will try again.
    pub(super) fn seal_in_passing(&self, expected: &Arc<Memtable>) {
        let Some(mut ready) = self.ready.try_lock() else { return };
        if !Arc::ptr_eq(&self.current().active, expected) {
            return;
        }
        let prepared = self.wal.as_ref().is_none_or(crate::wal::Wal::is_prepared);
        let far_over = expected.bytes() as u64 >= self.write_buffer_bytes * 5 / 4;
        if (!prepared || ready.is_none()) && !far_over && self.env.spawn.is_some() {
            self.work.prepare_wanted();
            return;
        }
        if let Err(error) = self.prepare_locked(&mut ready, 0) {
            // The write itself is safe. The log still has room; when it runs out, writers get the cause.
            self.work.note_error(&error);
            return;
        }
        if let Some(next) = ready.take() {
            self.swap(next);
        }
        drop(ready);
        self.work.sealed();
    }

    /// The swap itself. `ready` is locked, so nobody else is sealing.
    fn swap(&self, next: Ready) {
        let Ready { memtable, writers } = next;
        let retired = self.shards.swap(|now, last_seqno, shards| {
            let mut sealed = Vec::with_capacity(now.sealed.len() + 1);
            let bytes = now.active.bytes() as u64;
            sealed.push(Sealed { memtable: Arc::clone(&now.active), last_seqno, bytes });
            sealed.extend(now.sealed.iter().cloned());
            let segment = self.wal.as_ref().and_then(|wal| wal.switch(last_seqno + 1));
            let mut retired = Vec::with_capacity(shards.len());
            for (shard, writer) in shards.iter_mut().zip(writers) {
                retired.push(std::mem::replace(&mut shard.writer, writer));
                if let (Some((lane, current)), Some(segment)) = (&mut shard.log, &segment) {
                    lane.reset();
                    *current = Arc::clone(segment);
                }
            }
            let (version, flushed_seqno) = (Arc::clone(&now.version), now.flushed_seqno);
            (SuperVersion { active: memtable, sealed, version, flushed_seqno }, retired)
        });
        drop(retired);
        self.update_pressure();
    }
}
