//! How saving goes: for `LASTSAVE` and `INFO persistence`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What is known about saves.
#[derive(Debug, Default)]
pub(crate) struct Saves {
    running: AtomicBool,
    failed: AtomicBool,
    last_s: AtomicU64,
    count: AtomicU64,
}

impl Saves {
    /// Begins one, unless one is under way.
    pub(crate) fn begin(&self) -> bool {
        !self.running.swap(true, Ordering::AcqRel)
    }

    /// Ends the one that was begun.
    pub(crate) fn end(&self, now_s: u64, done: bool) {
        if done {
            self.last_s.store(now_s, Ordering::Relaxed);
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        self.failed.store(!done, Ordering::Relaxed);
        self.running.store(false, Ordering::Release);
    }

    /// Whether one is under way.
    pub(crate) fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    /// Whether the last one failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// When one last succeeded, in seconds since the epoch; 0 if none has.
    pub(crate) fn last_s(&self) -> u64 {
        self.last_s.load(Ordering::Relaxed)
    }

    /// How many have succeeded.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}
