//! `DEBUG`: the few subcommands that tools and test suites send and that can be answered honestly. Who may use them
//! is for the parameter `enable-debug-command` to say.

use std::time::Duration;

use terrace_resp::Args;

use super::keys::{container_of, encoding};
use super::options::integer;
use super::table::{ADMIN, Command, Flags, Handler, LOADING, NO_MULTI, NO_SCRIPT, STALE};
use super::{Flow, Handled, debug_digest, debug_protocol, shorten};
use crate::context::Context;
use crate::failure::{Failure, NO_SUCH_KEY, NOT_A_FLOAT};

const fn command(name: &'static str, arity: i64, run: Handler, summary: &'static str) -> Command {
    Command::new(name, arity, "server", "1.0.0", run, summary).flags(ADMIN | NO_SCRIPT | LOADING | STALE)
}

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] =
    &[container_of("debug", "1.0.0", "A container for debugging commands.", SUBCOMMANDS)
        .flags(ADMIN | NO_SCRIPT | LOADING | STALE)];

/// What runs beside the loop and so cannot be part of one atomic step.
const BESIDE: Flags = ADMIN | NO_SCRIPT | LOADING | STALE | NO_MULTI;

const SUBCOMMANDS: &[Command] = &[
    command("change-repl-id", 2, accept, "Accepted for compatibility; does nothing."),
    command("digest", 2, debug_digest::digest, "Returns a digest of all data.").flags(BESIDE),
    command("digest-value", -2, debug_digest::digest_value, "Returns digests of what keys hold."),
    command("object", 3, object, "Returns what is known about the value at a key."),
    command("pause-cron", 3, accept, "Accepted for compatibility; does nothing."),
    command("protocol", 3, protocol, "Answers with a reply of a type."),
    command("quicklist-packed-threshold", 3, accept, "Accepted for compatibility; does nothing."),
    command("reload", -2, reload, "Syncs the log; there is nothing to load again.").flags(BESIDE),
    command("loadaof", 2, reload, "Syncs the log; there is nothing to load again.").flags(BESIDE),
    command("set-active-expire", 3, set_active_expire, "Stops active expiry (0) or not (1)."),
    command("sleep", 3, sleep, "Answers after so many seconds; other clients are served meanwhile."),
    command("stringmatch-len", -4, accept, "Accepted for compatibility; does nothing."),
];

fn protocol(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    check_allowed(cx)?;
    debug_protocol::protocol(cx, args)
}

/// Refuses clients that may not use these commands.
pub(super) fn check_allowed(cx: &Context<'_>) -> Result<(), Failure> {
    let allowed = match cx.shared.settings.get("enable-debug-command").as_str() {
        "yes" => true,
        "local" => cx.session.info.peer.is_local(),
        _ => false,
    };
    allowed.then_some(()).ok_or(Failure::fixed(
        "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from \
         a local connection, otherwise you need to set this option in the configuration file, and then restart the \
         server.",
    ))
}

fn accept(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    check_allowed(cx)?;
    cx.reply.ok();
    Ok(Flow::Done)
}

fn set_active_expire(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    check_allowed(cx)?;
    cx.shared.settings.set_expires_actively(integer(&args[2])? != 0);
    cx.reply.ok();
    Ok(Flow::Done)
}

fn reload(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    check_allowed(cx)?;
    cx.settle();
    Ok(Flow::Job(Box::new(|shared, reply| {
        shared.databases.store().sync()?;
        reply.ok();
        Ok(())
    })))
}

fn object(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    check_allowed(cx)?;
    let entry = cx.lookup(&args[2])?.ok_or(NO_SUCH_KEY)?;
    let (encoding, len, recency) = (encoding(&entry), entry.value.len(), &cx.shared.recency);
    cx.reply.simple(&format!(
        "Value at:0x0 refcount:1 encoding:{encoding} serializedlength:{len} lru:{} lru_seconds_idle:{}",
        recency.last_used_s(&args[2]) % (1 << 24),
        recency.idle_s(&args[2], cx.now_ms)
    ));
    Ok(Flow::Done)
}

/// The longest pause.
const MAX_SLEEP_S: f64 = 3600.0;

fn sleep(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    check_allowed(cx)?;
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
