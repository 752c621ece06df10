//! Background threads: what wakes them, what they do, how they end.
//!
//! - `flush` writes sealed memtables out, oldest first;
//! - `compact-N` run what the picker chooses;
//! - `prepare` keeps the next memtable and log segment ready and the log's pages populated;
//! - `sync` serves interval durability and those who asked to be told of durability.
//!
//! Each is a loop over one step that an inline store (no threads) runs on its own. A step that fails on a full
//! disk is tried again; one that poisons the store ends the thread's work but not its waiting.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::core::Core;
use super::options::Durability;
use crate::base::error::IoContext;
use crate::base::{Error, FileId, Result, Seqno};
use crate::io::Join;
use crate::version::Edit;

/// The kind of work that a writer does itself when it is late.
pub(super) const PREPARE: &str = "prepare";
/// How long a failed step waits before it is tried again.
const RETRY: Duration = Duration::from_millis(200);
/// Threads look around this often even when nobody wakes them.
const IDLE: Duration = Duration::from_secs(1);

/// Wakes threads; a raise is never lost.
#[derive(Debug, Default)]
struct Signal {
    raised: Mutex<u64>,
    wake: Condvar,
}

impl Signal {
    fn raise(&self) {
        *self.raised.lock() += 1;
        self.wake.notify_all();
    }

    /// Waits for a raise that `seen` does not know of.
    fn wait(&self, seen: &mut u64, timeout: Duration) {
        let mut raised = self.raised.lock();
        if *raised == *seen {
            self.wake.wait_for(&mut raised, timeout);
        }
        *seen = *raised;
    }
}

/// Signals, threads and errors of background work.
#[derive(Default)]
pub(super) struct Work {
    stopping: AtomicBool,
    flush: Signal,
    compact: Signal,
    prepare: Signal,
    sync: Signal,
    threads: Mutex<Vec<Box<dyn Join>>>,
    /// Held by whoever flushes.
    pub(super) flushing: Mutex<()>,
    /// What each kind of work failed with last, until it succeeds.
    failures: Mutex<BTreeMap<&'static str, Error>>,
    panics: AtomicU64,
    /// In a store without threads: somebody else chooses the moments (see `scheduled`).
    pub(super) held: AtomicBool,
}

impl Work {
    /// A memtable was sealed.
    pub(super) fn sealed(&self) {
        self.flush.raise();
        self.prepare.raise();
    }

    /// A memtable was flushed or a compaction ended: there may be something to compact.
    pub(super) fn flushed(&self) {
        self.compact.raise();
    }

    /// A compaction begins or ends: other threads may find something to do beside it or after it.
    pub(super) fn compacting(&self) {
        self.compact.raise();
    }

    /// The next memtable should be prepared, or log pages populated.
    pub(super) fn prepare_wanted(&self) {
        self.prepare.raise();
    }

    /// Somebody waits for the log to be synced.
    pub(super) fn sync_wanted(&self) {
        self.sync.raise();
    }

    /// Whether threads should end.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Remembers a failure that will be retried.
    pub(super) fn note_error(&self, task: &'static str, error: &Error) {
        self.failures.lock().insert(task, error.clone());
    }

    /// The failure that background work is stuck on, for a writer that would wait for it in vain.
    pub(super) fn retryable_error(&self) -> Result<()> {
        self.failures.lock().values().next().cloned().map_or(Ok(()), Err)
    }

    /// The same as text, for statistics.
    pub(super) fn error_text(&self) -> Option<String> {
        self.failures.lock().values().next().map(ToString::to_string)
    }

    /// Tells all threads to end.
    fn ask_to_stop(&self) {
        self.stopping.store(true, Ordering::Release);
        for signal in [&self.flush, &self.compact, &self.prepare, &self.sync] {
            signal.raise();
        }
    }

    /// Ends all threads and waits for them; the number that panicked.
    pub(super) fn stop(&self) -> u64 {
        self.ask_to_stop();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            if !thread.join() {
                self.panics.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.panics.load(Ordering::Relaxed)
    }
}

thread_local! {
    /// The address of the core whose background thread this is; 0 in every other thread.
    static OWNER: Cell<usize> = const { Cell::new(0) };
}

/// The core as a background thread has it: a panic poisons the store, or writers would wait for ever for what
/// that thread no longer does.
struct Watched {
    core: Arc<Core>,
    name: String,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let detail = std::io::Error::other(format!("the thread {} panicked", self.name));
            self.core.poison.set(Error::io("go on with", &self.core.dir, detail));
        }
    }
}

impl Core {
    /// Starts the background threads, unless the store runs inline.
    pub(super) fn start_threads(self: &Arc<Self>) -> Result<()> {
        let Some(spawn) = self.env.spawn.clone() else { return Ok(()) };
        let start = |name: &str, body: fn(&Core)| -> Result<()> {
            let watched = Watched { core: Arc::clone(self), name: name.to_string() };
            let run = move || {
                OWNER.set(Arc::as_ptr(&watched.core).addr());
                body(&watched.core);
            };
            let thread = spawn.spawn(name, Box::new(run)).at("start a thread for", &self.dir)?;
            self.work.threads.lock().push(thread);
            Ok(())
        };
        start("terrace-flush", Core::flush_loop)?;
        start("terrace-prepare", Core::prepare_loop)?;
        start("terrace-sync", Core::sync_loop)?;
        if self.options.background_compaction {
            for n in 0..self.parallelism() {
                start(&format!("terrace-comp-{n}"), Core::compact_loop)?;
            }
        }
        Ok(())
    }

    fn flush_loop(&self) {
        let mut seen = 0;
        self.repeat("flush", &self.work.flush, &mut seen, IDLE, || self.flush_oldest());
    }

    fn compact_loop(&self) {
        let mut seen = 0;
        self.repeat("compact", &self.work.compact, &mut seen, IDLE, || self.compact_once());
    }

    fn prepare_loop(&self) {
        let mut seen = 0;
        self.repeat(PREPARE, &self.work.prepare, &mut seen, IDLE, || {
            if let Some(wal) = &self.wal {
                wal.prefault_ahead();
            }
            self.prepare_next(0)?;
            self.pool.prefill(self.memtable_options.chunk_bytes, self.options.shards / 2);
            Ok(false)
        });
    }

    fn sync_loop(&self) {
        let mut seen = 0;
        let interval = match self.options.durability {
            Durability::Interval(period) => Some(period),
            _ => None,
        };
        self.repeat("sync", &self.work.sync, &mut seen, interval.unwrap_or(IDLE), || {
            let wanted = if interval.is_some() { Some(self.last_seqno()) } else { self.syncer.wanted() };
            if let Some(seqno) = wanted {
                self.sync_to(seqno)?;
            }
            Ok(false)
        });
    }

    /// Repeats `step` while it finds something to do, waits for the signal when it does not, and retries
    /// after a pause when it fails.
    fn repeat(
        &self,
        task: &'static str,
        signal: &Signal,
        seen: &mut u64,
        idle: Duration,
        step: impl Fn() -> Result<bool>,
    ) {
        let mut failed = false;
        while !self.work.is_stopping() {
            let outcome = step();
            if failed && outcome.is_ok() {
                self.work.failures.lock().remove(task);
            }
            failed = outcome.is_err();
            let pause = match outcome {
                Ok(true) => continue,
                Ok(false) => idle,
                Err(error) => {
                    self.work.note_error(task, &error);
                    self.update_pressure();
                    RETRY
                }
            };
            if !self.work.is_stopping() {
                signal.wait(seen, pause);
            }
        }
    }

    /// Does all background work that is due, in the calling thread, in a fixed order.
    pub(super) fn work_inline(&self) -> Result<()> {
        while self.flush_oldest()? {}
        if self.options.background_compaction {
            while self.compact_once()? {}
        }
        Ok(())
    }

    /// Returns once everything up to `seqno` survives a power loss.
    pub(super) fn sync_to(&self, seqno: Seqno) -> Result<()> {
        if let Err(error) = self.poison.check() {
            // Nobody will sync any more, so nobody is to wait for it.
            self.syncer.abandon(&error);
            return Err(error);
        }
        let Some(wal) = &self.wal else { return self.flush_all() };
        self.syncer.wait(seqno, &|| {
            let reached = self.last_seqno();
            self.shards.await_numbered();
            // A writer that failed to log its number has set the poison under its shard's lock. Nothing may
            // declare such a number durable: the next opening would miss it, and take the log for damaged.
            self.poison.check()?;
            wal.sync(reached).map_err(|error| self.poison.set(error))?;
            self.counters.synced();
            Ok(reached)
        })
    }

    /// Closes after the last handle has gone. That may have been in a callback, and so in a thread of ours, which
    /// cannot wait for its own end: another thread does it then.
    pub(super) fn close_unattended(self: &Arc<Self>) {
        // Whoever wants to know of a failure calls `close`; without it, the log has everything.
        if OWNER.get() != Arc::as_ptr(self).addr() {
            let _ = self.shut_down();
            return;
        }
        let core = Arc::clone(self);
        let body = Box::new(move || drop(core.shut_down()));
        if self.env.spawn.as_ref().is_none_or(|spawn| spawn.spawn("terrace-close", body).is_err()) {
            // The directory is free when the last of the threads has let go of the core.
            self.closed.store(true, Ordering::Release);
            self.work.ask_to_stop();
        }
    }

    /// Stops everything, flushes, lets go of the directory. The second call does nothing.
    pub(super) fn shut_down(&self) -> Result<()> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.shards.writers_barrier();
        let panics = self.work.stop();
        // A compaction by hand runs in a thread of the application's; it gives up at its next yield point.
        drop(self.compactions.pause());
        let outcome = if self.poison.is_read_only() {
            Ok(())
        } else if panics > 0 {
            let detail = std::io::Error::other(format!("{panics} background thread(s) panicked"));
            Err(Error::io("close", &self.dir, detail))
        } else {
            // The last edit also records the time, so that a clock set back meanwhile revives nothing. Before the
            // log goes it says that there is none any more.
            let flushed = self.poison.check().and_then(|()| self.flush_all());
            let closing = Edit { log_start: Some(FileId(0)), ..Edit::default() };
            flushed.and_then(|()| self.commit_edit(closing, None))
        };
        let outcome = self.let_go(outcome);
        self.syncer.close(&outcome.as_ref().err().cloned().unwrap_or(Error::Closed));
        outcome
    }

    /// Releases the directory. Holds whatever a thread holds that writes into it: those that come later find
    /// that it is no longer ours (`check_held`).
    fn let_go(&self, outcome: Result<()>) -> Result<()> {
        let _flushing = self.work.flushing.lock();
        let _manifest = self.manifest.lock();
        let _ready = self.ready.lock();
        let outcome = match (&outcome, &self.wal) {
            (Ok(()), Some(wal)) => wal.remove_all(),
            _ => outcome,
        };
        *self.lock.lock() = None;
        outcome
    }
}
