//! The last step of a turn: commit, then let the replies go.

use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use terrace_resp::Encoder;

use super::EventLoop;
use crate::durability::Wait;
use crate::failure::store_line;
use crate::shared::Message;

/// The length of the reply that the write group promises.
const PROMISE_BYTES: usize = b"+OK\r\n".len();

/// Replies that may wait for a client that has given no password: it takes them or is cut off.
const MAX_UNAUTHENTICATED_BYTES: usize = 1024;

/// A barrier that has just been opened.
struct Opened {
    id: u64,
    /// The connections behind it, in order.
    slots: Vec<usize>,
    /// The write that they wait for.
    seqno: u64,
}

impl EventLoop {
    /// Commits the write group and writes or holds back every connection's replies.
    pub(super) fn finish_turn(&mut self) {
        self.group.commit(&self.handle.metrics);
        for broken in self.group.take_broken() {
            self.handle.metrics.error(&broken.line);
            if let Some(Some(connection)) = self.connections.get_mut(broken.slot) {
                connection.output.replace(broken.position, PROMISE_BYTES, &broken.line);
            }
        }
        let barrier = self.open_barrier();
        for slot in std::mem::take(&mut self.dirty) {
            if let Some(Some(connection)) = self.connections.get_mut(slot) {
                connection.dirty = false;
                let holds = barrier.as_ref().filter(|barrier| barrier.slots.binary_search(&slot).is_ok());
                connection.output.settle(holds.map(|barrier| barrier.id));
                self.write_out(slot);
            }
        }
        if let Some(barrier) = barrier {
            let handle = Arc::clone(&self.handle);
            let then = move |answer| handle.send(Message::Durable(barrier.id, answer));
            self.shared.config.db.when_durable(barrier.seqno, then);
        }
    }

    /// Opens a barrier over the connections that have written in this turn and wait for the sync, if there are any.
    fn open_barrier(&mut self) -> Option<Opened> {
        let writers = self.group.take_writers();
        let seqno = self.group.take_last_seqno();
        if seqno == 0 {
            return None;
        }
        let (store, default) = (self.shared.store_level(), self.shared.settings.durability());
        let mut sync_behind = false;
        let mut waits = |slot: &usize| {
            let Some(Some(connection)) = self.connections.get(*slot) else { return false };
            let wait = connection.session.durability.unwrap_or(default).wait(store);
            sync_behind |= wait == Wait::SyncBehind;
            wait == Wait::Held
        };
        let slots: Vec<usize> = writers.into_iter().filter(|slot| waits(slot)).collect();
        if slots.is_empty() {
            if sync_behind {
                // Should it fail, the store refuses every further write and says why.
                self.shared.config.db.when_durable(seqno, |_| {});
            }
            return None;
        }
        let id = self.barriers.open(slots.clone());
        Some(Opened { id, slots, seqno })
    }

    /// Lets go what waited for a sync that is done; ends what waited for one that failed.
    pub(super) fn pass_barriers(&mut self) {
        while let Some(passed) = self.barriers.next_passed() {
            for slot in passed.slots {
                let Some(Some(connection)) = self.connections.get_mut(slot) else { continue };
                match &passed.answer {
                    Ok(()) => connection.output.pass(passed.id),
                    Err(error) if connection.output.is_held() => {
                        connection.output.drop_held();
                        let protocol = connection.session.protocol;
                        let mut reply = Encoder::new(&mut connection.output.bytes, protocol);
                        reply.error(&store_line(error));
                        connection.closing = true;
                    }
                    Err(_) => {}
                }
                self.mark_dirty(slot);
            }
        }
    }

    /// Writes what may go; then closes the connection, has it served again, or leaves it.
    fn write_out(&mut self, slot: usize) {
        let Some(Some(connection)) = self.connections.get_mut(slot) else { return };
        match connection.output.write_to(&mut connection.stream) {
            Ok(0) => {}
            Ok(written) => {
                self.handle.metrics.writes.add(1);
                self.handle.metrics.bytes_out.add(written as u64);
            }
            Err(_) => connection.dead = true,
        }
        // A handshake has things to say that are no replies.
        if let Err(error) = connection.stream.flush() {
            connection.dead |= error.kind() != ErrorKind::WouldBlock;
        }
        let unsent = connection.output.unsent();
        connection.session.info.output_bytes.store(unsent, Ordering::Relaxed);
        let most = if connection.session.authenticated {
            self.shared.settings.max_output_bytes()
        } else {
            MAX_UNAUTHENTICATED_BYTES
        };
        if unsent > most || connection.is_slow_subscriber(&self.shared, self.now_ms) {
            tracing::warn!(client = connection.session.info.id, unsent, "a slow client is cut off");
            self.handle.metrics.output_limit_closes.add(1);
            connection.dead = true;
        }
        if connection.dead || (connection.closing && unsent == 0 && !connection.stream.has_pending()) {
            self.close(slot);
            return;
        }
        let wants_more = connection.backlog || (connection.readable && self.deadline_ns.is_none());
        let goes_on = wants_more && connection.may_run(self.shared.config.output_soft_bytes);
        if unsent == 0 {
            let buffer = std::mem::take(&mut connection.output.bytes);
            self.keep_buffer(buffer);
        }
        if goes_on {
            self.enqueue(slot);
        } else {
            self.give_away(slot);
        }
    }
}
