//! Writing what clients get without having asked.

use std::sync::Arc;

use super::EventLoop;
use crate::connection::Connection;
use crate::pubsub::{Push, send};

impl EventLoop {
    /// Appends a push to the output of each of its receivers that is still there and still wants it.
    pub(super) fn deliver(&mut self, push: &Arc<Push>, to: &[(usize, u64)]) {
        self.handle.push_taken(push.bytes());
        for (slot, client) in to {
            let Some(slot) = self.slot_of(*slot, *client, push) else { continue };
            let there = self.client_in(slot, *client);
            let Some(connection) = there.filter(|connection| !connection.closing && !connection.dead) else {
                if let Push::Invalidation { reader: Some(reader), .. } = &**push {
                    // It was there when the key changed. Whoever has read the key must not go on with an old value.
                    send(&Arc::new(Push::BrokenRedirect(*client)), &[*reader], &self.shared.loops);
                }
                continue;
            };
            let session = &connection.session;
            if push.write(&mut connection.output.bytes, session.protocol, &session.subscriptions) {
                if matches!(**push, Push::BrokenRedirect(_)) {
                    connection.session.tracking.broken = true;
                }
                self.mark_dirty(slot);
            }
        }
    }

    /// The slot of a receiver that was served in `slot` when the push was sent. `None` if it has moved to another loop,
    /// where the push is sent then.
    fn slot_of(&self, slot: usize, client: u64, push: &Arc<Push>) -> Option<usize> {
        let is_here = |connection: &Connection| connection.session.info.id == client;
        if self.connections.get(slot).and_then(Option::as_deref).is_some_and(is_here) {
            return Some(slot);
        }
        let Some(place) = self.shared.clients.place(client) else { return Some(slot) };
        if place.loop_index == self.index {
            return Some(place.slot);
        }
        send(push, &[place], &self.shared.loops);
        None
    }
}
