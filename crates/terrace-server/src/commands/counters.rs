//! Counters: strings that hold a number.

use terrace_resp::Args;
use terrace_resp::number::parse_i64;

use super::options::integer;
use super::table::{Command, DENY_OOM, FAST, Handler, ONE_KEY, WRITE};
use super::{Flow, Handled};
use crate::context::Context;
use crate::decimal::Decimal;
use crate::failure::{Failure, NOT_A_FLOAT, NOT_AN_INTEGER};
use crate::notify::STRING;

const fn command(
    name: &'static str,
    arity: i64,
    since: &'static str,
    run: Handler,
    summary: &'static str,
) -> Command {
    Command::new(name, arity, "string", since, run, summary).flags(WRITE | DENY_OOM | FAST).keys(ONE_KEY)
}

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] = &[
    command("incr", 2, "1.0.0", incr, "Increments the integer value of a key by one."),
    command("decr", 2, "1.0.0", decr, "Decrements the integer value of a key by one."),
    command("incrby", 3, "1.0.0", incrby, "Increments the integer value of a key by a number."),
    command("decrby", 3, "1.0.0", decrby, "Decrements the integer value of a key by a number."),
    command("incrbyfloat", 3, "2.6.0", incrbyfloat, "Increments the floating point value of a key."),
];

fn incr(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    add(cx, &args[1], 1)
}

fn decr(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    add(cx, &args[1], -1)
}

fn incrby(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let delta = integer(&args[2])?;
    add(cx, &args[1], delta)
}

fn decrby(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let delta = integer(&args[2])?;
    let delta = delta.checked_neg().ok_or(Failure::fixed("ERR decrement would overflow"))?;
    add(cx, &args[1], delta)
}

fn add(cx: &mut Context<'_>, key: &[u8], delta: i64) -> Handled {
    let db = cx.session.db;
    let sum = cx.transact(|tx| {
        let old = tx.read_string(db, key)?;
        let number = old.as_ref().map_or(Some(0), |e| parse_i64(&e.value)).ok_or(NOT_AN_INTEGER)?;
        let sum =
            number.checked_add(delta).ok_or(Failure::fixed("ERR increment or decrement would overflow"))?;
        tx.put(db, key, sum.to_string().as_bytes(), old.and_then(|e| e.expires_at_ms))?;
        tx.event(STRING, "incrby", db, key);
        Ok(sum)
    })?;
    cx.reply.integer(sum);
    Ok(Flow::Done)
}

fn incrbyfloat(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let (db, key) = (cx.session.db, &args[1]);
    let delta = Decimal::parse(&args[2]);
    let sum = cx.transact(|tx| {
        let old = tx.read_string(db, key)?;
        let number = match &old {
            None => Decimal::ZERO,
            Some(entry) => Decimal::parse(&entry.value).ok_or(NOT_A_FLOAT)?,
        };
        let sum = number
            .plus(delta.ok_or(NOT_A_FLOAT)?)
            .ok_or(Failure::fixed("ERR increment would produce NaN or Infinity"))?;
        let text = sum.format();
        tx.put(db, key, text.as_bytes(), old.and_then(|e| e.expires_at_ms))?;
        tx.event(STRING, "incrbyfloat", db, key);
        Ok(text)
    })?;
    cx.reply.bulk(sum.as_bytes());
    Ok(Flow::Done)
}
