//! How saving goes: for `LASTSAVE` and `INFO persistence`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use terrace::Generation;

/// What is known about one kind of save.
#[derive(Debug, Default)]
pub(crate) struct Saves {
    running: AtomicBool,
    failed: AtomicBool,
    began_ms: AtomicU64,
    ended_ms: AtomicU64,
    last_s: AtomicU64,
    /// The newest write in the last one.
    last_seqno: AtomicU64,
    count: AtomicU64,
    /// What the last one left in the directory of backups, if it was one.
    generation: Mutex<Option<Generation>>,
}

/// What a save has reached.
#[derive(Debug)]
pub(crate) struct Saved {
    /// The newest write in it.
    pub(crate) seqno: u64,
    /// What it has left in the directory of backups, if there is one.
    pub(crate) generation: Option<Generation>,
}

impl Saves {
    /// Begins one, unless one is under way.
    pub(crate) fn begin(&self, now_ms: u64) -> bool {
        let began = !self.running.swap(true, Ordering::AcqRel);
        if began {
            self.began_ms.store(now_ms, Ordering::Relaxed);
        }
        began
    }

    /// Ends the one that was begun; `None` is a failure.
    pub(crate) fn end(&self, now_ms: u64, saved: Option<Saved>) {
        self.failed.store(saved.is_none(), Ordering::Relaxed);
        self.ended_ms.store(now_ms, Ordering::Relaxed);
        if let Some(saved) = saved {
            self.last_s.store(now_ms / 1000, Ordering::Relaxed);
            self.last_seqno.store(saved.seqno, Ordering::Relaxed);
            self.count.fetch_add(1, Ordering::Relaxed);
            *self.generation.lock() = saved.generation;
        }
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

    /// The newest write in the last that succeeded; 0 if none has.
    pub(crate) fn last_seqno(&self) -> u64 {
        self.last_seqno.load(Ordering::Relaxed)
    }

    /// How many have succeeded.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// How many seconds the last one took; `None` if none has ended.
    pub(crate) fn last_took_s(&self) -> Option<u64> {
        let [began_ms, ended_ms] = [&self.began_ms, &self.ended_ms].map(|ms| ms.load(Ordering::Relaxed));
        (ended_ms > 0 && !self.is_running()).then(|| ended_ms.saturating_sub(began_ms) / 1000)
    }

    /// For how many seconds one has been under way; `None` if none is.
    pub(crate) fn running_s(&self, now_ms: u64) -> Option<u64> {
        let began_ms = self.began_ms.load(Ordering::Relaxed);
        self.is_running().then(|| now_ms.saturating_sub(began_ms) / 1000)
    }

    /// What the last one left in the directory of backups, if it was one.
    pub(crate) fn generation(&self) -> Option<Generation> {
        self.generation.lock().clone()
    }
}
