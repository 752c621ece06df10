//! Watching a simulated disk: a caller sees it just before every operation, and may crash it there.
//!
//! So one run shows the disk at every point at which the machine could have died, without a run for each.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::SimFs;
use super::crash::CrashPolicy;
use super::state::State;

/// The disk just before an operation.
#[derive(Debug)]
pub struct Moment<'a> {
    state: &'a State,
    what: fmt::Arguments<'a>,
}

impl Moment<'_> {
    /// The number of the operation, from 0.
    pub fn number(&self) -> u64 {
        self.state.operations
    }

    /// The operation in words.
    pub fn what(&self) -> String {
        self.what.to_string()
    }

    /// The disk as the next process would find it, had this one gone down now; see [`SimFs::crash`].
    pub fn crash(&self, policy: CrashPolicy, seed: u64) -> SimFs {
        SimFs { shared: Arc::new(Mutex::new(self.state.crash(policy, seed))) }
    }
}

/// Who is shown every operation.
#[derive(Clone)]
pub(super) struct Watcher(pub(super) Arc<dyn Fn(&Moment<'_>) + Send + Sync>);

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").finish_non_exhaustive()
    }
}

impl State {
    /// Shows the operation that is about to happen to whoever watches.
    pub(super) fn show(&self, what: fmt::Arguments<'_>) {
        if let Some(Watcher(watch)) = &self.watcher {
            watch(&Moment { state: self, what });
        }
    }
}
