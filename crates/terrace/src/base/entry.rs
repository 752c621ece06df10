//! Entries: what one write says about one key, and how a batch of them is laid out in the log.
//!
//! Layout of one entry in a batch body (all lengths are varints):
//!
//! ```text
//! byte       kind (low 4 bits) | tag (high 4 bits)
//! varint     expiry in milliseconds since the epoch, only for a kind with the expiry bit (0x8) set
//! varint     key length, then the internal key
//! varint     value length, then the value, absent for a delete
//! ```

use super::varint::{push_prefixed, push_u64, take_prefixed, take_u64};

/// What an entry means. The numbers are part of the on-disk format.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The key has this value.
    Put = 1,
    /// The key has no value.
    Delete = 2,
    /// No key from this one up to the value, exclusive, has a value. In the log only.
    RangeDelete = 3,
    /// An operand, to be folded onto what is below; see `merge`. Never expires.
    Merge = 4,
    /// The key has a value, which lies elsewhere: the value here says where (see `blob`). In tables only.
    Pointer = 5,
}

impl Kind {
    /// Decodes a kind byte (low three bits).
    #[inline]
    pub(crate) fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            1 => Some(Self::Put),
            2 => Some(Self::Delete),
            3 => Some(Self::RangeDelete),
            4 => Some(Self::Merge),
            5 => Some(Self::Pointer),
            _ => None,
        }
    }
}

/// Everything about an entry but its key, sequence number and value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct EntryMeta {
    /// What the entry means.
    pub(crate) kind: Kind,
    /// Four bits that belong to the caller.
    pub(crate) tag: u8,
    /// Milliseconds since the epoch from which the entry is invisible; 0 means never.
    pub(crate) expires_at_ms: u64,
}

const EXPIRY_BIT: u8 = 0x8;

impl EntryMeta {
    /// A put that never expires and carries no tag.
    pub(crate) const PUT: Self = Self { kind: Kind::Put, tag: 0, expires_at_ms: 0 };
    /// A delete.
    pub(crate) const DELETE: Self = Self { kind: Kind::Delete, tag: 0, expires_at_ms: 0 };
    /// A range delete.
    pub(crate) const RANGE_DELETE: Self = Self { kind: Kind::RangeDelete, tag: 0, expires_at_ms: 0 };

    /// A merge operand.
    pub(crate) const MERGE: Self = Self { kind: Kind::Merge, tag: 0, expires_at_ms: 0 };

    /// Whether the kind may expire.
    pub(crate) fn may_expire(kind: Kind) -> bool {
        kind != Kind::Merge
    }

    /// Kind, tag and the expiry bit as one byte.
    #[inline]
    pub(crate) fn to_byte(self) -> u8 {
        let expiry = if self.expires_at_ms == 0 { 0 } else { EXPIRY_BIT };
        self.kind as u8 | expiry | (self.tag << 4)
    }

    /// The inverse of `to_byte`: the meta without its expiry, and whether an expiry follows.
    #[inline]
    pub(crate) fn from_byte(byte: u8) -> Option<(Self, bool)> {
        let kind = Kind::from_bits(byte & 0x7)?;
        Some((Self { kind, tag: byte >> 4, expires_at_ms: 0 }, byte & EXPIRY_BIT != 0))
    }

    /// Whether a reader at `now_ms` sees a value here.
    #[inline]
    pub(crate) fn is_live(&self, now_ms: u64) -> bool {
        self.has_value() && !self.is_expired(now_ms)
    }

    /// Whether the entry is a put, wherever its value lies.
    #[inline]
    pub(crate) fn has_value(&self) -> bool {
        // Of the numbers of all kinds, those of `Put` and `Pointer` alone end in these bits.
        self.kind as u8 & 3 == Kind::Put as u8
    }

    /// Whether the expiry has passed at `now_ms`.
    #[inline]
    pub(crate) fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_at_ms != 0 && self.expires_at_ms <= now_ms
    }
}

/// A borrowed entry of a batch body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct EntryRef<'a> {
    /// The internal key.
    pub(crate) key: &'a [u8],
    /// Kind, tag, expiry.
    pub(crate) meta: EntryMeta,
    /// The value; empty for a delete, the end of the range for a range delete.
    pub(crate) value: &'a [u8],
}

impl EntryRef<'_> {
    /// Appends the entry to a batch body.
    #[inline]
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.meta.to_byte());
        if self.meta.expires_at_ms != 0 {
            push_u64(out, self.meta.expires_at_ms);
        }
        push_prefixed(out, self.key);
        if self.meta.kind != Kind::Delete {
            push_prefixed(out, self.value);
        }
    }
}

/// Takes one entry off the front of a batch body; `None` if it is malformed.
#[inline]
pub(crate) fn take_entry<'a>(input: &mut &'a [u8]) -> Option<EntryRef<'a>> {
    let (&first, rest) = input.split_first()?;
    *input = rest;
    let (mut meta, has_expiry) = EntryMeta::from_byte(first)?;
    if has_expiry {
        meta.expires_at_ms = take_u64(input)?;
        if meta.expires_at_ms == 0 || !EntryMeta::may_expire(meta.kind) {
            return None;
        }
    }
    if meta.kind == Kind::Pointer {
        return None;
    }
    let key = take_prefixed(input)?;
    let value = if meta.kind == Kind::Delete { &[] } else { take_prefixed(input)? };
    Some(EntryRef { key, meta, value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(key: Vec<u8>, value: Vec<u8>, tag in 0u8..16, expires_at_ms: u64, delete: bool) {
            let kind = if delete { Kind::Delete } else { Kind::Put };
            let value = if delete { &[][..] } else { &value[..] };
            let entry = EntryRef { key: &key, meta: EntryMeta { kind, tag, expires_at_ms }, value };
            let mut body = Vec::new();
            entry.encode(&mut body);
            entry.encode(&mut body);
            let mut input = &body[..];
            prop_assert_eq!(take_entry(&mut input), Some(entry));
            prop_assert_eq!(take_entry(&mut input), Some(entry));
            prop_assert_eq!(take_entry(&mut input), None);
        }

        #[test]
        fn has_a_value_if_it_is_a_put_or_a_pointer_and_the_log_has_no_pointers(byte: u8, key: Vec<u8>) {
            if let Some((meta, _)) = EntryMeta::from_byte(byte) {
                prop_assert_eq!(meta.has_value(), matches!(meta.kind, Kind::Put | Kind::Pointer));
            }
            let mut body = Vec::new();
            EntryRef { key: &key, meta: EntryMeta { kind: Kind::Pointer, ..EntryMeta::PUT }, value: &key }.encode(&mut body);
            prop_assert_eq!(take_entry(&mut &body[..]), None);
        }

        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let mut input = &bytes[..];
            while take_entry(&mut input).is_some() {}
        }
    }
}
