//! What is noted of a command that has run: counted by its loop, and kept where it was slow.

use terrace_resp::Args;

use super::table::{ADMIN, Command, FAST, SKIP_MONITOR, SKIP_SLOWLOG, resolve};
use crate::context::Context;
use crate::metrics::LoopMetrics;
use crate::observe::{SlowEntry, cut, monitor_line};
use crate::registry::ClientInfo;
use crate::shared::{Message, Shared};

/// A command that has run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ran {
    /// The index of the command in the table.
    pub(crate) index: u8,
    /// The command.
    pub(crate) command: &'static Command,
    /// What of it ran: itself or a subcommand.
    pub(crate) runs: &'static Command,
    /// How long it took.
    pub(crate) ns: u64,
    /// Whether it answered with an error.
    pub(crate) failed: bool,
}

impl Ran {
    /// The command of these arguments, which has been run beside the loop.
    pub(crate) fn beside(index: u8, command: &'static Command, args: Args<'_>) -> Self {
        Self { index, command, runs: resolve(command, args), ns: 0, failed: false }
    }

    /// Counts it; only the owner of the metrics may.
    pub(crate) fn count(&self, metrics: &LoopMetrics) {
        let of_command = metrics.of(self.index, self.command, self.runs);
        of_command.record(1, self.ns);
        of_command.failed.add(u64::from(self.failed));
    }

    /// Keeps it if it was slow.
    pub(crate) fn note(&self, shared: &Shared, client: &ClientInfo, args: impl FnOnce() -> Vec<Vec<u8>>) {
        let (us, slow_us) = (self.ns / 1000, shared.settings.slow_us());
        let threshold_ms = shared.settings.latency_threshold_ms();
        if let Ok(slow_us) = u64::try_from(slow_us)
            && us >= slow_us
            && !self.runs.has(SKIP_SLOWLOG)
        {
            let entry = SlowEntry {
                id: 0,
                at_s: shared.now_ms() / 1000,
                us,
                args: args(),
                peer: client.peer.to_string(),
                name: client.name(),
            };
            shared.observation.slow.add(entry, shared.settings.slow_entries());
        }
        if threshold_ms > 0 && us / 1000 >= threshold_ms {
            let kind = if self.runs.has(FAST) { "fast-command" } else { "command" };
            shared.observation.latency.note(kind, shared.now_ms() / 1000, us / 1000);
        }
    }
}

/// Notes that a command of this loop has run.
pub(super) fn note(cx: &Context<'_>, ran: &Ran, args: Args<'_>) {
    ran.count(cx.metrics);
    ran.note(cx.shared, &cx.session.info, || cut(args));
}

/// Shows a command to those who watch, unless it is for operators.
pub(super) fn show(cx: &Context<'_>, runs: &Command, args: Args<'_>) {
    if !cx.shared.observation.monitors.any() || runs.has(ADMIN | SKIP_MONITOR) {
        return;
    }
    let now_us = cx.shared.now_ms() * 1000;
    let line = monitor_line(now_us, cx.session.db, &cx.session.info.peer.to_string(), args);
    for watcher in cx.shared.observation.monitors.all() {
        let message = Message::Show { slot: watcher.slot, client: watcher.client, line: line.clone() };
        cx.shared.loops[watcher.loop_index].send(message);
    }
}
