//! The commands: one file per family, each with its table of commands beside the functions that run them.
//!
//! A command takes its arguments and a [`Context`] and writes one reply, or refuses with a [`Failure`]. It
//! touches no socket. The tables drive look-up, arity errors and everything `COMMAND` says.
#![allow(clippy::unnecessary_wraps)] // All commands have one signature, also those that cannot fail.

mod acl;
mod admin;
mod backup;
mod bitfield;
mod bits;
mod client;
mod configure;
mod connection;
mod counters;
mod debug;
mod debug_digest;
mod debug_protocol;
mod dump;
mod durability;
mod expiry;
mod hash_expiry;
mod hash_read;
mod hash_run;
mod hash_scan;
mod hash_write;
pub(crate) mod info;
mod introspect;
mod keys;
mod lcs;
mod memory;
mod multi;
mod options;
mod permission;
mod persist;
mod pubsub;
mod record;
mod scan;
mod scripts;
mod slowlog;
pub(crate) mod stats;
mod string_read;
mod string_write;
pub(crate) mod table;
mod tracking;

use std::sync::atomic::Ordering;

use terrace_resp::{Args, Encoder};

use crate::acl::Target;
use crate::context::Context;
use crate::failure::{Failure, NO_AUTH};
use crate::pause::Scope;
use crate::session::Session;
use crate::shared::Shared;

pub(crate) use hash_run::{HashRead, hash_run};
pub(crate) use introspect::HELP;
pub(crate) use record::Ran;
pub(crate) use string_read::get_run;
pub(crate) use table::{Command, GROUPED, MAX_COMMANDS, find};

/// Reads that are looked up together with their neighbours of a pipeline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReadKind {
    /// `GET`.
    Get,
    /// `HGET` and `HMGET`.
    Hash,
}

/// Which group of reads a command belongs to.
pub(crate) fn read_kind(command: &Command) -> Option<ReadKind> {
    let runs = |handler: table::Handler| std::ptr::fn_addr_eq(command.run, handler);
    if runs(string_read::get) {
        Some(ReadKind::Get)
    } else if runs(hash_read::hget) || runs(hash_read::hmget) {
        Some(ReadKind::Hash)
    } else {
        None
    }
}

/// Whether the command at an index of the table answers with a list of fields (`HMGET`).
pub(crate) fn lists_fields(index: u8) -> bool {
    table::by_index(index)
        .is_some_and(|command| std::ptr::fn_addr_eq(command.run, hash_read::hmget as table::Handler))
}

/// What happens after a command.
pub(crate) enum Flow {
    /// The reply is written.
    Done,
    /// The reply is written and the connection ends.
    Close,
    /// The reply comes from a thread of its own; the connection waits for it.
    Job(Job),
    /// The reply comes when everything written so far is durable, or after this time (0: however long it takes).
    Synced {
        /// Milliseconds.
        timeout_ms: u64,
    },
    /// Nothing has happened: the command waits for the end of a pause.
    Postponed,
    /// Nothing has happened: the command waits until the store takes writes.
    Parked,
}

/// A command that takes long and therefore runs beside the loops.
pub(crate) type Job = Box<dyn FnOnce(&Shared, &mut Encoder<'_>) -> Result<(), Failure> + Send>;

/// What a command returns.
pub(crate) type Handled = Result<Flow, Failure>;

/// Runs one command, or queues it after `MULTI`; what goes wrong becomes its reply. `index` is its place in the table.
pub(crate) fn execute(cx: &mut Context<'_>, index: u8, command: &'static Command, args: Args<'_>) -> Flow {
    let start = cx.reply.position();
    let flow = match check(cx, index, command, args) {
        Ok(runs) if must_wait(cx, runs) => return Flow::Postponed,
        Ok(runs) if must_park(cx, runs) => return Flow::Parked,
        Ok(runs) if multi::queues(cx.session, command) => {
            let queued = multi::enqueue(cx, command, runs, args);
            queued.unwrap_or_else(|failure| reject(cx, index, command, start, &failure))
        }
        Ok(runs) => run(cx, index, command, runs, args),
        Err(failure) => {
            let failure = multi::refuse(cx.session, command, failure);
            reject(cx, index, command, start, &failure)
        }
    };
    if cx.many.is_some() || cx.session.takes_reply() {
        return flow;
    }
    cx.reply.truncate(start);
    match flow {
        Flow::Job(job) => Flow::Job(Box::new(move |shared, reply| {
            let mut unread = Vec::new();
            // Nobody hears how it went.
            let _ = job(shared, &mut Encoder::new(&mut unread, reply.protocol()));
            Ok(())
        })),
        other => other,
    }
}

/// Answers a command that was refused before it ran.
fn reject(
    cx: &mut Context<'_>,
    index: u8,
    command: &'static Command,
    start: usize,
    failure: &Failure,
) -> Flow {
    if !cx.quiet {
        cx.metrics.of(index, command, command).rejected.add(1);
    }
    fail(cx, start, failure)
}

/// Runs a command; its keys are remembered first, if the client wants to hear of their changes. A subcommand of
/// `CLIENT` is not the next command that `CLIENT CACHING` speaks of.
fn run_tracked(cx: &mut Context<'_>, command: &'static Command, args: Args<'_>, of_client: bool) -> Handled {
    if !cx.session.tracking.on {
        return (command.run)(cx, args);
    }
    let caching = cx.session.tracking.caching;
    if command.has(table::READ) && !command.has(table::PUBSUB) && cx.session.tracking.remembers() {
        // Writes of other connections in this turn come first; else the client would be told of them after it has read.
        cx.group.commit(cx.metrics);
        let keys = command.keys_in(args).filter_map(|(at, _)| args.get(at));
        let new = cx.shared.tracker.remember(cx.shared, cx.session.info.id, keys);
        if let Some(many) = &mut cx.many {
            for key in new {
                many.effects().read(key);
            }
        }
    }
    let handled = (command.run)(cx, args);
    // `CLIENT CACHING` holds for the next command, or for all of the next transaction.
    if caching && !of_client && cx.many.is_none() && cx.session.queue.is_none() {
        cx.session.tracking.caching = false;
    }
    handled
}

/// Whether a command has to wait for the end of a pause.
fn must_wait(cx: &Context<'_>, command: &Command) -> bool {
    if cx.shared.pause.until_ms() == 0 || cx.many.is_some() {
        return false;
    }
    match cx.shared.pause.scope(cx.now_ms) {
        None => false,
        Some(Scope::All) => true,
        Some(Scope::Writes) => does(cx, command, table::WRITE | table::MAY_REPLICATE),
    }
}

/// Whether a command has to wait until the store has caught up. One that empties databases need not: it adds nothing.
/// Neither need one that is only queued.
fn must_park(cx: &Context<'_>, command: &Command) -> bool {
    let (store, queues) = (cx.shared.databases.store(), multi::queues(cx.session, command));
    (cx.writers_wait || !store.write_delay().is_zero())
        && cx.many.is_none()
        && !queues
        && !command.has(table::ALONE)
        && does(cx, command, table::WRITE)
}

/// Whether a command, or any that an `EXEC` runs, has one of these flags.
fn does(cx: &Context<'_>, command: &Command, flags: table::Flags) -> bool {
    if command.name != "exec" {
        return command.has(flags);
    }
    let queue = cx.session.queue.as_ref();
    queue.is_some_and(|queue| queue.requests.iter().any(|request| request.command.has(flags)))
}

/// Runs one command, shows it to those who watch, and notes how it went. One that goes on beside the loop is noted when
/// it ends.
fn run(
    cx: &mut Context<'_>,
    index: u8,
    command: &'static Command,
    runs: &'static Command,
    args: Args<'_>,
) -> Flow {
    let (start, started_ns) = (cx.reply.position(), cx.started_ns);
    let is_exec = multi::is_exec(command);
    if !cx.quiet && !is_exec {
        record::show(cx, runs, args);
    }
    touch(cx, runs, args);
    let handled = run_tracked(cx, runs, args, command.name == "client");
    let failed = handled.is_err();
    let flow = handled.unwrap_or_else(|failure| fail(cx, start, &failure));
    if is_exec {
        record::show(cx, runs, args);
    }
    if matches!(flow, Flow::Done | Flow::Close) {
        cx.started_ns = cx.shared.config.clock.monotonic_ns();
        if !cx.quiet {
            let ns = cx.started_ns.saturating_sub(started_ns);
            record::note(cx, &Ran { index, command, runs, ns, failed }, args);
        }
    }
    flow
}

/// Notes that the keys of a command are used.
fn touch(cx: &Context<'_>, command: &'static Command, args: Args<'_>) {
    let leaves = command.has(table::NO_TOUCH) || (cx.session.no_touch && command.name != "touch");
    if leaves || command.keys.is_empty() {
        return;
    }
    for (at, _) in command.keys_in(args) {
        cx.shared.recency.touch(&args[at], cx.now_ms);
    }
}

/// Answers with a failure in the place of whatever the command has written.
fn fail(cx: &mut Context<'_>, start: usize, failure: &Failure) -> Flow {
    cx.reply.truncate(start);
    let line = failure.line();
    cx.reply.error(&line);
    if !cx.mutes_errors {
        cx.metrics.error(&line);
    }
    Flow::Done
}

/// Whether a client may run a command at once, without anything being noted about a refusal.
pub(crate) fn may_run(session: &Session, (index, command): (u8, &'static Command), args: Args<'_>) -> bool {
    session.authenticated
        && (session.user.is_unrestricted()
            || permission::allows(&session.user, &Target { index, command, runs: command }, args))
}

/// Finds what really runs (a subcommand, perhaps) and checks arity, authentication and permission.
fn check(
    cx: &Context<'_>,
    index: u8,
    command: &'static Command,
    args: Args<'_>,
) -> Result<&'static Command, Failure> {
    if !command.accepts(args.len()) {
        return Err(Failure::arity(command.name));
    }
    let runs = if command.subcommands.is_empty() || args.len() == 1 {
        command
    } else {
        // For what is a container here but not in Redis, permission comes before the question what there is.
        let found = subcommand(command, args);
        if found.is_err() && command.name == "debug" && cx.session.authenticated {
            permission::check(cx, &Target { index, command, runs: command }, args)?;
        }
        found?
    };
    if !cx.session.authenticated && !command.has(table::NO_AUTH_NEEDED) {
        return Err(NO_AUTH);
    }
    permission::check(cx, &Target { index, command, runs }, args)?;
    pubsub::check_context(cx, runs, command)?;
    let position = command.subcommands.iter().position(|sub| std::ptr::eq(sub, runs));
    cx.session.info.subcommand.store(position.map_or(0, |at| at as u8 + 1), Ordering::Relaxed);
    Ok(runs)
}

fn subcommand(command: &'static Command, args: Args<'_>) -> Result<&'static Command, Failure> {
    let name = &args[1];
    if name.eq_ignore_ascii_case(b"help") {
        let help = Some(&introspect::HELP).filter(|help| help.accepts(args.len()));
        return help.ok_or_else(|| Failure::arity(&format!("{}|help", command.name)));
    }
    let found = command.subcommand(name).ok_or_else(|| unknown_subcommand(command.name, name))?;
    if !found.accepts(args.len()) {
        return Err(Failure::arity(&format!("{}|{}", command.name, found.name)));
    }
    Ok(found)
}

/// The refusal of a subcommand that does not exist, or not in this form.
fn unknown_subcommand(command: &str, name: &[u8]) -> Failure {
    let (shown, container) = (shorten(name, 128), command.to_ascii_uppercase());
    Failure::text(format!("ERR unknown subcommand '{shown}'. Try {container} HELP."))
}

/// The refusal of a subcommand with arguments that it does not take.
fn malformed_subcommand(command: &str, name: &[u8]) -> Failure {
    let (shown, container) = (shorten(name, 128), command.to_ascii_uppercase());
    Failure::text(format!(
        "ERR unknown subcommand or wrong number of arguments for '{shown}'. Try {container} HELP."
    ))
}

/// The refusal of a command that does not exist.
pub(crate) fn unknown(args: Args<'_>) -> Failure {
    let mut shown = String::new();
    for arg in args.from(1).iter() {
        if shown.len() >= 128 {
            break;
        }
        let room = 128 - shown.len();
        shown.push('\'');
        shown.push_str(&shorten(arg, room));
        shown.push_str("' ");
    }
    let name = shorten(&args[0], 128);
    Failure::text(format!("ERR unknown command '{name}', with args beginning with: {shown}"))
}

/// At most `len` bytes of a client's text, fit for an error line.
fn shorten(text: &[u8], len: usize) -> String {
    String::from_utf8_lossy(&text[..text.len().min(len)]).into_owned()
}
