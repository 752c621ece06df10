//! What a change of users means for connections.

use std::sync::Arc;

use super::EventLoop;
use crate::acl::User;
use crate::connection::Connection;
use crate::session::Session;

/// Whether a connection's user exists and may listen to what the connection listens to.
pub(super) fn may_stay(connection: &Connection) -> bool {
    let Session { user, subscriptions, .. } = &connection.session;
    user.is_unrestricted()
        || (!user.is_deleted() && (subscriptions.is_empty() || user.rules().allow_listening(subscriptions)))
}

impl EventLoop {
    /// Closes the connections of a user who is gone, and those that listen to what the user may not listen to any
    /// more. The client who wanted it so gets its reply first.
    pub(super) fn user_changed(&mut self, user: &Arc<User>, by: u64) {
        for slot in 0..self.connections.len() {
            let Some(Some(connection)) = self.connections.get_mut(slot) else { continue };
            if !Arc::ptr_eq(&connection.session.user, user) || may_stay(connection) {
                continue;
            }
            if connection.session.info.id != by {
                connection.dead = true;
            } else if !connection.waiting {
                connection.closing = true;
            }
            self.mark_dirty(slot);
        }
    }
}
