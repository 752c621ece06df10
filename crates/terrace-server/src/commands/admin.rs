//! For operators: emptying, syncing, compacting, time, shutdown.

use std::ops::RangeInclusive;

use terrace_resp::Args;
use terrace_resp::number::parse_i64;

use super::table::{
    ADMIN, ALLOW_BUSY, ALONE, Command, DANGEROUS, FAST, Flags, Handler, KEYSPACE, LOADING, NO_MULTI,
    NO_SCRIPT, READ, STALE, WRITE,
};
use super::{Flow, Handled};
use crate::context::Context;
use crate::databases::COUNT;
use crate::failure::{Failure, SYNTAX};

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

const EMPTIES: Flags = WRITE | DANGEROUS | ALONE;

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] = &[
    command("flushdb", -1, EMPTIES, "1.0.0", flushdb, "Removes all keys from the current database.")
        .categories(KEYSPACE),
    command("flushall", -1, EMPTIES, "1.0.0", flushall, "Removes all keys from all databases.")
        .categories(KEYSPACE),
    command(
        "swapdb",
        3,
        WRITE | DANGEROUS | FAST | NO_MULTI,
        "4.0.0",
        swapdb,
        "Exchanges two databases for all clients.",
    )
    .categories(KEYSPACE),
    command("time", 1, FAST | LOADING | STALE, "2.6.0", time, "Returns the server time."),
    command("role", 1, FAST | LOADING | STALE | NO_SCRIPT, "2.8.12", role, "Returns that this is a master."),
    command("lolwut", -1, FAST | READ, "5.0.0", lolwut, "Draws a terraced hill and tells the version."),
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
    empty(cx, cx.session.db..=cx.session.db)?;
    cx.reply.ok();
    Ok(Flow::Done)
}

fn flushall(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    check_flush_options(args)?;
    empty(cx, 0..=COUNT - 1)?;
    cx.reply.ok();
    Ok(Flow::Done)
}

/// Empties databases, in a transaction with its commit.
fn empty(cx: &mut Context<'_>, databases: RangeInclusive<u8>) -> Result<(), Failure> {
    cx.settle();
    if let Some(many) = &mut cx.many {
        databases.for_each(|db| many.empty(db));
        return Ok(());
    }
    for db in databases {
        cx.shared.databases.empty(db)?;
    }
    cx.shared.emptied();
    Ok(())
}

/// Exchanges numbers, in constant time; watched keys of both databases have changed if they are in either.
fn swapdb(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let index = |arg: &[u8], refusal: &'static str| {
        // Redis reads 32-bit numbers.
        let number = parse_i64(arg).filter(|number| i32::try_from(*number).is_ok());
        number.ok_or(Failure::fixed(refusal))
    };
    let one = index(&args[1], "ERR invalid first DB index")?;
    let two = index(&args[2], "ERR invalid second DB index")?;
    let database = |number: i64| u8::try_from(number).ok().filter(|db| *db < COUNT).ok_or(NO_SUCH_DATABASE);
    let (one, two) = (database(one)?, database(two)?);
    // The loop's own group, too: it was staged for the databases as they were.
    cx.group.commit(cx.metrics);
    if one != two {
        cx.shared.databases.swap(one, two)?;
        cx.shared.schedule.swap(one, two);
        cx.shared.emptied();
    }
    cx.reply.ok();
    Ok(Flow::Done)
}

const NO_SUCH_DATABASE: Failure = Failure::fixed("ERR DB index is out of range");

/// The clock counts milliseconds, so the microseconds end in three zeros.
fn time(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    let now_ms = cx.shared.now_ms();
    cx.reply.array(2);
    cx.reply.bulk((now_ms / 1000).to_string().as_bytes());
    cx.reply.bulk((now_ms % 1000 * 1000).to_string().as_bytes());
    Ok(Flow::Done)
}

/// A master without replicas.
fn role(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.reply.array(3);
    cx.reply.bulk(b"master");
    cx.reply.integer(0);
    cx.reply.array(0);
    Ok(Flow::Done)
}

fn lolwut(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    let version = env!("CARGO_PKG_VERSION");
    cx.reply.verbatim(&format!(
        "        ____\n     __/    \\__\n  __/          \\__\n_/                \\_\nTerrace ver. {version}\n"
    ));
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
    let has = |option: &[u8]| args.from(1).iter().any(|arg| arg.eq_ignore_ascii_case(option));
    if has(b"save") && has(b"nosave") {
        return Err(SYNTAX);
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
