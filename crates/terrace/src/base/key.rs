//! Internal keys: a keyspace prefix followed by the user's bytes.
//!
//! The prefix is an order-preserving, self-delimiting code for the keyspace number: one byte below 240,
//! otherwise `240 + n` followed by `n` big-endian bytes (`n` in 1..=4). Keys of one keyspace are therefore
//! contiguous, keyspaces sort by number, and comparing whole internal keys bytewise is all that is needed.

use super::id::KeyspaceId;

/// The longest user key, in bytes.
pub(crate) const MAX_KEY_BYTES: usize = 65_535;
/// The largest value, in bytes (512 MiB).
pub(crate) const MAX_VALUE_BYTES: usize = 512 << 20;
/// The longest keyspace prefix, in bytes.
pub(crate) const MAX_PREFIX_BYTES: usize = 5;
/// The longest internal key, in bytes.
pub(crate) const MAX_INTERNAL_KEY_BYTES: usize = MAX_KEY_BYTES + MAX_PREFIX_BYTES;

const ONE_BYTE_LIMIT: u32 = 240;

/// Appends the prefix of `id` to `out`.
pub(crate) fn push_prefix(out: &mut Vec<u8>, id: KeyspaceId) {
    if id.0 < ONE_BYTE_LIMIT {
        out.push(id.0 as u8);
        return;
    }
    let bytes = id.0.to_be_bytes();
    let skip = bytes.iter().take_while(|b| **b == 0).count().min(3);
    out.push(240 + (4 - skip) as u8);
    out.extend_from_slice(&bytes[skip..]);
}

/// The first key that sorts after every key starting with `prefix`, or `None` when there is no such key.
pub(crate) fn prefix_successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|b| *b != 0xff)?;
    let mut out = prefix[..=last].to_vec();
    out[last] += 1;
    Some(out)
}

/// Splits an internal key into its keyspace and the user's key; `None` if the prefix is malformed.
pub(crate) fn split(internal: &[u8]) -> Option<(KeyspaceId, &[u8])> {
    let (&first, rest) = internal.split_first()?;
    if u32::from(first) < ONE_BYTE_LIMIT {
        return Some((KeyspaceId(u32::from(first)), rest));
    }
    let n = usize::from(first - 240);
    if !(1..=4).contains(&n) || rest.len() < n {
        return None;
    }
    let id = rest[..n].iter().fold(0u32, |acc, b| (acc << 8) | u32::from(*b));
    Some((KeyspaceId(id), &rest[n..]))
}

/// The first eight bytes of `key` as a big-endian number, zero-padded: comparing two heads agrees with
/// comparing the keys whenever the heads differ.
#[inline]
pub(crate) fn head(key: &[u8]) -> u64 {
    match key.first_chunk::<8>() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => {
            let mut padded = [0u8; 8];
            padded[..key.len()].copy_from_slice(key);
            u64::from_be_bytes(padded)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_sort_by_number_and_split_back() {
        let ids = [0, 1, 239, 240, 255, 256, 65_535, 65_536, 1 << 24, u32::MAX];
        let mut previous: Option<Vec<u8>> = None;
        for id in ids {
            let mut key = Vec::new();
            push_prefix(&mut key, KeyspaceId(id));
            assert!(key.len() <= MAX_PREFIX_BYTES);
            if let Some(previous) = &previous {
                assert!(*previous < key, "{id}");
            }
            previous = Some(key.clone());
            key.extend_from_slice(b"k\xff");
            assert_eq!(split(&key), Some((KeyspaceId(id), &b"k\xff"[..])));
        }
        assert_eq!(split(b""), None);
        assert_eq!(split(&[244, 1]), None);
        assert_eq!(split(&[255, 1, 2, 3, 4, 5]), None);
    }

    #[test]
    fn successor_skips_trailing_ff() {
        assert_eq!(prefix_successor(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(prefix_successor(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(prefix_successor(b"\xff"), None);
        assert_eq!(prefix_successor(b""), None);
    }

    #[test]
    fn heads_order_like_keys() {
        assert!(head(b"a") < head(b"b"));
        assert!(head(b"abcdefgh") <= head(b"abcdefghi"));
        assert_eq!(head(b"a"), head(b"a\0"));
    }
}
