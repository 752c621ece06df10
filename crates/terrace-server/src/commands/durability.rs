//! What writes survive: choosing it for a connection, and waiting for it.

use terrace_resp::Args;

use super::options::integer;
use super::table::{BLOCKING, CONNECTION, Command, FAST, LOADING, NO_SCRIPT, STALE};
use super::{Flow, Handled, shorten};
use crate::context::Context;
use crate::durability::Level;
use crate::failure::Failure;

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] = &[
    Command::new(
        "durability",
        -1,
        "connection",
        "terrace 0.1.0",
        durability,
        "Returns or sets what the writes of this connection survive once they are acknowledged.",
    )
    .flags(FAST | LOADING | STALE | NO_SCRIPT),
    Command::new("wait", 3, "generic", "3.0.0", wait, "Returns 0 at once: there are no replicas.")
        .flags(NO_SCRIPT | BLOCKING)
        .categories(CONNECTION),
    Command::new(
        "waitaof",
        4,
        "generic",
        "7.2.0",
        waitaof,
        "Waits until all earlier writes of this connection survive a power loss.",
    )
    .flags(NO_SCRIPT | BLOCKING)
    .categories(CONNECTION),
];

fn durability(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let store = cx.shared.store_level();
    let Some(name) = args.get(1).filter(|_| args.len() == 2) else {
        if args.len() > 2 {
            return Err(Failure::arity("durability"));
        }
        let level = cx.session.durability.unwrap_or(cx.shared.settings.durability()).max(store);
        cx.reply.bulk(level.name().as_bytes());
        return Ok(Flow::Done);
    };
    let Some(level) = Level::parse(name) else {
        let names = Level::ALL.map(Level::name).join(", ");
        return Err(Failure::text(format!(
            "ERR unknown durability '{}'; it is one of {names}",
            shorten(name, 32)
        )));
    };
    if let Some(reason) = level.refusal(store) {
        return Err(Failure::text(format!("ERR {reason}")));
    }
    cx.session.durability = Some(level);
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Reads a time-out in milliseconds.
fn timeout_ms(arg: &[u8]) -> Result<u64, Failure> {
    let ms = integer(arg).map_err(|_| Failure::fixed("ERR timeout is not an integer or out of range"))?;
    u64::try_from(ms).map_err(|_| Failure::fixed("ERR timeout is negative"))
}

fn wait(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    integer(&args[1])?;
    timeout_ms(&args[2])?;
    cx.reply.integer(0);
    Ok(Flow::Done)
}

/// Waits for the log of this server only: replicas that do not exist are not waited for.
fn waitaof(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let local = integer(&args[1])?;
    if !(0..=1).contains(&local) {
        return Err(Failure::fixed("ERR value is out of range, value must between 0 and 1"));
    }
    if integer(&args[2])? < 0 {
        return Err(Failure::fixed("ERR value is out of range, must be positive"));
    }
    let timeout_ms = timeout_ms(&args[3])?;
    if local == 1 && cx.shared.store_level() == Level::Memory {
        return Err(Failure::fixed(
            "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
        ));
    }
    // Between MULTI and EXEC nothing is written yet.
    if local == 1 && cx.many.is_none() {
        return Ok(Flow::Synced { timeout_ms });
    }
    cx.reply.array(2);
    cx.reply.integer(0);
    cx.reply.integer(0);
    Ok(Flow::Done)
}
