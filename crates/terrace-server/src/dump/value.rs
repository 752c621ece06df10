//! Strings and hashes in a payload.
//!
//! ```text
//!  0  string
//!  4  number of fields, then name and value (strings) of each
//! 22  number of fields, then expiry (0: none; milliseconds since the epoch), name and value of each
//! 24  earliest expiry (8 bytes, little-endian), number of fields, then expiry (0: none; 1: the earliest; …), name
//!     and value of each
//! 13  a string with a ziplist of names and values; 16 the same with a listpack
//! 23  a string with a listpack of names, values and expiries, soonest first; 25 the same behind the earliest expiry
//! ```

use std::collections::HashSet;

use super::input::{Bad, Input, Read};
use super::packed::{Entry, listpack, ziplist};
use crate::hash::MAX_EXPIRY_MS;

pub(super) const STRING: u8 = 0;
const HASH: u8 = 4;
const HASH_ZIPLIST: u8 = 13;
const HASH_LISTPACK: u8 = 16;
const HASH_EXPIRING_OLD: u8 = 22;
const HASH_LISTPACK_EXPIRING_OLD: u8 = 23;
const HASH_EXPIRING: u8 = 24;
const HASH_LISTPACK_EXPIRING: u8 = 25;

/// The fewest bytes that a field takes: the lengths of name and value.
const MIN_FIELD_BYTES: usize = 2;

/// A field of a hash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Field {
    /// Its name.
    pub(crate) name: Vec<u8>,
    /// Its value.
    pub(crate) value: Vec<u8>,
    /// When it expires, in milliseconds since the epoch.
    pub(crate) expires_at_ms: Option<u64>,
}

/// What a payload holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Value {
    /// A string.
    Text(Vec<u8>),
    /// A hash; it has a field, and none twice.
    Hash(Vec<Field>),
}

/// How the expiry of a field is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expiry {
    Never,
    Absolute,
    From(u64),
}

impl Value {
    /// Reads type and value.
    pub(super) fn read(body: &[u8]) -> Read<Self> {
        let mut input = Input::new(body);
        let kind = input.byte()?;
        let value = match kind {
            STRING => Self::Text(input.string()?),
            HASH => Self::Hash(plain(&mut input, Expiry::Never)?),
            HASH_EXPIRING_OLD => Self::Hash(plain(&mut input, Expiry::Absolute)?),
            HASH_EXPIRING => {
                let earliest = u64::from_le_bytes(input.array()?);
                Self::Hash(plain(&mut input, Expiry::From(earliest))?)
            }
            HASH_ZIPLIST => Self::Hash(within(&mut input, ziplist, false)?),
            HASH_LISTPACK => Self::Hash(within(&mut input, listpack, false)?),
            HASH_LISTPACK_EXPIRING_OLD => Self::Hash(within(&mut input, listpack, true)?),
            HASH_LISTPACK_EXPIRING => {
                input.take(8)?;
                Self::Hash(within(&mut input, listpack, true)?)
            }
            kind => {
                return input
                    .bad(format!("this server has strings and hashes only, and this is of type {kind}"));
            }
        };
        if input.left() != 0 {
            return input.bad("something follows the value");
        }
        if let Self::Hash(fields) = &value {
            check(&input, fields)?;
        }
        Ok(value)
    }
}

/// Fields one by one.
fn plain(input: &mut Input<'_>, expiry: Expiry) -> Read<Vec<Field>> {
    let count = input.number()?;
    if count > (input.left() / MIN_FIELD_BYTES) as u64 {
        return input.bad(format!("{count} fields do not fit into {} bytes", input.left()));
    }
    let mut fields = Vec::new();
    for _ in 0..count {
        let number = if expiry == Expiry::Never { 0 } else { input.number()? };
        let at_ms = match expiry {
            Expiry::From(earliest) if number > 0 => earliest.saturating_add(number - 1),
            _ => number,
        };
        let expires_at_ms = Some(at_ms).filter(|at| *at != 0);
        fields.push(Field { name: input.string()?, value: input.string()?, expires_at_ms });
    }
    Ok(fields)
}

/// Fields that are entries in one string.
fn within(input: &mut Input<'_>, read: fn(&[u8]) -> Read<Vec<Entry>>, expiring: bool) -> Read<Vec<Field>> {
    let packed = input.string()?;
    let entries = read(&packed)
        .or_else(|bad: Bad| input.bad(format!("{} (at byte {} of the entries)", bad.why, bad.at)))?;
    let per_field = if expiring { 3 } else { 2 };
    if !entries.len().is_multiple_of(per_field) {
        return input.bad(format!("{} entries are no whole number of fields", entries.len()));
    }
    let (mut fields, mut entries, mut latest) = (Vec::new(), entries.into_iter(), 0);
    while let (Some(name), Some(value)) = (entries.next(), entries.next()) {
        let expires_at_ms = match expiring.then(|| entries.next()).flatten() {
            None | Some(Entry::Number(0)) => None,
            Some(Entry::Number(at)) if at >= latest && latest != i64::MAX => {
                latest = at;
                Some(at.unsigned_abs())
            }
            Some(_) => return input.bad("the fields are not in the order of their expiry"),
        };
        if expires_at_ms.is_none() {
            latest = i64::MAX;
        }
        fields.push(Field { name: name.into_bytes(), value: value.into_bytes(), expires_at_ms });
    }
    Ok(fields)
}

/// What no hash of Redis can be is refused.
fn check(input: &Input<'_>, fields: &[Field]) -> Read<()> {
    if fields.is_empty() {
        return input.bad("a hash without fields");
    }
    let mut names = HashSet::with_capacity(fields.len());
    for field in fields {
        if !names.insert(field.name.as_slice()) {
            return input.bad("a field is there twice");
        }
        if field.expires_at_ms.is_some_and(|at| at > MAX_EXPIRY_MS) {
            return input.bad("a field expires too late");
        }
    }
    Ok(())
}

/// Writes what [`Value::read`] reads, without version and checksum.
pub(crate) struct Writer {
    pub(super) bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn new(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity) }
    }

    pub(super) fn kind(&mut self, kind: u8) -> &mut Self {
        self.bytes.push(kind);
        self
    }

    fn number(&mut self, number: u64) -> &mut Self {
        match number {
            0..0x40 => self.bytes.push(number as u8),
            0x40..0x4000 => self.bytes.extend_from_slice(&(number as u16 | 0x4000).to_be_bytes()),
            0x4000..=0xffff_ffff => {
                self.bytes.push(0x80);
                self.bytes.extend_from_slice(&(number as u32).to_be_bytes());
            }
            _ => {
                self.bytes.push(0x81);
                self.bytes.extend_from_slice(&number.to_be_bytes());
            }
        }
        self
    }

    pub(super) fn string(&mut self, bytes: &[u8]) -> &mut Self {
        self.number(bytes.len() as u64).bytes.extend_from_slice(bytes);
        self
    }

    /// Returns whether a field expires.
    pub(super) fn hash(&mut self, fields: &[Field]) -> bool {
        let earliest = fields.iter().filter_map(|field| field.expires_at_ms).min();
        self.kind(if earliest.is_some() { HASH_EXPIRING } else { HASH });
        if let Some(earliest) = earliest {
            self.bytes.extend_from_slice(&earliest.to_le_bytes());
        }
        self.number(fields.len() as u64);
        for field in fields {
            if let Some(earliest) = earliest {
                self.number(field.expires_at_ms.map_or(0, |at| at - earliest + 1));
            }
            self.string(&field.name).string(&field.value);
        }
        earliest.is_some()
    }
}
