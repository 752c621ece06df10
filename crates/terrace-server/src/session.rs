//! What a connection has said about itself: database, protocol, name, authentication, transaction.

use std::sync::Arc;

use terrace_resp::Protocol;

use crate::acl::User;
use crate::durability::Level;
use crate::pubsub::{Place, Subscriptions};
use crate::queue::{Queue, Watches};
use crate::registry::{ClientInfo, Shown};
use crate::shared::Shared;
use crate::tracking::Tracking;

/// Which replies a client gets (`CLIENT REPLY`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Replies {
    /// All.
    On,
    /// None.
    Off,
    /// All but that of the current command and of the next.
    SkipNext,
    /// All but that of the current command.
    Skip,
}

/// The state that commands read and change.
#[allow(clippy::struct_excessive_bools)] // They have nothing to do with one another.
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
    /// Who it is, as far as commands are allowed.
    pub(crate) user: Arc<User>,
    /// Whether it has given a password or need not.
    pub(crate) authenticated: bool,
    /// What its writes are to survive, if it has asked for more than the default.
    pub(crate) durability: Option<Level>,
    /// The write group that holds its newest plain write; see `group`.
    pub(crate) group_epoch: u64,
    /// The requests since `MULTI`.
    pub(crate) queue: Option<Queue>,
    /// The keys that `EXEC` depends on.
    pub(crate) watches: Watches,
    /// What it listens to.
    pub(crate) subscriptions: Subscriptions,
    /// What it has asked for with `CLIENT TRACKING`.
    pub(crate) tracking: Tracking,
    /// Which replies it gets.
    pub(crate) replies: Replies,
    /// The current command has written pushes rather than a reply.
    pub(crate) pushes: bool,
    /// It is spared by `CLIENT NO-EVICT`.
    pub(crate) no_evict: bool,
    /// Its commands do not count as uses of their keys (`CLIENT NO-TOUCH`).
    pub(crate) no_touch: bool,
}

impl Session {
    /// A new connection's session.
    pub(crate) fn new(info: Arc<ClientInfo>, slot: usize, shared: &Shared) -> Self {
        Self {
            info,
            slot,
            db: 0,
            protocol: Protocol::Resp2,
            penalty_ms: 0,
            user: shared.users.default_user(),
            authenticated: shared.users.is_open(),
            durability: None,
            group_epoch: 0,
            queue: None,
            watches: Watches::default(),
            subscriptions: Subscriptions::default(),
            tracking: Tracking::default(),
            replies: Replies::On,
            pushes: false,
            no_evict: false,
            no_touch: false,
        }
    }

    /// Makes it another user.
    pub(crate) fn become_user(&mut self, user: Arc<User>, authenticated: bool) {
        self.info.set_user(&user.shown());
        self.user = user;
        self.authenticated = authenticated;
    }

    /// Where others reach it.
    pub(crate) fn place(&self) -> Place {
        self.info.place()
    }

    /// Whether the reply of the current command is left out.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self.replies, Replies::Off | Replies::Skip)
    }

    /// Settles, after a command, whether its reply is left out.
    pub(crate) fn takes_reply(&mut self) -> bool {
        let taken = self.replies == Replies::On;
        self.replies = match self.replies {
            Replies::SkipNext => Replies::Skip,
            Replies::Skip => Replies::On,
            other => other,
        };
        taken || std::mem::take(&mut self.pushes)
    }

    /// Whether a command that only reads may run as one of many, with nothing to be noted about it.
    pub(crate) fn is_plain(&self) -> bool {
        self.queue.is_none()
            && self.replies == Replies::On
            && !self.tracking.on
            && (self.subscriptions.is_empty() || self.protocol == Protocol::Resp3)
    }

    /// Takes the client out of everything that others keep about it.
    pub(crate) fn leave(&mut self, shared: &Shared) {
        shared.hub.forget(self.info.id, &self.subscriptions);
        self.subscriptions = Subscriptions::default();
        if self.tracking.on {
            shared.tracker.disable(shared, self.info.id);
            self.tracking = Tracking::default();
        }
    }

    /// Lets others see the current state.
    pub(crate) fn show(&self) {
        self.info.show(&Shown {
            db: self.db,
            protocol: if self.protocol == Protocol::Resp3 { 3 } else { 2 },
            queued: self.queue.as_ref().map(|queue| queue.requests.len()),
            watched: self.watches.len(),
            subscriptions: &self.subscriptions,
            tracking: &self.tracking,
            no_evict: self.no_evict,
            no_touch: self.no_touch,
        });
    }

    /// Back to the state of a new connection (`RESET`).
    pub(crate) fn reset(&mut self, shared: &Shared) {
        self.leave(shared);
        self.replies = Replies::On;
        self.db = 0;
        self.protocol = Protocol::Resp2;
        self.become_user(shared.users.default_user(), shared.users.is_open());
        self.durability = None;
        self.queue = None;
        self.watches.clear();
        (self.no_evict, self.no_touch) = (false, false);
        self.info.set_name("");
    }
}
