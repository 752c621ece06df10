//! Reading hashes: `HGET` and those that return more of one.

use terrace_resp::{Args, Encoder};

use super::table::{Command, FAST, Flags, Handler, ONE_KEY, READ, READ_ONLY};
use super::{Flow, Handled};
use crate::context::Context;
use crate::failure::Failure;
use crate::hash::header::Header;
use crate::hash::view::{self, Row};
use crate::transaction::{self, Transaction};

const fn command(
    name: &'static str,
    arity: i64,
    flags: Flags,
    since: &'static str,
    run: Handler,
    summary: &'static str,
) -> Command {
    Command::new(name, arity, "hash", since, run, summary).flags(READ | flags).keys(ONE_KEY)
}

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] = &[
    command("hget", 3, FAST, "2.0.0", hget, "Returns the value of a field in a hash."),
    command("hmget", -3, FAST, "2.0.0", hmget, "Returns the values of all fields in a hash."),
    command("hgetall", 2, 0, "2.0.0", hgetall, "Returns all fields and values in a hash."),
    command("hkeys", 2, 0, "2.0.0", hkeys, "Returns all fields in a hash."),
    command("hvals", 2, 0, "2.0.0", hvals, "Returns all values in a hash."),
    command("hlen", 2, FAST, "2.0.0", hlen, "Returns the number of fields in a hash.").access(READ_ONLY),
    command("hexists", 3, FAST, "2.0.0", hexists, "Determines whether a field exists in a hash.")
        .access(READ_ONLY),
    command("hstrlen", 3, FAST, "3.2.0", hstrlen, "Returns the length of the value of a field.")
        .access(READ_ONLY),
];

/// Hashes with more fields are read whole on a thread of their own.
const MAX_INLINE_FIELDS: u64 = 10_000;
/// Replies of at most so many fields are in the order of the names.
const MAX_SORTED_FIELDS: usize = 512;

/// Runs `body` on the hash at a key; `None` if there is none.
pub(super) fn read<T>(
    cx: &mut Context<'_>,
    key: &[u8],
    mut body: impl FnMut(&mut Transaction<'_>, u8, &Header) -> Result<T, Failure>,
) -> Result<Option<T>, Failure> {
    let db = cx.session.db;
    let mut passed = false;
    let found = cx.transact(|tx| match view::header(tx, db, key)? {
        Some(header) => {
            passed = header.has_passed(tx.now_ms());
            body(tx, db, &header).map(Some)
        }
        None => Ok(None),
    })?;
    cx.count_lookups(usize::from(found.is_some()), 1);
    if found.is_none() {
        cx.missed(key);
    } else if passed {
        cx.passed(key);
    }
    Ok(found)
}

/// What one field holds.
fn field(cx: &mut Context<'_>, args: Args<'_>) -> Result<Option<terrace::Slice>, Failure> {
    let names = [&args[2]];
    let found =
        read(cx, &args[1], |tx, db, header| Ok(view::fields(tx, db, header, names.into_iter())?.pop()))?;
    Ok(found.flatten().flatten().map(|stored| stored.value))
}

pub(super) fn hget(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let value = field(cx, args)?;
    cx.reply.bulk_or_null(value.as_deref());
    Ok(Flow::Done)
}

fn hexists(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let exists = field(cx, args)?.is_some();
    cx.reply.integer(i64::from(exists));
    Ok(Flow::Done)
}

fn hstrlen(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let len = field(cx, args)?.map_or(0, |value| value.len());
    cx.reply.unsigned(len as u64);
    Ok(Flow::Done)
}

pub(super) fn hmget(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let names = args.from(2);
    let found = read(cx, &args[1], |tx, db, header| view::fields(tx, db, header, names.iter()))?;
    cx.reply.array(names.len());
    let values = found.unwrap_or_else(|| vec![None; names.len()]);
    for value in values {
        cx.reply.bulk_or_null(value.as_ref().map(|stored| &*stored.value));
    }
    Ok(Flow::Done)
}

fn hlen(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let len = read(cx, &args[1], |tx, db, header| view::len(tx, db, header))?;
    cx.reply.unsigned(len.unwrap_or(0));
    Ok(Flow::Done)
}

/// What of each field is returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Names,
    Values,
    Both,
}

impl Part {
    fn write(self, reply: &mut Encoder<'_>, mut rows: Vec<Row>) {
        if rows.len() <= MAX_SORTED_FIELDS {
            rows.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        }
        match self {
            Self::Both => reply.map(rows.len()),
            _ => reply.array(rows.len()),
        }
        for row in &rows {
            if self != Self::Values {
                reply.bulk(row.name());
            }
            if self != Self::Names {
                reply.bulk(&row.value);
            }
        }
    }
}

fn hgetall(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    whole(cx, args, Part::Both)
}

fn hkeys(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    whole(cx, args, Part::Names)
}

fn hvals(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    whole(cx, args, Part::Values)
}

fn whole(cx: &mut Context<'_>, args: Args<'_>, part: Part) -> Handled {
    let (db, key) = (cx.session.db, &args[1]);
    let max_bytes = cx.shared.config.output_hard_bytes;
    let max_fields = if cx.many.is_some() { u64::MAX } else { MAX_INLINE_FIELDS };
    let rows = read(cx, key, |tx, db, header| {
        let inline = header.len <= max_fields;
        inline.then(|| view::rows(tx, db, header, max_bytes)).transpose()
    })?;
    if let Some(None) = rows {
        let key = key.to_vec();
        return Ok(Flow::Job(Box::new(move |shared, reply| {
            let outcome = transaction::run(shared, 0, |tx| {
                let Some(header) = view::header(tx, db, &key)? else { return Ok(Vec::new()) };
                view::rows(tx, db, &header, max_bytes)
            })?;
            part.write(reply, outcome.value);
            Ok(())
        })));
    }
    part.write(&mut cx.reply, rows.flatten().unwrap_or_default());
    Ok(Flow::Done)
}
