//! Going through many keys: `SCAN`, `KEYS`, `RANDOMKEY`, `DBSIZE`.

use std::ops::{Bound, ControlFlow};

use terrace::{Keyspace, Slice};
use terrace_resp::number::parse_u64;
use terrace_resp::{Args, Encoder};

use super::keys::type_name;
use super::options::integer;
use super::table::{ALONE, Command, DANGEROUS, FAST, Handler, KEYSPACE, READ};
use super::{Flow, Handled};
use crate::context::Context;
use crate::cursor::Position;
use crate::failure::{Failure, SYNTAX};
use crate::glob;

const fn command(
    name: &'static str,
    arity: i64,
    group: &'static str,
    since: &'static str,
    run: Handler,
    summary: &'static str,
) -> Command {
    Command::new(name, arity, group, since, run, summary).flags(READ | ALONE).categories(KEYSPACE)
}

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] = &[
    command("scan", -2, "generic", "2.8.0", scan, "Iterates over the key names in the database."),
    command("keys", 2, "generic", "1.0.0", keys, "Returns all key names that match a pattern.")
        .flags(DANGEROUS),
    command("randomkey", 1, "generic", "1.0.0", randomkey, "Returns a random key name from the database."),
    command("dbsize", 1, "server", "1.0.0", dbsize, "Returns the number of keys in the database.")
        .flags(FAST),
];

/// The most keys that one `SCAN` looks at, so that it cannot hold up its loop for long.
const MAX_SCAN_COUNT: usize = 1 << 16;
/// Of databases with more keys, `DBSIZE` returns the store's estimate.
const MAX_EXACT_SIZE: u64 = 1_000_000;
/// Databases with more keys are counted on a thread of their own.
const MAX_INLINE_SIZE: u64 = 10_000;

/// The options of `SCAN` and `HSCAN`.
pub(super) struct ScanOptions<'a> {
    /// What names have to match.
    pub(super) pattern: Option<&'a [u8]>,
    /// How many are looked at.
    pub(super) count: usize,
    type_name: Option<Vec<u8>>,
    /// Whether only the names of fields are returned.
    pub(super) no_values: bool,
}

impl<'a> ScanOptions<'a> {
    fn parse(args: Args<'a>) -> Result<Self, Failure> {
        Self::parse_for(args, true)
    }

    /// The options of a scan of fields.
    pub(super) fn parse_fields(args: Args<'a>) -> Result<Self, Failure> {
        Self::parse_for(args, false)
    }

    fn parse_for(args: Args<'a>, keys: bool) -> Result<Self, Failure> {
        let mut options = Self { pattern: None, count: 10, type_name: None, no_values: false };
        let mut rest = args.iter();
        while let Some(name) = rest.next() {
            if !keys && name.eq_ignore_ascii_case(b"novalues") {
                options.no_values = true;
                continue;
            }
            let value = rest.next().ok_or(SYNTAX)?;
            match name.to_ascii_lowercase().as_slice() {
                b"count" => {
                    let count = integer(value)?;
                    options.count = usize::try_from(count).ok().filter(|n| *n > 0).ok_or(SYNTAX)?;
                }
                b"match" => options.pattern = (value != b"*").then_some(value),
                b"type" if keys => options.type_name = Some(value.to_ascii_lowercase()),
                _ => return Err(SYNTAX),
            }
        }
        options.count = options.count.min(MAX_SCAN_COUNT);
        Ok(options)
    }
}

fn scan(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let cursor = parse_u64(&args[1]).ok_or(Failure::fixed("ERR invalid cursor"))?;
    let options = ScanOptions::parse(args.from(2))?;
    let db = cx.session.db;
    let position = cx.shared.cursors.lock().position(cursor, db);
    let (found, last) = collect(cx, &position, &options)?;
    let next = {
        let mut cursors = cx.shared.cursors.lock();
        match last {
            Some(last) => cursors.advance(cursor, db, &last),
            None => {
                cursors.finish(cursor, db);
                0
            }
        }
    };
    cx.reply.array(2);
    cx.reply.bulk(next.to_string().as_bytes());
    cx.reply.array(found.len());
    for key in found {
        cx.reply.bulk(&key);
    }
    Ok(Flow::Done)
}

/// The matching keys among the next `count`, and the last one looked at unless that was the last of all.
fn collect(
    cx: &mut Context<'_>,
    position: &Position,
    options: &ScanOptions<'_>,
) -> Result<(Vec<Slice>, Option<Slice>), Failure> {
    let prefix = options.pattern.map(glob::literal_prefix).unwrap_or_default();
    let start = match position {
        Position::After(key) if key.as_slice() >= prefix.as_slice() => Bound::Excluded(key.as_slice()),
        Position::From(bytes) if *bytes >= prefix => Bound::Included(bytes.as_slice()),
        _ => Bound::Included(prefix.as_slice()),
    };
    let (mut found, mut last, mut looked_at) = (Vec::new(), None, 0);
    visit(cx, start, |key, tag| {
        if !key.starts_with(&prefix) {
            last = None;
            return ControlFlow::Break(());
        }
        let type_matches = options.type_name.as_ref().is_none_or(|t| t == type_name(tag).as_bytes());
        if type_matches && options.pattern.is_none_or(|pattern| glob::matches(pattern, &key)) {
            found.push(key.clone());
        }
        looked_at += 1;
        last = Some(key);
        if looked_at < options.count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    let more = looked_at == options.count;
    Ok((found, last.filter(|_| more)))
}

/// Calls `body` for the keys of the selected database from `low` on, with the tags of their values, until it breaks.
fn visit(
    cx: &mut Context<'_>,
    low: Bound<&[u8]>,
    mut body: impl FnMut(Slice, u8) -> ControlFlow<()>,
) -> Result<(), Failure> {
    cx.settle();
    if let Some(many) = &cx.many {
        return many.visit_keys(cx.session.db, low, |key, stored| body(key, stored.tag));
    }
    let Some(space) = cx.space() else { return Ok(()) };
    let mut keys = space.range::<&[u8]>((low, Bound::Unbounded));
    while let Some(next) = keys.next_entry() {
        let (key, entry) = next?;
        if body(key, entry.tag).is_break() {
            break;
        }
    }
    Ok(())
}

/// Runs beside the loops, because it may take long.
fn keys(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    cx.settle();
    let pattern = args[1].to_vec();
    if glob::is_literal(&pattern) {
        let found = cx.lookup(&pattern)?.is_some();
        cx.reply.array(usize::from(found));
        if found {
            cx.reply.bulk(&pattern);
        }
        return Ok(Flow::Done);
    }
    if cx.many.is_some() {
        return keys_of_transaction(cx, &pattern);
    }
    let db = cx.session.db;
    Ok(Flow::Job(Box::new(move |shared, reply| {
        let mut matches = Matches::new(&pattern, shared.settings.max_output_bytes());
        if let Some(space) = shared.databases.find(db) {
            let mut keys = space.prefix(glob::literal_prefix(&pattern));
            while let Some(next) = keys.next_entry() {
                matches.offer(&next?.0)?;
            }
        }
        matches.write(reply);
        Ok(())
    })))
}

/// Runs on the loop, as part of one step.
fn keys_of_transaction(cx: &mut Context<'_>, pattern: &[u8]) -> Handled {
    let prefix = glob::literal_prefix(pattern);
    let mut matches = Matches::new(pattern, cx.shared.settings.max_output_bytes());
    let mut refused = None;
    visit(cx, Bound::Included(&prefix), |key, _| {
        if !key.starts_with(&prefix) {
            return ControlFlow::Break(());
        }
        refused = matches.offer(&key).err();
        if refused.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    if let Some(failure) = refused {
        return Err(failure);
    }
    matches.write(&mut cx.reply);
    Ok(Flow::Done)
}

/// The keys that match a pattern.
struct Matches<'p> {
    pattern: &'p [u8],
    found: Vec<Vec<u8>>,
    bytes: usize,
    max_bytes: usize,
}

impl<'p> Matches<'p> {
    fn new(pattern: &'p [u8], max_bytes: usize) -> Self {
        Self { pattern, found: Vec::new(), bytes: 0, max_bytes }
    }

    /// Takes a key if it matches; refuses more than fits one reply.
    fn offer(&mut self, key: &[u8]) -> Result<(), Failure> {
        if !glob::matches(self.pattern, key) {
            return Ok(());
        }
        self.bytes += key.len() + 16;
        if self.bytes > self.max_bytes {
            return Err(Failure::fixed("ERR too many keys match, use SCAN"));
        }
        // A copy, because the key may keep a whole block alive.
        self.found.push(key.to_vec());
        Ok(())
    }

    fn write(self, reply: &mut Encoder<'_>) {
        reply.array(self.found.len());
        for key in self.found {
            reply.bulk(&key);
        }
    }
}

fn randomkey(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.settle();
    let touched = cx.many.as_ref().is_some_and(|many| !many.is_untouched(cx.session.db));
    let key = match cx.space() {
        _ if touched => random_of_all(cx)?,
        Some(space) => random_key(space)?,
        None => None,
    };
    cx.reply.bulk_or_null(key.as_deref());
    Ok(Flow::Done)
}

/// A key drawn with equal chances from all, those included that the transaction has written.
fn random_of_all(cx: &mut Context<'_>) -> Result<Option<Slice>, Failure> {
    let random = terrace::Env::default().rng;
    let (mut drawn, mut seen) = (None, 0);
    visit(cx, Bound::Unbounded, |key, _| {
        seen += 1;
        if random.next_u64().is_multiple_of(seen) {
            drawn = Some(key);
        }
        ControlFlow::Continue(())
    })?;
    Ok(drawn)
}

/// Steps of [`random_key`] before it takes what it has.
const MAX_RANDOM_STEPS: usize = 64;

/// A key drawn by going down the tree of common prefixes: at each fork a random byte between those of the
/// first and the last key chooses the branch. Every key can be drawn, though not with equal chance.
fn random_key(space: &Keyspace) -> Result<Option<Slice>, Failure> {
    let random = terrace::Env::default().rng;
    let mut low: Vec<u8> = Vec::new();
    let mut high: Option<Vec<u8>> = None;
    let mut drawn = None;
    for _ in 0..MAX_RANDOM_STEPS {
        let end = high.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut keys = space.range::<&[u8]>((Bound::Included(low.as_slice()), end));
        let Some(first) = keys.next().transpose()? else { return Ok(drawn) };
        let Some(last) = keys.next_back().transpose()? else { return Ok(Some(first.0)) };
        let (first, last) = (first.0, last.0);
        let fork = first.iter().zip(last.iter()).take_while(|(a, b)| a == b).count();
        let Some(from) = first.get(fork).copied() else {
            // The first key is the prefix of all others here: a branch of its own.
            if random.next_u64().is_multiple_of(4) {
                return Ok(Some(first));
            }
            low = [&first[..], &[0]].concat();
            continue;
        };
        let to = last.get(fork).copied().unwrap_or(u8::MAX);
        let byte = from + (random.next_u64() % (u64::from(to - from) + 1)) as u8;
        low = first[..fork].to_vec();
        low.push(byte);
        // The branch chosen may be empty; the next key after it then shows which one is not.
        let Some(next) = space.range::<&[u8]>((Bound::Included(low.as_slice()), Bound::Unbounded)).next()
        else {
            return Ok(Some(last));
        };
        let next = next?.0;
        low = next[..next.len().min(fork + 1)].to_vec();
        high = successor(&low);
        drawn = Some(next);
    }
    Ok(drawn)
}

/// The first text after all those that start with `prefix`.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut next = prefix[..=last].to_vec();
    next[last] += 1;
    Some(next)
}

fn dbsize(cx: &mut Context<'_>, _: Args<'_>) -> Handled {
    cx.settle();
    let db = cx.session.db;
    if cx.many.is_some() {
        let mut count = 0;
        visit(cx, Bound::Unbounded, |_, _| {
            count += 1;
            ControlFlow::Continue(())
        })?;
        cx.reply.unsigned(count);
        return Ok(Flow::Done);
    }
    let Some(space) = cx.space() else {
        cx.reply.integer(0);
        return Ok(Flow::Done);
    };
    if let Some(exact) = count(space, MAX_INLINE_SIZE)? {
        cx.reply.unsigned(exact);
        return Ok(Flow::Done);
    }
    Ok(Flow::Job(Box::new(move |shared, reply| {
        let estimate = |space: &Keyspace| space.approximate_len().max(MAX_EXACT_SIZE);
        let keys = match shared.databases.find(db) {
            Some(space) => count(space, MAX_EXACT_SIZE)?.unwrap_or_else(|| estimate(space)),
            None => 0,
        };
        reply.unsigned(keys);
        Ok(())
    })))
}

/// Counts the keys one by one, unless they are more than `max`. The store's estimate would not do to find out which:
/// it takes the newest writes of all databases for those of each.
fn count(space: &Keyspace, max: u64) -> Result<Option<u64>, Failure> {
    let mut count = 0;
    for next in space {
        next?;
        if count == max {
            return Ok(None);
        }
        count += 1;
    }
    Ok(Some(count))
}
