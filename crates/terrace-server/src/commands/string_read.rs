//! Reading strings.

use terrace_resp::Args;

use super::options::integer;
use super::table::{ALL_KEYS, Command, FAST, Handler, ONE_KEY, READ, READ_ONLY};
use super::{Flow, Handled};
use crate::context::Context;
use crate::failure::Failure;
use crate::transaction::{TAG_STRING, check_string};

const fn command(
    name: &'static str,
    arity: i64,
    since: &'static str,
    run: Handler,
    summary: &'static str,
) -> Command {
    Command::new(name, arity, "string", since, run, summary).flags(READ).keys(ONE_KEY)
}

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] = &[
    command("get", 2, "1.0.0", get, "Returns the string value of a key.").flags(FAST),
    command("mget", -2, "1.0.0", mget, "Returns the string values of one or more keys.")
        .flags(FAST)
        .keys(ALL_KEYS),
    command("strlen", 2, "2.2.0", strlen, "Returns the length of a string value.")
        .flags(FAST)
        .access(READ_ONLY),
    command("getrange", 4, "2.4.0", getrange, "Returns a part of the string stored at a key."),
    command("substr", 4, "1.0.0", getrange, "Returns a part of the string stored at a key."),
];

pub(super) fn get(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let entry = cx.lookup_string(&args[1])?;
    cx.reply.bulk_or_null(entry.as_ref().map(|e| &*e.value));
    Ok(Flow::Done)
}

/// Answers several `GET`s that follow one another on a connection with one look-up in the store. Stops once
/// the answers have taken `room` bytes; returns how many were given, at least one.
pub(crate) fn get_run(cx: &mut Context<'_>, keys: &[&[u8]], room: usize) -> usize {
    let start = cx.reply.position();
    cx.metrics.lookup_sizes.record(keys.len() as u64, 1);
    cx.touch(keys.iter().copied());
    let entries = match cx.lookup_many(keys, None) {
        Ok(entries) => entries,
        Err(failure) => {
            for _ in keys {
                refuse(cx, &failure);
            }
            return keys.len();
        }
    };
    for (answered, entry) in entries.into_iter().enumerate() {
        if answered > 0 && cx.reply.position() - start > room {
            return answered;
        }
        match entry {
            None => cx.reply.null(),
            Some(entry) => match check_string(entry.tag) {
                Ok(()) => cx.reply.bulk(&entry.value),
                Err(failure) => refuse(cx, &failure),
            },
        }
    }
    keys.len()
}

/// Answers with a refusal.
pub(super) fn refuse(cx: &mut Context<'_>, failure: &Failure) {
    let line = failure.line();
    cx.reply.error(&line);
    cx.metrics.error(&line);
}

/// Keys looked up at once by `MGET`, so that large values do not all have to be held beside the reply.
const MGET_CHUNK: usize = 64;

fn mget(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let keys: Vec<&[u8]> = args.from(1).iter().collect();
    // A batch of another client reaches the store's shards one after the other, but a snapshot has all of it.
    let moment = cx.moment(keys.len());
    cx.reply.array(keys.len());
    for chunk in keys.chunks(MGET_CHUNK) {
        for entry in cx.lookup_many(chunk, moment.as_ref())? {
            let value = entry.as_ref().filter(|e| e.tag == TAG_STRING).map(|e| &*e.value);
            cx.reply.bulk_or_null(value);
        }
        if cx.reply.position() > cx.shared.settings.max_output_bytes() {
            return Ok(Flow::Close);
        }
    }
    Ok(Flow::Done)
}

fn strlen(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let entry = cx.lookup_string(&args[1])?;
    cx.reply.integer(entry.map_or(0, |e| e.value.len() as i64));
    Ok(Flow::Done)
}

fn getrange(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let (start, end) = (integer(&args[2])?, integer(&args[3])?);
    let entry = cx.lookup_string(&args[1])?;
    let value = entry.as_ref().map_or(&[][..], |e| &e.value);
    cx.reply.bulk(sub_slice(value, start, end));
    Ok(Flow::Done)
}

/// Both ends included; negative ones count from the end of the value.
fn sub_slice(value: &[u8], start: i64, end: i64) -> &[u8] {
    let len = value.len() as i64;
    if start < 0 && end < 0 && start > end {
        return &[];
    }
    let from_end = |at: i64| if at < 0 { (len.saturating_add(at)).max(0) } else { at };
    let (start, end) = (from_end(start), from_end(end).min(len - 1));
    if start > end { &[] } else { &value[start as usize..=end as usize] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_count_from_both_ends() {
        let check = |start, end, expected: &str| {
            assert_eq!(sub_slice(b"This is a string", start, end), expected.as_bytes(), "{start} {end}");
        };
        check(0, 3, "This");
        check(-3, -1, "ing");
        check(0, -1, "This is a string");
        check(10, 100, "string");
        check(5, 3, "");
        check(-1, -3, "");
        check(-100, 3, "This");
        check(-100, -200, "");
        check(-200, -100, "T");
        check(i64::MIN, i64::MAX, "This is a string");
        check(i64::MAX, i64::MIN, "");
        assert_eq!(sub_slice(b"", 0, -1), b"");
    }
}
