//! Writing what clients get without having asked.

use std::sync::Arc;

use super::EventLoop;
use crate::pubsub::Push;

impl EventLoop {
    /// Appends a push to the output of each of its receivers that is still there and still wants it.
    pub(super) fn deliver(&mut self, push: &Arc<Push>, to: &[(usize, u64)]) {
        self.handle.push_taken(push.bytes());
        for (slot, client) in to {
            let Some(connection) = self.client_in(*slot, *client) else { continue };
            if connection.closing || connection.dead {
                continue;
            }
            let session = &connection.session;
            if push.write(&mut connection.output.bytes, session.protocol, &session.subscriptions) {
                if matches!(**push, Push::BrokenRedirect(_)) {
                    connection.session.tracking.broken = true;
                }
                self.mark_dirty(*slot);
            }
        }
    }
}
