//! The filter: a blocked Bloom filter, one cache line per lookup.
//!
//! | bytes  | field |
//! |--------|-------|
//! | 64 × n | lines of 512 bits, each as eight little-endian u64 |
//! | 4      | n, little-endian, at least 1 |
//! | 1      | probes per key, 1 to 14 |
//! | 3      | zero |
//!
//! A key's line is `(hash >> 32) × n >> 32`. Its bits are nine-bit fields, lowest first, of
//! `hash × 0x9E3779B97F4A7C15` (mod 2^64): seven from that product, the next seven from it times the same
//! constant again. A bit `b` of a line is bit `b % 64` of word `b / 64`. The hash is XXH3-64 of the internal
//! key, so all versions of a key share their bits.

use super::prefetch::prefetch;

const LINE_BITS: u64 = 512;
const LINE_BYTES: usize = 64;
const TAIL_BYTES: usize = 8;
const PROBES_MAX: u8 = 14;
const FIELDS_PER_WORD: u8 = 7;
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

#[repr(align(64))]
#[derive(Clone, Copy, Debug, Default)]
struct Line([u64; 8]);

/// A loaded filter. One without lines, for a table written without a filter, may contain everything.
#[derive(Debug, Default)]
pub(super) struct Filter {
    lines: Vec<Line>,
    probes: u8,
}

/// Calls `probe(word, mask)` for each bit of a key until it returns false; says whether all returned true.
#[inline]
fn all_bits(hash: u64, probes: u8, mut probe: impl FnMut(usize, u64) -> bool) -> bool {
    let mut fields = hash.wrapping_mul(MIX);
    let mut next = fields.wrapping_mul(MIX);
    for i in 0..probes {
        if i == FIELDS_PER_WORD {
            std::mem::swap(&mut fields, &mut next);
        }
        if !probe((fields >> 6) as usize & 7, 1 << (fields & 63)) {
            return false;
        }
        fields >>= 9;
    }
    true
}

impl Filter {
    /// Builds the filter of the keys with these hashes.
    fn build(hashes: &[u64], bits_per_key: u8) -> Self {
        let bits = hashes.len() as u64 * u64::from(bits_per_key);
        let count = bits.div_ceil(LINE_BITS).clamp(1, u64::from(u32::MAX)) as usize;
        // ln 2 × bits per key is optimal for a plain Bloom filter; a little fewer for a blocked one, whose
        // lines fill unevenly.
        let probes = ((u32::from(bits_per_key) * 62 + 50) / 100).clamp(1, u32::from(PROBES_MAX)) as u8;
        let mut filter = Self { lines: vec![Line::default(); count], probes };
        for hash in hashes {
            let line = filter.line_of(*hash);
            let words = &mut filter.lines[line].0;
            all_bits(*hash, probes, |word, mask| {
                words[word] |= mask;
                true
            });
        }
        filter
    }

    #[inline]
    fn line_of(&self, hash: u64) -> usize {
        (((hash >> 32) * self.lines.len() as u64) >> 32) as usize
    }

    /// Whether there is no filter at all.
    pub(super) fn is_absent(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether a key with this hash may be in the table; `false` is certain.
    #[inline]
    pub(super) fn may_contain(&self, hash: u64) -> bool {
        match self.lines.get(self.line_of(hash)) {
            Some(line) => all_bits(hash, self.probes, |word, mask| line.0[word] & mask != 0),
            None => true,
        }
    }

    /// Asks for the one cache line that `may_contain` will read.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        if let Some(line) = self.lines.get(self.line_of(hash)) {
            prefetch(line);
        }
    }

    /// Memory held.
    pub(super) fn memory_bytes(&self) -> u64 {
        (self.lines.capacity() * LINE_BYTES) as u64
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(self.lines.len() * LINE_BYTES + TAIL_BYTES);
        for word in self.lines.iter().flat_map(|line| line.0) {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&(self.lines.len() as u32).to_le_bytes());
        out.extend_from_slice(&[self.probes, 0, 0, 0]);
    }

    /// Decodes a filter block; the error says what was expected and found.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let Some((body, tail)) = bytes.split_last_chunk::<TAIL_BYTES>() else {
            return Err(format!("expected a filter of at least {TAIL_BYTES} bytes, found {}", bytes.len()));
        };
        let [a, b, c, d, probes, 0, 0, 0] = *tail else {
            return Err(format!("expected a filter's tail, found {tail:02x?}"));
        };
        let count = u32::from_le_bytes([a, b, c, d]) as usize;
        if count == 0 || count.checked_mul(LINE_BYTES) != Some(body.len()) {
            return Err(format!("expected {count} filter lines (at least 1), found {} bytes", body.len()));
        }
        if !(1..=PROBES_MAX).contains(&probes) {
            return Err(format!("expected 1 to {PROBES_MAX} probes, found {probes}"));
        }
        let line = |bytes: &[u8; LINE_BYTES]| {
            let word = |i: usize| u64::from_le_bytes(std::array::from_fn(|j| bytes[i * 8 + j]));
            Line(std::array::from_fn(word))
        };
        Ok(Self { lines: body.as_chunks().0.iter().map(line).collect(), probes })
    }
}

/// Gathers the hashes of a table's keys.
#[derive(Debug)]
pub(super) struct FilterBuilder {
    hashes: Vec<u64>,
    bits_per_key: u8,
}

impl FilterBuilder {
    /// A builder for this many bits per key; 0 builds no filter.
    pub(super) fn new(bits_per_key: u8) -> Self {
        Self { hashes: Vec::new(), bits_per_key }
    }

    /// Adds a key; the caller adds each key once, whatever its number of versions.
    pub(super) fn add(&mut self, hash: u64) {
        if self.bits_per_key > 0 {
            self.hashes.push(hash);
        }
    }

    /// The bytes that the filter block will take.
    pub(super) fn estimate_bytes(&self) -> u64 {
        (self.hashes.len() as u64 * u64::from(self.bits_per_key)).div_ceil(LINE_BITS) * LINE_BYTES as u64
    }

    /// Appends the filter block, or nothing when no filter was asked for.
    pub(super) fn finish(&self, out: &mut Vec<u8>) {
        if self.bits_per_key > 0 {
            Filter::build(&self.hashes, self.bits_per_key).encode(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::filter_hash;
    use proptest::prelude::*;

    fn hash(i: u64) -> u64 {
        filter_hash(&i.to_le_bytes())
    }

    fn false_positive_rate(bits_per_key: u8) -> f64 {
        let hashes: Vec<u64> = (0..20_000).map(hash).collect();
        let filter = Filter::build(&hashes, bits_per_key);
        assert!(hashes.iter().all(|h| filter.may_contain(*h)));
        let wrong = (1_000_000..1_100_000).filter(|i| filter.may_contain(hash(*i))).count();
        wrong as f64 / 100_000.0
    }

    #[test]
    fn false_positives_stay_near_what_the_bits_buy() {
        let rates: Vec<f64> = [5, 10, 14, 20].into_iter().map(false_positive_rate).collect();
        assert!(rates[0] < 0.12 && rates[1] < 0.0125 && rates[2] < 0.003 && rates[3] < 0.0008, "{rates:?}");
        assert!(rates[1] > 0.002, "too good to be true: {rates:?}");
    }

    #[test]
    fn each_further_bit_pays_so_small_filters_may_well_have_more() {
        let rates: Vec<f64> = (10..=16).map(false_positive_rate).collect();
        assert!(rates.windows(2).all(|pair| pair[1] < pair[0]), "{rates:?}");
        // An absent key in a store with four runs in level 0 and two levels below.
        let (uniform, graded) = (6.0 * rates[0], 4.0 * rates[4] + rates[1] + rates[0]);
        assert!(graded < uniform / 2.0, "{graded} {uniform}");
    }

    #[test]
    fn absent_filter_may_contain_everything() {
        let mut out = Vec::new();
        let mut builder = FilterBuilder::new(0);
        builder.add(1);
        builder.finish(&mut out);
        assert!(out.is_empty());
        assert!(Filter::default().may_contain(5) && Filter::default().is_absent());
        Filter::default().prefetch(5);
    }

    proptest! {
        #[test]
        fn round_trip(keys in prop::collection::vec(any::<u64>(), 0..300), bits in 1u8..=255) {
            let mut builder = FilterBuilder::new(bits);
            for key in &keys {
                builder.add(hash(*key));
            }
            let mut out = Vec::new();
            builder.finish(&mut out);
            let filter = Filter::decode(&out).unwrap();
            for key in keys {
                filter.prefetch(hash(key));
                prop_assert!(filter.may_contain(hash(key)));
            }
        }

        #[test]
        fn decoding_nonsense_never_panics(mut bytes: Vec<u8>, lines in 0u32..3, probes in 0u8..20) {
            bytes.resize(lines as usize * LINE_BYTES, 7);
            bytes.extend_from_slice(&lines.to_le_bytes());
            bytes.extend_from_slice(&[probes, 0, 0, 0]);
            if let Ok(filter) = Filter::decode(&bytes) {
                filter.may_contain(u64::MAX);
            }
        }
    }
}
