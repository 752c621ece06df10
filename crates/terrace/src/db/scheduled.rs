//! Background work at moments that a test chooses: one step at a time, in the thread of the caller.
//!
//! A store without threads does its background work inside the writes, at once and in a fixed order. Once that is
//! held, a write does it only when it has no room otherwise; every other step comes from `background_step`, so that a
//! seed can decide what is flushed, compacted or synced between which two operations. While a compaction runs, a flush
//! or a sync may come in between its blocks, as it would from another thread; whether it does is drawn from the
//! store's source of randomness.
//!
//! Nothing here runs in a store with threads.

use std::sync::atomic::Ordering;

use super::core::Core;
#[cfg(any(test, feature = "testing"))]
use {
    super::Db,
    crate::base::{Error, Result},
};

/// One piece of what the background threads do.
#[cfg(any(test, feature = "testing"))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BackgroundStep {
    /// The oldest sealed memtable is flushed.
    Flush,
    /// What the picker chooses next is compacted.
    Compact,
    /// The next memtable and the next log segment are made ready.
    Prepare,
    /// The log is synced.
    Sync,
}

/// Of so many places in a compaction one lets something else run.
const YIELDS: u64 = 4;

#[cfg(any(test, feature = "testing"))]
impl Db {
    /// From now on, background work waits for [`Db::background_step`], as long as writes have room. For stores without
    /// threads ([`Env::inline`](crate::Env::inline)); others go on as they are.
    pub fn hold_background_work(&self) {
        self.handle().core.work.held.store(true, Ordering::Relaxed);
    }

    /// Does one step of background work; `false` if there is nothing of the kind to do. For stores without threads.
    pub fn background_step(&self, step: BackgroundStep) -> Result<bool> {
        let core = &self.handle().core;
        core.check_open()?;
        if core.env.spawn.is_some() {
            return Err(Error::invalid("a store with threads does its background work itself"));
        }
        match step {
            BackgroundStep::Flush => core.flush_oldest(),
            BackgroundStep::Compact if core.options.background_compaction => core.compact_once(),
            BackgroundStep::Compact => Ok(false),
            BackgroundStep::Prepare => core.prepare_next(0).map(|()| true),
            BackgroundStep::Sync => core.sync_to(core.last_seqno()).map(|()| true),
        }
    }
}

impl Core {
    /// Whether a write leaves the background work that it has made due to somebody else.
    pub(super) fn leaves_work(&self) -> bool {
        self.env.spawn.is_some() || self.work.held.load(Ordering::Relaxed)
    }

    /// Called by a compaction now and then: what other threads might do meanwhile.
    pub(super) fn interleave(&self) {
        if self.env.spawn.is_some() || !self.work.held.load(Ordering::Relaxed) {
            return;
        }
        // A failure that matters has set the poison, and the compaction runs into that.
        let _ = match self.env.rng.next_u64() % (2 * YIELDS) {
            0 => self.flush_oldest().map(|_| ()),
            1 => self.sync_to(self.last_seqno()),
            _ => Ok(()),
        };
    }
}
