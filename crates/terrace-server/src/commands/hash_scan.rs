//! Going through the fields of a hash: `HSCAN` in steps, `HRANDFIELD` at random.

use std::collections::HashSet;
use std::ops::ControlFlow;

use terrace_resp::number::parse_u64;
use terrace_resp::{Args, Encoder, Protocol};

use super::hash_read::read;
use super::options::integer;
use super::scan::ScanOptions;
use super::table::{Command, ONE_KEY, READ};
use super::{Flow, Handled};
use crate::context::Context;
use crate::failure::{Failure, SYNTAX};
use crate::glob;
use crate::hash::header::Header;
use crate::hash::view::{self, Row};
use crate::transaction::Transaction;

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] = &[
    Command::new("hscan", -3, "hash", "2.8.0", hscan, "Iterates over fields and values of a hash.")
        .flags(READ)
        .keys(ONE_KEY),
    Command::new(
        "hrandfield",
        -2,
        "hash",
        "6.2.0",
        hrandfield,
        "Returns one or more random fields from a hash.",
    )
    .flags(READ)
    .keys(ONE_KEY),
];

/// The fields of one step, and the place where the next one begins; 0 at the end.
fn step(
    tx: &Transaction<'_>,
    db: u8,
    header: &Header,
    cursor: u64,
    options: &ScanOptions<'_>,
) -> Result<(Vec<Row>, u64), Failure> {
    let (mut found, mut seen, mut last) = (Vec::new(), 0, 0);
    // A cursor is a place in the order of the fields. All of one place are returned at once.
    let Ok(from) = u32::try_from(cursor) else { return Ok((found, 0)) };
    // What Redis holds in a list it returns whole.
    let count = if header.large { options.count } else { usize::MAX };
    let mut next = 0;
    view::visit(tx, db, header, from, |row| {
        if seen >= count && row.place() != last {
            next = u64::from(last) + 1;
            return ControlFlow::Break(());
        }
        (seen, last) = (seen + 1, row.place());
        if options.pattern.is_none_or(|pattern| glob::matches(pattern, row.name())) {
            found.push(row);
        }
        ControlFlow::Continue(())
    })?;
    Ok((found, next))
}

fn hscan(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let cursor = parse_u64(&args[2]).ok_or(Failure::fixed("ERR invalid cursor"))?;
    let step = read(cx, &args[1], |tx, db, header| {
        let options = ScanOptions::parse_fields(args.from(3))?;
        Ok((step(tx, db, header, cursor, &options)?, options.no_values))
    })?;
    let ((rows, next), no_values) = step.unwrap_or_default();
    cx.reply.array(2);
    cx.reply.bulk(next.to_string().as_bytes());
    cx.reply.array(if no_values { rows.len() } else { 2 * rows.len() });
    for row in &rows {
        cx.reply.bulk(row.name());
        if !no_values {
            cx.reply.bulk(&row.value);
        }
    }
    Ok(Flow::Done)
}

/// Hashes with at most so many fields are drawn from with equal chances.
const MAX_FAIR_FIELDS: u64 = 10_000;
/// The fewest bytes of a reply that a drawn field takes.
const MIN_FIELD_BYTES: u64 = 6;

fn hrandfield(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    if args.len() == 2 {
        let drawn = draw(cx, &args[1], 1, true)?;
        cx.reply.bulk_or_null(drawn.first().map(Row::name));
        return Ok(Flow::Done);
    }
    let count = integer(&args[2])?;
    if count == i64::MIN {
        return Err(Failure::fixed(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        ));
    }
    let with_values = args.len() == 4 && args[3].eq_ignore_ascii_case(b"withvalues");
    if args.len() > 3 && !with_values {
        return Err(SYNTAX);
    }
    if with_values && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(Failure::fixed("ERR value is out of range"));
    }
    let rows = draw(cx, &args[1], count.unsigned_abs(), count >= 0)?;
    write_rows(&mut cx.reply, &rows, with_values);
    Ok(Flow::Done)
}

fn write_rows(reply: &mut Encoder<'_>, rows: &[Row], with_values: bool) {
    let nested = reply.protocol() == Protocol::Resp3;
    reply.array(if with_values && !nested { 2 * rows.len() } else { rows.len() });
    for row in rows {
        if with_values && nested {
            reply.array(2);
        }
        reply.bulk(row.name());
        if with_values {
            reply.bulk(&row.value);
        }
    }
}

/// Draws `count` fields, different ones with `distinct`, then no more than there are.
fn draw(cx: &mut Context<'_>, key: &[u8], count: u64, distinct: bool) -> Result<Vec<Row>, Failure> {
    let max_bytes = cx.shared.config.output_hard_bytes;
    let drawn = read(cx, key, |tx, db, header| {
        let len = view::len(tx, db, header)?;
        if count == 0 || len == 0 {
            return Ok(Vec::new());
        }
        if !distinct && count > max_bytes as u64 / MIN_FIELD_BYTES {
            return Err(Failure::fixed("ERR value is out of range"));
        }
        if len <= MAX_FAIR_FIELDS || distinct && count.saturating_mul(4) > len {
            return sample(view::rows(tx, db, header, max_bytes)?, count, distinct, max_bytes);
        }
        seek(tx, db, header, count, distinct, max_bytes)
    })?;
    Ok(drawn.unwrap_or_default())
}

/// Draws from all fields.
fn sample(mut rows: Vec<Row>, count: u64, distinct: bool, max_bytes: usize) -> Result<Vec<Row>, Failure> {
    let random = terrace::Env::default().rng;
    let below = |bound: usize| (random.next_u64() % bound.max(1) as u64) as usize;
    if !distinct {
        let mut budget = Budget(max_bytes);
        let draws = (0..if rows.is_empty() { 0 } else { count }).map(|_| rows[below(rows.len())].clone());
        return draws.map(|row| budget.take(&row).map(|()| row)).collect();
    }
    let wanted = rows.len().min(usize::try_from(count).unwrap_or(usize::MAX));
    for at in 0..wanted {
        let other = at + below(rows.len() - at);
        rows.swap(at, other);
    }
    rows.truncate(wanted);
    Ok(rows)
}

/// Draws from a large hash by going to random places in the order of the fields, which is that of a hash of their
/// names: every field can be drawn, those after a gap more often.
fn seek(
    tx: &Transaction<'_>,
    db: u8,
    header: &Header,
    count: u64,
    distinct: bool,
    max_bytes: usize,
) -> Result<Vec<Row>, Failure> {
    let random = terrace::Env::default().rng;
    let mut budget = Budget(max_bytes);
    let (mut rows, mut seen) = (Vec::new(), HashSet::new());
    // Other commands may shrink the hash meanwhile, so that not all can be found.
    let mut attempts = count.saturating_mul(16).saturating_add(64);
    while (rows.len() as u64) < count && attempts > 0 {
        attempts -= 1;
        let mut drawn = None;
        for from in [random.next_u64() as u32, 0] {
            view::visit(tx, db, header, from, |row| {
                drawn = Some(row);
                ControlFlow::Break(())
            })?;
            if drawn.is_some() {
                break;
            }
        }
        let Some(row) = drawn else { break };
        if distinct && !seen.insert(row.name().to_vec()) {
            continue;
        }
        budget.take(&row)?;
        rows.push(row);
    }
    Ok(rows)
}

/// The bytes that a reply may still take.
struct Budget(usize);

impl Budget {
    fn take(&mut self, row: &Row) -> Result<(), Failure> {
        let bytes = row.name().len() + row.value.len() + size_of::<Row>();
        let left = self.0.checked_sub(bytes);
        self.0 = left.ok_or(Failure::fixed("ERR the reply would be too large, ask for fewer fields"))?;
        Ok(())
    }
}
