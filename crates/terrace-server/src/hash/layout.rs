//! The keys of a hash's entries in the keyspace of fields.
//!
//! ```text
//! generation (8 bytes, big-endian)  0                                        → the key that owns it
//! generation                        1  hash of the name (4 bytes)  name      → the field's value
//! generation                        2  expiry (8 bytes)            name      → nothing
//! ```
//!
//! Numbers are big-endian. Fields are in the order of a hash of their names, so that a cursor of `HSCAN` is a
//! position and nothing has to be remembered for it. The hash is part of the format: XXH3-64 with the generation as
//! its seed, the upper half.

use terrace::Slice;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::failure::Failure;
use crate::transaction::MAX_KEY_BYTES;

const OWNER: u8 = 0;
const FIELD: u8 = 1;
const EXPIRY: u8 = 2;
/// Bytes before the name in the key of a field.
const FIELD_HEAD: usize = 8 + 1 + 4;
/// Bytes before the name in the key of an expiry.
const EXPIRY_HEAD: usize = 8 + 1 + 8;
/// The longest name of a field.
pub(crate) const MAX_NAME_BYTES: usize = MAX_KEY_BYTES - EXPIRY_HEAD;

fn key(generation: u64, kind: u8, parts: [&[u8]; 2]) -> Vec<u8> {
    let mut key = Vec::with_capacity(8 + 1 + parts[0].len() + parts[1].len());
    key.extend_from_slice(&generation.to_be_bytes());
    key.push(kind);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

/// The key under which a generation names its owner; the first of its entries.
pub(crate) fn owner_key(generation: u64) -> Vec<u8> {
    key(generation, OWNER, [&[], &[]])
}

/// The generation that an entry belongs to.
pub(crate) fn generation_of(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*key.first_chunk()?))
}

/// The place of a name in the order of the fields.
pub(crate) fn place_of(generation: u64, name: &[u8]) -> u32 {
    (xxh3_64_with_seed(name, generation) >> 32) as u32
}

/// The key of a field.
pub(crate) fn field_key(generation: u64, name: &[u8]) -> Vec<u8> {
    key(generation, FIELD, [&place_of(generation, name).to_be_bytes(), name])
}

/// Before the fields from a place on.
pub(crate) fn fields_from(generation: u64, place: u32) -> Vec<u8> {
    key(generation, FIELD, [&place.to_be_bytes(), &[]])
}

/// Behind the last field.
pub(crate) fn fields_end(generation: u64) -> Vec<u8> {
    key(generation, EXPIRY, [&[], &[]])
}

/// The place and the name of a field, from its key.
pub(crate) fn field_of(key: &Slice) -> (u32, &[u8]) {
    let place = key.get(9..FIELD_HEAD).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes);
    (place, key.get(FIELD_HEAD..).unwrap_or_default())
}

/// The key under which a field's expiry is indexed.
pub(crate) fn expiry_key(generation: u64, at_ms: u64, name: &[u8]) -> Vec<u8> {
    key(generation, EXPIRY, [&at_ms.to_be_bytes(), name])
}

/// Before the expiries at `at_ms` or later.
pub(crate) fn expiries_from(generation: u64, at_ms: u64) -> Vec<u8> {
    key(generation, EXPIRY, [&at_ms.to_be_bytes(), &[]])
}

/// Behind everything of a generation.
pub(crate) fn generation_end(generation: u64) -> Vec<u8> {
    key(generation, EXPIRY + 1, [&[], &[]])
}

/// The time and the name in the key of an expiry.
pub(crate) fn expiry_of(key: &[u8]) -> (u64, &[u8]) {
    let at = key.get(9..EXPIRY_HEAD).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes);
    (at, key.get(EXPIRY_HEAD..).unwrap_or_default())
}

/// Refuses a name that does not fit.
pub(crate) fn check_name(name: &[u8]) -> Result<(), Failure> {
    if name.len() > MAX_NAME_BYTES {
        let found = name.len();
        return Err(Failure::text(format!(
            "ERR the name of a field takes at most {MAX_NAME_BYTES} bytes; this one has {found}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_generation_lies_together_and_in_its_parts(
            generation in 1..u64::MAX, at in any::<u64>(), name in proptest::collection::vec(any::<u8>(), 0..20)
        ) {
            let field = field_key(generation, &name);
            let expiry = expiry_key(generation, at, &name);
            prop_assert!(owner_key(generation) < field);
            prop_assert!(fields_from(generation, 0) <= field && field < fields_end(generation));
            prop_assert!(fields_from(generation, place_of(generation, &name)) <= field);
            prop_assert!(fields_end(generation) < expiry && expiry < generation_end(generation));
            prop_assert!(expiries_from(generation, at) <= expiry);
            prop_assert!(generation_end(generation) < owner_key(generation + 1));
            prop_assert_eq!(generation_of(&field), Some(generation));
            let field = Slice::from(field);
            prop_assert_eq!(field_of(&field), (place_of(generation, &name), &name[..]));
            prop_assert_eq!(expiry_of(&expiry), (at, &name[..]));
        }
    }

    #[test]
    fn the_order_of_fields_is_part_of_the_format() {
        assert_eq!(place_of(1, b"field"), 1_271_648_117);
    }
}
