//! The index: one fence per data block, searched in memory.
//!
//! On disk it is a block in the columnar format, never compressed, whose entries are puts with sequence
//! number 0. Entry i has as its key the fence of data block i: a key at or after the block's last one and
//! before the first one of the next block. Its value is the offset of the first byte after the block and its
//! trailer (8 bytes, little-endian). Block 0 starts at byte 0, every other one where its neighbour ends, and
//! the last one ends where the filter block begins.

use super::block::{Block, BlockBuilder};
use super::frame::{Handle, TRAILER_BYTES};
use crate::base::EntryMeta;

/// Appends the fence of a block that ends at `end`.
pub(super) fn push_fence(index: &mut BlockBuilder, fence: &[u8], end: u64) {
    index.add(fence, 0, EntryMeta::PUT, &end.to_le_bytes());
}

/// The shortest key at or after `last` and before `next`.
pub(super) fn fence<'a>(last: &'a [u8], next: &'a [u8]) -> &'a [u8] {
    let common = last.iter().zip(next).take_while(|(a, b)| a == b).count();
    // Cutting `next` one byte after the difference gives a key beyond `last`; it must stay below `next`.
    if common + 1 < next.len() && common + 1 < last.len() { &next[..=common] } else { last }
}

/// A loaded index.
#[derive(Debug)]
pub(super) struct Index {
    fences: Block,
    ends: Vec<u64>,
}

impl Index {
    /// Decodes an index over data blocks that fill the file up to `data_end`; the error says what was
    /// expected and found.
    pub(super) fn decode(bytes: Vec<u8>, data_end: u64) -> Result<Self, String> {
        let fences = Block::decode(bytes)?;
        let mut ends = Vec::with_capacity(fences.entries());
        let mut previous = 0;
        for i in 0..fences.entries() {
            let value = fences.value(i);
            let Ok(end) = value.try_into().map(u64::from_le_bytes) else {
                return Err(format!("expected 8 bytes with fence {i}, found {}", value.len()));
            };
            if end < previous + TRAILER_BYTES as u64 || end > data_end {
                return Err(format!(
                    "expected block {i} between {previous} and {data_end}, found its end at {end}"
                ));
            }
            ends.push(end);
            previous = end;
        }
        if previous != data_end {
            return Err(format!("expected the last block to end at {data_end}, found {previous}"));
        }
        Ok(Self { fences, ends })
    }

    /// The number of data blocks, at least 1.
    #[inline]
    pub(super) fn blocks(&self) -> usize {
        self.ends.len()
    }

    /// The one block that can hold `key`: the first whose fence is at or after it.
    #[inline]
    pub(super) fn find(&self, key: &[u8]) -> Option<usize> {
        let block = self.fences.lower_bound(key);
        (block < self.ends.len()).then_some(block)
    }

    /// The block that can hold `key`, which is not before one that block `near` can hold: often the same.
    #[inline]
    pub(super) fn find_from(&self, near: usize, key: &[u8]) -> Option<usize> {
        if self.fences.reaches(near, key) { Some(near) } else { self.find(key) }
    }

    /// Where block `i` lies.
    pub(super) fn handle(&self, i: usize) -> Handle {
        let offset = if i == 0 { 0 } else { self.ends[i - 1] };
        Handle { offset, len: self.ends[i] - offset }
    }

    /// The fence of block `i`.
    pub(super) fn fence(&self, i: usize) -> Vec<u8> {
        self.fences.key(i)
    }

    /// The block that holds byte `offset` of the file, or the last one.
    pub(super) fn block_at(&self, offset: u64) -> usize {
        self.ends.partition_point(|end| *end <= offset).min(self.ends.len() - 1)
    }

    /// The first byte after the data blocks.
    pub(super) fn data_end(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Memory held.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.fences.memory_bytes() + (self.ends.capacity() * size_of::<u64>()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::super::block::tests::any_key;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_fence_parts_its_neighbours(a in any_key(), b in any_key()) {
            prop_assume!(a != b);
            let (last, next) = if a < b { (a, b) } else { (b, a) };
            let fence = fence(&last, &next);
            prop_assert!(&last[..] <= fence && fence < &next[..]);
            prop_assert!(fence.len() <= last.len());
        }
    }

    #[test]
    fn ends_out_of_place_are_refused() {
        let decode = |ends: &[u64]| {
            let mut builder = BlockBuilder::default();
            for (i, end) in ends.iter().enumerate() {
                push_fence(&mut builder, &[i as u8], *end);
            }
            let mut bytes = Vec::new();
            builder.finish(&mut bytes);
            Index::decode(bytes, 100)
        };
        let index = decode(&[40, 100]).unwrap();
        assert_eq!(index.handle(1), Handle { offset: 40, len: 60 });
        assert_eq!([39, 40, 99, 500].map(|offset| index.block_at(offset)), [0, 1, 1, 1]);
        assert!(decode(&[40, 99]).is_err());
        assert!(decode(&[40, 40, 100]).is_err());
        assert!(decode(&[101]).is_err());
    }
}
