//! What a loop counts. Each loop has its own set, so counting never contends; readers add them up.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use parking_lot::Mutex;

use crate::commands::{Command, MAX_COMMANDS};
use crate::histogram::{Counter, Histogram};

/// What is known about one command.
#[derive(Debug, Default)]
pub(crate) struct CommandMetrics {
    /// How often it ran.
    pub(crate) calls: Counter,
    /// How often it was refused before it ran.
    pub(crate) rejected: Counter,
    /// How often it answered with an error.
    pub(crate) failed: Counter,
    /// Its run times together.
    pub(crate) total_ns: Counter,
    latency_ns: OnceLock<Histogram>,
    /// The same for its subcommands, in their order; the last is `HELP`.
    subcommands: OnceLock<Box<[CommandMetrics]>>,
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
        for counter in [&self.calls, &self.rejected, &self.failed, &self.total_ns] {
            counter.reset();
        }
        if let Some(histogram) = self.latency_ns.get() {
            histogram.reset();
        }
        self.subcommands.get().into_iter().flatten().for_each(Self::reset);
    }
}

/// Error codes that are told apart; what comes after them counts as `OTHER`.
const MAX_ERROR_CODES: usize = 128;

/// What one loop has counted.
#[derive(Debug)]
pub(crate) struct LoopMetrics {
    /// Per command, by its index in the table.
    pub(crate) commands: Box<[CommandMetrics]>,
    /// Look-ups that found a key.
    pub(crate) hits: Counter,
    /// Look-ups that found none.
    pub(crate) misses: Counter,
    /// Error replies by their first word. Only errors take the lock.
    error_codes: Mutex<BTreeMap<String, u64>>,
    /// Reads from sockets.
    pub(crate) reads: Counter,
    /// Writes to sockets.
    pub(crate) writes: Counter,
    /// Connections closed because too much of their input waited.
    pub(crate) query_limit_closes: Counter,
    /// Wrong passwords.
    pub(crate) auth_failures: Counter,
    /// Commands, keys and channels that a user was refused.
    pub(crate) denials: [Counter; 3],
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
    /// Times a connection was parked, because the store was behind.
    pub(crate) parks: Counter,
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
            error_codes: Mutex::default(),
            reads: Counter::default(),
            writes: Counter::default(),
            query_limit_closes: Counter::default(),
            auth_failures: Counter::default(),
            denials: Default::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            accepted: Counter::default(),
            rejected: Counter::default(),
            errors: Counter::default(),
            output_limit_closes: Counter::default(),
            conflicts: Counter::default(),
            parks: Counter::default(),
            wakeups: Counter::default(),
            group_sizes: Histogram::default(),
            lookup_sizes: Histogram::default(),
        }
    }
}

impl LoopMetrics {
    /// What is counted of a command at this index of the table, or of its subcommand `runs`.
    pub(crate) fn of(&self, index: u8, command: &'static Command, runs: &'static Command) -> &CommandMetrics {
        let own = &self.commands[usize::from(index)];
        if std::ptr::eq(command, runs) {
            return own;
        }
        let count = command.subcommands.len() + 1;
        let all = own.subcommands.get_or_init(|| (0..count).map(|_| CommandMetrics::default()).collect());
        &all[position(command, runs)]
    }

    /// The same for others to look at; `None` if it never ran.
    pub(crate) fn seen(
        &self,
        index: usize,
        command: &'static Command,
        runs: &'static Command,
    ) -> Option<&CommandMetrics> {
        let own = &self.commands[index];
        if std::ptr::eq(command, runs) {
            return Some(own);
        }
        own.subcommands.get().map(|all| &all[position(command, runs)])
    }

    /// Commands run so far.
    pub(crate) fn calls(&self) -> u64 {
        let of_one = |command: &CommandMetrics| {
            let subcommands = command.subcommands.get().into_iter().flatten();
            command.calls.get() + subcommands.map(|sub| sub.calls.get()).sum::<u64>()
        };
        self.commands.iter().map(of_one).sum()
    }

    /// Counts an error reply; only the owning loop may.
    pub(crate) fn error(&self, line: &str) {
        self.errors.add(1);
        let code = line.split(' ').next().unwrap_or_default();
        let mut codes = self.error_codes.lock();
        if let Some(count) = codes.get_mut(code) {
            *count += 1;
        } else {
            let code = if codes.len() < MAX_ERROR_CODES { code } else { "OTHER" };
            *codes.entry(code.into()).or_default() += 1;
        }
    }

    /// How many errors of each code were answered.
    pub(crate) fn error_codes(&self) -> BTreeMap<String, u64> {
        self.error_codes.lock().clone()
    }

    /// Forgets everything; only the owning loop may.
    pub(crate) fn reset(&self) {
        self.commands.iter().for_each(CommandMetrics::reset);
        let counters = [
            &self.hits,
            &self.misses,
            &self.reads,
            &self.writes,
            &self.query_limit_closes,
            &self.auth_failures,
            &self.bytes_in,
            &self.bytes_out,
            &self.accepted,
            &self.rejected,
            &self.errors,
            &self.output_limit_closes,
            &self.conflicts,
            &self.parks,
            &self.wakeups,
        ];
        counters.into_iter().chain(&self.denials).for_each(Counter::reset);
        self.error_codes.lock().clear();
        self.group_sizes.reset();
        self.lookup_sizes.reset();
    }
}

/// Where a subcommand is counted.
fn position(command: &Command, runs: &Command) -> usize {
    let at = command.subcommands.iter().position(|sub| std::ptr::eq(sub, runs));
    at.unwrap_or(command.subcommands.len())
}
