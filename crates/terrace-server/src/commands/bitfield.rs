//! `BITFIELD`: integers of any width at any bit of a string.

use terrace_resp::Args;
use terrace_resp::number::parse_i64;

use super::bits::{command, grown, offset};
use super::options::integer;
use super::table::{
    ACCESS, Access, Command, DENY_OOM, FAST, READ, READ_ONLY, READ_WRITE, UPDATE, VARIABLE, WRITE,
};
use super::{Flow, Handled};
use crate::context::Context;
use crate::failure::{Failure, STRING_TOO_LONG, SYNTAX};
use crate::notify::STRING;
use crate::transaction::{MAX_VALUE_BYTES, check_write};

/// The commands of this file.
pub(crate) const COMMANDS: &[Command] = &[
    command(
        "bitfield",
        -2,
        WRITE | DENY_OOM,
        "3.2.0",
        bitfield,
        "Performs arbitrary bitfield integer operations on strings.",
    )
    .access(READ_WRITE | ACCESS | UPDATE | VARIABLE)
    .access_of(access_of_bitfield),
    command(
        "bitfield_ro",
        -2,
        READ | FAST,
        "6.0.0",
        bitfield_ro,
        "Performs arbitrary read-only bitfield integer operations on strings.",
    ),
];

/// `BITFIELD` only reads the key if all that it does is `GET`.
fn access_of_bitfield(args: Args<'_>) -> Access {
    let writes = |arg: &[u8]| arg.eq_ignore_ascii_case(b"set") || arg.eq_ignore_ascii_case(b"incrby");
    if args.from(2).iter().any(writes) { READ_WRITE | ACCESS | UPDATE } else { READ_ONLY | ACCESS }
}

/// What happens to a number that does not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

impl Overflow {
    fn parse(arg: &[u8]) -> Result<Self, Failure> {
        match arg.to_ascii_lowercase().as_slice() {
            b"wrap" => Ok(Self::Wrap),
            b"sat" => Ok(Self::Saturate),
            b"fail" => Ok(Self::Fail),
            _ => Err(Failure::fixed("ERR Invalid OVERFLOW type specified")),
        }
    }
}

/// A type of integers: `i1` to `i64`, `u1` to `u63`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Type {
    signed: bool,
    bits: u8,
}

impl Type {
    fn parse(arg: &[u8]) -> Result<Self, Failure> {
        let parsed = arg.split_first().and_then(|(sign, bits)| {
            let (signed, max) = match sign {
                b'i' => (true, 64),
                b'u' => (false, 63),
                _ => return None,
            };
            let bits = u8::try_from(parse_i64(bits)?).ok().filter(|bits| (1..=max).contains(bits))?;
            Some(Self { signed, bits })
        });
        parsed.ok_or(Failure::fixed(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        ))
    }

    fn range(self) -> (i128, i128) {
        if self.signed {
            (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1)
        } else {
            (0, (1 << self.bits) - 1)
        }
    }

    /// The lowest bits of a number, read as one of this type.
    fn wrap(self, number: i128) -> i128 {
        let low = number & ((1 << self.bits) - 1);
        if low > self.range().1 { low - (1 << self.bits) } else { low }
    }

    /// A number as it is stored; `None` if it does not fit and is not to be stored.
    fn fit(self, number: i128, overflow: Overflow) -> Option<i128> {
        let (min, max) = self.range();
        if (min..=max).contains(&number) {
            return Some(number);
        }
        match overflow {
            Overflow::Wrap => Some(self.wrap(number)),
            Overflow::Saturate => Some(number.clamp(min, max)),
            Overflow::Fail => None,
        }
    }

    /// The number at a bit of a value, behind which there are zeros.
    fn get(self, value: &[u8], offset: usize) -> i128 {
        let first = offset / 8;
        let mut window = [0; 16];
        let there = value.get(first..).unwrap_or_default();
        let len = there.len().min(9);
        window[..len].copy_from_slice(&there[..len]);
        let shift = 128 - offset % 8 - usize::from(self.bits);
        self.wrap((u128::from_be_bytes(window) >> shift) as i128)
    }

    /// Stores a number of this type at a bit of a value that is long enough.
    fn set(self, value: &mut [u8], offset: usize, number: i128) {
        for bit in 0..usize::from(self.bits) {
            let on = number >> (usize::from(self.bits) - 1 - bit) & 1 == 1;
            let at = offset + bit;
            let mask = 0x80 >> (at % 8);
            if on {
                value[at / 8] |= mask;
            } else {
                value[at / 8] &= !mask;
            }
        }
    }
}

/// What one operation does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    Get,
    Set(i64, Overflow),
    Add(i64, Overflow),
}

#[derive(Clone, Copy, Debug)]
struct Operation {
    of: Type,
    offset: usize,
    action: Action,
}

impl Operation {
    /// Reads all operations.
    fn parse(args: Args<'_>) -> Result<Vec<Self>, Failure> {
        let mut operations = Vec::new();
        let mut overflow = Overflow::Wrap;
        let mut at = 0;
        while let Some(name) = args.get(at) {
            let left = args.len() - at - 1;
            let name = name.to_ascii_lowercase();
            let needed = match name.as_slice() {
                b"overflow" => 1,
                b"get" => 2,
                b"set" | b"incrby" => 3,
                _ => return Err(SYNTAX),
            };
            if left < needed {
                return Err(SYNTAX);
            }
            if name == b"overflow" {
                overflow = Overflow::parse(&args[at + 1])?;
            } else {
                let of = Type::parse(&args[at + 1])?;
                let offset = offset(&args[at + 2], Some(of.bits))?;
                let action = match name.as_slice() {
                    b"get" => Action::Get,
                    b"set" => Action::Set(integer(&args[at + 3])?, overflow),
                    _ => Action::Add(integer(&args[at + 3])?, overflow),
                };
                operations.push(Self { of, offset, action });
            }
            at += 1 + needed;
        }
        Ok(operations)
    }

    /// Works on a value; the answer is `None` if the number does not fit.
    fn run(self, value: &mut [u8]) -> Option<i64> {
        let old = self.of.get(value, self.offset);
        let (new, answers_new, overflow) = match self.action {
            Action::Get => return Some(old as i64),
            // As in Redis a negative number for an unsigned type is a very large one.
            Action::Set(number, overflow) if self.of.signed => (i128::from(number), false, overflow),
            Action::Set(number, overflow) => (i128::from(number as u64), false, overflow),
            Action::Add(number, overflow) => (old + i128::from(number), true, overflow),
        };
        let new = self.of.fit(new, overflow)?;
        self.of.set(value, self.offset, new);
        Some(if answers_new { new as i64 } else { old as i64 })
    }
}

fn bitfield(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    run(cx, args, false)
}

fn bitfield_ro(cx: &mut Context<'_>, args: Args<'_>) -> Handled {
    run(cx, args, true)
}

fn run(cx: &mut Context<'_>, args: Args<'_>, read_only: bool) -> Handled {
    let operations = Operation::parse(args.from(2))?;
    let writes = operations.iter().filter(|operation| operation.action != Action::Get);
    let written_bytes = writes.map(|o| (o.offset + usize::from(o.of.bits)).div_ceil(8)).max();
    let answers = match written_bytes {
        None => {
            let entry = cx.lookup_string(&args[1])?;
            let value = entry.as_ref().map_or(&[][..], |entry| &entry.value);
            operations.iter().map(|o| Some(o.of.get(value, o.offset) as i64)).collect()
        }
        Some(_) if read_only => {
            return Err(Failure::fixed("ERR BITFIELD_RO only supports the GET subcommand"));
        }
        Some(bytes) => write(cx, &args[1], &operations, bytes)?,
    };
    cx.reply.array(answers.len());
    for answer in answers {
        match answer {
            Some(number) => cx.reply.integer(number),
            None => cx.reply.null(),
        }
    }
    Ok(Flow::Done)
}

/// Runs operations on the value of a key, which has at least `bytes` bytes afterwards.
fn write(
    cx: &mut Context<'_>,
    key: &[u8],
    operations: &[Operation],
    bytes: usize,
) -> Result<Vec<Option<i64>>, Failure> {
    let db = cx.session.db;
    cx.transact(|tx| {
        let old = tx.read_string(db, key)?;
        check_write(key, 0)?;
        if bytes > MAX_VALUE_BYTES {
            return Err(STRING_TOO_LONG);
        }
        let old_value = old.as_ref().map_or(&[][..], |entry| &entry.value);
        let mut value = grown(old_value, bytes);
        let answers = operations.iter().map(|operation| operation.run(&mut value)).collect();
        if value != old_value {
            tx.put(db, key, &value, old.as_ref().and_then(|entry| entry.expires_at_ms))?;
            tx.event(STRING, "setbit", db, key);
        }
        Ok(answers)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_number_is_read_as_it_was_stored_and_its_neighbours_stay(
            signed: bool, bits in 1u8..=63, offset in 0usize..80, number: i64,
            value in proptest::collection::vec(any::<u8>(), 24),
        ) {
            let of = Type { signed, bits };
            let number = of.wrap(i128::from(number));
            let mut changed = value.clone();
            of.set(&mut changed, offset, number);
            prop_assert_eq!(of.get(&changed, offset), number);
            let bit = Type { signed: false, bits: 1 };
            for at in (0..offset).chain(offset + usize::from(bits)..value.len() * 8) {
                prop_assert_eq!(bit.get(&changed, at), bit.get(&value, at));
            }
        }

        #[test]
        fn wrapping_keeps_the_low_bits(signed: bool, bits in 1u8..=63, number: i64) {
            let of = Type { signed, bits };
            let wrapped = of.fit(i128::from(number), Overflow::Wrap).unwrap();
            let (min, max) = of.range();
            prop_assert!((min..=max).contains(&wrapped));
            prop_assert_eq!((wrapped ^ i128::from(number)) & ((1 << bits) - 1), 0);
        }
    }

    #[test]
    fn what_does_not_fit_is_wrapped_held_or_refused() {
        let of = Type { signed: true, bits: 8 };
        assert_eq!(of.fit(128, Overflow::Wrap), Some(-128));
        assert_eq!(of.fit(128, Overflow::Saturate), Some(127));
        assert_eq!(of.fit(-129, Overflow::Saturate), Some(-128));
        assert_eq!(of.fit(128, Overflow::Fail), None);
        let widest = Type { signed: true, bits: 64 };
        assert_eq!(widest.fit(i128::from(i64::MAX) + 1, Overflow::Wrap), Some(i128::from(i64::MIN)));
        assert_eq!(widest.get(&[0xff; 8], 0), -1);
    }
}
