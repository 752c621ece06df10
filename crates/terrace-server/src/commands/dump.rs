//! `DUMP` and `RESTORE`: a value as bytes that Redis, too, reads and writes.
//!
//! The bytes are for `dump`; here is when a value is taken and put, and what the options mean.

use std::ops::ControlFlow;

use terrace_resp::Args;

use super::options::{MILLISECONDS, UNIX_MILLISECONDS, integer};
use super::table::{Command, DANGEROUS, DENY_OOM, Flags, Handler, ONE_KEY, OVERWRITE, READ, UPDATE, WRITE};
use super::{Flow, Handled};
use crate::context::Context;
use crate::dump::{self, Field, Refusal, Value};
use crate::failure::{Failure, SYNTAX};
use crate::hash::header::Header;
use crate::hash::{view, whole};
use crate::notify::GENERIC;
use crate::pending::Stored;
use crate::transaction::{self, TAG_HASH, Transaction, check_write};

const fn command(
    name: &'static str,
    arity: i64,
    flags: Flags,
    run: Handler,
    summary: &'static str,
) -> Command {
    Command::new(name, arity, "generic", "2.6.0", run, summary).flags(flags).keys(ONE_KEY)
}

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] = &[
    command("dump", 2, READ, dump, "Returns a value as bytes from which RESTORE makes it again."),
    command(
        "restore",
        -4,
        WRITE | DENY_OOM | DANGEROUS,
        restore,
        "Makes a key from the bytes that DUMP has returned.",
    )
    .access(OVERWRITE | UPDATE),
];

/// Hashes with more fields, and longer strings, are dumped on a thread of their own.
const MAX_INLINE_FIELDS: u64 = 10_000;
const MAX_INLINE_BYTES: usize = 1 << 20;

const BUSY: Failure = Failure::fixed("BUSYKEY Target key name already exists.");
const BAD_FOOTER: Failure = Failure::fixed("ERR DUMP payload version or checksum are wrong");

fn dump(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let (db, key) = (cx.session.db, &args[1]);
    let max_bytes = cx.shared.config.output_hard_bytes;
    let Some(entry) = cx.lookup(key)? else {
        cx.reply.null();
        return Ok(Flow::Done);
    };
    let is_long = match entry.tag {
        TAG_HASH => view::header_of(&entry)?.len > MAX_INLINE_FIELDS,
        _ => entry.value.len() > MAX_INLINE_BYTES,
    };
    if is_long && cx.many.is_none() {
        let key = key.to_vec();
        return Ok(Flow::Job(Box::new(move |shared, reply| {
            let outcome = transaction::run(shared, 0, |tx| payload(tx, db, &key, max_bytes))?;
            reply.bulk_or_null(outcome.value.as_deref());
            Ok(())
        })));
    }
    let payload = cx.transact(|tx| payload(tx, db, key, max_bytes))?;
    cx.reply.bulk_or_null(payload.as_deref());
    Ok(Flow::Done)
}

/// What a key holds, as a payload; refused when the fields of a hash take more than `max_bytes`.
fn payload(
    tx: &mut Transaction<'_>,
    db: u8,
    key: &[u8],
    max_bytes: usize,
) -> Result<Option<Vec<u8>>, Failure> {
    let Some(entry) = tx.read(db, key)? else { return Ok(None) };
    if entry.tag != TAG_HASH {
        transaction::check_string(entry.tag)?;
        return Ok(Some(dump::write_string(&entry.value)));
    }
    let header = view::header_of(&entry)?;
    let (mut fields, mut bytes) = (Vec::new(), 0);
    view::visit(tx, db, &header, 0, |row| {
        bytes += row.name().len() + row.value.len() + size_of::<Field>();
        let (name, value) = (row.name().to_vec(), row.value.to_vec());
        fields.push(Field { name, value, expires_at_ms: row.expires_at_ms });
        if bytes > max_bytes { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if bytes > max_bytes {
        return Err(Failure::fixed("ERR the hash is too large for one reply, use HSCAN"));
    }
    // The last field may have expired just now.
    Ok((!fields.is_empty()).then(|| dump::write_hash(&fields)))
}

/// The options of `RESTORE`.
#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
    idle_seconds: Option<u64>,
}

impl Options {
    fn parse(args: Args<'_>) -> Result<Self, Failure> {
        let (mut options, mut has_frequency) = (Self::default(), false);
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            let is = |name: &str| arg.eq_ignore_ascii_case(name.as_bytes());
            if is("replace") {
                options.replace = true;
            } else if is("absttl") {
                options.absolute = true;
            } else if is("idletime") && !has_frequency {
                let seconds = integer(rest.next().ok_or(SYNTAX)?)?;
                let invalid = |_| Failure::fixed("ERR Invalid IDLETIME value, must be >= 0");
                options.idle_seconds = Some(u64::try_from(seconds).map_err(invalid)?);
            } else if is("freq") && options.idle_seconds.is_none() {
                // There is no such frequency here, so it is read and forgotten.
                if !(0..=255).contains(&integer(rest.next().ok_or(SYNTAX)?)?) {
                    return Err(Failure::fixed("ERR Invalid FREQ value, must be >= 0 and <= 255"));
                }
                has_frequency = true;
            } else {
                return Err(SYNTAX);
            }
        }
        Ok(options)
    }
}

fn restore(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let (db, key, now_ms) = (cx.session.db, &args[1], cx.now_ms);
    let options = Options::parse(args.from(4))?;
    check_write(key, 0)?;
    if !options.replace && cx.transact(|tx| tx.read(db, key))?.is_some() {
        return Err(BUSY);
    }
    let expires_at_ms = expiry(&args[2], options.absolute, now_ms)?;
    let value = dump::read(&args[3]).map_err(|refusal| match refusal {
        Refusal::Footer => BAD_FOOTER,
        Refusal::Value(at, why) => {
            Failure::text(format!("ERR Bad data format: {why} (at byte {at} of the payload)"))
        }
    })?;
    cx.transact(|tx| {
        let old = tx.read(db, key)?;
        if old.is_some() && !options.replace {
            return Err(BUSY);
        }
        put(tx, db, key, (old, &value), (expires_at_ms, now_ms))
    })?;
    if let Some(seconds) = options.idle_seconds {
        cx.shared.recency.set_idle(key, seconds, now_ms);
    }
    cx.reply.ok();
    Ok(Flow::Done)
}

/// When the key is to expire; 0 means never.
fn expiry(arg: &[u8], absolute: bool, now_ms: u64) -> Result<Option<u64>, Failure> {
    let invalid = || Failure::fixed("ERR Invalid TTL value, must be >= 0");
    let ttl = integer(arg)?;
    let unit = if absolute { UNIX_MILLISECONDS } else { MILLISECONDS };
    match ttl {
        0 => Ok(None),
        1.. => Ok(Some(unit.at_ms(ttl, now_ms, "restore").map_err(|_| invalid())?.unsigned_abs())),
        _ => Err(invalid()),
    }
}

/// Writes a value in the place of what a key holds.
fn put(
    tx: &mut Transaction<'_>,
    db: u8,
    key: &[u8],
    (old, value): (Option<Stored>, &Value),
    (expires_at_ms, now_ms): (Option<u64>, u64),
) -> Result<(), Failure> {
    if expires_at_ms.is_some_and(|at| at <= now_ms) {
        if let Some(old) = old {
            whole::remove(tx, db, key, &old)?;
            tx.event(GENERIC, "del", db, key);
        }
        return Ok(());
    }
    if let Some(old) = &old {
        whole::bury(tx, db, old);
    }
    match value {
        Value::Text(text) => tx.put(db, key, text, expires_at_ms)?,
        Value::Hash(fields) => {
            let alive = |field: &&Field| field.expires_at_ms.is_none_or(|at| at > now_ms);
            if !fields.iter().any(|field| alive(&field)) {
                return tx.delete(db, key);
            }
            let header = Header { key_expiry_ms: expires_at_ms, ..Header::default() };
            let fields = fields.iter().filter(alive);
            let fields = fields.map(|field| (&*field.name, &*field.value, field.expires_at_ms));
            whole::create(tx, (db, key), &header, fields)?;
        }
    }
    tx.event(GENERIC, "restore", db, key);
    Ok(())
}
