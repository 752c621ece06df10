//! Transactions: `MULTI` queues requests, `EXEC` runs them as one atomic and isolated step, `WATCH` makes it
//! depend on keys.
//!
//! The commands of an `EXEC` run against one [`Transaction`] and are committed as one batch on condition that
//! nothing they have read and nothing watched has changed; otherwise they run again. If one of them goes through many
//! keys, empties a database or acts beside the store, no other client commits while they run. What works beside the
//! loops cannot be part of a transaction and is refused when queued.

use std::sync::Arc;

use terrace_resp::Args;

use super::table::{
    ALL_KEYS, ALLOW_BUSY, Command, FAST, Flags, Handler, LOADING, NEVER_QUEUED, NO_MULTI, NO_SCRIPT,
    READ_ONLY, SKIP_SLOWLOG, STALE,
};
use super::{Flow, Handled, execute, find};
use crate::context::Context;
use crate::failure::{Failure, TOO_CONTENDED};
use crate::queue::{Queue, Queued, Watches};
use crate::session::Session;
use crate::transaction::{Attempt, MAX_ATTEMPTS, Transaction, pause};

const fn command(
    name: &'static str,
    arity: i64,
    flags: Flags,
    since: &'static str,
    run: Handler,
    summary: &'static str,
) -> Command {
    Command::new(name, arity, "transactions", since, run, summary)
        .flags(flags | NO_SCRIPT | LOADING | STALE | ALLOW_BUSY)
}

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] = &[
    command("multi", 1, FAST | NEVER_QUEUED, "1.2.0", multi, "Starts a transaction."),
    command("exec", 1, NEVER_QUEUED | SKIP_SLOWLOG, "1.2.0", exec, "Executes all commands in a transaction."),
    command("discard", 1, FAST | NEVER_QUEUED, "2.0.0", discard, "Discards a transaction."),
    command("watch", -2, FAST | NEVER_QUEUED, "2.2.0", watch, "Makes the next transaction depend on keys.")
        .keys(ALL_KEYS)
        .access(READ_ONLY),
    command("unwatch", 1, FAST, "2.2.0", unwatch, "Forgets about watched keys of a transaction."),
];

const NESTED: Failure = Failure::fixed("ERR MULTI calls can not be nested");
const EXEC_WITHOUT_MULTI: Failure = Failure::fixed("ERR EXEC without MULTI");
const DISCARD_WITHOUT_MULTI: Failure = Failure::fixed("ERR DISCARD without MULTI");
const WATCH_INSIDE_MULTI: Failure = Failure::fixed("ERR WATCH inside MULTI is not allowed");
const NOT_INSIDE_MULTI: Failure = Failure::fixed("ERR Command not allowed inside a transaction");
const ABORTED: Failure = Failure::fixed("EXECABORT Transaction discarded because of previous errors.");

/// Whether this is `EXEC`, which is shown after the commands that it runs.
pub(super) fn is_exec(command: &Command) -> bool {
    command.name == "exec"
}

/// Whether a command waits for `EXEC`.
pub(super) fn queues(session: &Session, command: &Command) -> bool {
    session.queue.is_some() && !command.has(NEVER_QUEUED)
}

/// Queues a command after `MULTI`.
pub(super) fn enqueue(
    cx: &mut Context<'_>,
    command: &'static Command,
    runs: &Command,
    args: Args<'_>,
) -> Handled {
    let queued = match &mut cx.session.queue {
        _ if command.has(NO_MULTI) || runs.has(NO_MULTI) => Err(NOT_INSIDE_MULTI),
        Some(queue) => queue.push(command, args),
        None => Ok(()),
    };
    queued.map_err(|failure| refuse(cx.session, command, failure))?;
    cx.reply.simple("QUEUED");
    Ok(Flow::Done)
}

/// Notes that a request was refused before it ran: after `MULTI`, nothing of the transaction will run. A refused
/// `EXEC` ends the transaction, and says so.
pub(super) fn refuse(session: &mut Session, command: &Command, failure: Failure) -> Failure {
    if is_exec(command) {
        session.queue = None;
        session.watches.clear();
        let line = failure.line();
        let reason = line.strip_prefix("ERR ").unwrap_or(&line);
        return Failure::text(format!("EXECABORT Transaction discarded because of: {reason}"));
    }
    if let Some(queue) = &mut session.queue {
        queue.refuse();
    }
    failure
}

fn multi(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    if cx.session.queue.is_some() {
        return Err(NESTED);
    }
    cx.session.queue = Some(Queue::default());
    cx.reply.ok();
    Ok(Flow::Done)
}

fn discard(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.session.queue.take().ok_or(DISCARD_WITHOUT_MULTI)?;
    cx.session.watches.clear();
    cx.reply.ok();
    Ok(Flow::Done)
}

fn watch(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    if cx.session.queue.is_some() {
        return Err(WATCH_INSIDE_MULTI);
    }
    cx.settle();
    for key in args.from(1).iter() {
        // What has expired is removed first, for its removal would count as a change.
        if !cx.shared.schedule.is_empty() {
            cx.shared.expire(cx.session.db, key)?;
        }
        cx.session.watches.add(&cx.shared.databases, cx.session.db, key)?;
    }
    cx.reply.ok();
    Ok(Flow::Done)
}

fn unwatch(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.session.watches.clear();
    cx.reply.ok();
    Ok(Flow::Done)
}

fn exec(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let done = run_queue(cx, args);
    (cx.quiet, cx.mutes_errors) = (false, false);
    done
}

/// Runs what was queued, again as long as something else comes between.
fn run_queue(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    let queue = cx.session.queue.take().ok_or(EXEC_WITHOUT_MULTI)?;
    let mut watches = std::mem::take(&mut cx.session.watches);
    if queue.refused {
        return Err(ABORTED);
    }
    cx.settle();
    watches.renew(&cx.shared.databases)?;
    let (start, db) = (cx.reply.position(), cx.session.db);
    let (user, authenticated) = (Arc::clone(&cx.session.user), cx.session.authenticated);
    let alone = queue.requests.iter().any(Queued::must_be_alone);
    if alone {
        // The loop's own group would wait for this transaction to end.
        cx.group.commit(cx.metrics);
    }
    let shared = Arc::clone(cx.shared);
    let _held = alone.then(|| shared.databases.hold_alone());
    for attempt in 0..MAX_ATTEMPTS {
        (cx.quiet, cx.mutes_errors) = (attempt > 0, attempt > 0);
        // What acts beside the store must not run in vain.
        let changed = alone && watches.any_written(&cx.shared.databases)?;
        if changed || watches.any_vanished(&cx.shared.databases)? {
            cx.reply.null_array();
            return Ok(Flow::Done);
        }
        cx.reply.truncate(start);
        cx.session.db = db;
        if !Arc::ptr_eq(&user, &cx.session.user) {
            cx.session.become_user(Arc::clone(&user), authenticated);
        }
        let Some(transaction) = run_all(cx, &queue.requests, &watches, alone) else {
            return Ok(Flow::Close);
        };
        let empties = transaction.empties();
        let (ended, effects) = transaction.commit()?;
        match ended {
            Attempt::Written(seqno) => {
                cx.group.committed(cx.session.slot, seqno);
                cx.shared.release(effects);
                if empties {
                    cx.shared.emptied();
                }
                return Ok(Flow::Done);
            }
            Attempt::Unchanged => {
                cx.shared.release(effects);
                return Ok(Flow::Done);
            }
            Attempt::Conflict if watches.any_written(&cx.shared.databases)? => {
                cx.reply.truncate(start);
                cx.session.db = db;
                cx.reply.null_array();
                return Ok(Flow::Done);
            }
            Attempt::Conflict => {
                cx.metrics.conflicts.add(1);
                pause(attempt);
            }
        }
    }
    cx.session.db = db;
    Err(TOO_CONTENDED)
}

/// Runs the commands and writes their replies as one array; `None` when the replies are more than a client may
/// have waiting, with nothing committed.
fn run_all<'a>(
    cx: &mut Context<'a>,
    requests: &[Queued],
    watches: &Watches,
    alone: bool,
) -> Option<Transaction<'a>> {
    let start = cx.reply.position();
    let begin = if alone { Transaction::of_many_alone } else { Transaction::of_many };
    cx.many = Some(begin(cx.shared, cx.session.info.id, watches));
    cx.reply.array(requests.len());
    for request in requests {
        let index = find(request.command.name.as_bytes()).map_or(u8::MAX, |(index, _)| index);
        let flow = execute(cx, index, request.command, request.args.args());
        debug_assert!(
            !matches!(flow, Flow::Job(_) | Flow::Synced { .. }),
            "{} cannot be queued",
            request.command.name
        );
        if cx.reply.position() - start > cx.shared.settings.max_output_bytes() {
            cx.many = None;
            return None;
        }
    }
    cx.many.take()
}
