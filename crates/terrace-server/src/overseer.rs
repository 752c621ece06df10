//! The overseer: once a second it looks at the server as a whole. It says in the log when background work of the store
//! fails and when it works again, and keeps the rates and the peak that `INFO` shows. Renewed TLS
//! certificates are noticed here, and numbers for new hashes taken ahead.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::shared::Shared;
use crate::system;

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(1);

/// Rates and peaks.
#[derive(Debug, Default)]
pub(crate) struct Overseer {
    stopped: Mutex<bool>,
    changed: Condvar,
    commands_per_s: AtomicU64,
    input_per_s: AtomicU64,
    output_per_s: AtomicU64,
    startup_bytes: AtomicU64,
    peak_bytes: AtomicU64,
}

/// What was seen the last time.
#[derive(Default)]
struct Seen {
    commands: u64,
    input: u64,
    output: u64,
    failure: Option<String>,
    damage: Vec<String>,
}

impl Overseer {
    /// Looks until it is stopped.
    pub(crate) fn run(&self, shared: &Shared) {
        let mut seen = Seen::default();
        self.startup_bytes.store(system::resident_bytes(), Ordering::Relaxed);
        let mut stopped = self.stopped.lock();
        while !*stopped {
            self.look(shared, &mut seen);
            self.changed.wait_for(&mut stopped, PERIOD);
        }
    }

    /// Ends it.
    pub(crate) fn stop(&self) {
        *self.stopped.lock() = true;
        self.changed.notify_all();
    }

    fn look(&self, shared: &Shared, seen: &mut Seen) {
        let rate = |slot: &AtomicU64, before: &mut u64, now: u64| {
            slot.store(now.saturating_sub(*before), Ordering::Relaxed);
            *before = now;
        };
        let sum = |counter: fn(&crate::metrics::LoopMetrics) -> u64| {
            shared.loops.iter().map(|handle| counter(&handle.metrics)).sum::<u64>()
        };
        rate(&self.commands_per_s, &mut seen.commands, sum(crate::metrics::LoopMetrics::calls));
        rate(&self.input_per_s, &mut seen.input, sum(|m| m.bytes_in.get()));
        rate(&self.output_per_s, &mut seen.output, sum(|m| m.bytes_out.get()));
        if let Some((_, tls)) = &shared.tls {
            tls.look(false);
        }
        let databases = &shared.databases;
        // A failure is for whoever needs a number to hear of.
        let _ = databases.generations.top_up(databases.store());
        self.peak_bytes.fetch_max(system::resident_bytes(), Ordering::Relaxed);
        let stats = shared.databases.store().stats();
        for damage in stats.damage.iter().filter(|damage| !seen.damage.contains(damage)) {
            tracing::error!(damage, "compaction has set a damaged file aside; verify and repair the store");
        }
        seen.damage = stats.damage;
        let failure = stats.background_error;
        if failure != seen.failure {
            match &failure {
                Some(error) => {
                    tracing::error!(error, "background work of the store fails; it is tried again");
                }
                None => tracing::info!("background work of the store goes on again"),
            }
            seen.failure = failure;
        }
    }

    /// Commands run in the last second.
    pub(crate) fn commands_per_s(&self) -> u64 {
        self.commands_per_s.load(Ordering::Relaxed)
    }

    /// Bytes received in the last second.
    pub(crate) fn input_per_s(&self) -> u64 {
        self.input_per_s.load(Ordering::Relaxed)
    }

    /// Bytes sent in the last second.
    pub(crate) fn output_per_s(&self) -> u64 {
        self.output_per_s.load(Ordering::Relaxed)
    }

    /// Memory of the process when it started to serve.
    pub(crate) fn startup_bytes(&self) -> u64 {
        self.startup_bytes.load(Ordering::Relaxed)
    }

    /// The most memory that the process was seen to have.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.peak_bytes.load(Ordering::Relaxed)
    }
}
