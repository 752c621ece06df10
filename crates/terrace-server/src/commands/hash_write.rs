//! Writing hashes: setting, removing and counting in fields.

use terrace::Slice;
use terrace_resp::Args;
use terrace_resp::number::parse_i64;

use super::options::integer;
use super::table::{
    Access, Command, DELETE, DENY_OOM, FAST, Flags, GROUPED, Handler, INSERT, ONE_KEY, READ_WRITE, UPDATE,
    WRITE,
};
use super::{Flow, Handled};
use crate::context::Context;
use crate::decimal::Decimal;
use crate::failure::{Failure, NOT_A_FLOAT};
use crate::hash::edit::Hash;

const fn command(
    name: &'static str,
    arity: i64,
    flags: Flags,
    since: &'static str,
    run: Handler,
    summary: &'static str,
) -> Command {
    Command::new(name, arity, "hash", since, run, summary).flags(WRITE | FAST | GROUPED | flags).keys(ONE_KEY)
}

const SETS: Access = READ_WRITE | UPDATE;

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] = &[
    command("hset", -4, DENY_OOM, "2.0.0", hset, "Creates or modifies the value of a field in a hash.")
        .access(SETS),
    command("hmset", -4, DENY_OOM, "2.0.0", hmset, "Sets the values of multiple fields.").access(SETS),
    command(
        "hsetnx",
        4,
        DENY_OOM,
        "2.0.0",
        hsetnx,
        "Sets the value of a field in a hash only when the field doesn't exist.",
    )
    .access(READ_WRITE | INSERT),
    command("hdel", -3, 0, "2.0.0", hdel, "Deletes one or more fields and their values from a hash.")
        .access(READ_WRITE | DELETE),
    command(
        "hincrby",
        4,
        DENY_OOM,
        "2.0.0",
        hincrby,
        "Increments the integer value of a field in a hash by a number.",
    ),
    command(
        "hincrbyfloat",
        4,
        DENY_OOM,
        "2.6.0",
        hincrbyfloat,
        "Increments the floating point value of a field by a number.",
    ),
];

/// Every second argument, from `first` on.
pub(super) fn names(args: Args<'_>, first: usize) -> impl Iterator<Item = &[u8]> {
    args.from(first).iter().step_by(2)
}

/// Sets the fields named by the arguments; the number of new ones.
fn set_fields(cx: &mut Context<'_>, args: Args<'_>, command: &str) -> Result<i64, Failure> {
    if !args.len().is_multiple_of(2) {
        return Err(Failure::arity(command));
    }
    let (db, key) = (cx.session.db, &args[1]);
    cx.transact(|tx| {
        let mut hash = Hash::open_or_create(tx, db, key, names(args, 2))?;
        let mut created = 0;
        for (name, value) in names(args, 2).zip(names(args, 3)) {
            created += i64::from(hash.set(name, value, None)?);
        }
        hash.close_as("hset")?;
        Ok(created)
    })
}

fn hset(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let created = set_fields(cx, args, "hset")?;
    cx.reply.integer(created);
    Ok(Flow::Done)
}

fn hmset(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    set_fields(cx, args, "hmset")?;
    cx.reply.ok();
    Ok(Flow::Done)
}

fn hsetnx(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let (db, key, name, value) = (cx.session.db, &args[1], &args[2], &args[3]);
    let created = cx.transact(|tx| {
        let mut hash = Hash::open_or_create(tx, db, key, [name].into_iter())?;
        if hash.get(name).is_some() {
            return Ok(false);
        }
        hash.set(name, value, None)?;
        hash.close_as("hset")?;
        Ok(true)
    })?;
    cx.reply.integer(i64::from(created));
    Ok(Flow::Done)
}

fn hdel(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let (db, key) = (cx.session.db, &args[1]);
    let removed = cx.transact(|tx| {
        let Some(mut hash) = Hash::open(tx, db, key, args.from(2).iter())? else { return Ok(0) };
        let mut removed = 0;
        for name in args.from(2).iter() {
            removed += i64::from(hash.remove(name)?);
        }
        hash.close_as("hdel")?;
        Ok(removed)
    })?;
    cx.reply.integer(removed);
    Ok(Flow::Done)
}

/// Replaces a field by what `change` makes of it; its expiry stays.
fn update<T>(
    cx: &mut Context<'_>,
    args: Args<'_>,
    event: &'static str,
    mut change: impl FnMut(Option<&Slice>) -> Result<(T, String), Failure>,
) -> Result<T, Failure> {
    let (db, key, name) = (cx.session.db, &args[1], &args[2]);
    cx.transact(|tx| {
        let mut hash = Hash::open_or_create(tx, db, key, [name].into_iter())?;
        let old = hash.get(name);
        let expires_at_ms = old.and_then(|field| field.expires_at_ms);
        let (result, text) = change(old.map(|field| &field.value))?;
        hash.set(name, text.as_bytes(), expires_at_ms)?;
        hash.close_as(event)?;
        Ok(result)
    })
}

fn hincrby(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let delta = integer(&args[3])?;
    let sum = update(cx, args, "hincrby", |old| {
        let number = old.map_or(Some(0), |value| parse_i64(value));
        let number = number.ok_or(Failure::fixed("ERR hash value is not an integer"))?;
        let overflow = Failure::fixed("ERR increment or decrement would overflow");
        let sum = number.checked_add(delta).ok_or(overflow)?;
        Ok((sum, sum.to_string()))
    })?;
    cx.reply.integer(sum);
    Ok(Flow::Done)
}

fn hincrbyfloat(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let delta = Decimal::parse(&args[3]).ok_or(NOT_A_FLOAT)?;
    if delta.plus(Decimal::ZERO).is_none() {
        return Err(Failure::fixed("ERR value is NaN or Infinity"));
    }
    let sum = update(cx, args, "hincrbyfloat", |old| {
        let number = old.map_or(Some(Decimal::ZERO), |value| Decimal::parse(value));
        let number = number.ok_or(Failure::fixed("ERR hash value is not a float"))?;
        let infinite = Failure::fixed("ERR increment would produce NaN or Infinity");
        let text = number.plus(delta).ok_or(infinite)?.format();
        Ok((text.clone(), text))
    })?;
    cx.reply.bulk(sum.as_bytes());
    Ok(Flow::Done)
}
