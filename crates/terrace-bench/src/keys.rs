//! Keys: 16 decimal digits, and the order in which they are put.
//!
//! The order is a permutation of `0..n`: a Feistel network on the least even number of bits that holds `n`,
//! walked until it lands below `n`. It needs no memory, and every key is put exactly once.

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 16;
/// The most keys: numbers of at most 15 digits, so that a key that is not there fits between two that are.
pub(crate) const LIMIT: u64 = 1_000_000_000_000_000;

const ROUNDS: u64 = 4;

/// The key of a number; keys sort as their numbers do.
pub(crate) fn key(number: u64) -> [u8; KEY_BYTES] {
    let mut digits = [b'0'; KEY_BYTES];
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    digits
}

/// A key that is never put: it sorts just after the keys that share its first 15 digits.
pub(crate) fn missing_key(number: u64) -> [u8; KEY_BYTES] {
    let mut digits = key(number);
    digits[KEY_BYTES - 1] = b'x';
    digits
}

/// Scrambles a number; the basis of orders and values.
pub(crate) fn mix(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A random order of `0..n`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shuffle {
    count: u64,
    half_bits: u32,
    seed: u64,
}

impl Shuffle {
    /// The order of `0..count` that `seed` chooses.
    pub(crate) fn new(count: u64, seed: u64) -> Self {
        assert!((1..=LIMIT).contains(&count), "a shuffle has 1 to {LIMIT} numbers");
        let bits = u64::BITS - (count - 1).leading_zeros();
        Self { count, half_bits: bits.div_ceil(2).max(1), seed }
    }

    /// The number at a position of the order.
    pub(crate) fn at(&self, position: u64) -> u64 {
        debug_assert!(position < self.count);
        let mut number = self.network(position);
        // At most a factor of four lies between `count` and the power of two, so this ends after a few steps;
        // it ends at all because a permutation's cycle through `position` comes back below `count`.
        while number >= self.count {
            number = self.network(number);
        }
        number
    }

    fn network(&self, number: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (number >> self.half_bits, number & mask);
        for round in 0..ROUNDS {
            let scrambled = mix(right ^ (self.seed.wrapping_mul(ROUNDS).wrapping_add(round) << 32));
            (left, right) = (right, left ^ (scrambled & mask));
        }
        (left << self.half_bits) | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_meets_every_number_once_and_moves_most() {
        for count in [1, 2, 3, 4, 5, 100, 1023, 1024, 1025, 10_000] {
            let shuffle = Shuffle::new(count, 7);
            let mut seen: Vec<u64> = (0..count).map(|i| shuffle.at(i)).collect();
            let moved = (0..).zip(&seen).filter(|(i, n)| i != *n).count() as u64;
            assert!(count < 100 || moved > count * 9 / 10, "{moved} of {count} moved");
            seen.sort_unstable();
            assert!(seen.iter().copied().eq(0..count), "{count}");
        }
    }

    #[test]
    fn seeds_give_different_orders() {
        let [a, b] = [1, 2].map(|seed| Shuffle::new(1000, seed));
        assert!((0..1000).filter(|&i| a.at(i) == b.at(i)).count() < 20);
    }

    #[test]
    fn keys_sort_as_numbers_and_missing_keys_lie_between() {
        assert_eq!(&key(42), b"0000000000000042");
        assert!(key(9) < key(10) && key(LIMIT - 1) < key(LIMIT));
        assert!(key(49) < missing_key(42) && missing_key(42) < key(50));
    }
}
