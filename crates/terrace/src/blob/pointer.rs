//! `Pointer`: where a value lies in a blob file. Encoding: four varints: file number, offset of the record, length of
//! the record, length of the value.

use crate::base::FileId;
use crate::base::varint::{push_u64, take_u64};

/// Where a value lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pointer {
    /// The file.
    pub(crate) file: FileId,
    /// Offset of the record.
    pub(crate) offset: u64,
    /// Length of the record.
    pub(crate) record_bytes: u64,
    /// Length of the value as it was written.
    pub(crate) value_bytes: u64,
}

impl Pointer {
    /// Replaces `out` by the encoding.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        for number in [self.file.0, self.offset, self.record_bytes, self.value_bytes] {
            push_u64(out, number);
        }
    }

    /// Decodes the value of an entry of kind `Pointer`; `None` if it is malformed.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let input = &mut bytes;
        let pointer = Self {
            file: FileId(take_u64(input)?),
            offset: take_u64(input)?,
            record_bytes: take_u64(input)?,
            value_bytes: take_u64(input)?,
        };
        input.is_empty().then_some(pointer)
    }
}
