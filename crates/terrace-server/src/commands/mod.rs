//! The commands: one file per family, each with its table of commands beside the functions that run them.
//!
//! A command takes its arguments and a [`Context`] and writes one reply, or refuses with a [`Failure`]. It
//! touches no socket. The tables drive look-up, arity errors and everything `COMMAND` says.
#![allow(clippy::unnecessary_wraps)] // All commands have one signature, also those that cannot fail.

mod admin;
mod bitfield;
mod bits;
mod client;
mod configure;
mod connection;
mod counters;
mod expiry;
mod hash_expiry;
mod hash_read;
mod hash_scan;
mod hash_write;
pub(crate) mod info;
mod introspect;
mod keys;
mod multi;
mod options;
mod scan;
pub(crate) mod stats;
mod string_read;
mod string_write;
pub(crate) mod table;

use terrace_resp::{Args, Encoder};

use crate::context::Context;
use crate::failure::{Failure, NO_AUTH};
use crate::shared::Shared;

pub(crate) use string_read::{get_run, is_get};
pub(crate) use table::{Command, MAX_COMMANDS, find};

/// What happens after a command.
pub(crate) enum Flow {
    /// The reply is written.
    Done,
    /// The reply is written and the connection ends.
    Close,
    /// The reply comes from a thread of its own; the connection waits for it.
    Job(Job),
}

/// A command that takes long and therefore runs beside the loops.
pub(crate) type Job = Box<dyn FnOnce(&Shared, &mut Encoder<'_>) -> Result<(), Failure> + Send>;

/// What a command returns.
pub(crate) type Handled = Result<Flow, Failure>;

/// Runs one command, or queues it after `MULTI`; what goes wrong becomes its reply.
pub(crate) fn execute(cx: &mut Context<'_>, command: &'static Command, args: Args<'_>) -> Flow {
    let start = cx.reply.position();
    let handled = match check(cx, command, args) {
        Ok(runs) if !multi::queues(cx.session, command) => (runs.run)(cx, args),
        Ok(_) => multi::enqueue(cx, command, args),
        Err(failure) => Err(multi::refuse(cx.session, command, failure)),
    };
    handled.unwrap_or_else(|failure| {
        cx.reply.truncate(start);
        cx.reply.error(&failure.line());
        cx.metrics.errors.add(1);
        Flow::Done
    })
}

/// Finds what really runs (a subcommand, perhaps) and checks arity and authentication.
fn check(cx: &Context<'_>, command: &'static Command, args: Args<'_>) -> Result<&'static Command, Failure> {
    if !command.accepts(args.len()) {
        return Err(Failure::arity(command.name));
    }
    let runs =
        if command.subcommands.is_empty() || args.len() == 1 { command } else { subcommand(command, args)? };
    let allowed = cx.session.authenticated || !cx.shared.settings.has_password();
    if !allowed && !command.has(table::NO_AUTH_NEEDED) {
        return Err(NO_AUTH);
    }
    Ok(runs)
}

fn subcommand(command: &'static Command, args: Args<'_>) -> Result<&'static Command, Failure> {
    let name = &args[1];
    if name.eq_ignore_ascii_case(b"help") && args.len() == 2 {
        return Ok(&introspect::HELP);
    }
    let Some(found) = command.subcommand(name) else {
        let shown = shorten(name, 128);
        let container = command.name.to_ascii_uppercase();
        return Err(Failure::text(format!("ERR unknown subcommand '{shown}'. Try {container} HELP.")));
    };
    if !found.accepts(args.len()) {
        return Err(Failure::arity(&format!("{}|{}", command.name, found.name)));
    }
    Ok(found)
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
