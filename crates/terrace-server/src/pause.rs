//! `CLIENT PAUSE`: until when commands wait, and which.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

/// Which commands wait; the later ones include the earlier.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Scope {
    /// Those that write or publish.
    Writes,
    /// All.
    All,
}

/// The pause.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    scope: Mutex<Option<Scope>>,
    /// When it ends; 0 without one.
    until_ms: AtomicU64,
    /// Clients whose commands wait for its end.
    waiting: AtomicUsize,
}

impl Pause {
    /// Begins a pause, or extends one: the wider scope and the later end count.
    pub(crate) fn begin(&self, scope: Scope, until_ms: u64, now_ms: u64) {
        let mut current = self.scope.lock();
        let old = current.filter(|_| self.until_ms.load(Ordering::Acquire) > now_ms);
        *current = old.max(Some(scope));
        self.until_ms.fetch_max(until_ms, Ordering::AcqRel);
    }

    /// Ends it.
    pub(crate) fn end(&self) {
        *self.scope.lock() = None;
        self.until_ms.store(0, Ordering::Release);
    }

    /// When it ends; 0 if there is none.
    pub(crate) fn until_ms(&self) -> u64 {
        self.until_ms.load(Ordering::Acquire)
    }

    /// What waits now.
    pub(crate) fn scope(&self, now_ms: u64) -> Option<Scope> {
        if self.until_ms() <= now_ms { None } else { *self.scope.lock() }
    }

    /// Whether the data stands still.
    pub(crate) fn stops_writes(&self, now_ms: u64) -> bool {
        self.scope(now_ms).is_some()
    }

    /// Counts clients that begin (1) or cease (-1) to wait.
    pub(crate) fn count(&self, change: isize) {
        self.waiting.fetch_add(change as usize, Ordering::Relaxed);
    }

    /// How many clients wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}
