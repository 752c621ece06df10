//! Writing strings.

use terrace_resp::Args;

use super::options::{MILLISECONDS, SECONDS, Unit, integer};
use super::table::{
    ACCESS, Access, Command, DELETE, DENY_OOM, FAST, Flags, Handler, INSERT, ONE_KEY, OVERWRITE, PAIRS,
    READ_WRITE, UPDATE, VARIABLE, WRITE,
};
use super::{Flow, Handled};
use crate::context::{Context, announce_set};
use crate::failure::{Failure, STRING_TOO_LONG, SYNTAX};
use crate::notify::{GENERIC, STRING};
use crate::transaction::{MAX_VALUE_BYTES, check_write};

const fn command(
    name: &'static str,
    arity: i64,
    flags: Flags,
    since: &'static str,
    run: Handler,
    summary: &'static str,
) -> Command {
    Command::new(name, arity, "string", since, run, summary).flags(WRITE | flags).keys(ONE_KEY)
}

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] = &[
    command("set", -3, DENY_OOM, "1.0.0", set, "Sets the string value of a key, whatever it held.")
        .access(READ_WRITE | ACCESS | UPDATE | VARIABLE)
        .access_of(access_of_set),
    command(
        "setnx",
        3,
        DENY_OOM | FAST,
        "1.0.0",
        setnx,
        "Sets the string value of a key that does not exist.",
    )
    .access(OVERWRITE | INSERT),
    command("setex", 4, DENY_OOM, "2.0.0", setex, "Sets the string value and expiration time of a key.")
        .access(OVERWRITE | UPDATE),
    command(
        "psetex",
        4,
        DENY_OOM,
        "2.6.0",
        psetex,
        "Sets value and expiration time in milliseconds of a key.",
    )
    .access(OVERWRITE | UPDATE),
    command(
        "getset",
        3,
        DENY_OOM | FAST,
        "1.0.0",
        getset,
        "Sets the string value of a key, returns the old one.",
    ),
    command("getdel", 2, FAST, "6.2.0", getdel, "Returns the string value of a key after deleting the key.")
        .access(READ_WRITE | ACCESS | DELETE),
    command(
        "getex",
        -2,
        FAST,
        "6.2.0",
        getex,
        "Returns the string value of a key and sets its expiration time.",
    ),
    command("mset", -3, DENY_OOM, "1.0.1", mset, "Sets the string values of one or more keys.")
        .keys(PAIRS)
        .access(OVERWRITE | UPDATE),
    command(
        "msetnx",
        -3,
        DENY_OOM,
        "1.0.1",
        msetnx,
        "Sets the string values of keys if none of them exists.",
    )
    .keys(PAIRS)
    .access(OVERWRITE | INSERT),
    command("append", 3, DENY_OOM | FAST, "2.0.0", append, "Appends a string to the value of a key.")
        .access(READ_WRITE | INSERT),
    command("setrange", 4, DENY_OOM, "2.2.0", setrange, "Overwrites a part of a string value.")
        .access(READ_WRITE | UPDATE),
];

/// `SET` only reads the key if it is to return its old value.
fn access_of_set(args: Args<'_>) -> Access {
    let returns_old = args.from(3).iter().any(|arg| arg.eq_ignore_ascii_case(b"get"));
    if returns_old { READ_WRITE | ACCESS | UPDATE } else { OVERWRITE | UPDATE }
}

/// When a `SET` happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Condition {
    Always,
    IfAbsent,
    IfPresent,
}

/// The options of `SET` and `GETEX`.
struct SetOptions<'a> {
    condition: Condition,
    returns_old: bool,
    keeps_ttl: bool,
    persists: bool,
    expiry: Option<(Unit, &'a [u8])>,
}

impl<'a> SetOptions<'a> {
    /// Reads the options; `set` tells `SET`'s from `GETEX`'s.
    fn parse(args: Args<'a>, set: bool) -> Result<Self, Failure> {
        let mut options = Self {
            condition: Condition::Always,
            returns_old: false,
            keeps_ttl: false,
            persists: false,
            expiry: None,
        };
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            let is = |name: &str| arg.eq_ignore_ascii_case(name.as_bytes());
            // The same option again is taken, as in Redis, and the last one counts.
            let other = |unit: &Unit| options.expiry.is_some_and(|(given, _)| given != *unit);
            let may_expire = |unit: &Unit| !options.keeps_ttl && !options.persists && !other(unit);
            if set && is("nx") && options.condition != Condition::IfPresent {
                options.condition = Condition::IfAbsent;
            } else if set && is("xx") && options.condition != Condition::IfAbsent {
                options.condition = Condition::IfPresent;
            } else if set && is("get") {
                options.returns_old = true;
            } else if set && is("keepttl") && options.expiry.is_none() {
                options.keeps_ttl = true;
            } else if !set && is("persist") && options.expiry.is_none() {
                options.persists = true;
            } else if let Some(unit) = Unit::of_option(arg).filter(may_expire) {
                options.expiry = Some((unit, rest.next().ok_or(SYNTAX)?));
            } else {
                return Err(SYNTAX);
            }
        }
        Ok(options)
    }

    /// When the key is to expire.
    fn expires_at_ms(&self, now_ms: u64, command: &str) -> Result<Option<u64>, Failure> {
        self.expiry.map(|(unit, number)| unit.positive_at_ms(number, now_ms, command)).transpose()
    }
}

fn set(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let (key, value) = (&args[1], &args[2]);
    if args.len() == 3 {
        cx.write(&[(key, value)], None)?;
        cx.promise_ok();
        return Ok(Flow::Done);
    }
    let options = SetOptions::parse(args.from(3), true)?;
    let at = options.expires_at_ms(cx.now_ms, "set")?;
    if options.condition == Condition::Always && !options.returns_old && !options.keeps_ttl {
        cx.write(&[(key, value)], at)?;
        cx.promise_ok();
        return Ok(Flow::Done);
    }
    let (db, now_ms) = (cx.session.db, cx.now_ms);
    let (old, written) = cx.transact(|tx| {
        let old = if options.returns_old { tx.read_string(db, key)? } else { tx.read(db, key)? };
        let wanted = match options.condition {
            Condition::Always => true,
            Condition::IfAbsent => old.is_none(),
            Condition::IfPresent => old.is_some(),
        };
        if wanted {
            let kept = old.as_ref().and_then(|e| e.expires_at_ms).filter(|_| options.keeps_ttl);
            match at {
                Some(at) if at <= now_ms => tx.delete(db, key)?,
                _ => tx.put(db, key, value, at.or(kept))?,
            }
            announce_set(tx.effects(), db, key, at, now_ms);
        }
        Ok((old, wanted))
    })?;
    if options.returns_old {
        cx.reply.bulk_or_null(old.as_ref().map(|e| &*e.value));
    } else if written {
        cx.reply.ok();
    } else {
        cx.reply.null();
    }
    Ok(Flow::Done)
}

fn setnx(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let (db, key, value) = (cx.session.db, &args[1], &args[2]);
    let written = cx.transact(|tx| {
        let absent = tx.read(db, key)?.is_none();
        if absent {
            tx.put(db, key, value, None)?;
            tx.event(STRING, "set", db, key);
        }
        Ok(absent)
    })?;
    cx.reply.integer(i64::from(written));
    Ok(Flow::Done)
}

fn setex(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    set_expiring(cx, args, SECONDS, "setex")
}

fn psetex(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    set_expiring(cx, args, MILLISECONDS, "psetex")
}

fn set_expiring(cx: &mut Context<'_>, args: Args<'_>, unit: Unit, command: &str) -> Handled {
    let at = unit.positive_at_ms(&args[2], cx.now_ms, command)?;
    cx.write(&[(&args[1], &args[3])], Some(at))?;
    cx.promise_ok();
    Ok(Flow::Done)
}

fn getset(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let (db, key, value) = (cx.session.db, &args[1], &args[2]);
    let old = cx.transact(|tx| {
        let old = tx.read_string(db, key)?;
        tx.put(db, key, value, None)?;
        tx.event(STRING, "set", db, key);
        Ok(old)
    })?;
    cx.reply.bulk_or_null(old.as_ref().map(|e| &*e.value));
    Ok(Flow::Done)
}

fn getdel(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let (db, key) = (cx.session.db, &args[1]);
    let old = cx.transact(|tx| {
        let old = tx.read_string(db, key)?;
        if old.is_some() {
            tx.delete(db, key)?;
            tx.event(GENERIC, "del", db, key);
        }
        Ok(old)
    })?;
    cx.reply.bulk_or_null(old.as_ref().map(|e| &*e.value));
    Ok(Flow::Done)
}

fn getex(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let (db, key, now_ms) = (cx.session.db, &args[1], cx.now_ms);
    let options = SetOptions::parse(args.from(2), false)?;
    if options.expiry.is_none() && !options.persists {
        let entry = cx.lookup_string(key)?;
        cx.reply.bulk_or_null(entry.as_ref().map(|e| &*e.value));
        return Ok(Flow::Done);
    }
    let old = cx.transact(|tx| {
        let Some(old) = tx.read_string(db, key)? else { return Ok(None) };
        match options.expires_at_ms(now_ms, "getex")? {
            Some(at) if at <= now_ms => {
                tx.delete(db, key)?;
                tx.event(GENERIC, "del", db, key);
            }
            Some(at) => {
                tx.put(db, key, &old.value, Some(at))?;
                tx.event(GENERIC, "expire", db, key);
            }
            None if old.expires_at_ms.is_some() => {
                tx.put(db, key, &old.value, None)?;
                tx.event(GENERIC, "persist", db, key);
            }
            None => {}
        }
        Ok(Some(old))
    })?;
    cx.reply.bulk_or_null(old.as_ref().map(|e| &*e.value));
    Ok(Flow::Done)
}

/// A key and its value.
type Pair<'a> = (&'a [u8], &'a [u8]);

/// The keys and values of `MSET` and `MSETNX`, all of them checked.
fn pairs<'a>(args: Args<'a>, command: &str) -> Result<Vec<Pair<'a>>, Failure> {
    if args.len().is_multiple_of(2) {
        return Err(Failure::arity(command));
    }
    let keys = args.from(1).iter().step_by(2);
    let pairs: Vec<_> = keys.zip(args.from(2).iter().step_by(2)).collect();
    for (key, value) in &pairs {
        check_write(key, value.len())?;
    }
    Ok(pairs)
}

fn mset(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    cx.write(&pairs(args, "mset")?, None)?;
    cx.promise_ok();
    Ok(Flow::Done)
}

fn msetnx(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let db = cx.session.db;
    let pairs = pairs(args, "msetnx")?;
    let written = cx.transact(|tx| {
        for (key, _) in &pairs {
            if tx.read(db, key)?.is_some() {
                return Ok(false);
            }
        }
        for (key, value) in &pairs {
            tx.put(db, key, value, None)?;
            tx.event(STRING, "set", db, key);
        }
        Ok(true)
    })?;
    cx.reply.integer(i64::from(written));
    Ok(Flow::Done)
}

fn append(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let (db, key, tail) = (cx.session.db, &args[1], &args[2]);
    let len = cx.transact(|tx| {
        let old = tx.read_string(db, key)?;
        let old_value = old.as_ref().map_or(&[][..], |e| &e.value);
        if old_value.len() + tail.len() > MAX_VALUE_BYTES {
            return Err(STRING_TOO_LONG);
        }
        let value = [old_value, tail].concat();
        tx.put(db, key, &value, old.and_then(|e| e.expires_at_ms))?;
        tx.event(STRING, "append", db, key);
        Ok(value.len())
    })?;
    cx.reply.integer(len as i64);
    Ok(Flow::Done)
}

fn setrange(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let (db, key, part) = (cx.session.db, &args[1], &args[3]);
    let offset =
        usize::try_from(integer(&args[2])?).map_err(|_| Failure::fixed("ERR offset is out of range"))?;
    let len = cx.transact(|tx| {
        let old = tx.read_string(db, key)?;
        let old_value = old.as_ref().map_or(&[][..], |e| &e.value);
        if part.is_empty() {
            return Ok(old_value.len());
        }
        let end = offset.checked_add(part.len()).filter(|end| *end <= MAX_VALUE_BYTES);
        let end = end.ok_or(STRING_TOO_LONG)?;
        let mut value = old_value.to_vec();
        value.resize(value.len().max(end), 0);
        value[offset..end].copy_from_slice(part);
        tx.put(db, key, &value, old.and_then(|e| e.expires_at_ms))?;
        tx.event(STRING, "setrange", db, key);
        Ok(value.len())
    })?;
    cx.reply.integer(len as i64);
    Ok(Flow::Done)
}
