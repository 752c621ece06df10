//! Expiry of fields: the `HEXPIRE` and `HTTL` families, and the commands that set or read fields together with it.

use terrace::Slice;
use terrace_resp::Args;
use terrace_resp::number::parse_i64;

use super::hash_read::read;
use super::hash_write::names;
use super::options::{MILLISECONDS, SECONDS, UNIX_MILLISECONDS, UNIX_SECONDS, Unit, integer};
use super::table::{
    ACCESS, Command, DELETE, DENY_OOM, FAST, Flags, Handler, ONE_KEY, READ, READ_WRITE, UPDATE, WRITE,
};
use super::{Flow, Handled, shorten};
use crate::context::Context;
use crate::failure::Failure;
use crate::hash::MAX_EXPIRY_MS;
use crate::hash::edit::Hash;
use crate::hash::view;

const fn command(
    name: &'static str,
    arity: i64,
    flags: Flags,
    since: &'static str,
    run: Handler,
    summary: &'static str,
) -> Command {
    Command::new(name, arity, "hash", since, run, summary).flags(FAST | flags).keys(ONE_KEY)
}

const EXPIRE: Flags = WRITE | DENY_OOM;

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] = &[
    command("hexpire", -6, EXPIRE, "7.4.0", hexpire, "Sets the expiration time of fields in seconds.")
        .access(READ_WRITE | UPDATE),
    command("hpexpire", -6, EXPIRE, "7.4.0", hpexpire, "Sets the expiration time of fields in milliseconds.")
        .access(READ_WRITE | UPDATE),
    command(
        "hexpireat",
        -6,
        EXPIRE,
        "7.4.0",
        hexpireat,
        "Sets the expiration time of fields to a Unix timestamp.",
    )
    .access(READ_WRITE | UPDATE),
    command(
        "hpexpireat",
        -6,
        EXPIRE,
        "7.4.0",
        hpexpireat,
        "Sets the expiration time of fields to a Unix milliseconds timestamp.",
    )
    .access(READ_WRITE | UPDATE),
    command("hpersist", -5, WRITE, "7.4.0", hpersist, "Removes the expiration time of fields.")
        .access(READ_WRITE | UPDATE),
    command("httl", -5, READ, "7.4.0", httl, "Returns the time to live of fields in seconds."),
    command("hpttl", -5, READ, "7.4.0", hpttl, "Returns the time to live of fields in milliseconds."),
    command(
        "hexpiretime",
        -5,
        READ,
        "7.4.0",
        hexpiretime,
        "Returns the expiration time of fields as a Unix timestamp.",
    ),
    command(
        "hpexpiretime",
        -5,
        READ,
        "7.4.0",
        hpexpiretime,
        "Returns the expiration time of fields as a Unix milliseconds timestamp.",
    ),
    command("hgetdel", -5, WRITE, "8.0.0", hgetdel, "Returns the values of fields and deletes them.")
        .access(READ_WRITE | ACCESS | DELETE),
    command(
        "hgetex",
        -5,
        WRITE,
        "8.0.0",
        hgetex,
        "Returns the values of fields, and optionally sets their expiration time.",
    ),
    command(
        "hsetex",
        -6,
        EXPIRE,
        "8.0.0",
        hsetex,
        "Sets the values of fields, and optionally their expiration time.",
    )
    .access(READ_WRITE | UPDATE),
];

const NO_FIELDS: Failure =
    Failure::fixed("ERR Mandatory argument FIELDS is missing or not at the right position");
const WRONG_COUNT: Failure =
    Failure::fixed("ERR The `numfields` parameter must match the number of arguments");
const NOT_POSITIVE: &str = "ERR Number of fields must be a positive integer";

/// The names after `FIELDS` (which is argument `at`) and their number.
fn fields_at<'a>(args: Args<'a>, at: usize, not_positive: &'static str) -> Result<Args<'a>, Failure> {
    if !args.get(at).is_some_and(|arg| arg.eq_ignore_ascii_case(b"fields")) {
        return Err(NO_FIELDS);
    }
    let count = args.get(at + 1).and_then(parse_i64).filter(|count| *count > 0);
    let count = count.ok_or(Failure::fixed(not_positive))?;
    let names = args.from(at + 2);
    if names.len() as u64 == count.unsigned_abs() { Ok(names) } else { Err(WRONG_COUNT) }
}

/// The time in milliseconds since the epoch that an argument stands for.
fn expiry_at(arg: &[u8], unit: Unit, now_ms: u64, command: &str) -> Result<u64, Failure> {
    let number = integer(arg)?;
    if number < 0 {
        return Err(Failure::fixed("ERR invalid expire time, must be >= 0"));
    }
    let at = unit.at_ms(number, now_ms, command)?;
    if at > MAX_EXPIRY_MS as i64 {
        return Err(Failure::invalid_expire(command));
    }
    Ok(at.unsigned_abs())
}

/// When an expiry is replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Condition {
    Always,
    IfNone,
    IfSome,
    IfLater,
    IfSooner,
}

impl Condition {
    fn parse(arg: &[u8]) -> Self {
        match arg.to_ascii_lowercase().as_slice() {
            b"nx" => Self::IfNone,
            b"xx" => Self::IfSome,
            b"gt" => Self::IfLater,
            b"lt" => Self::IfSooner,
            _ => Self::Always,
        }
    }

    /// No expiry counts as the latest one.
    fn allows(self, old: Option<u64>, new: u64) -> bool {
        match self {
            Self::Always => true,
            Self::IfNone => old.is_none(),
            Self::IfSome => old.is_some(),
            Self::IfLater => old.is_some_and(|old| new > old),
            Self::IfSooner => old.is_none_or(|old| new < old),
        }
    }
}

fn hexpire(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    expire(cx, args, SECONDS, "hexpire")
}

fn hpexpire(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    expire(cx, args, MILLISECONDS, "hpexpire")
}

fn hexpireat(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    expire(cx, args, UNIX_SECONDS, "hexpireat")
}

fn hpexpireat(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    expire(cx, args, UNIX_MILLISECONDS, "hpexpireat")
}

/// Answers for each field −2 (there is none), 0 (the condition is not met), 1, or 2 (removed: the time has passed).
fn expire(cx: &mut Context<'_>, args: Args<'_>, unit: Unit, command: &str) -> Handled {
    let (db, key, wall_ms) = (cx.session.db, &args[1], cx.now_ms);
    let codes = cx.transact(|tx| {
        // A wrong type comes before wrong arguments, so these are looked at here.
        view::header(tx, db, key)?;
        let at = expiry_at(&args[2], unit, wall_ms, command)?;
        let condition = Condition::parse(&args[3]);
        let position = if condition == Condition::Always { 3 } else { 4 };
        let names = fields_at(args, position, "ERR Parameter `numFields` should be greater than 0")?;
        let Some(mut hash) = Hash::open(tx, db, key, names.iter())? else { return Ok(vec![-2; names.len()]) };
        let mut codes = Vec::with_capacity(names.len());
        for name in names.iter() {
            let code = match hash.get(name).map(|field| field.expires_at_ms) {
                None => -2,
                Some(old) if !condition.allows(old, at) => 0,
                Some(_) if at <= hash.now_ms() => {
                    hash.remove(name)?;
                    2
                }
                Some(_) => {
                    hash.expire(name, Some(at))?;
                    1
                }
            };
            codes.push(code);
        }
        hash.close_as(if codes.contains(&1) { "hexpire" } else { "hdel" })?;
        Ok(codes)
    })?;
    integers(cx, &codes);
    Ok(Flow::Done)
}

fn integers(cx: &mut Context<'_>, codes: &[i64]) {
    cx.reply.array(codes.len());
    for code in codes {
        cx.reply.integer(*code);
    }
}

fn hpersist(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let (db, key) = (cx.session.db, &args[1]);
    let codes = cx.transact(|tx| {
        view::header(tx, db, key)?;
        let names = fields_at(args, 2, NOT_POSITIVE)?;
        let Some(mut hash) = Hash::open(tx, db, key, names.iter())? else { return Ok(vec![-2; names.len()]) };
        let mut codes = Vec::with_capacity(names.len());
        for name in names.iter() {
            let code = match hash.get(name).map(|field| field.expires_at_ms) {
                None => -2,
                Some(None) => -1,
                Some(Some(_)) => {
                    hash.expire(name, None)?;
                    1
                }
            };
            codes.push(code);
        }
        hash.close_as("hpersist")?;
        Ok(codes)
    })?;
    integers(cx, &codes);
    Ok(Flow::Done)
}

fn httl(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    show(cx, args, |at, now_ms| at.saturating_sub(now_ms).div_ceil(1000))
}

fn hpttl(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    show(cx, args, u64::saturating_sub)
}

fn hexpiretime(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    show(cx, args, |at, _| at.div_ceil(1000))
}

fn hpexpiretime(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    show(cx, args, |at, _| at)
}

/// Answers for each field −2 (there is none), −1 (no expiry), or what `convert` makes of expiry and time.
fn show(cx: &mut Context<'_>, args: Args<'_>, convert: impl Fn(u64, u64) -> u64) -> Handled {
    let now_ms = cx.now_ms;
    let found = read(cx, &args[1], |tx, db, header| {
        let names = fields_at(args, 2, NOT_POSITIVE)?;
        view::fields(tx, db, header, names.iter())
    })?;
    let names = fields_at(args, 2, NOT_POSITIVE)?;
    let codes: Vec<i64> = found
        .unwrap_or_else(|| vec![None; names.len()])
        .into_iter()
        .map(|field| match field.map(|stored| stored.expires_at_ms) {
            None => -2,
            Some(None) => -1,
            Some(Some(at)) => i64::try_from(convert(at, now_ms)).unwrap_or(i64::MAX),
        })
        .collect();
    integers(cx, &codes);
    Ok(Flow::Done)
}

/// Answers with the values of fields, or nulls.
fn values(cx: &mut Context<'_>, values: &[Option<Slice>]) {
    cx.reply.array(values.len());
    for value in values {
        cx.reply.bulk_or_null(value.as_deref());
    }
}

fn hgetdel(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let (db, key) = (cx.session.db, &args[1]);
    let (there, found) = cx.transact(|tx| {
        view::header(tx, db, key)?;
        let names = fields_at(args, 2, NOT_POSITIVE)?;
        let Some(mut hash) = Hash::open(tx, db, key, names.iter())? else {
            return Ok((false, vec![None; names.len()]));
        };
        let (mut found, mut removed) = (Vec::with_capacity(names.len()), false);
        for name in names.iter() {
            found.push(hash.get(name).map(|field| field.value.clone()));
            removed |= hash.remove(name)?;
        }
        // If all that it did was to find fields expired, it says only that.
        if removed {
            hash.close_as("hdel")?;
        } else {
            hash.close()?;
        }
        Ok((true, found))
    })?;
    if !there {
        cx.remove_expired(key);
    }
    values(cx, &found);
    Ok(Flow::Done)
}

/// What `HGETEX` does to the expiry of the fields it reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Change {
    Keep,
    Remove,
    Set(u64),
}

impl Change {
    /// The change and the position of `FIELDS`.
    fn parse(args: Args<'_>, now_ms: u64) -> Result<(Self, usize), Failure> {
        if args[2].eq_ignore_ascii_case(b"persist") {
            return Ok((Self::Remove, 3));
        }
        match Unit::of_option(&args[2]) {
            Some(unit) => Ok((Self::Set(expiry_at(&args[3], unit, now_ms, "hgetex")?), 4)),
            None => Ok((Self::Keep, 2)),
        }
    }
}

fn hgetex(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let (db, key, wall_ms) = (cx.session.db, &args[1], cx.now_ms);
    let (there, found) = cx.transact(|tx| {
        view::header(tx, db, key)?;
        let (change, position) = Change::parse(args, wall_ms)?;
        let names = fields_at(args, position, NOT_POSITIVE)?;
        let Some(mut hash) = Hash::open(tx, db, key, names.iter())? else {
            return Ok((false, vec![None; names.len()]));
        };
        let mut found = Vec::with_capacity(names.len());
        for name in names.iter() {
            found.push(hash.get(name).map(|field| field.value.clone()));
            match change {
                Change::Keep => {}
                Change::Remove => hash.expire(name, None)?,
                Change::Set(at) if at <= hash.now_ms() => drop(hash.remove(name)?),
                Change::Set(at) => hash.expire(name, Some(at))?,
            }
        }
        hash.close_as(match change {
            Change::Set(at) if at <= wall_ms => "hdel",
            Change::Set(_) => "hexpire",
            Change::Keep | Change::Remove => "hpersist",
        })?;
        Ok((true, found))
    })?;
    if !there {
        cx.remove_expired(key);
    }
    values(cx, &found);
    Ok(Flow::Done)
}

/// What is to happen to the expiry of fields that `HSETEX` sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ttl {
    None,
    Keep,
    At(u64),
}

/// The options of `HSETEX`.
struct SetOptions<'a> {
    /// `Some(true)` for `FXX`, `Some(false)` for `FNX`.
    if_present: Option<bool>,
    ttl: Ttl,
    /// Names and values in turn.
    pairs: Args<'a>,
}

impl<'a> SetOptions<'a> {
    fn parse(args: Args<'a>, now_ms: u64) -> Result<Self, Failure> {
        let mut options = Self { if_present: None, ttl: Ttl::None, pairs: args };
        let mut at = 2;
        while let Some(arg) = args.get(at) {
            let name = arg.to_ascii_lowercase();
            let unit = Unit::of_option(arg);
            match name.as_slice() {
                b"fields" => {
                    options.pairs = pairs_at(args, at)?;
                    return Ok(options);
                }
                b"fxx" | b"fnx" if options.if_present.is_some() => {
                    return Err(Failure::fixed("ERR Only one of FXX or FNX arguments can be specified"));
                }
                b"fxx" | b"fnx" => options.if_present = Some(name == b"fxx"),
                b"keepttl" | b"ex" | b"px" | b"exat" | b"pxat" if options.ttl != Ttl::None => {
                    return Err(Failure::fixed(
                        "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
                    ));
                }
                b"keepttl" => options.ttl = Ttl::Keep,
                _ => {
                    let Some(unit) = unit else {
                        return Err(Failure::text(format!("ERR unknown argument: {}", shorten(arg, 128))));
                    };
                    at += 1;
                    let number = args.get(at).ok_or(Failure::fixed("ERR missing expire time"))?;
                    options.ttl = Ttl::At(expiry_at(number, unit, now_ms, "hsetex")?);
                }
            }
            at += 1;
        }
        Err(Failure::arity("hsetex"))
    }
}

/// The names and values after `FIELDS` (which is argument `at`) and their number.
fn pairs_at(args: Args<'_>, at: usize) -> Result<Args<'_>, Failure> {
    if at + 3 >= args.len() {
        return Err(Failure::arity("hsetex"));
    }
    let count = parse_i64(&args[at + 1]).filter(|count| (1..=i64::from(i32::MAX)).contains(count));
    let count = count.ok_or(Failure::fixed("ERR invalid number of fields"))?;
    let pairs = args.from(at + 2);
    if pairs.len() as i64 == 2 * count { Ok(pairs) } else { Err(Failure::arity("hsetex")) }
}

fn hsetex(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let options = SetOptions::parse(args, cx.now_ms)?;
    let (db, key, pairs) = (cx.session.db, &args[1], options.pairs);
    let done = cx.transact(|tx| {
        let mut hash = Hash::open_or_create(tx, db, key, names(pairs, 0))?;
        if let Some(present) = options.if_present
            && names(pairs, 0).any(|name| hash.get(name).is_some() != present)
        {
            return Ok(false);
        }
        for (name, value) in names(pairs, 0).zip(names(pairs, 1)) {
            let at = match options.ttl {
                Ttl::None => None,
                Ttl::Keep => hash.get(name).and_then(|field| field.expires_at_ms),
                Ttl::At(at) if at <= hash.now_ms() => {
                    hash.remove(name)?;
                    continue;
                }
                Ttl::At(at) => Some(at),
            };
            hash.set(name, value, at)?;
        }
        let second = match options.ttl {
            Ttl::None | Ttl::Keep => None,
            Ttl::At(at) if at <= hash.now_ms() => Some("hdel"),
            Ttl::At(_) => Some("hexpire"),
        };
        hash.close_as_both("hset", second)?;
        Ok(true)
    })?;
    cx.reply.integer(i64::from(done));
    Ok(Flow::Done)
}
