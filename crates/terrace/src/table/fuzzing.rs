//! The decoders of a table's parts, for fuzzing.

use std::path::Path;

use super::block::Block;
use super::filter::Filter;
use super::footer::{FOOTER_BYTES, Footer};
use super::index::Index;
use super::properties::Properties;
use crate::base::FileId;

/// A data block: decoded, searched and read whole.
pub fn block(bytes: &[u8]) {
    let Ok(block) = Block::decode(bytes.to_vec()) else { return };
    for i in 0..block.entries().min(1 << 10) {
        let key = block.key(i);
        let _ = (block.seqno(i), block.meta(i), block.value(i));
        let _ = (block.lower_bound(&key), block.find(&key, block.seqno(i)));
    }
    let _ = (block.lower_bound(b""), block.find(bytes, u64::MAX >> 8));
}

/// A filter block.
pub fn filter(bytes: &[u8]) {
    if let Ok(filter) = Filter::decode(bytes) {
        for hash in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
            let _ = filter.may_contain(hash);
        }
    }
}

/// The footer (the first byte being 0), the properties (1) or the index (any other) behind the first byte.
pub fn footer_and_index(bytes: &[u8]) {
    match bytes.split_first() {
        Some((0, rest)) => {
            if let Some(footer) = rest.first_chunk::<FOOTER_BYTES>() {
                let _ = Footer::decode(footer, Path::new("fuzzed"), FileId(7), 4096);
            }
        }
        Some((1, rest)) => {
            let _ = Properties::decode(rest);
        }
        Some((_, rest)) => {
            let Ok(index) = Index::decode(rest.to_vec(), 1 << 20) else { return };
            for i in 0..index.blocks().min(1 << 10) {
                let _ = (index.fence(i), index.handle(i), index.find(&index.fence(i)));
            }
            let _ = (index.find(b""), index.block_at(0));
        }
        None => {}
    }
}
