//! `Syncer`: one log sync at a time, shared by everybody who waits for one.
//!
//! Whoever arrives during a sync is in the next one; nobody sleeps to gather company. A failed sync is never
//! repeated: it poisons the store and every waiter gets the cause.

use parking_lot::{Condvar, Mutex};

use crate::base::{Error, Result, Seqno};

/// Called with the outcome when a write has become durable.
pub(super) type Callback = Box<dyn FnOnce(Result<()>) + Send>;

#[derive(Default)]
struct State {
    durable: Seqno,
    syncing: bool,
    callbacks: Vec<(Seqno, Callback)>,
    /// Why there will be no further sync, once the store is closed.
    closed: Option<Error>,
}

/// Serialises syncs and remembers how far the log is durable.
#[derive(Default)]
pub(super) struct Syncer {
    state: Mutex<State>,
    finished: Condvar,
}

impl Syncer {
    /// A log that is durable up to `durable`.
    pub(super) fn new(durable: Seqno) -> Self {
        Self { state: Mutex::new(State { durable, ..State::default() }), finished: Condvar::new() }
    }

    /// Everything up to here survives a power loss.
    pub(super) fn durable(&self) -> Seqno {
        self.state.lock().durable
    }

    /// Returns once `seqno` is durable. `sync` makes the log durable and says up to where; it runs in one
    /// caller at a time, for all.
    pub(super) fn wait(&self, seqno: Seqno, sync: &dyn Fn() -> Result<Seqno>) -> Result<()> {
        let mut state = self.state.lock();
        loop {
            if state.durable >= seqno {
                return Ok(());
            }
            if state.syncing {
                self.finished.wait(&mut state);
                continue;
            }
            state.syncing = true;
            drop(state);
            let outcome = sync();
            state = self.finish(&outcome);
            outcome?;
        }
    }

    /// Records the outcome, wakes the waiters and runs the callbacks that are due.
    fn finish(&self, outcome: &Result<Seqno>) -> parking_lot::MutexGuard<'_, State> {
        let mut state = self.state.lock();
        state.syncing = false;
        if let Ok(reached) = outcome {
            state.durable = state.durable.max(*reached);
        }
        let durable = state.durable;
        let failed = outcome.is_err();
        let (due, waiting) =
            std::mem::take(&mut state.callbacks).into_iter().partition(|(at, _)| failed || *at <= durable);
        state.callbacks = waiting;
        self.finished.notify_all();
        drop(state);
        let due: Vec<(Seqno, Callback)> = due;
        for (_, callback) in due {
            callback(outcome.clone().map(|_| ()));
        }
        self.state.lock()
    }

    /// Tables now hold everything up to `seqno`, durably, so the log need not.
    pub(super) fn advance(&self, seqno: Seqno) {
        let state = self.state.lock();
        if state.durable < seqno && !state.syncing {
            drop(state);
            drop(self.finish(&Ok(seqno)));
        }
    }

    /// Registers `callback` for `seqno`; calls it at once if that is durable already. Returns whether a sync
    /// is needed.
    pub(super) fn register(&self, seqno: Seqno, callback: Callback) -> bool {
        let mut state = self.state.lock();
        if state.durable >= seqno {
            drop(state);
            callback(Ok(()));
            return false;
        }
        if let Some(reason) = state.closed.clone() {
            drop(state);
            callback(Err(reason));
            return false;
        }
        state.callbacks.push((seqno, callback));
        true
    }

    /// The highest sequence number that a callback waits for.
    pub(super) fn wanted(&self) -> Option<Seqno> {
        self.state.lock().callbacks.iter().map(|(at, _)| *at).max()
    }

    /// Ends every callback with `reason`: there will be no sync for them.
    pub(super) fn abandon(&self, reason: &Error) {
        let callbacks = std::mem::take(&mut self.state.lock().callbacks);
        for (_, callback) in callbacks {
            callback(Err(reason.clone()));
        }
    }

    /// As `abandon`, for those that come later as well.
    pub(super) fn close(&self, reason: &Error) {
        self.state.lock().closed = Some(reason.clone());
        self.abandon(reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn one_sync_serves_all_who_wait() {
        let syncer = Arc::new(Syncer::new(0));
        let syncs = Arc::new(AtomicU64::new(0));
        let threads: Vec<_> = (1..=8)
            .map(|seqno| {
                let (syncer, syncs) = (Arc::clone(&syncer), Arc::clone(&syncs));
                std::thread::spawn(move || {
                    syncer.wait(seqno, &|| {
                        std::thread::sleep(std::time::Duration::from_millis(5));
                        syncs.fetch_add(1, Ordering::Relaxed);
                        Ok(8)
                    })
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap().unwrap();
        }
        assert_eq!(syncs.load(Ordering::Relaxed), 1);
        assert_eq!(syncer.durable(), 8);
    }

    /// `when_durable` found the store open, the store closed and ended all callbacks, and then the callback was
    /// registered: nobody ever called it.
    #[test]
    fn a_callback_that_comes_after_the_close_hears_of_it() {
        let syncer = Syncer::new(3);
        syncer.close(&Error::Closed);
        let (sender, receiver) = std::sync::mpsc::channel();
        let late = sender.clone();
        assert!(!syncer.register(9, Box::new(move |r| late.send(r.is_ok()).unwrap())));
        assert!(!receiver.try_recv().expect("it is called at once"));
        assert!(!syncer.register(3, Box::new(move |r| sender.send(r.is_ok()).unwrap())));
        assert!(receiver.try_recv().unwrap(), "what is durable is durable");
    }

    #[test]
    fn a_failure_reaches_the_waiter_and_the_callbacks() {
        let syncer = Syncer::new(3);
        let (sender, receiver) = std::sync::mpsc::channel();
        let early = sender.clone();
        assert!(!syncer.register(2, Box::new(move |r| early.send(r.is_ok()).unwrap())));
        assert!(receiver.recv().unwrap());
        assert!(syncer.register(9, Box::new(move |r| sender.send(r.is_ok()).unwrap())));
        assert!(syncer.wait(9, &|| Err(Error::Closed)).is_err());
        assert!(!receiver.recv().unwrap());
        assert_eq!(syncer.durable(), 3);
    }
}
