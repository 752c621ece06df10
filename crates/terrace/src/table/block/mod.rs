//! Columnar blocks: the unit of reading and caching. The index of a table is one, too.
//!
//! | offset | bytes | field |
//! |--------|-------|-------|
//! | 0      | 4     | entries n, at least 1 |
//! | 4      | 1     | form of the keys: 0 equal lengths, 1 tails after the head, 2 tails hold all (see below) |
//! | 5      | 1     | width of a tail offset: 0 in form 0, else 2 or 4 or 8 |
//! | 6      | 1     | width of a value offset: 0 when all values have one length, else 2, 4 or 8 |
//! | 7      | 1     | width of a sequence number delta: 0, 1, 2, 4 or 8 |
//! | 8      | 1     | width of a meta byte: 1, or 0 when all entries share the one in the header |
//! | 9      | 1     | width of an expiry: 8, or 0 when no entry expires |
//! | 10     | 1     | the shared meta byte; 0 when there is a column |
//! | 11     | 1     | zero |
//! | 12     | 4     | p, length of the prefix common to all keys |
//! | 16     | 4     | r, length of each remainder in form 0, else 0 |
//! | 20     | 4     | v, length of each value when value offsets have width 0, else 0 |
//! | 24     | 8     | smallest sequence number |
//! | 32     | 8 × n | heads: the first 8 bytes of each remainder, zero-padded, as a number |
//! |        | p     | the common prefix |
//! |        | n     | meta bytes (kind, expiry bit, tag) |
//! |        | 8 × n | expiries in milliseconds since the epoch; 0 where an entry has none |
//! |        | w × n | sequence number deltas |
//! |        | w × (n + 1) | tail offsets from the first tail; the first is 0 |
//! |        | w × (n + 1) | value offsets from the first value; the first is 0 |
//! |        |       | tails |
//! |        |       | values, to the end of the block |
//!
//! All integers are little-endian. A key is the prefix and its remainder. In form 0 every remainder has r
//! bytes, its tail is what follows its first eight (nothing if r ≤ 8). In form 1 every remainder has eight
//! bytes or more and its tail is what follows them. In form 2 some remainder is shorter than eight bytes and
//! each tail is the whole remainder.
//!
//! `Block::decode` checks every bound once, so that no later access can leave the block. It does not check
//! the order of keys: the checksum answers for what the writer wrote.

mod build;
mod search;
#[cfg(test)]
pub(super) mod tests;

pub(super) use build::BlockBuilder;

use super::plain::Plain;
use crate::base::id::MAX_SEQNO;
use crate::base::slice::Backing;
use crate::base::{EntryMeta, Kind, Seqno, Slice};
use crate::blob::Pointer;
use std::sync::Arc;

const HEADER_BYTES: usize = 32;
const HEAD_BYTES: usize = 8;

/// Values up to this length are copied out of their block; larger ones pin it.
const COPY_MAX_BYTES: usize = 128;

/// What the tails hold; see the table above.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum KeyForm {
    Equal,
    AfterHead,
    Whole,
}

/// A column of unsigned numbers of 0, 1, 2, 4 or 8 bytes each.
#[derive(Clone, Copy, Debug)]
struct Column {
    at: usize,
    width: u8,
}

impl Column {
    #[inline]
    fn get(self, data: &[u8], i: usize) -> u64 {
        #[inline]
        fn fixed<const N: usize>(data: &[u8], at: usize) -> [u8; N] {
            *data[at..].first_chunk().expect("decode checked the columns")
        }
        match self.width {
            0 => 0,
            1 => u64::from(data[self.at + i]),
            2 => u64::from(u16::from_le_bytes(fixed(data, self.at + 2 * i))),
            4 => u64::from(u32::from_le_bytes(fixed(data, self.at + 4 * i))),
            _ => u64::from_le_bytes(fixed(data, self.at + 8 * i)),
        }
    }
}

/// A decoded block: the plain bytes, wherever they are, and where its columns lie.
#[derive(Debug)]
pub(crate) struct Block {
    data: Plain,
    entries: usize,
    key_form: KeyForm,
    shared_meta: u8,
    prefix_bytes: usize,
    remainder_bytes: usize,
    value_bytes: usize,
    min_seqno: Seqno,
    meta: Column,
    expiry: Column,
    seqno: Column,
    tail_offsets: Column,
    value_offsets: Column,
    tails_at: usize,
    values_at: usize,
}

/// Hands out the columns of a block one after the other.
struct Cutter {
    at: usize,
    end: usize,
}

impl Cutter {
    fn take(&mut self, what: &str, count: usize, width: usize) -> Result<usize, String> {
        let start = self.at;
        let next = count.checked_mul(width).and_then(|bytes| start.checked_add(bytes));
        match next.filter(|next| *next <= self.end) {
            Some(next) => {
                self.at = next;
                Ok(start)
            }
            None => Err(format!(
                "expected {count} {what} of {width} bytes, found {} bytes left in the block",
                self.end - start
            )),
        }
    }

    fn column(&mut self, what: &str, count: usize, width: u8) -> Result<Column, String> {
        Ok(Column { at: self.take(what, count, usize::from(width))?, width })
    }
}

fn one_of(what: &str, found: u8, allowed: &[u8]) -> Result<u8, String> {
    if allowed.contains(&found) {
        return Ok(found);
    }
    Err(format!("expected a {what} among {allowed:?}, found {found}"))
}

impl Block {
    /// Checks plain bytes and finds the columns; the error says what was expected and found.
    pub(super) fn decode(data: impl Into<Plain>) -> Result<Self, String> {
        let data = data.into();
        let Some(header) = data.first_chunk::<HEADER_BYTES>() else {
            return Err(format!("expected a block header of {HEADER_BYTES} bytes, found {}", data.len()));
        };
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| header[at + i])) as usize;
        let entries = word(0);
        if entries == 0 || header[11] != 0 {
            return Err(format!("expected a block with entries, found header {header:02x?}"));
        }
        let key_form = match header[4] {
            0 => KeyForm::Equal,
            1 => KeyForm::AfterHead,
            2 => KeyForm::Whole,
            other => return Err(format!("expected key form 0, 1 or 2, found {other}")),
        };
        let offset_widths: &[u8] = if key_form == KeyForm::Equal { &[0] } else { &[2, 4, 8] };
        let tail_width = one_of("tail offset width", header[5], offset_widths)?;
        let value_width = one_of("value offset width", header[6], &[0, 2, 4, 8])?;
        let seqno_width = one_of("sequence number width", header[7], &[0, 1, 2, 4, 8])?;
        let meta_width = one_of("meta width", header[8], &[0, 1])?;
        let expiry_width = one_of("expiry width", header[9], &[0, 8])?;
        let mut cutter = Cutter { at: HEADER_BYTES, end: data.len() };
        cutter.take("heads", entries, HEAD_BYTES)?;
        let prefix_bytes = word(12);
        cutter.take("prefix bytes", prefix_bytes, 1)?;
        let mut block = Self {
            entries,
            key_form,
            shared_meta: header[10],
            prefix_bytes,
            remainder_bytes: word(16),
            value_bytes: word(20),
            min_seqno: u64::from_le_bytes(std::array::from_fn(|i| header[24 + i])),
            meta: cutter.column("meta bytes", entries, meta_width)?,
            expiry: cutter.column("expiries", entries, expiry_width)?,
            seqno: cutter.column("sequence numbers", entries, seqno_width)?,
            tail_offsets: cutter.column("tail offsets", entries + 1, tail_width)?,
            value_offsets: cutter.column("value offsets", entries + 1, value_width)?,
            tails_at: 0,
            values_at: 0,
            data,
        };
        block.check_extents(cutter)?;
        block.check_entries()?;
        Ok(block)
    }

    /// Finds tails and values and checks that they end where the block does.
    fn check_extents(&mut self, mut cutter: Cutter) -> Result<(), String> {
        let n = self.entries;
        self.tails_at = match self.key_form {
            KeyForm::Equal => cutter.take("tails", n, self.remainder_bytes.saturating_sub(HEAD_BYTES))?,
            _ => cutter.take("tail bytes", self.check_offsets(self.tail_offsets)?, 1)?,
        };
        self.values_at = match self.value_offsets.width {
            0 => cutter.take("values", n, self.value_bytes)?,
            _ => cutter.take("value bytes", self.check_offsets(self.value_offsets)?, 1)?,
        };
        if cutter.at != cutter.end {
            return Err(format!("expected a block of {} bytes, found {}", cutter.at, cutter.end));
        }
        Ok(())
    }

    /// Offsets start at 0 and never fall; gives back the last one.
    fn check_offsets(&self, column: Column) -> Result<usize, String> {
        let mut previous = 0;
        for i in 0..=self.entries {
            let offset = column.get(&self.data, i);
            if offset < previous || (i == 0 && offset != 0) {
                return Err(format!("expected offset {i} at or after {previous}, found {offset}"));
            }
            previous = offset;
        }
        usize::try_from(previous)
            .map_err(|_| format!("expected an offset inside the block, found {previous}"))
    }

    fn check_entries(&self) -> Result<(), String> {
        if !self.heads().is_sorted_by_key(|head| u64::from_le_bytes(*head)) {
            return Err("expected heads in order, found a smaller one after a larger".to_string());
        }
        self.check_seqnos()?;
        // Most blocks hold plain values that never expire, and say so once for all their entries.
        let all_plain =
            self.meta.width == 0 && self.expiry.width == 0 && self.shared_meta & 7 != Kind::Pointer as u8;
        let checked = if all_plain { 1 } else { self.entries };
        (0..checked).try_for_each(|i| self.check_meta(i))
    }

    fn check_seqnos(&self) -> Result<(), String> {
        let deltas = (0..self.entries).map(|i| self.seqno.get(&self.data, i));
        let largest = if self.seqno.width == 0 { 0 } else { deltas.max().unwrap_or(0) };
        if self.min_seqno.checked_add(largest).is_none_or(|seqno| seqno > MAX_SEQNO) {
            return Err(format!("expected a sequence number, found {} + {largest}", self.min_seqno));
        }
        Ok(())
    }

    fn check_meta(&self, i: usize) -> Result<(), String> {
        let byte = self.meta_byte(i);
        let expiry = self.expiry.get(&self.data, i);
        match EntryMeta::from_byte(byte) {
            Some((meta, expires))
                if expires == (expiry != 0)
                    && meta.kind != Kind::RangeDelete
                    && (!expires || EntryMeta::may_expire(meta.kind)) => {}
            _ => return Err(format!("expected the meta byte of entry {i}, found {byte:02x} with {expiry}")),
        }
        if byte & 7 == Kind::Pointer as u8 && Pointer::decode(self.value(i)).is_none() {
            return Err(format!("expected a pointer into a blob file as the value of entry {i}"));
        }
        Ok(())
    }

    /// The number of entries, at least 1.
    #[inline]
    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// The block as it was laid out.
    #[inline]
    pub(super) fn plain(&self) -> &[u8] {
        &self.data
    }

    /// Whether entry `i`, which is not the first, has the same key as the one before it.
    #[inline]
    pub(super) fn has_key_of_previous(&self, i: usize) -> bool {
        self.head(i) == self.head(i - 1) && self.tail(i) == self.tail(i - 1)
    }

    /// Memory held, for the budget.
    pub(super) fn memory_bytes(&self) -> u64 {
        (self.data.heap_bytes() + size_of::<Self>() + 2 * size_of::<usize>()) as u64
    }

    #[inline]
    fn heads(&self) -> &[[u8; HEAD_BYTES]] {
        self.data[HEADER_BYTES..HEADER_BYTES + HEAD_BYTES * self.entries].as_chunks().0
    }

    #[inline]
    fn head(&self, i: usize) -> u64 {
        u64::from_le_bytes(self.heads()[i])
    }

    /// What all keys begin with.
    #[inline]
    pub(super) fn prefix(&self) -> &[u8] {
        &self.data[HEADER_BYTES + HEAD_BYTES * self.entries..][..self.prefix_bytes]
    }

    #[inline]
    fn tail(&self, i: usize) -> &[u8] {
        if self.key_form == KeyForm::Equal {
            let bytes = self.remainder_bytes.saturating_sub(HEAD_BYTES);
            return &self.data[self.tails_at + i * bytes..][..bytes];
        }
        let start = self.tail_offsets.get(&self.data, i) as usize;
        let end = self.tail_offsets.get(&self.data, i + 1) as usize;
        &self.data[self.tails_at + start..self.tails_at + end]
    }

    /// Makes `key`, which begins with this block's prefix, the key of entry `i`.
    #[inline]
    pub(super) fn rebuild_key(&self, i: usize, key: &mut Vec<u8>) {
        key.truncate(self.prefix_bytes);
        if self.key_form != KeyForm::Whole {
            let head = self.head(i).to_be_bytes();
            if self.key_form == KeyForm::Equal && self.remainder_bytes <= HEAD_BYTES {
                key.extend_from_slice(&head[..self.remainder_bytes]);
                return;
            }
            key.extend_from_slice(&head);
        }
        key.extend_from_slice(self.tail(i));
    }

    /// At least the length of the key of entry `i`.
    #[inline]
    pub(super) fn key_bytes(&self, i: usize) -> usize {
        self.prefix_bytes + HEAD_BYTES + self.tail(i).len()
    }

    /// The key of entry `i`, from scratch.
    pub(super) fn key(&self, i: usize) -> Vec<u8> {
        let mut key = self.prefix().to_vec();
        self.rebuild_key(i, &mut key);
        key
    }

    /// The sequence number of entry `i`.
    #[inline]
    pub(super) fn seqno(&self, i: usize) -> Seqno {
        self.min_seqno + self.seqno.get(&self.data, i)
    }

    #[inline]
    fn meta_byte(&self, i: usize) -> u8 {
        if self.meta.width == 0 { self.shared_meta } else { self.data[self.meta.at + i] }
    }

    /// Kind, tag and expiry of entry `i`.
    #[inline]
    pub(super) fn meta(&self, i: usize) -> EntryMeta {
        let (meta, _) = EntryMeta::from_byte(self.meta_byte(i)).expect("decode checked the meta bytes");
        EntryMeta { expires_at_ms: self.expiry.get(&self.data, i), ..meta }
    }

    #[inline]
    fn value_extent(&self, i: usize) -> (usize, usize) {
        if self.value_offsets.width == 0 {
            return (self.values_at + i * self.value_bytes, self.value_bytes);
        }
        let start = self.value_offsets.get(&self.data, i) as usize;
        let end = self.value_offsets.get(&self.data, i + 1) as usize;
        (self.values_at + start, end - start)
    }

    /// The value of entry `i`.
    #[inline]
    pub(super) fn value(&self, i: usize) -> &[u8] {
        let (start, len) = self.value_extent(i);
        &self.data[start..start + len]
    }

    /// The value of entry `i` as owned bytes; `pin` is called only for a large one, to share the block.
    #[inline]
    pub(super) fn value_slice(&self, i: usize, pin: impl FnOnce() -> Arc<Self>) -> Slice {
        let (start, len) = self.value_extent(i);
        // A slice counts in 32 bits; the rare block beyond that holds many versions of one huge value.
        if len <= COPY_MAX_BYTES || start + len > u32::MAX as usize {
            return Slice::copy_from(&self.data[start..start + len]);
        }
        Slice::pinned(pin(), start, len)
    }
}

impl Backing for Block {
    fn bytes(&self) -> &[u8] {
        &self.data
    }
}
