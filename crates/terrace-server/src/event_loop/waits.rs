//! Connections that wait: for a sync of the log, at most for a time (`WAITAOF`), or before they hear that their
//! password was wrong.
//!
//! A wait has a number of its own, so that what comes too late for one (the sync after the time, the time after the
//! sync) is not taken for the end of another.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use terrace_resp::Encoder;

use super::EventLoop;
use crate::connection::Connection;
use crate::failure::store_line;
use crate::shared::Message;

/// When a wait ends by itself, by the monotonic clock; whose it is; its number.
type Timer = (u64, usize, u64);

/// The waits of one loop.
#[derive(Debug, Default)]
pub(super) struct Waits {
    last: u64,
    timers: BinaryHeap<Reverse<Timer>>,
}

impl Waits {
    /// How long until the first of them ends by itself.
    pub(super) fn timeout(&self, now_ns: u64) -> Option<Duration> {
        let Reverse((deadline_ns, ..)) = self.timers.peek()?;
        Some(Duration::from_nanos(deadline_ns.saturating_sub(now_ns)))
    }
}

impl EventLoop {
    /// Has a connection wait until everything written so far is durable, for at most `timeout_ms` if that is not 0.
    pub(super) fn wait_for_sync(&mut self, connection: &mut Connection, timeout_ms: u64) {
        self.group.commit(&self.handle.metrics);
        let (slot, wait) = (connection.session.slot, self.begin_wait(connection, timeout_ms));
        let handle = Arc::clone(&self.handle);
        let then = move |answer| handle.send(Message::Synced { slot, wait, answer });
        self.shared.config.db.when_durable(self.group.newest_seqno(), then);
    }

    /// Has a connection wait, for `ms` milliseconds if that is not 0; returns the number of the wait.
    pub(super) fn begin_wait(&mut self, connection: &mut Connection, ms: u64) -> u64 {
        self.waits.last += 1;
        let wait = self.waits.last;
        connection.waiting = true;
        connection.wait = wait;
        if ms > 0 {
            let now_ns = self.shared.config.clock.monotonic_ns();
            let deadline_ns = now_ns.saturating_add(ms.saturating_mul(1_000_000));
            self.waits.timers.push(Reverse((deadline_ns, connection.session.slot, wait)));
        }
        wait
    }

    /// Ends the waits whose time is over.
    pub(super) fn end_waits(&mut self) {
        if self.waits.timers.is_empty() {
            return;
        }
        let now_ns = self.shared.config.clock.monotonic_ns();
        while let Some(Reverse((deadline_ns, slot, wait))) = self.waits.timers.peek().copied() {
            if deadline_ns > now_ns {
                break;
            }
            self.waits.timers.pop();
            self.end_wait(slot, wait, Ok(0));
        }
    }

    /// Answers a command that has waited, unless it has its answer: how many copies of the log are synced, and that
    /// there are no replicas.
    pub(super) fn end_wait(&mut self, slot: usize, wait: u64, synced: terrace::Result<i64>) {
        let Some(Some(connection)) = self.connections.get_mut(slot) else { return };
        if connection.wait != wait {
            return;
        }
        connection.wait = 0;
        connection.waiting = false;
        connection.backlog = !connection.input.is_empty();
        let delayed = std::mem::take(&mut connection.delayed);
        if !delayed.is_empty() {
            connection.output.bytes.extend_from_slice(&delayed);
            self.mark_dirty(slot);
            self.enqueue(slot);
            return;
        }
        let protocol = connection.session.protocol;
        let mut reply = Encoder::new(&mut connection.output.bytes, protocol);
        match synced {
            Ok(copies) => {
                reply.array(2);
                reply.integer(copies);
                reply.integer(0);
            }
            Err(error) => {
                let line = store_line(&error);
                reply.error(&line);
                self.handle.metrics.error(&line);
            }
        }
        self.mark_dirty(slot);
        self.enqueue(slot);
    }
}
