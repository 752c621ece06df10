//! Saving, as tools that look after Redis ask for it: a generation in the directory of backups, as `BACKUP TO` makes
//! it, if `backup-dir` names one. Nothing is lost without: what is acknowledged is in the log, so saving then syncs the
//! log. Rewriting the log means flushing what it holds into tables.

use std::path::Path;

use terrace::{Backups, Pruned};
use terrace_resp::Args;

use super::table::{ADMIN, Command, FAST, Flags, Handler, LOADING, NO_MULTI, NO_SCRIPT, STALE};
use super::{Flow, Handled};
use crate::context::Context;
use crate::failure::{Failure, SYNTAX};
use crate::saves::{Saved, Saves};
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
    command(
        "save",
        1,
        SAVES,
        "1.0.0",
        save,
        "Makes a backup in backup-dir, or syncs the log, and waits for it.",
    ),
    command(
        "bgsave",
        -1,
        SAVES,
        "1.0.0",
        bgsave,
        "Makes a backup in backup-dir, or syncs the log, in the background.",
    ),
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

const SAVING: Failure = Failure::fixed("ERR Background save already in progress");
const REWRITING: Failure = Failure::fixed("ERR Background append only file rewriting already in progress");

/// Makes a generation in the directory of backups, or, if none is named, syncs the log.
fn make(shared: &Shared) -> Result<Saved, Failure> {
    let store = shared.databases.store();
    let directory = shared.settings.get("backup-dir");
    if directory.is_empty() {
        let seqno = store.stats().last_seqno;
        store.sync()?;
        return Ok(Saved { seqno, generation: None });
    }
    let backups = Backups::new(Path::new(&directory));
    let made = backups.create(store, |_| ())?;
    let (generation, tables, bytes) = (made.number, made.files, made.bytes);
    tracing::info!(generation, tables, bytes, new_bytes = made.new_bytes, "saved a generation");
    let keep = shared.settings.configuration().number("backup-keep");
    if keep > 0 {
        let Pruned { generations, bytes, .. } = backups.prune(usize::try_from(keep).unwrap_or(usize::MAX))?;
        tracing::info!(generations = generations.len(), bytes, "removed old generations");
    }
    Ok(Saved { seqno: made.last_seqno, generation: Some(made) })
}

/// Flushes what the log holds.
fn rewrite(shared: &Shared) -> Result<Saved, Failure> {
    let seqno = shared.databases.store().stats().last_seqno;
    shared.databases.store().flush()?;
    Ok(Saved { seqno, generation: None })
}

/// Does what was begun, and notes how it went. A panic is a failure, too.
fn finish(shared: &Shared, saves: &Saves, how: fn(&Shared) -> Result<Saved, Failure>) -> Result<(), Failure> {
    let run = std::panic::AssertUnwindSafe(|| how(shared));
    let saved = std::panic::catch_unwind(run)
        .unwrap_or_else(|_| Err(Failure::fixed("ERR a save panicked; see the log of the server")));
    if let Err(failure) = &saved {
        tracing::error!(error = %failure.line(), "a save failed");
    }
    let (saved, failure) = saved.map_or_else(|failure| (None, Some(failure)), |saved| (Some(saved), None));
    saves.end(shared.now_ms(), saved);
    failure.map_or(Ok(()), Err)
}

fn save(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.settle();
    Ok(Flow::Job(Box::new(|shared, reply| {
        if !shared.saves.begin(shared.now_ms()) {
            return Err(SAVING);
        }
        finish(shared, &shared.saves, make)?;
        reply.ok();
        Ok(())
    })))
}

/// Starts a save on a thread of its own and answers at once. It has begun by then, so that whoever asks next hears
/// that it is in progress.
fn start(cx: &mut Context<'_>, job: impl FnOnce(&Shared) + Send + 'static, saves: &Saves) -> Handled {
    if let Err(error) = cx.shared.start_job(job) {
        saves.end(cx.now_ms, None);
        return Err(Failure::text(format!("ERR {error}")));
    }
    Ok(Flow::Done)
}

fn bgsave(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    if args.len() > 2 || args.get(1).is_some_and(|option| !option.eq_ignore_ascii_case(b"schedule")) {
        return Err(SYNTAX);
    }
    cx.settle();
    let shared = std::sync::Arc::clone(cx.shared);
    if !shared.saves.begin(shared.now_ms()) {
        return Err(SAVING);
    }
    // A failure is logged and shown by INFO; this command has its answer by then.
    let flow = start(cx, |shared| drop(finish(shared, &shared.saves, make)), &shared.saves)?;
    cx.reply.simple("Background saving started");
    Ok(flow)
}

fn bgrewriteaof(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.settle();
    let shared = std::sync::Arc::clone(cx.shared);
    if !shared.rewrites.begin(shared.now_ms()) {
        return Err(REWRITING);
    }
    let flow = start(cx, |shared| drop(finish(shared, &shared.rewrites, rewrite)), &shared.rewrites)?;
    cx.reply.simple("Background append only file rewriting started");
    Ok(flow)
}

fn lastsave(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    let last_s = cx.shared.saves.last_s();
    cx.reply.unsigned(last_s.max(cx.shared.started_at_ms / 1000));
    Ok(Flow::Done)
}
