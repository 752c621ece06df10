//! CRC-32C over data and over the place where the data belongs.
//!
//! Every checksum on disk is *bound* to its context (file number, offset or chunk), so bytes that are sound
//! in themselves but lie in the wrong place fail the check as well. The result is never zero: an all-zero
//! region of a preallocated file cannot look like a valid record.

/// The checksum of `data` as it lies at `place` in the file or stream numbered `context`.
#[inline]
pub(crate) fn bound(context: u64, place: u64, data: &[u8]) -> u32 {
    bind(context, place, crc32c::crc32c(data))
}

/// Binds the plain CRC of some bytes to their place; `bound` is this over `crc32c(data)`.
#[inline]
pub(crate) fn bind(context: u64, place: u64, plain: u32) -> u32 {
    let mut seed = [0u8; 20];
    seed[..8].copy_from_slice(&context.to_le_bytes());
    seed[8..16].copy_from_slice(&place.to_le_bytes());
    seed[16..].copy_from_slice(&plain.to_le_bytes());
    crc32c::crc32c(&seed).max(1)
}

/// The plain CRC-32C of `data`, for `bind`.
#[inline]
pub(crate) fn plain(data: &[u8]) -> u32 {
    crc32c::crc32c(data)
}

/// The plain CRC-32C of some bytes and of `more` behind them, from that of the former.
#[inline]
pub(crate) fn plain_append(before: u32, more: &[u8]) -> u32 {
    crc32c::crc32c_append(before, more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depends_on_place_and_data() {
        let sum = bound(1, 2, b"abc");
        assert_ne!(sum, bound(1, 3, b"abc"));
        assert_ne!(sum, bound(2, 2, b"abc"));
        assert_ne!(sum, bound(1, 2, b"abd"));
        assert_eq!(sum, bind(1, 2, plain(b"abc")));
        assert_eq!(plain(b"123456789"), 0xe306_9283, "the published check value of CRC-32C");
    }
}
