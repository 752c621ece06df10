//! Connections on their way from one loop to another, when the number of loops that serve has changed.
//!
//! A connection moves between two of its requests, when nothing of it is under way and nobody but the loop holds on
//! to its place: no reply is unsent, no transaction is open, it listens to nothing and tracks nothing. An order to
//! disconnect it, and what the reads of another have to tell it, may be under way: the loop that it left sends them on. Those that are
//! served move first; one that is silent stays where it is until it says something. Replies keep their order, because
//! the connection leaves only after the last one.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mio::{Interest, Token};

use super::{EventLoop, FIRST_CONNECTION, users};
use crate::balance::WINDOW_NS;
use crate::connection::Connection;
use crate::shared::Message;

/// A connection that was served within this time is one that takes part in the load.
const RECENT_MS: u64 = 1000;

/// What a loop knows of its share.
#[derive(Debug, Default)]
pub(super) struct Moving {
    /// The change of the number of loops that it has followed.
    seen: u64,
    /// The loops that served before that.
    active: usize,
    /// Connections that it has to give away.
    surplus: usize,
    measured_at_ns: u64,
    cpu_ns: u64,
}

fn thread_cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Whether nothing of a connection is under way, and nobody else knows its place.
fn is_at_rest(connection: &Connection) -> bool {
    let session = &connection.session;
    session.is_plain()
        && session.subscriptions.is_empty()
        && session.watches.is_empty()
        && session.penalty_ms == 0
        && !connection.readable
        && !connection.read_closed
        && !connection.backlog
        && !connection.waiting
        && !connection.closing
        && !connection.dead
        && !connection.queued
        && !connection.dirty
        && connection.postponed.is_none()
        && connection.delayed.is_empty()
        && connection.output.unsent() == 0
        && !connection.stream.has_pending()
}

impl EventLoop {
    /// At the start of a turn: reports what this loop has used, and follows a change of the number of loops.
    pub(super) fn rebalance(&mut self) {
        let balance = &self.shared.balance;
        if !balance.is_fixed() {
            let now_ns = self.shared.config.clock.monotonic_ns();
            let passed_ns = now_ns.saturating_sub(self.moving.measured_at_ns);
            if passed_ns >= WINDOW_NS {
                let cpu_ns = thread_cpu_ns();
                let used_ns = cpu_ns.saturating_sub(self.moving.cpu_ns);
                (self.moving.measured_at_ns, self.moving.cpu_ns) = (now_ns, cpu_ns);
                balance.report(self.index, used_ns, passed_ns, now_ns);
            }
        }
        let changes = balance.changes();
        if changes != self.moving.seen {
            let (before, active) = (self.moving.active.max(1), balance.active());
            (self.moving.seen, self.moving.active) = (changes, active);
            self.moving.surplus = match self.index {
                index if index >= active => usize::MAX,
                _ if active > before => self.recent_connections() / active,
                _ => 0,
            };
        }
    }

    fn recent_connections(&self) -> usize {
        let is_recent = |connection: &Connection| {
            let active_at_ms = connection.session.info.active_at_ms.load(Ordering::Relaxed);
            self.now_ms.saturating_sub(active_at_ms) < RECENT_MS
        };
        self.connections.iter().flatten().filter(|connection| is_recent(connection)).count()
    }

    /// Gives a connection away that has just been served, if this loop has too many and it can go.
    pub(super) fn give_away(&mut self, slot: usize) {
        if self.moving.surplus == 0 || self.deadline_ns.is_some() {
            return;
        }
        let ready = |connection: &Connection| {
            is_at_rest(connection) && !self.shared.observation.monitors.has(connection.session.info.id)
        };
        let Some(place) = self.connections.get_mut(slot) else { return };
        let Some(mut connection) = place.take_if(|connection| ready(connection)) else { return };
        if let Err(error) = self.poll.registry().deregister(&mut connection.stream) {
            tracing::warn!(%error, "a connection cannot move to another loop");
            connection.dead = true;
            self.connections[slot] = Some(connection);
            self.mark_dirty(slot);
            return;
        }
        self.moving.surplus -= 1;
        self.keep_buffer(std::mem::take(&mut connection.output.bytes));
        self.free.push(slot);
        self.open -= 1;
        self.handle.connections.fetch_sub(1, Ordering::Relaxed);
        let loop_index = self.shared.loop_for_next();
        let (info, from) = (Arc::clone(&connection.session.info), connection.session.place());
        let target = &self.shared.loops[loop_index];
        target.connections.fetch_add(1, Ordering::Relaxed);
        target.send(Message::Moved { connection, newest_seqno: self.group.newest_seqno() });
        // Only now: whoever sees the new place and sends something there is behind the connection.
        info.sent_to(loop_index, from);
    }

    /// Takes over a connection that another loop has served so far.
    pub(super) fn take_over(&mut self, mut connection: Box<Connection>, newest_seqno: u64) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        // A wait for durability must reach what it wrote there, and its writes are in no group of this loop.
        self.group.follows(newest_seqno);
        connection.session.group_epoch = 0;
        connection.session.slot = slot;
        connection.session.info.move_to(self.index, slot);
        let token = Token(slot + FIRST_CONNECTION);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut connection.stream, token, interest) {
            tracing::warn!(%error, "a connection was lost on its way to another loop");
            connection.dead = true;
        }
        // Its user may have been changed while it was on its way.
        connection.dead |= !users::may_stay(&connection);
        // What came in meanwhile may raise no event.
        connection.readable = true;
        self.connections[slot] = Some(connection);
        self.open += 1;
        self.mark_dirty(slot);
        self.enqueue(slot);
    }

    /// Passes on the order to disconnect a client that has moved.
    pub(super) fn kill_elsewhere(&self, client: u64) {
        if let Some(place) = self.shared.clients.place(client).filter(|place| place.loop_index != self.index)
        {
            Arc::clone(&self.shared.loops[place.loop_index]).send(Message::Kill(client));
        }
    }
}

#[cfg(test)]
mod tests;
