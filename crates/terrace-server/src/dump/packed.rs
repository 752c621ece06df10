//! Small hashes as Redis keeps them: a run of entries in one string, as a listpack (7.0 and later) or a ziplist.
//!
//! ```text
//! listpack   total bytes (4), entries (2; 65535 if more), entries, 0xFF
//!   entry    0iiiiiii | 110iiiii i | 0xF1 i16 | 0xF2 i24 | 0xF3 i32 | 0xF4 i64     a number
//!            10llllll … | 1110llll l … | 0xF0 llll …                                a string
//!            then the entry's length in groups of seven bits, to go backwards by
//! ziplist    total bytes (4), offset of the last entry (4), entries (2; 65535 if more), entries, 0xFF
//!   entry    the length of the one before: 1 byte, or 0xFE and 4 bytes; then
//!            00llllll … | 01llllll l … | 0x80 llll …                                a string
//!            0xC0 i16 | 0xD0 i32 | 0xE0 i64 | 0xF0 i24 | 0xFE i8 | 1111iiii          a number
//! ```
//!
//! Numbers are little-endian, but for the lengths of strings of more than one byte. Whatever leads backwards is
//! compared with what it has to be, so that an entry that only seems to end well is found out.

use super::input::{Input, Read};

/// Behind the last entry.
const END: u8 = 0xff;
/// The number of entries is not known.
const MANY: usize = 0xffff;

/// An entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Entry {
    /// A number.
    Number(i64),
    /// A string.
    Text(Vec<u8>),
}

impl Entry {
    /// The bytes that it stands for.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Number(number) => number.to_string().into_bytes(),
            Self::Text(text) => text,
        }
    }
}

/// The number in up to eight little-endian bytes.
fn integer(bytes: &[u8]) -> i64 {
    let mut wide = [0; 8];
    wide[8 - bytes.len()..].copy_from_slice(bytes);
    i64::from_le_bytes(wide) >> (64 - 8 * bytes.len())
}

/// The entries of a listpack.
pub(super) fn listpack(bytes: &[u8]) -> Read<Vec<Entry>> {
    let mut input = Input::new(bytes);
    if u32::from_le_bytes(input.array()?) as usize != bytes.len() {
        return input.bad("a listpack says that it has another length");
    }
    let count = usize::from(u16::from_le_bytes(input.array()?));
    let mut entries = Vec::new();
    loop {
        let before = input.left();
        let first = input.byte()?;
        if first == END {
            break;
        }
        entries.push(listpack_entry(&mut input, first)?);
        let expected = backward_length(before - input.left());
        if input.take(expected.len())? != expected {
            return input.bad("the length behind an entry of a listpack is not its length");
        }
    }
    finish(&input, count, entries)
}

fn listpack_entry(input: &mut Input<'_>, first: u8) -> Read<Entry> {
    let length = match first {
        0..=0x7f => return Ok(Entry::Number(i64::from(first))),
        0x80..=0xbf => usize::from(first & 0x3f),
        0xc0..=0xdf => {
            let wide = u16::from_be_bytes([first & 0x1f, input.byte()?]);
            return Ok(Entry::Number(i64::from((wide << 3) as i16 >> 3)));
        }
        0xe0..=0xef => usize::from(u16::from_be_bytes([first & 0x0f, input.byte()?])),
        0xf0 => u32::from_le_bytes(input.array()?) as usize,
        0xf1 => return Ok(Entry::Number(integer(input.take(2)?))),
        0xf2 => return Ok(Entry::Number(integer(input.take(3)?))),
        0xf3 => return Ok(Entry::Number(integer(input.take(4)?))),
        0xf4 => return Ok(Entry::Number(integer(input.take(8)?))),
        _ => return input.bad(format!("{first:#04x} begins no entry of a listpack")),
    };
    Ok(Entry::Text(input.take(length)?.to_vec()))
}

/// How the length of an entry is written behind it.
fn backward_length(length: usize) -> Vec<u8> {
    // Redis goes to the next size one early, but for the first.
    let groups = match length {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    };
    let group = |at: usize| (length >> (7 * at) & 0x7f) as u8 | if at + 1 < groups { 0x80 } else { 0 };
    (0..groups).rev().map(group).collect()
}

/// The entries of a ziplist.
pub(super) fn ziplist(bytes: &[u8]) -> Read<Vec<Entry>> {
    let mut input = Input::new(bytes);
    if u32::from_le_bytes(input.array()?) as usize != bytes.len() {
        return input.bad("a ziplist says that it has another length");
    }
    let tail = u32::from_le_bytes(input.array()?) as usize;
    let count = usize::from(u16::from_le_bytes(input.array()?));
    let (mut entries, mut last_at, mut last_bytes) = (Vec::new(), bytes.len() - input.left(), 0);
    loop {
        let at = bytes.len() - input.left();
        let first = input.byte()?;
        if first == END {
            break;
        }
        let before = if first == 0xfe { u32::from_le_bytes(input.array()?) as usize } else { first.into() };
        if before != last_bytes {
            return input.bad("an entry of a ziplist gives another length of the one before");
        }
        let kind = input.byte()?;
        entries.push(ziplist_entry(&mut input, kind)?);
        (last_at, last_bytes) = (at, bytes.len() - input.left() - at);
    }
    if tail != last_at {
        return input.bad("a ziplist gives another place of its last entry");
    }
    finish(&input, count, entries)
}

fn ziplist_entry(input: &mut Input<'_>, kind: u8) -> Read<Entry> {
    let length = match kind {
        0..=0x3f => usize::from(kind),
        0x40..=0x7f => usize::from(u16::from_be_bytes([kind & 0x3f, input.byte()?])),
        0x80 => u32::from_be_bytes(input.array()?) as usize,
        0xc0 => return Ok(Entry::Number(integer(input.take(2)?))),
        0xd0 => return Ok(Entry::Number(integer(input.take(4)?))),
        0xe0 => return Ok(Entry::Number(integer(input.take(8)?))),
        0xf0 => return Ok(Entry::Number(integer(input.take(3)?))),
        0xfe => return Ok(Entry::Number(integer(input.take(1)?))),
        0xf1..=0xfd => return Ok(Entry::Number(i64::from(kind & 0x0f) - 1)),
        _ => return input.bad(format!("{kind:#04x} begins no entry of a ziplist")),
    };
    Ok(Entry::Text(input.take(length)?.to_vec()))
}

/// Nothing may follow the end, and the entries are as many as the head says.
fn finish(input: &Input<'_>, count: usize, entries: Vec<Entry>) -> Read<Vec<Entry>> {
    if input.left() != 0 {
        return input.bad("something follows the end of the entries");
    }
    if count != MANY && count != entries.len() {
        return input.bad(format!("{count} entries are announced, and {} are there", entries.len()));
    }
    Ok(entries)
}
