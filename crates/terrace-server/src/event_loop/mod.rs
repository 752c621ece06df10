//! The event loop: one thread, one poll, its connections.
//!
//! A turn of the loop: wait for events; take letters; serve every ready connection (read, decode, run, append
//! replies); commit the write group; write each connection's replies with one call. A connection that has
//! more to do than its share is served again in the next turn, so none holds up the others.
//!
//! Connections are closed only in the last step, so that slots and positions noted during a turn stay valid.

mod accept;
mod finish;
mod moving;
mod park;
mod pause;
mod push;
mod runs;
mod serve;
mod users;
mod waits;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Poll, Token};

use self::moving::Moving;
use self::park::Parking;
use self::runs::PendingRead;
use crate::connection::Connection;
use crate::group::Group;
use crate::held::Barriers;
use crate::shared::{LoopHandle, Message, Shared};
use crate::stream::Listener;
use waits::Waits;

/// The token of the waker; listeners and then connections come after it.
pub(crate) const WAKER: Token = Token(0);
const FIRST_LISTENER: usize = 1;
const FIRST_CONNECTION: usize = 64;

/// Events taken from the system at once.
const EVENTS: usize = 1024;
/// The buffer that requests are read into.
const SCRATCH_BYTES: usize = 128 << 10;
/// How often connections are looked at when they may be idle for too long.
const SWEEP: Duration = Duration::from_secs(1);
/// How long to wait before accepting again when the system has refused.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often the shutdown is looked at.
const SHUTDOWN_POLL: Duration = Duration::from_millis(20);

/// One event loop.
pub(crate) struct EventLoop {
    index: usize,
    shared: Arc<Shared>,
    handle: Arc<LoopHandle>,
    poll: Poll,
    listeners: Vec<Option<Listener>>,
    accept_again: bool,
    connections: Vec<Option<Box<Connection>>>,
    free: Vec<usize>,
    open: usize,
    ready: VecDeque<usize>,
    dirty: Vec<usize>,
    group: Group,
    barriers: Barriers,
    waits: Waits,
    scratch: Vec<u8>,
    reads: Vec<PendingRead>,
    spare_buffers: Vec<Vec<u8>>,
    /// Connections with a request that waits for the end of a pause, by slot and client.
    postponed: Vec<(usize, u64)>,
    /// Connections whose writes wait for the store.
    parking: Parking,
    moving: Moving,
    /// The pause was changed since they were looked at.
    pause_changed: bool,
    now_ms: u64,
    swept_at_ms: u64,
    /// When a shutdown stops waiting for clients, by the monotonic clock.
    deadline_ns: Option<u64>,
}

impl EventLoop {
    /// The loop number `index`, with its poll and, for one of them, the listeners.
    pub(crate) fn new(
        index: usize,
        shared: Arc<Shared>,
        poll: Poll,
        listeners: Vec<Listener>,
    ) -> io::Result<Self> {
        assert!(listeners.len() <= FIRST_CONNECTION - FIRST_LISTENER, "each listener has a token");
        let mut new = Self {
            index,
            handle: Arc::clone(&shared.loops[index]),
            group: Group::new(Arc::clone(&shared)),
            now_ms: shared.now_ms(),
            shared,
            poll,
            listeners: listeners.into_iter().map(Some).collect(),
            accept_again: false,
            connections: Vec::new(),
            free: Vec::new(),
            open: 0,
            ready: VecDeque::new(),
            dirty: Vec::new(),
            barriers: Barriers::default(),
            waits: Waits::default(),
            scratch: vec![0; SCRATCH_BYTES],
            reads: Vec::new(),
            spare_buffers: Vec::new(),
            postponed: Vec::new(),
            parking: Parking::default(),
            moving: Moving::default(),
            pause_changed: false,
            swept_at_ms: 0,
            deadline_ns: None,
        };
        new.listen()?;
        Ok(new)
    }

    /// Turns until the server stops.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let timeout = if self.handle.begin_sleep() { self.timeout() } else { Some(Duration::ZERO) };
            let polled = self.poll.poll(&mut events, timeout);
            self.handle.end_sleep();
            match polled {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            self.now_ms = self.shared.now_ms();
            self.handle.metrics.wakeups.add(1);
            self.rebalance();
            // First, so that they come before what arrives now.
            self.unpark();
            self.take_events(&events);
            self.take_messages();
            self.end_pause();
            self.end_waits();
            self.close_idle();
            for _ in 0..self.ready.len() {
                if let Some(slot) = self.ready.pop_front() {
                    self.serve(slot);
                }
            }
            // What these commands have for this loop's own clients goes out with their replies.
            self.group.commit(&self.handle.metrics);
            self.take_messages();
            self.finish_turn();
            if self.shared.is_stopping() && self.stop() {
                return Ok(());
            }
        }
    }

    fn take_messages(&mut self) {
        for message in self.handle.take_messages() {
            self.take_message(message);
        }
    }

    /// How long the next turn may wait for events.
    fn timeout(&self) -> Option<Duration> {
        let timeout = self.timeout_without_pause();
        [timeout, self.until_pause_ends(), self.until_unparked()].into_iter().flatten().min()
    }

    fn timeout_without_pause(&self) -> Option<Duration> {
        if !self.ready.is_empty() {
            return Some(Duration::ZERO);
        }
        let sweeps = self.shared.settings.idle_timeout_s() > 0;
        let pauses = [
            self.deadline_ns.map(|_| SHUTDOWN_POLL),
            self.accept_again.then_some(ACCEPT_PAUSE),
            sweeps.then_some(SWEEP),
            self.waits.timeout(self.shared.config.clock.monotonic_ns()),
        ];
        pauses.into_iter().flatten().min()
    }

    fn take_events(&mut self, events: &Events) {
        if self.accept_again {
            self.accept_all();
        }
        for event in events {
            match event.token() {
                WAKER => {}
                Token(token) if token < FIRST_CONNECTION => self.accept(token - FIRST_LISTENER),
                Token(token) => {
                    let slot = token - FIRST_CONNECTION;
                    let Some(Some(connection)) = self.connections.get_mut(slot) else { continue };
                    connection.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
                    connection.read_closed |= event.is_read_closed() || event.is_error();
                    if connection.readable {
                        self.enqueue(slot);
                    }
                    if event.is_writable() {
                        self.mark_dirty(slot);
                    }
                }
            }
        }
    }

    fn take_message(&mut self, message: Message) {
        match message {
            Message::Connection(stream, peer) => self.register(stream, peer),
            Message::Moved { connection, newest_seqno } => self.take_over(connection, newest_seqno),
            Message::Durable(barrier, answer) => {
                self.barriers.answer(barrier, answer);
                self.pass_barriers();
            }
            Message::Synced { slot, wait, answer } => self.end_wait(slot, wait, answer.map(|()| 1)),
            Message::JobDone { slot, client, reply, ran, args } => {
                ran.count(&self.handle.metrics);
                if ran.failed {
                    let line = reply.get(1..).unwrap_or_default();
                    self.handle.metrics.error(String::from_utf8_lossy(line).trim_end());
                }
                let shared = Arc::clone(&self.shared);
                if let Some(connection) = self.client_in(slot, client) {
                    ran.note(&shared, &connection.session.info, || args);
                    connection.output.bytes.extend_from_slice(&reply);
                    connection.waiting = false;
                    // What it waited for may have been the end of its own user.
                    connection.closing |= !users::may_stay(connection);
                    connection.backlog = !connection.input.is_empty();
                    self.mark_dirty(slot);
                    self.enqueue(slot);
                }
            }
            Message::Kill(client) => {
                let is_it = |c: &Option<Box<Connection>>| {
                    c.as_ref().is_some_and(|connection| connection.session.info.id == client)
                };
                match self.connections.iter().position(is_it) {
                    Some(slot) => self.kill(slot),
                    None => self.kill_elsewhere(client),
                }
            }
            Message::Show { slot, client, line } => self.show(slot, client, &line),
            Message::UserChanged(user, by) => self.user_changed(&user, by),
            Message::Push(push, to) => self.deliver(&push, &to),
            Message::Listen { fresh, addresses } => self.listen_at(fresh, &addresses),
            Message::PauseChanged => self.pause_changed = true,
            Message::ResetMetrics => self.handle.metrics.reset(),
        }
    }

    /// The connection in a slot, if it is still this client's.
    fn client_in(&mut self, slot: usize, client: u64) -> Option<&mut Connection> {
        let connection = self.connections.get_mut(slot)?.as_deref_mut()?;
        (connection.session.info.id == client).then_some(connection)
    }

    /// Has a connection closed at the end of this turn.
    fn kill(&mut self, slot: usize) {
        if let Some(Some(connection)) = self.connections.get_mut(slot) {
            connection.dead = true;
        }
        self.mark_dirty(slot);
    }

    /// Has a connection served in this turn or, when this turn has served, in the next.
    fn enqueue(&mut self, slot: usize) {
        if let Some(Some(connection)) = self.connections.get_mut(slot)
            && !connection.queued
        {
            connection.queued = true;
            self.ready.push_back(slot);
        }
    }

    /// Has a connection's output looked at in the last step of the turn.
    fn mark_dirty(&mut self, slot: usize) {
        if let Some(Some(connection)) = self.connections.get_mut(slot)
            && !connection.dirty
        {
            connection.dirty = true;
            self.dirty.push(slot);
        }
    }

    /// Shows a command to a client that watches; one that does not keep up is cut off.
    fn show(&mut self, slot: usize, client: u64, line: &[u8]) {
        let limit = self.shared.settings.subscriber_limits().hard_bytes;
        let limit = if limit > 0 { limit } else { self.shared.settings.max_output_bytes() };
        let Some(connection) = self.client_in(slot, client) else { return };
        if connection.output.unsent() + line.len() > limit {
            tracing::warn!(client, "a client that watches commands is cut off, because it does not keep up");
            self.handle.metrics.output_limit_closes.add(1);
            self.kill(slot);
            return;
        }
        connection.output.bytes.extend_from_slice(line);
        self.mark_dirty(slot);
    }

    fn close_idle(&mut self) {
        let timeout_ms = self.shared.settings.idle_timeout_s() * 1000;
        if timeout_ms == 0 || self.now_ms.saturating_sub(self.swept_at_ms) < SWEEP.as_millis() as u64 {
            return;
        }
        self.swept_at_ms = self.now_ms;
        for slot in 0..self.connections.len() {
            let Some(connection) = &self.connections[slot] else { continue };
            let active_at_ms =
                connection.session.info.active_at_ms.load(std::sync::atomic::Ordering::Relaxed);
            let waits = connection.waiting || connection.postponed.is_some();
            if !waits && self.now_ms.saturating_sub(active_at_ms) > timeout_ms {
                self.kill(slot);
            }
        }
    }

    /// Goes on with the shutdown; `true` when nothing is left to wait for.
    fn stop(&mut self) -> bool {
        let now_ns = self.shared.config.clock.monotonic_ns();
        let grace_ns = self.shared.settings.shutdown_timeout_s().saturating_mul(1_000_000_000);
        let deadline_ns = *self.deadline_ns.get_or_insert(now_ns.saturating_add(grace_ns));
        self.listeners.clear();
        self.accept_again = false;
        for slot in 0..self.connections.len() {
            let Some(connection) = &self.connections[slot] else { continue };
            let busy = connection.waiting
                || connection.postponed.is_some()
                || connection.backlog
                || connection.output.unsent() > 0
                || connection.stream.has_pending();
            if !busy || now_ns >= deadline_ns {
                self.close(slot);
            }
        }
        self.open == 0
    }
}
