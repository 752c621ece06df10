//! Finding the one flipped bit that explains a wrong CRC-32C.
//!
//! The difference between the sum that was stored and the sum of what was found depends on the flipped bits and
//! their distance from the end alone. No two single bits of a message of less than 256 MiB have the same one, so a
//! single flip can be put right. Chance finds a culprit for arbitrary garbage once in 2^32 ÷ bits; so this is for
//! salvage, which tells what it did, and never for reading.

/// CRC-32C's polynomial, reflected: also the difference that the last bit of a message makes.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// The bit (byte × 8 + bit in it, least significant first) of a message of `bytes` bytes whose flip makes this
/// difference between two plain checksums.
pub(crate) fn flipped_bit(bytes: usize, difference: u32) -> Option<usize> {
    let mut made = POLYNOMIAL;
    for bit in (0..bytes * 8).rev() {
        if made == difference {
            return Some(bit);
        }
        made = (made >> 1) ^ if made & 1 == 1 { POLYNOMIAL } else { 0 };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::checksum::plain;

    #[test]
    fn every_flipped_bit_is_found() {
        let message: Vec<u8> = (0..300u32).map(|i| (i * 7919) as u8).collect();
        for bit in 0..message.len() * 8 {
            let mut damaged = message.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(flipped_bit(message.len(), plain(&message) ^ plain(&damaged)), Some(bit));
        }
        assert_eq!(flipped_bit(300, 0), None);
    }
}
