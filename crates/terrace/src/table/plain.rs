//! `Plain`: the plain bytes of a block, its own or lent by the file.
//!
//! A block that lies uncompressed in a file that is read through a mapping is not copied: its bytes stay where they
//! are, in the page cache, and the mapping lives as long as somebody looks at them. They have passed their checksum
//! when a `Plain` is made of them; that nobody changes the file afterwards is what the option asks for.

use std::ops::{Deref, Range};
use std::sync::Arc;

use bytes::Bytes;

use crate::io::File;

/// What the owner of lent bytes takes besides.
const LENT_BYTES: usize = size_of::<Lent>() + 2 * size_of::<usize>();

/// Bytes that never change.
#[derive(Debug)]
pub(super) struct Plain {
    bytes: Bytes,
    heap_bytes: usize,
}

/// A range of a mapped file.
struct Lent {
    file: Arc<dyn File>,
    range: Range<usize>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.file.mapped().and_then(|bytes| bytes.get(self.range.clone())).unwrap_or_default()
    }
}

impl Plain {
    /// A range of a mapped file, in place.
    pub(super) fn lent(file: Arc<dyn File>, range: Range<usize>) -> Self {
        Self { bytes: Bytes::from_owner(Lent { file, range }), heap_bytes: LENT_BYTES }
    }

    /// Memory held, for the budget: lent bytes are the kernel's.
    pub(super) fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }
}

impl From<Vec<u8>> for Plain {
    fn from(bytes: Vec<u8>) -> Self {
        Self { heap_bytes: bytes.capacity(), bytes: bytes.into() }
    }
}

impl Deref for Plain {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}
