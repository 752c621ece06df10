//! Serving one connection: reading, decoding, running.

use std::io::{ErrorKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use terrace_resp::{Args, Encoder, Limits};

use super::runs::{MAX_READS, PendingRead, Written};
use super::{EventLoop, SCRATCH_BYTES};
use crate::commands::{self, Command, Flow, GROUPED, Job, Ran};
use crate::connection::Connection;
use crate::context::Context;
use crate::observe;
use crate::queue::Queued;
use crate::session::Session;
use crate::shared::Message;

impl EventLoop {
    /// Serves a connection's share of this turn. A panic costs this connection only.
    pub(super) fn serve(&mut self, slot: usize) {
        let Some(mut connection) = self.connections.get_mut(slot).and_then(Option::take) else { return };
        connection.queued = false;
        if connection.output.bytes.capacity() == 0 {
            connection.output.bytes = self.spare_buffers.pop().unwrap_or_default();
        }
        let served = catch_unwind(AssertUnwindSafe(|| self.serve_connection(&mut connection)));
        if served.is_err() {
            tracing::error!(client = connection.session.info.id, "a command panicked; its client is cut off");
            connection.dead = true;
            // The panic may have taken the loop's buffer with it; without one every read would seem to end.
            self.scratch.resize(SCRATCH_BYTES, 0);
        }
        connection.session.show();
        connection.session.info.input_bytes.store(connection.input.len(), Ordering::Relaxed);
        self.connections[slot] = Some(connection);
        self.mark_dirty(slot);
    }

    fn serve_connection(&mut self, connection: &mut Connection) {
        let soft = self.shared.config.output_soft_bytes;
        self.run_postponed(connection);
        if connection.backlog && connection.may_run(soft) {
            self.run_input(connection);
        }
        let stopping = self.deadline_ns.is_some();
        if connection.readable && !connection.backlog && !stopping && connection.may_run(soft) {
            self.read(connection);
        }
    }

    /// Reads once and runs what is complete.
    fn read(&mut self, connection: &mut Connection) {
        let mut scratch = std::mem::take(&mut self.scratch);
        match connection.stream.read(&mut scratch) {
            Ok(0) => {
                connection.readable = false;
                connection.closing = true;
            }
            Ok(n) => {
                self.handle.metrics.reads.add(1);
                self.handle.metrics.bytes_in.add(n as u64);
                connection.session.info.active_at_ms.store(self.now_ms, Ordering::Relaxed);
                // After a short read the socket is empty, unless its end is still to be read.
                connection.readable = n == scratch.len() || connection.read_closed;
                if connection.input.len() + n > self.shared.settings.max_query_bytes() {
                    // Also if the request is complete now: it was too long while it waited for its end.
                    self.refuse_input(connection, n);
                } else if connection.input.is_empty() {
                    let used = self.run_requests(connection, &mut scratch[..n]);
                    connection.input.extend_from_slice(&scratch[used..n]);
                } else {
                    connection.input.extend_from_slice(&scratch[..n]);
                    self.run_input(connection);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => connection.readable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => connection.dead = true,
        }
        self.scratch = scratch;
    }

    /// Closes a connection that has sent more than may wait.
    fn refuse_input(&self, connection: &mut Connection, read_bytes: usize) {
        let waiting_bytes = connection.input.len() + read_bytes;
        tracing::warn!(client = connection.session.info.id, waiting_bytes, "too much input");
        self.handle.metrics.query_limit_closes.add(1);
        connection.dead = true;
    }

    /// Runs what the connection's own buffer holds.
    fn run_input(&mut self, connection: &mut Connection) {
        let mut input = std::mem::take(&mut connection.input);
        let used = self.run_requests(connection, &mut input);
        if used < input.len() {
            input.drain(..used);
            connection.input = input;
        }
        connection.decoder.shrink();
    }

    /// Runs the complete requests of `buf` in order; returns how many bytes are done with.
    fn run_requests(&mut self, connection: &mut Connection, buf: &mut [u8]) -> usize {
        let soft = self.shared.config.output_soft_bytes;
        let mut reads = std::mem::take(&mut self.reads);
        reads.clear();
        let mut at = 0;
        // Writes before this position are run one by one.
        let mut alone_until = 0;
        let mut start_ns = self.shared.config.clock.monotonic_ns();
        connection.backlog = false;
        loop {
            if !connection.may_run(soft) {
                connection.backlog = at < buf.len();
                break;
            }
            // Plain text is unescaped where it lies and cannot be decoded twice, so no request that may have
            // to be decoded again is left before it.
            if !reads.is_empty() && buf.get(at).is_some_and(|byte| *byte != b'*') {
                at = self.run_reads(connection, &mut reads, buf, &mut start_ns).unwrap_or(at);
                continue;
            }
            let limits = self.limits(&connection.session);
            let decoded = connection.decoder.decode(&mut buf[at..], &limits);
            let Ok(Some(len)) = decoded else {
                let Some(answered_to) = self.run_reads(connection, &mut reads, buf, &mut start_ns) else {
                    if let Err(error) = decoded {
                        refuse(connection, error);
                        at = buf.len();
                    }
                    break;
                };
                at = answered_to;
                continue;
            };
            let args = connection.decoder.args(&buf[at..]);
            let command = args.get(0).and_then(commands::find);
            let last = at + len == buf.len();
            let grouped =
                command.filter(|found| buf[at] == b'*' && self.runs_now(&connection.session, *found, args));
            if let Some(read) =
                grouped.and_then(|(index, command)| PendingRead::new(index, command, args, at))
                && reads.first().is_none_or(|first: &PendingRead| first.kind == read.kind)
            {
                reads.push(read);
                at += len;
                if reads.len() < MAX_READS {
                    continue;
                }
            } else if reads.is_empty() {
                let joins = grouped.is_some_and(|(_, command)| command.has(GROUPED));
                if joins && !last && at >= alone_until && self.takes_writes() {
                    let end = self.run_writes(connection, &mut buf[at..], &mut start_ns);
                    match end {
                        Written::Up(len) => at += len,
                        Written::Again(len) => alone_until = at + len,
                    }
                    connection.decoder.reset();
                    continue;
                }
                self.run_one(connection, command, &buf[at..], &mut start_ns);
                at += len;
                continue;
            }
            // Either the group is full, or a request of another kind waits behind it and is decoded again.
            at = self.run_reads(connection, &mut reads, buf, &mut start_ns).unwrap_or(at);
            connection.decoder.reset();
        }
        self.reads = reads;
        at
    }

    pub(super) fn limits(&self, session: &Session) -> Limits {
        if session.authenticated {
            Limits { bulk_bytes: self.shared.settings.max_argument_bytes(), ..self.shared.config.limits }
        } else {
            Limits::UNAUTHENTICATED
        }
    }

    /// Whether this client's command, which has been found, runs when it arrives.
    fn runs_now(&self, session: &Session, found: (u8, &'static Command), args: Args<'_>) -> bool {
        session.is_plain()
            && self.shared.pause.until_ms() == 0
            && self.shared.groups()
            && commands::may_run(session, found, args)
    }

    /// Whether a write need not wait for the store.
    fn takes_writes(&self) -> bool {
        self.parking.is_empty() && self.shared.databases.store().write_delay().is_zero()
    }

    pub(super) fn context<'a>(
        &'a mut self,
        session: &'a mut Session,
        output: &'a mut Vec<u8>,
    ) -> Context<'a> {
        let protocol = session.protocol;
        Context {
            shared: &self.shared,
            session,
            reply: Encoder::new(output, protocol),
            group: &mut self.group,
            metrics: &self.handle.metrics,
            now_ms: self.now_ms,
            writers_wait: !self.parking.is_empty(),
            started_ns: 0,
            quiet: false,
            mutes_errors: false,
            many: None,
        }
    }

    /// Runs the request that the decoder has just completed at the start of `buf`.
    fn run_one(
        &mut self,
        connection: &mut Connection,
        command: Option<(u8, &'static Command)>,
        buf: &[u8],
        start_ns: &mut u64,
    ) {
        let decoder = std::mem::take(&mut connection.decoder);
        self.run_decoded(connection, command, decoder.args(buf), start_ns);
        connection.decoder = decoder;
    }

    /// Runs a request.
    fn run_decoded(
        &mut self,
        connection: &mut Connection,
        command: Option<(u8, &'static Command)>,
        args: Args<'_>,
        start_ns: &mut u64,
    ) {
        if args.is_empty() {
            return;
        }
        let Some((index, command)) = command else {
            connection.dead |= is_http(&args[0]);
            let mut cx = self.context(&mut connection.session, &mut connection.output.bytes);
            let start = cx.reply.position();
            let failure = commands::unknown(args);
            cx.reply.error(&failure.line());
            cx.metrics.error(&failure.line());
            if let Some(queue) = &mut cx.session.queue {
                queue.refuse();
            }
            if !cx.session.takes_reply() {
                cx.reply.truncate(start);
            }
            return;
        };
        self.run_args(connection, (index, command), args, start_ns);
    }

    /// Runs a command.
    fn run_args(
        &mut self,
        connection: &mut Connection,
        (index, command): (u8, &'static Command),
        args: Args<'_>,
        start_ns: &mut u64,
    ) {
        connection.session.info.command.store(index, Ordering::Relaxed);
        let start = connection.output.bytes.len();
        let mut cx = self.context(&mut connection.session, &mut connection.output.bytes);
        cx.started_ns = *start_ns;
        let flow = commands::execute(&mut cx, index, command, args);
        let began_ns = std::mem::replace(start_ns, cx.started_ns);
        let beside = match &flow {
            Flow::Job(_) | Flow::Synced { .. } => {
                Some((Ran::beside(index, command, args), observe::cut(args)))
            }
            Flow::Done | Flow::Close | Flow::Postponed | Flow::Parked => None,
        };
        let penalty_ms = std::mem::take(&mut connection.session.penalty_ms);
        if penalty_ms > 0 {
            connection.delayed = connection.output.bytes.split_off(start);
            self.begin_wait(connection, penalty_ms);
        }
        match flow {
            Flow::Done => {}
            Flow::Close => connection.closing = true,
            Flow::Job(job) => {
                if let Some(request) = beside {
                    self.start_job(connection, job, request, began_ns);
                }
            }
            Flow::Synced { timeout_ms } => {
                self.wait_for_sync(connection, timeout_ms);
                if let Some((ran, _)) = beside {
                    ran.count(&self.handle.metrics);
                }
            }
            Flow::Postponed => {
                connection.postponed = Some(Queued { command, args: args.to_kept() });
                self.postpone(connection.session.slot, connection.session.info.id);
            }
            Flow::Parked => {
                connection.postponed = Some(Queued { command, args: args.to_kept() });
                self.park(connection.session.slot, connection.session.info.id);
            }
        }
    }

    /// Runs the request that waited for the end of a pause or for the store; it may have to wait again.
    fn run_postponed(&mut self, connection: &mut Connection) {
        let Some(request) = connection.postponed.take() else { return };
        let index = commands::find(request.command.name.as_bytes()).map(|(index, _)| index);
        let mut start_ns = self.shared.config.clock.monotonic_ns();
        let Some(index) = index else { return };
        self.run_args(connection, (index, request.command), request.args.args(), &mut start_ns);
        connection.backlog |= !connection.input.is_empty();
    }

    /// Runs a long command beside the loop; its connection waits.
    fn start_job(
        &mut self,
        connection: &mut Connection,
        job: Job,
        (mut ran, args): (Ran, Vec<Vec<u8>>),
        began_ns: u64,
    ) {
        let (slot, client) = (connection.session.slot, connection.session.info.id);
        let protocol = connection.session.protocol;
        let handle = Arc::clone(&self.handle);
        let started = self.shared.start_job(move |shared| {
            let mut reply = Vec::new();
            let run = AssertUnwindSafe(|| job(shared, &mut Encoder::new(&mut reply, protocol)));
            let refused = match catch_unwind(run) {
                Ok(Ok(())) => None,
                Ok(Err(failure)) => Some(failure.line().into_owned()),
                Err(_) => Some("ERR internal error".into()),
            };
            if let Some(line) = refused {
                reply.clear();
                Encoder::new(&mut reply, protocol).error(&line);
            }
            ran.failed = reply.first() == Some(&b'-');
            ran.ns = shared.config.clock.monotonic_ns().saturating_sub(began_ns);
            handle.send(Message::JobDone { slot, client, reply, ran, args });
        });
        match started {
            Ok(()) => connection.waiting = true,
            Err(error) => {
                Encoder::new(&mut connection.output.bytes, protocol).error(&format!("ERR {error}"));
            }
        }
    }
}

/// Answers a malformed request with its error and ends the connection.
fn refuse(connection: &mut Connection, error: terrace_resp::ProtocolError) {
    let protocol = connection.session.protocol;
    Encoder::new(&mut connection.output.bytes, protocol).error(&format!("ERR {error}"));
    connection.closing = true;
}

/// Whether this is a browser that was tricked into sending commands to this port.
fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}
