//! Keys, whatever they hold: presence, removal, renaming, copying, and what is known about one.

use std::collections::HashSet;

use terrace_resp::Args;
use terrace_resp::number::parse_i64;

use super::options::{database, integer};
use super::table::{
    ACCESS, ALL_KEYS, Access, Command, DELETE, DENY_OOM, FAST, FROM_AND_TO, Flags, Handler, INSERT, Keys,
    MOVED, NO_TOUCH, ONE_KEY, OVERWRITE, READ, READ_ONLY, READ_WRITE, REMOVE, SECOND, WRITE,
};
use super::{Flow, Handled};
use crate::context::Context;
use crate::failure::{Failure, NO_SUCH_KEY, SYNTAX};
use crate::hash::header::Header;
use crate::hash::{view, whole};
use crate::notify::GENERIC;
use crate::pending::Stored;
use crate::transaction::{TAG_HASH, TAG_STRING};

const fn command(
    name: &'static str,
    arity: i64,
    flags: Flags,
    keys: &'static [Keys],
    since: &'static str,
    run: Handler,
    summary: &'static str,
) -> Command {
    Command::new(name, arity, "generic", since, run, summary).flags(flags).keys(keys)
}

const REMOVES: Access = REMOVE | DELETE;

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] = &[
    command("del", -2, WRITE, ALL_KEYS, "1.0.0", del, "Deletes one or more keys.").access(REMOVES),
    command("unlink", -2, WRITE | FAST, ALL_KEYS, "4.0.0", del, "Deletes one or more keys.").access(REMOVES),
    command(
        "exists",
        -2,
        READ | FAST | NO_TOUCH,
        ALL_KEYS,
        "1.0.0",
        exists,
        "Counts those of the keys that exist.",
    )
    .access(READ_ONLY),
    command("touch", -2, READ | FAST, ALL_KEYS, "3.2.1", exists, "Counts those of the keys that exist.")
        .access(READ_ONLY),
    command(
        "type",
        2,
        READ | FAST | NO_TOUCH,
        ONE_KEY,
        "1.0.0",
        type_of,
        "Returns the type of the value stored at a key.",
    )
    .access(READ_ONLY),
    command("rename", 3, WRITE, MOVED, "1.0.0", rename, "Renames a key and overwrites the destination."),
    command(
        "renamenx",
        3,
        WRITE | FAST,
        MOVED_NX,
        "1.0.0",
        renamenx,
        "Renames a key to one that doesn't exist.",
    ),
    command(
        "copy",
        -3,
        WRITE | DENY_OOM,
        FROM_AND_TO,
        "6.2.0",
        copy,
        "Copies the value of a key to a new key.",
    ),
    command("move", 3, WRITE | FAST, ONE_KEY, "1.0.0", move_key, "Moves a key to another database."),
    container_of("object", "2.2.3", "A container for object introspection commands.", OBJECT),
];

const MOVED_NX: &[Keys] = &[Keys::at(1, READ_WRITE | ACCESS | DELETE), Keys::at(2, OVERWRITE | INSERT)];

const OBJECT: &[Command] = &[
    about_key("encoding", 3, "2.2.3", object_encoding, "Returns the encoding of a value."),
    about_key("refcount", 3, "2.2.3", object_refcount, "Returns the reference count of a value."),
    about_key("idletime", 3, "2.2.3", object_idletime, "Returns the time since the last access."),
    about_key("freq", 3, "4.0.0", object_freq, "Returns the access frequency of a value."),
];

const fn about_key(
    name: &'static str,
    arity: i64,
    since: &'static str,
    run: Handler,
    summary: &'static str,
) -> Command {
    command(name, arity, READ | NO_TOUCH, SECOND, since, run, summary).access(READ_ONLY)
}

/// A command of which only the subcommands run.
pub(super) const fn container_of(
    name: &'static str,
    since: &'static str,
    summary: &'static str,
    subcommands: &'static [Command],
) -> Command {
    Command::new(name, -2, "server", since, container, summary).subcommands(subcommands)
}

/// Never runs: a command with subcommands is replaced by one of them.
fn container(_: &mut Context<'_>, _: Args<'_>) -> Handled {
    Err(SYNTAX)
}

fn del(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let db = cx.session.db;
    let mut keys: Vec<&[u8]> = args.from(1).iter().collect();
    if keys.len() > 1 {
        let mut seen = HashSet::with_capacity(keys.len());
        keys.retain(|key| seen.insert(*key));
    }
    let removed = cx.transact(|tx| {
        let mut removed = 0;
        for key in &keys {
            if let Some(old) = tx.read(db, key)? {
                whole::remove(tx, db, key, &old)?;
                tx.event(GENERIC, "del", db, key);
                removed += 1;
            }
        }
        Ok(removed)
    })?;
    cx.reply.integer(removed);
    Ok(Flow::Done)
}

/// Counts a key as often as it is named.
fn exists(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let mut found = 0;
    let moment = cx.moment(args.len() - 1);
    for key in args.from(1).iter() {
        found += cx.lookup_many(&[key], moment.as_ref())?.iter().flatten().count();
    }
    cx.reply.unsigned(found as u64);
    Ok(Flow::Done)
}

/// The name of a type tag.
pub(super) fn type_name(tag: u8) -> &'static str {
    match tag {
        TAG_STRING => "string",
        TAG_HASH => "hash",
        _ => "unknown",
    }
}

fn type_of(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let entry = cx.lookup(&args[1])?;
    cx.reply.simple(entry.map_or("none", |e| type_name(e.tag)));
    Ok(Flow::Done)
}

fn rename(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    rename_unless(cx, args, false)?;
    cx.reply.ok();
    Ok(Flow::Done)
}

fn renamenx(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let done = rename_unless(cx, args, true)?;
    cx.reply.integer(i64::from(done));
    Ok(Flow::Done)
}

/// Renames a key; with `only_if_absent`, not onto one that exists. Onto itself, nothing happens.
fn rename_unless(cx: &mut Context<'_>, args: Args<'_>, only_if_absent: bool) -> Result<bool, Failure> {
    let (db, from, to) = (cx.session.db, &args[1], &args[2]);
    cx.transact(|tx| {
        let entry = tx.read(db, from)?.ok_or(NO_SUCH_KEY)?;
        if from == to {
            return Ok(!only_if_absent);
        }
        if only_if_absent && tx.read(db, to)?.is_some() {
            return Ok(false);
        }
        whole::rename(tx, db, from, to, &entry)?;
        tx.event(GENERIC, "rename_from", db, from);
        tx.event(GENERIC, "rename_to", db, to);
        Ok(true)
    })
}

fn copy(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let (from, to) = (&args[1], &args[2]);
    let (from_db, mut to_db, mut replace) = (cx.session.db, cx.session.db, false);
    let mut rest = args.from(3).iter();
    while let Some(arg) = rest.next() {
        if arg.eq_ignore_ascii_case(b"replace") {
            replace = true;
        } else if arg.eq_ignore_ascii_case(b"db") {
            to_db = database(rest.next().ok_or(SYNTAX)?)?;
        } else {
            return Err(SYNTAX);
        }
    }
    if from_db == to_db && from == to {
        return Err(Failure::fixed("ERR source and destination objects are the same"));
    }
    let done = cx.transact(|tx| {
        let Some(entry) = tx.read(from_db, from)? else { return Ok(false) };
        if let Some(overwritten) = tx.read(to_db, to)? {
            if !replace {
                return Ok(false);
            }
            whole::bury(tx, to_db, &overwritten);
        }
        whole::copy(tx, from_db, (to_db, to), &entry)?;
        tx.event(GENERIC, "copy_to", to_db, to);
        Ok(true)
    })?;
    cx.reply.integer(i64::from(done));
    Ok(Flow::Done)
}

/// A hash is copied field by field; it lives beside its database.
fn move_key(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let (db, key, to_db) = (cx.session.db, &args[1], database(&args[2])?);
    if db == to_db {
        return Err(Failure::fixed("ERR source and destination objects are the same"));
    }
    let done = cx.transact(|tx| {
        let Some(entry) = tx.read(db, key)? else { return Ok(false) };
        if tx.read(to_db, key)?.is_some() {
            return Ok(false);
        }
        whole::copy(tx, db, (to_db, key), &entry)?;
        whole::remove(tx, db, key, &entry)?;
        tx.event(GENERIC, "move_from", db, key);
        tx.event(GENERIC, "move_to", to_db, key);
        Ok(true)
    })?;
    cx.reply.integer(i64::from(done));
    Ok(Flow::Done)
}

/// How Redis would store a value.
pub(super) fn encoding(entry: &Stored) -> &'static str {
    match entry.value.len() {
        _ if entry.tag == TAG_HASH => match view::header_of(entry) {
            Ok(Header { large: false, had_expiry: false, .. }) => "listpack",
            Ok(Header { large: false, .. }) => "listpackex",
            _ => "hashtable",
        },
        0..=20 if parse_i64(&entry.value).is_some() => "int",
        0..=44 => "embstr",
        _ => "raw",
    }
}

fn object_encoding(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let entry = cx.lookup(&args[2])?;
    let encoding = entry.as_ref().map(encoding);
    cx.reply.bulk_or_null(encoding.map(str::as_bytes));
    Ok(Flow::Done)
}

/// The reference count of the small integers, of which Redis has one object each for all keys.
const SHARED: i64 = i32::MAX as i64;

fn object_refcount(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    match cx.lookup(&args[2])? {
        Some(entry) => {
            let number = (encoding(&entry) == "int").then(|| parse_i64(&entry.value)).flatten();
            let is_shared = number.is_some_and(|number| (0..10_000).contains(&number));
            cx.reply.integer(if is_shared { SHARED } else { 1 });
        }
        None => cx.reply.null(),
    }
    Ok(Flow::Done)
}

fn object_idletime(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    match cx.lookup(&args[2])? {
        Some(_) => cx.reply.unsigned(cx.shared.recency.idle_s(&args[2], cx.now_ms).into()),
        None => cx.reply.null(),
    }
    Ok(Flow::Done)
}

fn object_freq(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    if cx.lookup(&args[2])?.is_none() {
        cx.reply.null();
        return Ok(Flow::Done);
    }
    Err(Failure::fixed(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
         switching between policies at runtime LRU and LFU data will take some time to adjust.",
    ))
}

/// What an entry takes beside its bytes: its place in a memtable or block.
const ENTRY_OVERHEAD_BYTES: usize = 32;

pub(super) fn memory_usage(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    match args.len() {
        3 => {}
        5 if args[3].eq_ignore_ascii_case(b"samples") => {
            if integer(&args[4])? < 0 {
                return Err(SYNTAX);
            }
        }
        _ => return Err(SYNTAX),
    }
    let key = &args[2];
    match cx.lookup(key)? {
        Some(entry) => cx.reply.unsigned((key.len() + entry.value.len() + ENTRY_OVERHEAD_BYTES) as u64),
        None => cx.reply.null(),
    }
    Ok(Flow::Done)
}
