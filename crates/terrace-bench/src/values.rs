//! Values: half random, half repetition, and a function of key and round, so that a scan can check them.

use crate::keys::mix;

/// Writes the value of key `number` in `round` (0 for the first put) into `value`, whose length stays.
pub(crate) fn fill(value: &mut [u8], number: u64, round: u64) {
    let random = value.len().div_ceil(2);
    let mut state = mix(number ^ (round << 48));
    for chunk in value[..random].chunks_mut(8) {
        let bytes = state.to_le_bytes();
        chunk.copy_from_slice(&bytes[..chunk.len()]);
        state = mix(state);
    }
    let (first, second) = value.split_at_mut(random);
    second.copy_from_slice(&first[..second.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_follows_from_key_and_round_and_repeats_its_first_half() {
        let value = |number, round, len| {
            let mut value = vec![0; len];
            fill(&mut value, number, round);
            value
        };
        for len in [0, 1, 2, 15, 100, 101] {
            let found = value(5, 0, len);
            assert_eq!(found, value(5, 0, len));
            assert_eq!(found[len.div_ceil(2)..], found[..len / 2]);
        }
        assert_ne!(value(5, 0, 100), value(6, 0, 100));
        assert_ne!(value(5, 0, 100), value(5, 1, 100));
    }
}
