//! What a loop counts. Each loop has its own set, so counting never contends; readers add them up.

use std::sync::OnceLock;

use crate::commands::MAX_COMMANDS;
use crate::histogram::{Counter, Histogram};

/// What is known about one command.
#[derive(Debug, Default)]
pub(crate) struct CommandMetrics {
    /// How often it ran.
    pub(crate) calls: Counter,
    /// How often it answered with an error.
    pub(crate) failed: Counter,
    /// Its run times together.
    pub(crate) total_ns: Counter,
    latency_ns: OnceLock<Histogram>,
}

impl CommandMetrics {
    /// Counts `calls` runs of `ns` nanoseconds each.
    #[inline]
    pub(crate) fn record(&self, calls: u64, ns: u64) {
        self.calls.add(calls);
        self.total_ns.add(ns * calls);
        self.latency_ns.get_or_init(Histogram::default).record(ns, calls);
    }

    /// The run times; `None` if it never ran.
    pub(crate) fn latency_ns(&self) -> Option<&Histogram> {
        self.latency_ns.get()
    }

    fn reset(&self) {
        for counter in [&self.calls, &self.failed, &self.total_ns] {
            counter.reset();
        }
        if let Some(histogram) = self.latency_ns.get() {
            histogram.reset();
        }
    }
}

/// What one loop has counted.
#[derive(Debug)]
pub(crate) struct LoopMetrics {
    /// Per command, by its index in the table.
    pub(crate) commands: Box<[CommandMetrics]>,
    /// Look-ups that found a key.
    pub(crate) hits: Counter,
    /// Look-ups that found none.
    pub(crate) misses: Counter,
    /// Bytes received.
    pub(crate) bytes_in: Counter,
    /// Bytes sent.
    pub(crate) bytes_out: Counter,
    /// Connections accepted.
    pub(crate) accepted: Counter,
    /// Connections refused for `maxclients`.
    pub(crate) rejected: Counter,
    /// Commands answered with an error, unknown ones included.
    pub(crate) errors: Counter,
    /// Connections closed because their output exceeded the hard limit.
    pub(crate) output_limit_closes: Counter,
    /// Conditional commits that were tried again.
    pub(crate) conflicts: Counter,
    /// Times the loop woke up.
    pub(crate) wakeups: Counter,
    /// Plain writes per group commit.
    pub(crate) group_sizes: Histogram,
    /// Keys or fields per look-up of several requests together.
    pub(crate) lookup_sizes: Histogram,
}

impl Default for LoopMetrics {
    fn default() -> Self {
        Self {
            commands: (0..MAX_COMMANDS).map(|_| CommandMetrics::default()).collect(),
            hits: Counter::default(),
            misses: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            accepted: Counter::default(),
            rejected: Counter::default(),
            errors: Counter::default(),
            output_limit_closes: Counter::default(),
            conflicts: Counter::default(),
            wakeups: Counter::default(),
            group_sizes: Histogram::default(),
            lookup_sizes: Histogram::default(),
        }
    }
}

impl LoopMetrics {
    /// Forgets everything; only the owning loop may.
    pub(crate) fn reset(&self) {
        self.commands.iter().for_each(CommandMetrics::reset);
        let counters = [
            &self.hits,
            &self.misses,
            &self.bytes_in,
            &self.bytes_out,
            &self.accepted,
            &self.rejected,
            &self.errors,
            &self.output_limit_closes,
            &self.conflicts,
            &self.wakeups,
        ];
        counters.into_iter().for_each(Counter::reset);
        self.group_sizes.reset();
        self.lookup_sizes.reset();
    }
}
