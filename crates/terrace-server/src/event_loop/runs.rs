//! Neighbours in a pipeline: reads that become one look-up, writes that become one commit.
//!
//! Both keep the order of the replies, and nobody waits for company: only what has arrived already is put
//! together. What follows a group and does not belong to it is decoded again.

use std::ops::Range;
use std::sync::atomic::Ordering;

use terrace_resp::Args;

use super::EventLoop;
use crate::commands::{self, Command, Flow, GROUPED, HashRead, ReadKind};
use crate::connection::Connection;
use crate::queue::Watches;
use crate::transaction::{Attempt, Transaction};

/// Requests looked up together.
pub(super) const MAX_READS: usize = 32;
/// Fields of one request that is looked up together with others.
const MAX_NAMES: usize = 256;
/// Requests committed together.
const MAX_WRITES: usize = 128;

/// A read waiting to be looked up with its neighbours.
#[derive(Clone, Debug)]
pub(super) struct PendingRead {
    /// Where its request starts.
    request_at: usize,
    /// The index of its command.
    command: u8,
    /// Which reads it goes with.
    pub(super) kind: ReadKind,
    /// Where its key is.
    key: Range<usize>,
    /// Where the names of its fields are, for a hash.
    names: Vec<Range<usize>>,
}

impl PendingRead {
    /// A request that starts at `at`, if it is one that is looked up together with others.
    pub(super) fn new(index: u8, command: &Command, args: Args<'_>, at: usize) -> Option<Self> {
        let kind = commands::read_kind(command).filter(|_| command.accepts(args.len()))?;
        let shifted = |position| args.range(position).map(|range| at + range.start..at + range.end);
        let names = match kind {
            ReadKind::Get => Vec::new(),
            ReadKind::Hash if args.len() - 2 > MAX_NAMES => return None,
            ReadKind::Hash => (2..args.len()).filter_map(shifted).collect(),
        };
        Some(Self { request_at: at, command: index, kind, key: shifted(1)?, names })
    }
}

/// How far a group of writes came, in bytes.
pub(super) enum Written {
    /// They are done, up to here.
    Up(usize),
    /// Others were in the way: those up to here have to be run one by one.
    Again(usize),
}

impl EventLoop {
    /// Looks up the gathered reads. `Some` is where to go on when the client's output is full before the last of
    /// them: at the first request that was not answered.
    pub(super) fn run_reads(
        &mut self,
        connection: &mut Connection,
        reads: &mut Vec<PendingRead>,
        buf: &[u8],
        start_ns: &mut u64,
    ) -> Option<usize> {
        let (kind, last) = (reads.first()?.kind, reads.last()?.command);
        let soft = self.shared.config.output_soft_bytes;
        connection.session.info.command.store(last, Ordering::Relaxed);
        let room = soft.saturating_sub(connection.output.unsent());
        let mut cx = self.context(&mut connection.session, &mut connection.output.bytes);
        let answered = match kind {
            ReadKind::Get => {
                let keys: Vec<&[u8]> = reads.iter().map(|read| &buf[read.key.clone()]).collect();
                commands::get_run(&mut cx, &keys, room)
            }
            ReadKind::Hash => {
                let hash_read = |read: &PendingRead| HashRead {
                    key: &buf[read.key.clone()],
                    names: read.names.iter().map(|name| &buf[name.clone()]).collect(),
                    lists: commands::lists_fields(read.command),
                };
                commands::hash_run(&mut cx, &reads.iter().map(hash_read).collect::<Vec<_>>(), room)
            }
        };
        let end_ns = self.shared.config.clock.monotonic_ns();
        let each_ns = end_ns.saturating_sub(*start_ns) / answered.max(1) as u64;
        for read in &reads[..answered] {
            self.handle.metrics.commands[usize::from(read.command)].record(1, each_ns);
        }
        *start_ns = end_ns;
        let rest = reads.get(answered).map(|read| read.request_at);
        reads.clear();
        if rest.is_some() {
            connection.decoder.reset();
        }
        rest
    }

    /// Runs the writes at the start of `buf`, of which there is at least one, in one transaction. Each sees what
    /// those before it have written; one that fails leaves the others in force.
    pub(super) fn run_writes(
        &mut self,
        connection: &mut Connection,
        buf: &mut [u8],
        start_ns: &mut u64,
    ) -> Written {
        let soft = self.shared.config.output_soft_bytes;
        let limits = self.limits(&connection.session);
        let Connection { session, output, decoder, .. } = connection;
        let mut cx = self.context(session, &mut output.bytes);
        cx.settle();
        // They are counted at the end, once they are committed.
        cx.quiet = true;
        cx.many = Some(Transaction::of_many(cx.shared, cx.session.info.id, &Watches::default()));
        let (start, mut at, mut ran) = (cx.reply.position(), 0, Vec::new());
        decoder.reset();
        while ran.len() < MAX_WRITES && cx.reply.position() - start <= soft && buf.get(at) == Some(&b'*') {
            let Ok(Some(len)) = decoder.decode(&mut buf[at..], &limits) else { break };
            let args = decoder.args(&buf[at..]);
            let command = args.get(0).and_then(commands::find).filter(|(_, command)| command.has(GROUPED));
            let Some((index, command)) = command else { break };
            if !commands::may_run(cx.session, (index, command), args) {
                break; // It is refused alone.
            }
            cx.session.info.command.store(index, Ordering::Relaxed);
            let errors = cx.metrics.errors.get();
            if matches!(commands::execute(&mut cx, index, command, args), Flow::Postponed) {
                break; // A pause has begun; it did not run.
            }
            ran.push((index, cx.metrics.errors.get() - errors));
            at += len;
        }
        let Some(many) = cx.many.take() else { return Written::Up(at) };
        let writes = many.staged();
        match many.commit() {
            Ok((Attempt::Conflict, _)) => {
                cx.metrics.conflicts.add(1);
                cx.reply.truncate(start);
                return Written::Again(at);
            }
            Ok((Attempt::Unchanged, effects)) => cx.shared.release(effects),
            Ok((Attempt::Written(seqno), effects)) => {
                cx.metrics.group_sizes.record(writes as u64, 1);
                cx.group.committed(cx.session.slot, seqno);
                cx.shared.release(effects);
            }
            Err(failure) => {
                cx.reply.truncate(start);
                for (_, failed) in &mut ran {
                    let line = failure.line();
                    cx.reply.error(&line);
                    if *failed == 0 {
                        cx.metrics.error(&line);
                    }
                    *failed = 1;
                }
            }
        }
        let end_ns = self.shared.config.clock.monotonic_ns();
        let each_ns = end_ns.saturating_sub(*start_ns) / ran.len().max(1) as u64;
        for (index, failed) in ran {
            let of_command = &self.handle.metrics.commands[usize::from(index)];
            of_command.record(1, each_ns);
            of_command.failed.add(failed);
        }
        *start_ns = end_ns;
        Written::Up(at)
    }
}
