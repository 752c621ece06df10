//! Saving, as tools that look after Redis ask for it. There is no file to write: what is acknowledged is in the log,
//! so saving syncs the log, and rewriting the log means flushing what it holds into tables.

use terrace::Db;
use terrace_resp::Args;

use super::table::{ADMIN, Command, FAST, Flags, Handler, LOADING, NO_MULTI, NO_SCRIPT, STALE};
use super::{Flow, Handled};
use crate::context::Context;
use crate::failure::{Failure, SYNTAX};
use crate::shared::Shared;

const fn command(
    name: &'static str,
    arity: i64,
    flags: Flags,
    since: &'static str,
    run: Handler,
    summary: &'static str,
) -> Command {
    Command::new(name, arity, "server", since, run, summary).flags(flags)
}

const SAVES: Flags = ADMIN | NO_SCRIPT | NO_MULTI;

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] = &[
    command("save", 1, SAVES, "1.0.0", save, "Syncs the log: all earlier writes survive a power loss."),
    command("bgsave", -1, SAVES, "1.0.0", bgsave, "Syncs the log in the background."),
    command(
        "bgrewriteaof",
        1,
        SAVES,
        "1.0.0",
        bgrewriteaof,
        "Flushes what the log holds into tables, in the background.",
    ),
    command(
        "lastsave",
        1,
        FAST | LOADING | STALE | ADMIN,
        "1.0.0",
        lastsave,
        "Returns when a save last succeeded, or the server started.",
    ),
];

const IN_PROGRESS: Failure = Failure::fixed("ERR Background save already in progress");

/// Saves, which has been begun, and notes how it went.
fn finish(shared: &Shared, how: impl FnOnce(&Db) -> terrace::Result<()>) -> Result<(), Failure> {
    let saved = how(shared.databases.store());
    shared.saves.end(shared.now_ms() / 1000, saved.is_ok());
    if let Err(error) = &saved {
        tracing::error!(%error, "a save failed");
    }
    Ok(saved?)
}

fn save(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.settle();
    Ok(Flow::Job(Box::new(|shared, reply| {
        if !shared.saves.begin() {
            return Err(IN_PROGRESS);
        }
        finish(shared, Db::sync)?;
        reply.ok();
        Ok(())
    })))
}

/// Starts a save on a thread of its own and answers at once. It has begun by then, so that whoever asks next hears
/// that it is in progress.
fn start(cx: &mut Context<'_>, how: fn(&Db) -> terrace::Result<()>, answer: &str) -> Handled {
    cx.settle();
    if !cx.shared.saves.begin() {
        return Err(IN_PROGRESS);
    }
    // A failure is logged and shown by INFO; this command has its answer by then.
    let job = move |shared: &Shared| drop(finish(shared, how));
    if let Err(error) = cx.shared.start_job(job) {
        cx.shared.saves.end(cx.now_ms / 1000, false);
        return Err(Failure::text(format!("ERR {error}")));
    }
    cx.reply.simple(answer);
    Ok(Flow::Done)
}

fn bgsave(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    if args.len() > 2 || args.get(1).is_some_and(|option| !option.eq_ignore_ascii_case(b"schedule")) {
        return Err(SYNTAX);
    }
    start(cx, Db::sync, "Background saving started")
}

fn bgrewriteaof(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    start(cx, Db::flush, "Background append only file rewriting started")
}

fn lastsave(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    let last_s = cx.shared.saves.last_s();
    cx.reply.unsigned(last_s.max(cx.shared.started_at_ms / 1000));
    Ok(Flow::Done)
}
