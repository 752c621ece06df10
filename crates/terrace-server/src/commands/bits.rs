//! Bits of strings: single ones, counting, searching, combining whole strings. Bit 0 is the highest of byte 0.

use terrace_resp::Args;
use terrace_resp::number::parse_i64;

use super::options::integer;
use super::table::{
    ACCESS, Command, DENY_OOM, FAST, Flags, Handler, Keys, ONE_KEY, OVERWRITE, READ, READ_ONLY, UPDATE, WRITE,
};
use super::{Flow, Handled};
use crate::context::Context;
use crate::failure::{Failure, SYNTAX};
use crate::hash::whole;
use crate::notify::{GENERIC, STRING};
use crate::transaction::{MAX_VALUE_BYTES, check_write};

pub(super) const fn command(
    name: &'static str,
    arity: i64,
    flags: Flags,
    since: &'static str,
    run: Handler,
    summary: &'static str,
) -> Command {
    Command::new(name, arity, "bitmap", since, run, summary).flags(flags).keys(ONE_KEY)
}

const TARGET_AND_SOURCES: &[Keys] = &[Keys::at(2, OVERWRITE | UPDATE), Keys::from(3, READ_ONLY | ACCESS)];

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] = &[
    command(
        "setbit",
        4,
        WRITE | DENY_OOM,
        "2.2.0",
        setbit,
        "Sets or clears the bit at an offset of a string.",
    ),
    command("getbit", 3, READ | FAST, "2.2.0", getbit, "Returns a bit of a string by its offset."),
    command("bitcount", -2, READ, "2.6.0", bitcount, "Counts the number of set bits in a string."),
    command("bitpos", -3, READ, "2.8.7", bitpos, "Finds the first set or clear bit in a string."),
    command(
        "bitop",
        -4,
        WRITE | DENY_OOM,
        "2.6.0",
        bitop,
        "Performs bitwise operations on strings and stores the result.",
    )
    .keys(TARGET_AND_SOURCES),
];

/// Reads the offset of a bit. With `width` it may be written as `#n`, the n-th field of that many bits.
pub(super) fn offset(arg: &[u8], width: Option<u8>) -> Result<usize, Failure> {
    let (digits, unit) = match (width, arg.strip_prefix(b"#")) {
        (Some(width), Some(digits)) => (digits, i64::from(width)),
        _ => (arg, 1),
    };
    parse_i64(digits)
        .and_then(|number| number.checked_mul(unit))
        .and_then(|bit| usize::try_from(bit).ok())
        .filter(|bit| bit / 8 < MAX_VALUE_BYTES)
        .ok_or(Failure::fixed("ERR bit offset is not an integer or out of range"))
}

fn bit_at(value: &[u8], offset: usize) -> bool {
    value.get(offset / 8).is_some_and(|byte| byte & mask(offset) != 0)
}

fn mask(offset: usize) -> u8 {
    0x80 >> (offset % 8)
}

fn setbit(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let (db, key, offset) = (cx.session.db, &args[1], offset(&args[2], None)?);
    let bit = parse_i64(&args[3]).filter(|bit| (0..=1).contains(bit));
    let on = bit.ok_or(Failure::fixed("ERR bit is not an integer or out of range"))? == 1;
    let was_on = cx.transact(|tx| {
        let old = tx.read_string(db, key)?;
        let old_value = old.as_ref().map_or(&[][..], |entry| &entry.value);
        let was_on = bit_at(old_value, offset);
        if was_on == on && offset / 8 < old_value.len() {
            return Ok(was_on);
        }
        check_write(key, 0)?;
        let mut value = grown(old_value, offset / 8 + 1);
        if on {
            value[offset / 8] |= mask(offset);
        } else {
            value[offset / 8] &= !mask(offset);
        }
        tx.put(db, key, &value, old.and_then(|entry| entry.expires_at_ms))?;
        tx.event(STRING, "setbit", db, key);
        Ok(was_on)
    })?;
    cx.reply.integer(i64::from(was_on));
    Ok(Flow::Done)
}

/// A copy with at least `len` bytes, the new ones zero.
pub(super) fn grown(old: &[u8], len: usize) -> Vec<u8> {
    let mut value = Vec::with_capacity(old.len().max(len));
    value.extend_from_slice(old);
    value.resize(old.len().max(len), 0);
    value
}

fn getbit(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let offset = offset(&args[2], None)?;
    let entry = cx.lookup_string(&args[1])?;
    cx.reply.integer(i64::from(entry.is_some_and(|entry| bit_at(&entry.value, offset))));
    Ok(Flow::Done)
}

/// Whether a range counts bits (`BIT`) rather than bytes (`BYTE`).
fn counts_bits(arg: Option<&[u8]>) -> Result<bool, Failure> {
    match arg {
        None => Ok(false),
        Some(unit) if unit.eq_ignore_ascii_case(b"byte") => Ok(false),
        Some(unit) if unit.eq_ignore_ascii_case(b"bit") => Ok(true),
        Some(_) => Err(SYNTAX),
    }
}

/// The first bit of a range with both ends included, and the first after it. Negative ends count from the end of
/// the value. Empty if the first is not before the second.
fn bit_range(len: usize, start: i64, end: i64, bits: bool) -> (usize, usize) {
    let unit = if bits { 1 } else { 8 };
    let total = (len * 8 / unit) as i64;
    let from_end = |at: i64| if at < 0 { total.saturating_add(at).max(0) } else { at };
    let (start, end) = (from_end(start), from_end(end).min(total - 1));
    if start > end {
        return (0, 0);
    }
    (start as usize * unit, (end as usize + 1) * unit)
}

/// The byte at `index` with the bits outside `from..to` replaced by `filler`.
fn masked(value: &[u8], index: usize, (from, to): (usize, usize), filler: bool) -> u8 {
    let mut inside = u8::MAX;
    if index == from / 8 {
        inside &= u8::MAX >> (from % 8);
    }
    if index == to / 8 {
        inside &= !(u8::MAX >> (to % 8));
    }
    let byte = value[index] & inside;
    if filler { byte | !inside } else { byte }
}

fn count_ones(value: &[u8], (from, to): (usize, usize)) -> u64 {
    if from >= to {
        return 0;
    }
    let (first, last) = (from / 8, (to - 1) / 8);
    let edge = |index| u64::from(masked(value, index, (from, to), false).count_ones());
    if first == last {
        return edge(first);
    }
    let inner = &value[first + 1..last];
    let words = inner.chunks_exact(8);
    let rest: u64 = words.remainder().iter().map(|byte| u64::from(byte.count_ones())).sum();
    let word =
        |chunk: &[u8]| chunk.try_into().map_or(0, |bytes| u64::from(u64::from_ne_bytes(bytes).count_ones()));
    edge(first) + words.map(word).sum::<u64>() + rest + edge(last)
}

fn bitcount(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let range = match args.len() {
        2 => None,
        4 | 5 => Some((integer(&args[2])?, integer(&args[3])?, counts_bits(args.get(4))?)),
        _ => return Err(SYNTAX),
    };
    let entry = cx.lookup_string(&args[1])?;
    let value = entry.as_ref().map_or(&[][..], |entry| &entry.value);
    let (start, end, bits) = range.unwrap_or((0, -1, false));
    let turned = start < 0 && end < 0 && start > end;
    let bounds = if turned { (0, 0) } else { bit_range(value.len(), start, end, bits) };
    cx.reply.unsigned(count_ones(value, bounds));
    Ok(Flow::Done)
}

/// The first bit in the range that is `on`.
fn find_bit(value: &[u8], (from, to): (usize, usize), on: bool) -> Option<usize> {
    let nothing = if on { 0 } else { u8::MAX };
    let (first, last) = (from / 8, to.checked_sub(1)? / 8);
    let edge = |index| {
        let byte = masked(value, index, (from, to), !on) ^ nothing;
        (byte != 0).then(|| index * 8 + byte.leading_zeros() as usize)
    };
    edge(first)
        .or_else(|| {
            let inner = value.get(first + 1..last)?;
            let index = first + 1 + inner.iter().position(|byte| *byte != nothing)?;
            edge(index)
        })
        .or_else(|| edge(last))
}

fn bitpos(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let on = match integer(&args[2])? {
        0 => false,
        1 => true,
        _ => return Err(Failure::fixed("ERR The bit argument must be 1 or 0.")),
    };
    if args.len() > 6 {
        return Err(SYNTAX);
    }
    let start = args.get(3).map_or(Ok(0), integer)?;
    let bits = counts_bits(args.get(5))?;
    let end = args.get(4).map(integer).transpose()?;
    let entry = cx.lookup_string(&args[1])?;
    let Some(entry) = entry else {
        cx.reply.integer(if on { -1 } else { 0 });
        return Ok(Flow::Done);
    };
    let (from, to) = bit_range(entry.value.len(), start, end.unwrap_or(-1), bits);
    let found = if from < to { find_bit(&entry.value, (from, to), on) } else { None };
    match found {
        Some(bit) => cx.reply.unsigned(bit as u64),
        // Behind a value without an end given there are zeros.
        None if !on && end.is_none() && from < to => cx.reply.unsigned(to as u64),
        None => cx.reply.integer(-1),
    }
    Ok(Flow::Done)
}

/// Combines bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
}

impl Operation {
    fn parse(arg: &[u8]) -> Result<Self, Failure> {
        match arg.to_ascii_lowercase().as_slice() {
            b"and" => Ok(Self::And),
            b"or" => Ok(Self::Or),
            b"xor" => Ok(Self::Xor),
            b"not" => Ok(Self::Not),
            _ => Err(SYNTAX),
        }
    }

    /// Combines `result` with a further value; the shorter of the two counts as filled with zeros.
    fn add(self, result: &mut Vec<u8>, value: &[u8]) {
        result.resize(result.len().max(value.len()), 0);
        let (common, beyond) = result.split_at_mut(value.len());
        let pairs = common.iter_mut().zip(value);
        match self {
            Self::And => {
                pairs.for_each(|(a, b)| *a &= b);
                beyond.fill(0);
            }
            Self::Or => pairs.for_each(|(a, b)| *a |= b),
            Self::Xor => pairs.for_each(|(a, b)| *a ^= b),
            Self::Not => {}
        }
    }
}

fn bitop(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    let operation = Operation::parse(&args[1])?;
    if operation == Operation::Not && args.len() != 4 {
        return Err(Failure::fixed("ERR BITOP NOT must be called with a single source key."));
    }
    let (db, target) = (cx.session.db, &args[2]);
    let len = cx.transact(|tx| {
        let mut result: Option<Vec<u8>> = None;
        for key in args.from(3).iter() {
            let entry = tx.read_string(db, key)?;
            let value = entry.as_ref().map_or(&[][..], |entry| &entry.value);
            match &mut result {
                Some(result) => operation.add(result, value),
                None => result = Some(value.to_vec()),
            }
        }
        let mut result = result.unwrap_or_default();
        if operation == Operation::Not {
            for byte in &mut result {
                *byte = !*byte;
            }
        }
        let old = tx.read(db, target)?;
        if let Some(old) = &old {
            whole::bury(tx, db, old);
        }
        if !result.is_empty() {
            tx.put(db, target, &result, None)?;
            tx.event(STRING, "set", db, target);
        } else if old.is_some() {
            tx.delete(db, target)?;
            tx.event(GENERIC, "del", db, target);
        }
        Ok(result.len())
    })?;
    cx.reply.unsigned(len as u64);
    Ok(Flow::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counting_and_searching_agree_with_looking_at_each_bit(
            value in proptest::collection::vec(prop_oneof![Just(0u8), Just(255), any::<u8>()], 0..40),
            start in -400i64..400, end in -400i64..400, bits: bool, on: bool,
        ) {
            let (from, to) = bit_range(value.len(), start, end, bits);
            prop_assert!(to <= value.len() * 8);
            let inside = || (from..to).filter(|bit| bit_at(&value, *bit) == on);
            if from < to {
                prop_assert_eq!(find_bit(&value, (from, to), on), inside().next());
            }
            if on {
                prop_assert_eq!(count_ones(&value, (from, to)), inside().count() as u64);
            }
        }

        #[test]
        fn combining_is_done_as_if_all_had_the_same_length(
            a in proptest::collection::vec(any::<u8>(), 0..20),
            b in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            for operation in [Operation::And, Operation::Or, Operation::Xor] {
                let mut result = a.clone();
                operation.add(&mut result, &b);
                prop_assert_eq!(result.len(), a.len().max(b.len()));
                for (at, byte) in result.iter().enumerate() {
                    let [x, y] = [&a, &b].map(|v| v.get(at).copied().unwrap_or(0));
                    let expected = match operation {
                        Operation::And => x & y,
                        Operation::Or => x | y,
                        _ => x ^ y,
                    };
                    prop_assert_eq!(*byte, expected);
                }
            }
        }
    }

    #[test]
    fn offsets_end_at_the_longest_value() {
        assert_eq!(offset(b"4294967295", None).ok(), Some(u32::MAX as usize));
        for refused in ["4294967296", "-1", "abc", "", "#1", "9223372036854775808"] {
            assert!(offset(refused.as_bytes(), None).is_err(), "{refused}");
        }
        assert_eq!(offset(b"#3", Some(16)).ok(), Some(48));
        assert_eq!(offset(b"3", Some(16)).ok(), Some(3));
        assert!(offset(b"#9223372036854775807", Some(16)).is_err());
    }
}
