//! `TableMeta`: what the rest of the store knows about a table without reading it.

use crate::base::varint::{push_prefixed, push_u64, take_prefixed, take_u64};
use crate::base::{FileId, Seqno};
use crate::blob::BlobUse;

use super::shares::Shares;

/// A table's identity, size, key range and summary; kept in the manifest.
///
/// Encoding: ten varints in the order id, file bytes, entries, tombstones, smallest and largest sequence
/// number, raw bytes, latest and earliest expiry, cleared sequence number; then the smallest and the largest key, each with its
/// length as a varint before it. The rest is encoded by itself (`encode_tail`): what it points to in blob files, a number
/// and bytes as varints for each file, in the order of their numbers; and if its shares say anything, two zeros, which
/// no file begins with, and the shares. Builds from before shares refuse these as malformed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TableMeta {
    /// The number of the file.
    pub(crate) id: FileId,
    /// Length of the file.
    pub(crate) file_bytes: u64,
    /// Entries of every kind, each version counted.
    pub(crate) entries: u64,
    /// Deletes among them.
    pub(crate) tombstones: u64,
    /// The first internal key.
    pub(crate) smallest: Vec<u8>,
    /// The last internal key.
    pub(crate) largest: Vec<u8>,
    /// The oldest sequence number.
    pub(crate) min_seqno: Seqno,
    /// The newest sequence number.
    pub(crate) max_seqno: Seqno,
    /// Keys plus values before prefix sharing and compression.
    pub(crate) raw_bytes: u64,
    /// The latest expiry if every entry expires, else 0: from this instant on the whole table is dead.
    pub(crate) max_expires_at_ms: u64,
    /// The earliest expiry of any entry; 0 when none expires.
    pub(crate) min_expires_at_ms: u64,
    /// No entry is hidden from every reader by a range delete up to this one: what was hidden was left out when
    /// the table was written.
    pub(crate) cleared_seqno: Seqno,
    /// What its entries point to in blob files, in the order of the files' numbers.
    pub(crate) blobs: Vec<BlobUse>,
    /// How much of it goes when.
    pub(crate) shares: Shares,
}

impl TableMeta {
    /// Appends the encoding.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for number in [
            self.id.0,
            self.file_bytes,
            self.entries,
            self.tombstones,
            self.min_seqno,
            self.max_seqno,
            self.raw_bytes,
            self.max_expires_at_ms,
            self.min_expires_at_ms,
            self.cleared_seqno,
        ] {
            push_u64(out, number);
        }
        push_prefixed(out, &self.smallest);
        push_prefixed(out, &self.largest);
    }

    /// Appends what it points to, and its shares.
    pub(crate) fn encode_tail(&self, out: &mut Vec<u8>) {
        for used in &self.blobs {
            push_u64(out, used.id.0);
            push_u64(out, used.bytes);
        }
        if !self.shares.is_empty() {
            push_u64(out, 0);
            push_u64(out, 0);
            self.shares.encode(out);
        }
    }

    /// Takes what it points to and its shares, which are all the rest of `input`; `None` if it is malformed.
    pub(crate) fn decode_tail(&mut self, input: &mut &[u8]) -> Option<()> {
        while !input.is_empty() {
            let used = BlobUse { id: FileId(take_u64(input)?), bytes: take_u64(input)? };
            if used.id.0 == 0 && used.bytes == 0 {
                self.shares = Shares::decode(input)?;
                return input.is_empty().then_some(());
            }
            if used.bytes == 0 || self.blobs.last().is_some_and(|last| last.id >= used.id) {
                return None;
            }
            self.blobs.push(used);
        }
        Some(())
    }

    /// Bytes of the records in blob files that it points to.
    pub(crate) fn blob_bytes(&self) -> u64 {
        self.blobs.iter().map(|used| used.bytes).sum()
    }

    /// Takes one encoding off the front of `input`; `None` if it is malformed.
    pub(crate) fn decode(input: &mut &[u8]) -> Option<Self> {
        let id = FileId(take_u64(input)?);
        let file_bytes = take_u64(input)?;
        let entries = take_u64(input)?;
        let tombstones = take_u64(input)?;
        let min_seqno = take_u64(input)?;
        let max_seqno = take_u64(input)?;
        let raw_bytes = take_u64(input)?;
        let max_expires_at_ms = take_u64(input)?;
        let min_expires_at_ms = take_u64(input)?;
        let cleared_seqno = take_u64(input)?;
        let smallest = take_prefixed(input)?.to_vec();
        let largest = take_prefixed(input)?.to_vec();
        Some(Self {
            id,
            file_bytes,
            entries,
            tombstones,
            smallest,
            largest,
            min_seqno,
            max_seqno,
            raw_bytes,
            max_expires_at_ms,
            min_expires_at_ms,
            cleared_seqno,
            blobs: Vec::new(),
            shares: Shares::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::shares::Weight;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(numbers: [u64; 10], smallest: Vec<u8>, largest: Vec<u8>, rest: Vec<u8>) {
            let [id, file_bytes, entries, tombstones, min_seqno, max_seqno, raw_bytes, max, min, cleared_seqno] = numbers;
            let meta = TableMeta {
                id: FileId(id), file_bytes, entries, tombstones, smallest, largest, min_seqno, max_seqno,
                raw_bytes, max_expires_at_ms: max, min_expires_at_ms: min, cleared_seqno, blobs: Vec::new(),
                shares: Shares::default(),
            };
            let mut out = Vec::new();
            meta.encode(&mut out);
            for cut in 0..out.len() {
                prop_assert_eq!(TableMeta::decode(&mut &out[..cut]), None);
            }
            out.extend_from_slice(&rest);
            let mut input = &out[..];
            prop_assert_eq!(TableMeta::decode(&mut input), Some(meta));
            prop_assert_eq!(input, &rest[..]);
        }

        #[test]
        fn the_tail_round_trips(
            uses in prop::collection::btree_map(1u64.., 1u64.., 0..5), expiries in prop::collection::vec(1u64.., 0..40),
        ) {
            let blobs = uses.into_iter().map(|(id, bytes)| BlobUse { id: FileId(id), bytes }).collect();
            let mut shares = Shares::default();
            for expiry in expiries {
                shares.count(b"\0k", expiry, Weight { raw_bytes: 3, blob_bytes: 0 });
            }
            shares.close();
            let meta = TableMeta { blobs, shares, ..crate::table::properties::Properties::new(FileId(1)).meta };
            let mut out = Vec::new();
            meta.encode_tail(&mut out);
            let empty = TableMeta { blobs: Vec::new(), shares: Shares::default(), ..meta.clone() };
            let mut copy = empty.clone();
            prop_assert_eq!(copy.decode_tail(&mut &out[..]), Some(()));
            prop_assert_eq!(&copy, &meta);
            let again = [&out[..], &out[..]].concat();
            prop_assert_eq!(empty.clone().decode_tail(&mut &again[..]).is_some(), out.is_empty());
        }
    }
}
