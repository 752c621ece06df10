//! Expiry: setting, reading and removing a key's time to live.

use terrace_resp::Args;

use super::options::{MILLISECONDS, SECONDS, UNIX_MILLISECONDS, UNIX_SECONDS, Unit, integer};
use super::table::{Command, FAST, Handler, NO_TOUCH, ONE_KEY, READ, READ_WRITE, UPDATE, WRITE};
use super::{Flow, Handled, shorten};
use crate::context::Context;
use crate::failure::Failure;
use crate::hash::whole;
use crate::notify::GENERIC;

const fn command(
    name: &'static str,
    arity: i64,
    since: &'static str,
    run: Handler,
    summary: &'static str,
) -> Command {
    Command::new(name, arity, "generic", since, run, summary).flags(FAST).keys(ONE_KEY)
}

const fn sets(name: &'static str, since: &'static str, run: Handler, summary: &'static str) -> Command {
    command(name, -3, since, run, summary).flags(WRITE).access(READ_WRITE | UPDATE)
}

const fn shows(name: &'static str, since: &'static str, run: Handler, summary: &'static str) -> Command {
    command(name, 2, since, run, summary).flags(READ | NO_TOUCH)
}

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] = &[
    sets("expire", "1.0.0", expire, "Sets the expiration time of a key in seconds."),
    sets("pexpire", "2.6.0", pexpire, "Sets the expiration time of a key in milliseconds."),
    sets("expireat", "1.2.0", expireat, "Sets the expiration time of a key to a Unix timestamp."),
    sets(
        "pexpireat",
        "2.6.0",
        pexpireat,
        "Sets the expiration time of a key to a Unix milliseconds timestamp.",
    ),
    shows("ttl", "1.0.0", ttl, "Returns the expiration time in seconds of a key."),
    shows("pttl", "2.6.0", pttl, "Returns the expiration time in milliseconds of a key."),
    shows("expiretime", "7.0.0", expiretime, "Returns the expiration time of a key as a Unix timestamp."),
    shows("pexpiretime", "7.0.0", pexpiretime, "Returns the same as a Unix milliseconds timestamp."),
    command("persist", 2, "2.2.0", persist, "Removes the expiration time of a key.")
        .flags(WRITE)
        .access(READ_WRITE | UPDATE),
];

/// When an expiry is replaced.
#[allow(clippy::struct_excessive_bools)] // One per option, and they combine.
#[derive(Clone, Copy, Default, Debug)]
struct Conditions {
    if_none: bool,
    if_some: bool,
    if_later: bool,
    if_sooner: bool,
}

impl Conditions {
    fn parse(args: Args<'_>) -> Result<Self, Failure> {
        let mut conditions = Self::default();
        for arg in args.iter() {
            match arg.to_ascii_lowercase().as_slice() {
                b"nx" => conditions.if_none = true,
                b"xx" => conditions.if_some = true,
                b"gt" => conditions.if_later = true,
                b"lt" => conditions.if_sooner = true,
                _ => return Err(Failure::text(format!("ERR Unsupported option {}", shorten(arg, 128)))),
            }
        }
        if conditions.if_none && (conditions.if_some || conditions.if_later || conditions.if_sooner) {
            return Err(Failure::fixed(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if conditions.if_later && conditions.if_sooner {
            return Err(Failure::fixed("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(conditions)
    }

    /// Whether `new` may replace `old`; no expiry counts as the latest one.
    fn allow(self, old: Option<u64>, new: i64) -> bool {
        let old_ms = old.map_or(i64::MAX, |old| old as i64);
        !(self.if_none && old.is_some()
            || self.if_some && old.is_none()
            || self.if_later && (old.is_none() || new <= old_ms)
            || self.if_sooner && old.is_some() && new >= old_ms)
    }
}

fn expire(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    set_expiry(cx, args, SECONDS, "expire")
}

fn pexpire(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    set_expiry(cx, args, MILLISECONDS, "pexpire")
}

fn expireat(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    set_expiry(cx, args, UNIX_SECONDS, "expireat")
}

fn pexpireat(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    set_expiry(cx, args, UNIX_MILLISECONDS, "pexpireat")
}

fn set_expiry(cx: &mut Context<'_>, args: Args<'_>, unit: Unit, command: &str) -> Handled {
    let conditions = Conditions::parse(args.from(3))?;
    let at = unit.at_ms(integer(&args[2])?, cx.now_ms, command)?;
    let (db, key, now_ms) = (cx.session.db, &args[1], cx.now_ms as i64);
    let done = cx.transact(|tx| {
        let Some(old) = tx.read(db, key)? else { return Ok(false) };
        if !conditions.allow(old.expires_at_ms, at) {
            return Ok(false);
        }
        if at <= now_ms {
            whole::remove(tx, db, key, &old)?;
            tx.event(GENERIC, "del", db, key);
        } else {
            whole::set_key_expiry(tx, db, key, &old, Some(at.unsigned_abs()))?;
            tx.event(GENERIC, "expire", db, key);
        }
        Ok(true)
    })?;
    cx.reply.integer(i64::from(done));
    Ok(Flow::Done)
}

fn persist(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let (db, key) = (cx.session.db, &args[1]);
    let done = cx.transact(|tx| match tx.read(db, key)? {
        Some(old) if old.expires_at_ms.is_some() => {
            whole::set_key_expiry(tx, db, key, &old, None)?;
            tx.event(GENERIC, "persist", db, key);
            Ok(true)
        }
        _ => Ok(false),
    })?;
    cx.reply.integer(i64::from(done));
    Ok(Flow::Done)
}

fn ttl(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let now_ms = cx.now_ms;
    show(cx, &args[1], |at| (at.saturating_sub(now_ms) + 500) / 1000)
}

fn pttl(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let now_ms = cx.now_ms;
    show(cx, &args[1], |at| at.saturating_sub(now_ms))
}

fn expiretime(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    show(cx, &args[1], |at| (at.saturating_add(500)) / 1000)
}

fn pexpiretime(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    show(cx, &args[1], |at| at)
}

/// Answers −2 for no key, −1 for no expiry, otherwise what `convert` makes of the expiry.
fn show(cx: &mut Context<'_>, key: &[u8], convert: impl FnOnce(u64) -> u64) -> Handled {
    match cx.lookup(key)? {
        None => cx.reply.integer(-2),
        Some(entry) => match entry.expires_at_ms {
            None => cx.reply.integer(-1),
            Some(at) => cx.reply.unsigned(convert(at)),
        },
    }
    Ok(Flow::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_compare_with_the_old_expiry() {
        let with = |set: fn(&mut Conditions)| {
            let mut conditions = Conditions::default();
            set(&mut conditions);
            conditions
        };
        let later = with(|c| c.if_later = true);
        assert!(!later.allow(None, 10) && later.allow(Some(9), 10) && !later.allow(Some(10), 10));
        let sooner = with(|c| c.if_sooner = true);
        assert!(sooner.allow(None, 10) && sooner.allow(Some(11), 10) && !sooner.allow(Some(10), 10));
        let none = with(|c| c.if_none = true);
        assert!(none.allow(None, 10) && !none.allow(Some(1), 10));
        let some = with(|c| c.if_some = true);
        assert!(!some.allow(None, 10) && some.allow(Some(1), 10));
    }
}
