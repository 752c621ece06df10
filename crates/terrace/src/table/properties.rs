//! The properties block: what a table says about itself.
//!
//! | bytes  | field |
//! |--------|-------|
//! | varies | the table's `TableMeta`, its file length given as 0 (not known yet when the block is written) |
//! | varint | bytes of all keys |
//! | varint | bytes of all values |
//! | varint | entries that never expire |
//! | varint | data blocks |
//! | varint | creation time in milliseconds since the epoch, 0 when not given |
//! | varint | origin: a random number drawn by each opening of a store, 0 when not given |
//! | varies | what it points to in blob files, and its shares, as `TableMeta::encode_tail` writes them |

use super::meta::TableMeta;
use super::shares::{Shares, Weight};
use crate::base::varint::{push_u64, take_u64};
use crate::base::{EntryMeta, FileId, Kind, Seqno};
use crate::blob::{BlobUse, Pointer};

/// The summary of a table, gathered while it is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Properties {
    /// What the manifest will know.
    pub(super) meta: TableMeta,
    /// Bytes of all keys.
    pub(super) raw_key_bytes: u64,
    /// Bytes of all values.
    pub(super) raw_value_bytes: u64,
    /// Entries without an expiry.
    pub(super) never_expiring: u64,
    /// Data blocks.
    pub(super) data_blocks: u64,
    /// When the table was written.
    pub(super) created_at_ms: u64,
    /// Which opening of a store has written it.
    pub(super) origin: u64,
}

impl Properties {
    /// The properties of table `id` before its first entry.
    pub(super) fn new(id: FileId) -> Self {
        let meta = TableMeta {
            id,
            file_bytes: 0,
            entries: 0,
            tombstones: 0,
            smallest: Vec::new(),
            largest: Vec::new(),
            min_seqno: Seqno::MAX,
            max_seqno: 0,
            raw_bytes: 0,
            max_expires_at_ms: 0,
            min_expires_at_ms: 0,
            cleared_seqno: 0,
            blobs: Vec::new(),
            shares: Shares::default(),
        };
        Self {
            meta,
            raw_key_bytes: 0,
            raw_value_bytes: 0,
            never_expiring: 0,
            data_blocks: 0,
            created_at_ms: 0,
            origin: 0,
        }
    }

    /// Counts one entry; a pointer counts as the value that it points to. The key range is the caller's to set: it has
    /// the first and the last key at hand.
    pub(super) fn count(&mut self, key: &[u8], seqno: Seqno, meta: EntryMeta, value: &[u8]) {
        let (mut value_bytes, mut blob_bytes) = (value.len(), 0);
        if meta.kind == Kind::Pointer
            && let Some(pointer) = Pointer::decode(value)
        {
            value_bytes = usize::try_from(pointer.value_bytes).unwrap_or(usize::MAX);
            self.count_pointer(&pointer);
            blob_bytes = pointer.record_bytes;
        }
        let raw_bytes = (key.len() as u64).saturating_add(value_bytes as u64);
        self.raw_key_bytes += key.len() as u64;
        self.raw_value_bytes = self.raw_value_bytes.saturating_add(value_bytes as u64);
        let table = &mut self.meta;
        table.entries += 1;
        table.tombstones += u64::from(meta.kind == Kind::Delete);
        table.min_seqno = table.min_seqno.min(seqno);
        table.max_seqno = table.max_seqno.max(seqno);
        table.raw_bytes = table.raw_bytes.saturating_add(raw_bytes);
        table.shares.count(key, meta.expires_at_ms, Weight { raw_bytes, blob_bytes });
        if meta.expires_at_ms == 0 {
            self.never_expiring += 1;
            return;
        }
        table.max_expires_at_ms = table.max_expires_at_ms.max(meta.expires_at_ms);
        if table.min_expires_at_ms == 0 || meta.expires_at_ms < table.min_expires_at_ms {
            table.min_expires_at_ms = meta.expires_at_ms;
        }
    }

    fn count_pointer(&mut self, pointer: &Pointer) {
        let blobs = &mut self.meta.blobs;
        match blobs.binary_search_by_key(&pointer.file, |used| used.id) {
            Ok(at) => blobs[at].bytes = blobs[at].bytes.saturating_add(pointer.record_bytes),
            Err(at) => blobs.insert(at, BlobUse { id: pointer.file, bytes: pointer.record_bytes }),
        }
    }

    /// Completes the summary after the last entry.
    pub(super) fn close(&mut self, smallest: Vec<u8>, largest: Vec<u8>) {
        self.meta.smallest = smallest;
        self.meta.largest = largest;
        self.meta.shares.close();
        if self.never_expiring != 0 {
            self.meta.max_expires_at_ms = 0;
        }
    }

    /// Appends the encoding.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        debug_assert_eq!(self.meta.file_bytes, 0);
        self.meta.encode(out);
        for number in [
            self.raw_key_bytes,
            self.raw_value_bytes,
            self.never_expiring,
            self.data_blocks,
            self.created_at_ms,
            self.origin,
        ] {
            push_u64(out, number);
        }
        self.meta.encode_tail(out);
    }

    /// Decodes a properties block; `None` if it is malformed.
    pub(super) fn decode(mut input: &[u8]) -> Option<Self> {
        let input = &mut input;
        let mut properties = Self {
            meta: TableMeta::decode(input)?,
            raw_key_bytes: take_u64(input)?,
            raw_value_bytes: take_u64(input)?,
            never_expiring: take_u64(input)?,
            data_blocks: take_u64(input)?,
            created_at_ms: take_u64(input)?,
            origin: take_u64(input)?,
        };
        properties.meta.decode_tail(input)?;
        Some(properties)
    }
}
