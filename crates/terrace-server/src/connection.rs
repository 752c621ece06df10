//! One connection: its socket, its buffers, and where it stands.
//!
//! A connection that is idle holds no buffers: requests are decoded in the loop's own buffer as long as they
//! arrive whole, and output buffers go back to the loop when they are empty.

use terrace_resp::Decoder;

use crate::output::Output;
use crate::queue::Queued;
use crate::session::Session;
use crate::shared::Shared;
use crate::stream::Stream;

/// A connection.
#[allow(clippy::struct_excessive_bools)] // Independent facts, not the states of one thing.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The socket.
    pub(crate) stream: Stream,
    /// What its client has said about itself.
    pub(crate) session: Session,
    /// The request being decoded.
    pub(crate) decoder: Decoder,
    /// Bytes received that are no whole request yet, or whose turn has not come.
    pub(crate) input: Vec<u8>,
    /// Replies that the client has not taken yet.
    pub(crate) output: Output,
    /// The socket may have more to read.
    pub(crate) readable: bool,
    /// The client has ended its side; only reading to the end shows what came before.
    pub(crate) read_closed: bool,
    /// `input` may hold whole requests, left when their turn ended.
    pub(crate) backlog: bool,
    /// A command of this connection runs on a thread of its own, or waits.
    pub(crate) waiting: bool,
    /// The number of the wait that it is in; 0 if none.
    pub(crate) wait: u64,
    /// The reply at the end of that wait, when it is known already.
    pub(crate) delayed: Vec<u8>,
    /// A request that waits for the end of a pause, or until the store takes writes.
    pub(crate) postponed: Option<Queued>,
    /// Since when it has had more messages waiting than a subscriber may for long.
    pub(crate) slow_since_ms: Option<u64>,
    /// No more requests; to be closed once the replies are gone.
    pub(crate) closing: bool,
    /// To be closed at once.
    pub(crate) dead: bool,
    /// In the loop's list of connections to serve.
    pub(crate) queued: bool,
    /// In the loop's list of connections with something to write or to close.
    pub(crate) dirty: bool,
}

impl Connection {
    /// A new connection.
    pub(crate) fn new(stream: Stream, session: Session) -> Self {
        Self {
            stream,
            session,
            decoder: Decoder::new(),
            input: Vec::new(),
            output: Output::default(),
            readable: false,
            read_closed: false,
            backlog: false,
            waiting: false,
            wait: 0,
            delayed: Vec::new(),
            postponed: None,
            slow_since_ms: None,
            closing: false,
            dead: false,
            queued: false,
            dirty: false,
        }
    }

    /// Whether it is a subscriber that leaves too much waiting, or somewhat less for too long.
    pub(crate) fn is_slow_subscriber(&mut self, shared: &Shared, now_ms: u64) -> bool {
        if self.session.subscriptions.is_empty() {
            return false;
        }
        let (limits, unsent) = (shared.settings.subscriber_limits(), self.output.unsent());
        if limits.soft_bytes == 0 || unsent <= limits.soft_bytes {
            self.slow_since_ms = None;
        } else if now_ms.saturating_sub(*self.slow_since_ms.get_or_insert(now_ms)) > limits.soft_s * 1000 {
            return true;
        }
        limits.hard_bytes > 0 && unsent > limits.hard_bytes
    }

    /// Whether its next request may run: it waits for nothing, and its client takes its replies.
    pub(crate) fn may_run(&self, output_soft_bytes: usize) -> bool {
        !self.closing
            && !self.dead
            && !self.waiting
            && self.postponed.is_none()
            && self.output.unsent() <= output_soft_bytes
    }
}
