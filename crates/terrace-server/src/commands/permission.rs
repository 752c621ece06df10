//! Whether a client may run a command, and what it and the log of refusals are told if not.

use terrace_resp::Args;

use super::client::describe;
use super::table::{Command, full_name};
use crate::acl::{Denial, Entry, Reason, Target, User};
use crate::context::Context;
use crate::failure::Failure;

/// Whether a user may run a command that has been found in the table.
pub(super) fn allows(user: &User, target: &Target, args: Args<'_>) -> bool {
    user.is_unrestricted() || user.rules().check(target, args).is_ok()
}

/// Refuses what the client's user may not do, and notes the refusal.
pub(super) fn check(cx: &Context<'_>, target: &Target, args: Args<'_>) -> Result<(), Failure> {
    if cx.session.user.is_unrestricted() {
        return Ok(());
    }
    let Err(denial) = cx.session.user.rules().check(target, args) else { return Ok(()) };
    if !cx.quiet {
        note(cx, target, args, denial);
    }
    if cx.many.is_some() {
        let reason = match denial {
            Denial::Command => "no permission to execute the command or subcommand",
            Denial::Key(_) => "no permission to touch the specified keys",
            Denial::Channel(_) => {
                "no permission to access one of the channels used as arguments to the command"
            }
        };
        return Err(Failure::text(format!(
            "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This \
             command is no longer allowed for the following reason: {reason}"
        )));
    }
    Err(match denial {
        Denial::Command => {
            Failure::text(format!("NOPERM {}", in_words(&cx.session.user, target, args, denial)))
        }
        Denial::Key(_) => Failure::fixed("NOPERM No permissions to access a key"),
        Denial::Channel(_) => Failure::fixed("NOPERM No permissions to access a channel"),
    })
}

/// What a user may not do, with names.
pub(super) fn in_words(user: &User, target: &Target, args: Args<'_>, denial: Denial) -> String {
    let name = user.shown();
    let arg = |at: usize| String::from_utf8_lossy(args.get(at).unwrap_or_default()).into_owned();
    match denial {
        Denial::Command => {
            format!("User {name} has no permissions to run the '{}' command", name_of(target))
        }
        Denial::Key(at) => format!("User {name} has no permissions to access the '{}' key", arg(at)),
        Denial::Channel(at) => format!("User {name} has no permissions to access the '{}' channel", arg(at)),
    }
}

fn name_of(target: &Target) -> String {
    let is_part = !std::ptr::eq::<Command>(target.command, target.runs);
    full_name(target.runs, is_part.then_some(target.command))
}

fn note(cx: &Context<'_>, target: &Target, args: Args<'_>, denial: Denial) {
    let (reason, object, counter) = match denial {
        Denial::Command => (Reason::Command, name_of(target).into_bytes(), 0),
        Denial::Key(at) => (Reason::Key, args.get(at).unwrap_or_default().to_vec(), 1),
        Denial::Channel(at) => (Reason::Channel, args.get(at).unwrap_or_default().to_vec(), 2),
    };
    cx.metrics.denials[counter].add(1);
    log(cx, reason, object, cx.session.user.name());
}

/// Notes a refusal in `ACL LOG`.
pub(super) fn log(cx: &Context<'_>, reason: Reason, object: Vec<u8>, user: &[u8]) {
    // Whoever floods the log must not make it large.
    const MAX_BYTES: usize = 1024;
    let cut = |mut text: Vec<u8>| {
        text.truncate(MAX_BYTES);
        text
    };
    let max = cx.shared.settings.get("acllog-max-len").parse().unwrap_or(usize::MAX);
    cx.session.show();
    let entry = Entry {
        id: 0,
        count: 0,
        reason,
        in_multi: cx.session.queue.is_some() || cx.many.is_some(),
        object: cut(object),
        user: cut(user.to_vec()),
        client: describe(cx, &cx.session.info).trim_end().into(),
        created_ms: cx.now_ms,
        updated_ms: cx.now_ms,
    };
    cx.shared.users.log.add(entry, max);
}
