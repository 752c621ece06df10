//! The layout of an entry in an arena, as arithmetic: no memory is touched here.
//!
//! In 8-byte words of the machine's own byte order (this is never written to disk):
//!
//! ```text
//! word      seqno << 8 | kind, tag and expiry bit as in `EntryMeta::to_byte`
//! word      older version's offset: 32 bits | key length: 17 | has expiry: 1 | value code: 14
//! word      value length, only when the value code is LONG or APART (otherwise the code is the length)
//! word      address of key and value, only when the value code is APART
//! word      expiry in milliseconds, only when the entry has one
//! bytes     key, value (not when APART), up to the next word
//! ```

use super::arena::Offset;
use crate::base::key::{MAX_INTERNAL_KEY_BYTES, MAX_VALUE_BYTES};

/// The unit of offsets.
pub(super) const WORD_BYTES: usize = 8;
const KEY_LEN_SHIFT: u32 = 32;
const KEY_LEN_MASK: u64 = (1 << 17) - 1;
const EXPIRY_SHIFT: u32 = 49;
const VALUE_CODE_SHIFT: u32 = 50;
/// Value code: the length is in a word of its own.
const LONG: u64 = (1 << 14) - 1;
/// Value code: as `LONG`, and key and value are outside the chunk.
const APART: u64 = LONG - 1;

/// What the second word of an entry says, but for the older version.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) key_len: usize,
    pub(super) has_expiry: bool,
    value_code: u64,
}

impl Shape {
    /// The shape of an entry that takes at most `max_units` in its chunk.
    #[inline]
    pub(super) fn new(key_len: usize, value_len: usize, has_expiry: bool, max_units: u64) -> Self {
        assert!(key_len <= MAX_INTERNAL_KEY_BYTES, "the key is within its limit");
        assert!(value_len <= MAX_VALUE_BYTES, "the value is within its limit");
        let value_code = if (value_len as u64) < APART { value_len as u64 } else { LONG };
        let shape = Self { key_len, has_expiry, value_code };
        if u64::from(shape.units(value_len)) <= max_units {
            shape
        } else {
            Self { value_code: APART, ..shape }
        }
    }

    /// The second word.
    #[inline]
    pub(super) fn to_word(self, older: Offset) -> u64 {
        u64::from(older.0)
            | (self.key_len as u64) << KEY_LEN_SHIFT
            | u64::from(self.has_expiry) << EXPIRY_SHIFT
            | self.value_code << VALUE_CODE_SHIFT
    }

    /// The shape and the older version that the second word tells.
    #[inline]
    pub(super) fn from_word(word: u64) -> (Self, Offset) {
        let shape = Self {
            key_len: ((word >> KEY_LEN_SHIFT) & KEY_LEN_MASK) as usize,
            has_expiry: word >> EXPIRY_SHIFT & 1 == 1,
            value_code: word >> VALUE_CODE_SHIFT,
        };
        (shape, Offset(word as u32))
    }

    /// Whether key and value are outside the chunk.
    #[inline]
    pub(super) fn is_apart(self) -> bool {
        self.value_code == APART
    }

    /// The length of the value, unless it has a word of its own.
    #[inline]
    pub(super) fn short_value_len(self) -> Option<usize> {
        (self.value_code < APART).then_some(self.value_code as usize)
    }

    /// The words before the key.
    #[inline]
    pub(super) fn header_words(self) -> usize {
        2 + usize::from(self.value_code >= APART)
            + usize::from(self.is_apart())
            + usize::from(self.has_expiry)
    }

    /// The whole length in the chunk, in units.
    #[inline]
    pub(super) fn units(self, value_len: usize) -> u32 {
        let body_bytes = if self.is_apart() { 0 } else { self.key_len + value_len };
        (self.header_words() + body_bytes.div_ceil(WORD_BYTES)) as u32
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn shapes_survive_their_word() {
        for (key_len, value_len) in [(0, 0), (1, 16_381), (65_540, 16_382), (9, 16_383), (9, MAX_VALUE_BYTES)]
        {
            for (has_expiry, max_units) in [(false, 10), (true, u64::MAX)] {
                let shape = Shape::new(key_len, value_len, has_expiry, max_units);
                let (decoded, older) = Shape::from_word(shape.to_word(Offset(u32::MAX)));
                assert_eq!((decoded.key_len, decoded.has_expiry, older.0), (key_len, has_expiry, u32::MAX));
                assert_eq!(decoded.units(value_len), shape.units(value_len));
                assert_eq!(decoded.short_value_len().is_some(), value_len < 16_382 && !shape.is_apart());
                assert!(u64::from(shape.units(value_len)) <= max_units);
            }
        }
    }
}
