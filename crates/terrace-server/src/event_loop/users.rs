//! What a change of users means for connections.

use std::sync::Arc;

use super::EventLoop;
use crate::acl::User;

impl EventLoop {
    /// Closes the connections of a user who is gone, and those that listen to what the user may not listen to any
    /// more. The client who wanted it so gets its reply first.
    pub(super) fn user_changed(&mut self, user: &Arc<User>, by: u64) {
        let rules = user.rules();
        for slot in 0..self.connections.len() {
            let Some(Some(connection)) = self.connections.get_mut(slot) else { continue };
            let session = &connection.session;
            let stays = !Arc::ptr_eq(&session.user, user)
                || (!user.is_deleted()
                    && (session.subscriptions.is_empty() || rules.allow_listening(&session.subscriptions)));
            if stays {
                continue;
            }
            if session.info.id == by {
                connection.closing = true;
            } else {
                connection.dead = true;
            }
            self.mark_dirty(slot);
        }
    }
}
