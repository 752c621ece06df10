//! The value of a hash's key: which generation holds its fields, how many they are, when what expires.
//!
//! ```text
//! 1 byte   the layout's number, 1
//! 1 byte   flags: bit 0, the hash was large once; bit 1, it had an expiring field once
//! varints  generation, version, fields, expiring fields, earliest expiry of a field, the key's expiry, expiry of
//!          the last field if all expire; 0 for no expiry
//! ```
//!
//! Varints are little-endian groups of seven bits. The version grows with every change, so equal headers mean an
//! unchanged hash.

use crate::failure::Failure;

const LAYOUT: u8 = 1;
const LARGE: u8 = 1;
const HAD_EXPIRY: u8 = 2;

/// The state of a hash.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Header {
    /// The number under which its fields are stored.
    pub(crate) generation: u64,
    /// How often it was changed.
    pub(crate) version: u64,
    /// The number of fields, those included that have expired since the last change.
    pub(crate) len: u64,
    /// How many of them expire.
    pub(crate) expiring: u64,
    /// No field expires before this time.
    pub(crate) next_expiry_ms: Option<u64>,
    /// When the key expires.
    pub(crate) key_expiry_ms: Option<u64>,
    /// When the last field expires, if all do.
    pub(crate) vanishes_at_ms: Option<u64>,
    /// Whether Redis would hold it in a hash table by now.
    pub(crate) large: bool,
    /// Whether Redis would hold it in the form for expiring fields by now.
    pub(crate) had_expiry: bool,
}

impl Header {
    /// The header of an empty hash.
    pub(crate) fn new(generation: u64) -> Self {
        Self { generation, ..Self::default() }
    }

    /// The bytes that are stored.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        let flag = |on, flag| if on { flag } else { 0 };
        out.extend([LAYOUT, flag(self.large, LARGE) | flag(self.had_expiry, HAD_EXPIRY)]);
        let expiries = [self.next_expiry_ms, self.key_expiry_ms, self.vanishes_at_ms];
        for number in [self.generation, self.version, self.len, self.expiring] {
            push_varint(&mut out, number);
        }
        for at in expiries {
            push_varint(&mut out, at.unwrap_or(0));
        }
        out
    }

    /// Reads what `encode` has written.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Failure> {
        let Some(([layout, flags], mut rest)) = bytes.split_first_chunk() else { return Err(unreadable()) };
        if *layout != LAYOUT {
            return Err(Failure::text(format!(
                "ERR this hash has layout {layout}, and this version of the server reads layout {LAYOUT} only"
            )));
        }
        let mut next = || take_varint(&mut rest).ok_or_else(unreadable);
        let mut header = Self {
            generation: next()?,
            version: next()?,
            len: next()?,
            expiring: next()?,
            large: flags & LARGE != 0,
            had_expiry: flags & HAD_EXPIRY != 0,
            ..Self::default()
        };
        let mut expiry = || next().map(|at| (at != 0).then_some(at));
        header.next_expiry_ms = expiry()?;
        header.key_expiry_ms = expiry()?;
        header.vanishes_at_ms = expiry()?;
        if rest.is_empty() { Ok(header) } else { Err(unreadable()) }
    }

    /// Whether fields may have expired that are still counted.
    pub(crate) fn has_passed(&self, now_ms: u64) -> bool {
        self.next_expiry_ms.is_some_and(|at| at <= now_ms)
    }
}

fn unreadable() -> Failure {
    Failure::fixed("ERR the header of this hash is damaged; verify the store")
}

fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_varint(input: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = input.split_first()?;
        *input = rest;
        let group = u64::from(byte & 0x7f);
        if shift == 63 && group > 1 {
            return None;
        }
        number |= group << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_header_is_read_as_it_was_written(numbers in proptest::array::uniform7(any::<u64>()), large: bool, had_expiry: bool) {
            let [generation, version, len, expiring, next, key, last] = numbers;
            let at = |number| Some(number).filter(|at| *at != 0);
            let header = Header {
                generation, version, len, expiring, large, had_expiry,
                next_expiry_ms: at(next), key_expiry_ms: at(key), vanishes_at_ms: at(last),
            };
            let bytes = header.encode();
            prop_assert_eq!(Header::decode(&bytes).unwrap(), header);
            prop_assert!(Header::decode(&bytes[..bytes.len() - 1]).is_err());
            prop_assert!(Header::decode(&[&bytes[..], &[0]].concat()).is_err());
        }

        #[test]
        fn any_bytes_are_a_header_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(header) = Header::decode(&bytes) {
                prop_assert_eq!(Header::decode(&header.encode()).unwrap(), header);
            }
        }
    }
}
