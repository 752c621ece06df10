//! For operators: emptying, syncing, compacting, time, shutdown.

use std::time::Duration;

use terrace_resp::Args;

use super::keys::container_of;
use super::options::integer;
use super::table::{
    ADMIN, ALLOW_BUSY, CONNECTION, Command, DANGEROUS, FAST, Flags, Handler, KEYSPACE, LOADING, NO_MULTI,
    NO_SCRIPT, STALE, WRITE,
};
use super::{Flow, Handled, debug_protocol, shorten};
use crate::context::Context;
use crate::databases::COUNT;
use crate::failure::{Failure, NOT_A_FLOAT, SYNTAX};

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

const EMPTIES: Flags = WRITE | DANGEROUS | NO_MULTI;

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] = &[
    command("flushdb", -1, EMPTIES, "1.0.0", flushdb, "Removes all keys from the current database.")
        .categories(KEYSPACE),
    command("flushall", -1, EMPTIES, "1.0.0", flushall, "Removes all keys from all databases.")
        .categories(KEYSPACE),
    command("time", 1, FAST | LOADING | STALE, "2.6.0", time, "Returns the server time."),
    command(
        "lastsave",
        1,
        FAST | LOADING | STALE | ADMIN,
        "1.0.0",
        lastsave,
        "Returns when the server started.",
    ),
    Command::new("wait", 3, "generic", "3.0.0", wait, "Returns 0 at once: there are no replicas.")
        .flags(NO_SCRIPT)
        .categories(CONNECTION),
    container_of("debug", "1.0.0", "A container for debugging commands.", DEBUG)
        .flags(ADMIN | NO_SCRIPT | LOADING | STALE),
    command(
        "shutdown",
        -1,
        ADMIN | NO_SCRIPT | LOADING | STALE | NO_MULTI | ALLOW_BUSY,
        "1.0.0",
        shutdown,
        "Syncs the log and shuts the server down.",
    ),
    command(
        "flush",
        1,
        ADMIN | NO_MULTI,
        "terrace 0.1.0",
        flush,
        "Syncs the log now: all earlier writes survive a power loss.",
    ),
    command(
        "compact",
        1,
        ADMIN | NO_MULTI,
        "terrace 0.1.0",
        compact,
        "Compacts everything down to the bottom level.",
    ),
];

const DEBUG: &[Command] = &[
    command("sleep", 3, ADMIN, "1.0.0", debug_sleep, "Answers after so many seconds."),
    command("protocol", 3, ADMIN, "6.0.0", debug_protocol::protocol, "Answers with a reply of a type."),
    command(
        "set-active-expire",
        3,
        ADMIN,
        "2.8.0",
        debug_set_active_expire,
        "Stops active expiry (0) or not (1).",
    ),
];

/// `ASYNC` and `SYNC` are accepted; emptying a database takes constant time either way.
fn check_flush_options(args: Args<'_>) -> Result<(), Failure> {
    match args.len() {
        1 => Ok(()),
        2 if args[1].eq_ignore_ascii_case(b"async") || args[1].eq_ignore_ascii_case(b"sync") => Ok(()),
        _ => Err(SYNTAX),
    }
}

fn flushdb(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    check_flush_options(args)?;
    cx.settle();
    cx.shared.databases.empty(cx.session.db)?;
    cx.shared.emptied();
    cx.reply.ok();
    Ok(Flow::Done)
}

fn flushall(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    check_flush_options(args)?;
    cx.settle();
    for index in 0..COUNT {
        cx.shared.databases.empty(index)?;
    }
    cx.shared.emptied();
    cx.reply.ok();
    Ok(Flow::Done)
}

/// The clock counts milliseconds, so the microseconds end in three zeros.
fn time(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    let now_ms = cx.shared.now_ms();
    cx.reply.array(2);
    cx.reply.bulk((now_ms / 1000).to_string().as_bytes());
    cx.reply.bulk((now_ms % 1000 * 1000).to_string().as_bytes());
    Ok(Flow::Done)
}

fn lastsave(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.reply.unsigned(cx.shared.started_at_ms / 1000);
    Ok(Flow::Done)
}

fn wait(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    integer(&args[1])?;
    if integer(&args[2]).map_err(|_| Failure::fixed("ERR timeout is not an integer or out of range"))? < 0 {
        return Err(Failure::fixed("ERR timeout is negative"));
    }
    cx.reply.integer(0);
    Ok(Flow::Done)
}

/// The longest `DEBUG SLEEP`.
const MAX_SLEEP_S: f64 = 3600.0;

fn debug_sleep(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    cx.settle();
    let seconds: f64 = shorten(&args[2], 32).parse().map_err(|_| NOT_A_FLOAT)?;
    let pause = Duration::try_from_secs_f64(seconds.clamp(0.0, MAX_SLEEP_S)).map_err(|_| NOT_A_FLOAT)?;
    if cx.many.is_some() {
        // Part of one step, so the loop waits.
        cx.shared.config.clock.sleep(pause);
        cx.reply.ok();
        return Ok(Flow::Done);
    }
    Ok(Flow::Job(Box::new(move |shared, reply| {
        shared.config.clock.sleep(pause);
        reply.ok();
        Ok(())
    })))
}

fn debug_set_active_expire(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    cx.shared.settings.set_expires_actively(integer(&args[2])? != 0);
    cx.reply.ok();
    Ok(Flow::Done)
}

fn shutdown(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    for arg in args.from(1).iter() {
        let known = [&b"nosave"[..], b"save", b"now", b"force"];
        if arg.eq_ignore_ascii_case(b"abort") {
            return Err(Failure::fixed("ERR No shutdown in progress."));
        }
        if !known.iter().any(|option| arg.eq_ignore_ascii_case(option)) {
            return Err(SYNTAX);
        }
    }
    cx.settle();
    cx.shared.stop();
    Ok(Flow::Close)
}

fn flush(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.settle();
    Ok(Flow::Job(Box::new(|shared, reply| {
        shared.databases.store().sync()?;
        reply.ok();
        Ok(())
    })))
}

fn compact(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.settle();
    Ok(Flow::Job(Box::new(|shared, reply| {
        shared.databases.store().compact_all()?;
        reply.ok();
        Ok(())
    })))
}
