//! LEB128 variable-length integers: seven bits a byte, least significant first.

/// The longest encoding of a `u64`.
pub(crate) const MAX_VARINT_BYTES: usize = 10;

/// Appends `value`.
#[inline]
pub(crate) fn push_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The bytes that `push_u64` would append.
#[inline]
#[cfg(test)]
pub(crate) fn len_u64(value: u64) -> usize {
    (63 - (value | 1).leading_zeros() as usize) / 7 + 1
}

/// Takes one number off the front of `input`; `None` if it is cut short or longer than a `u64`.
#[inline]
pub(crate) fn take_u64(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (i, byte) in input.iter().enumerate().take(MAX_VARINT_BYTES) {
        let bits = u64::from(byte & 0x7f);
        if i == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * i);
        if byte & 0x80 == 0 {
            *input = &input[i + 1..];
            return Some(value);
        }
    }
    None
}

/// Takes `n` raw bytes off the front of `input`.
#[inline]
pub(crate) fn take_bytes<'a>(input: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (head, rest) = input.split_at_checked(n)?;
    *input = rest;
    Some(head)
}

/// Takes a length-prefixed byte string off the front of `input`.
#[inline]
pub(crate) fn take_prefixed<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let n = usize::try_from(take_u64(input)?).ok()?;
    take_bytes(input, n)
}

/// Appends a length-prefixed byte string.
pub(crate) fn push_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    push_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(value: u64, rest: Vec<u8>) {
            let mut out = Vec::new();
            push_u64(&mut out, value);
            prop_assert_eq!(out.len(), len_u64(value));
            out.extend_from_slice(&rest);
            let mut input = &out[..];
            prop_assert_eq!(take_u64(&mut input), Some(value));
            prop_assert_eq!(input, &rest[..]);
        }

        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let mut input = &bytes[..];
            let _ = take_u64(&mut input);
            let mut input = &bytes[..];
            let _ = take_prefixed(&mut input);
        }
    }

    #[test]
    fn refuses_overlong() {
        assert_eq!(take_u64(&mut &[0xff; 10][..]), None);
        assert_eq!(take_u64(&mut &[0x80][..]), None);
        assert_eq!(take_u64(&mut &[][..]), None);
    }
}
