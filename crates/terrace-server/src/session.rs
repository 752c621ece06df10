//! What a connection has said about itself: database, protocol, name, authentication, transaction.

use std::sync::Arc;

use terrace_resp::Protocol;

use crate::durability::Level;
use crate::queue::{Queue, Watches};
use crate::registry::ClientInfo;

/// The state that commands read and change.
#[derive(Debug)]
pub(crate) struct Session {
    /// What others may see of this client.
    pub(crate) info: Arc<ClientInfo>,
    /// The slot of its connection in its loop.
    pub(crate) slot: usize,
    /// The selected database.
    pub(crate) db: u8,
    /// The protocol version of its replies.
    pub(crate) protocol: Protocol,
    /// Milliseconds to wait with the reply of the command that runs, because its password was wrong.
    pub(crate) penalty_ms: u64,
    /// Whether it has given the password.
    pub(crate) authenticated: bool,
    /// What its writes are to survive, if it has asked for more than the default.
    pub(crate) durability: Option<Level>,
    /// The write group that holds its newest plain write; see `group`.
    pub(crate) group_epoch: u64,
    /// The requests since `MULTI`.
    pub(crate) queue: Option<Queue>,
    /// The keys that `EXEC` depends on.
    pub(crate) watches: Watches,
}

impl Session {
    /// A new connection's session.
    pub(crate) fn new(info: Arc<ClientInfo>, slot: usize) -> Self {
        Self {
            info,
            slot,
            db: 0,
            protocol: Protocol::Resp2,
            penalty_ms: 0,
            authenticated: false,
            durability: None,
            group_epoch: 0,
            queue: None,
            watches: Watches::default(),
        }
    }

    /// Back to the state of a new connection (`RESET`).
    pub(crate) fn reset(&mut self) {
        self.db = 0;
        self.protocol = Protocol::Resp2;
        self.authenticated = false;
        self.durability = None;
        self.queue = None;
        self.watches.clear();
        self.info.set_name("");
    }
}
