//! Building a block: entries are gathered row by row and laid out in columns at the end.

use super::{HEAD_BYTES, HEADER_BYTES, KeyForm};
use crate::base::key::head;
use crate::base::{EntryMeta, Seqno};

/// Gathers the entries of one block, in order. Reusable: `finish` empties it and keeps its memory.
#[derive(Debug, Default)]
pub(in crate::table) struct BlockBuilder {
    keys: Vec<u8>,
    key_ends: Vec<usize>,
    prefix_bytes: usize,
    values: Vec<u8>,
    value_ends: Vec<usize>,
    metas: Vec<EntryMeta>,
    seqnos: Vec<Seqno>,
}

/// The narrowest column width among `widths` that holds `max`.
fn width_for(max: u64, widths: &[u8]) -> u8 {
    let fits = |width: &&u8| **width >= 8 || max >> (8 * u32::from(**width)) == 0;
    widths.iter().find(fits).copied().unwrap_or(8)
}

fn push_number(out: &mut Vec<u8>, number: u64, width: u8) {
    out.extend_from_slice(&number.to_le_bytes()[..usize::from(width)]);
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The length of all slices if it is the same.
fn equal_length(mut lengths: impl Iterator<Item = usize>) -> Option<usize> {
    let first = lengths.next()?;
    lengths.all(|length| length == first).then_some(first)
}

impl BlockBuilder {
    /// Whether there is no entry yet.
    pub(in crate::table) fn is_empty(&self) -> bool {
        self.key_ends.is_empty()
    }

    fn key(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.key_ends[i - 1] };
        &self.keys[start..self.key_ends[i]]
    }

    /// Adds the next entry. The caller keeps the order.
    pub(in crate::table) fn add(&mut self, key: &[u8], seqno: Seqno, meta: EntryMeta, value: &[u8]) {
        self.prefix_bytes = match self.key_ends.first() {
            None => key.len(),
            Some(first) => common_prefix(&self.keys[..(*first).min(self.prefix_bytes)], key),
        };
        self.keys.extend_from_slice(key);
        self.key_ends.push(self.keys.len());
        self.values.extend_from_slice(value);
        self.value_ends.push(self.values.len());
        self.metas.push(meta);
        self.seqnos.push(seqno);
    }

    /// About how long the block would be now.
    pub(in crate::table) fn estimate_bytes(&self) -> usize {
        const COLUMNS_BYTES: usize = HEAD_BYTES + 2 + 2;
        let entries = self.key_ends.len();
        let prefixes = self.prefix_bytes * entries.saturating_sub(1);
        // The first eight bytes of a remainder live in its head.
        let heads = entries * HEAD_BYTES;
        HEADER_BYTES
            + entries * COLUMNS_BYTES
            + (self.keys.len() - prefixes).saturating_sub(heads)
            + self.values.len()
    }

    /// Appends the block to `out` and starts the next one.
    pub(in crate::table) fn finish(&mut self, out: &mut Vec<u8>) {
        assert!(!self.is_empty(), "a block has entries");
        let entries = self.key_ends.len();
        let remainder = |i: usize| &self.key(i)[self.prefix_bytes..];
        let equal_remainder = equal_length((0..entries).map(|i| remainder(i).len()));
        let form = match equal_remainder {
            Some(_) => KeyForm::Equal,
            None if (0..entries).all(|i| remainder(i).len() >= HEAD_BYTES) => KeyForm::AfterHead,
            None => KeyForm::Whole,
        };
        let tail = |i: usize| match form {
            KeyForm::Whole => remainder(i),
            _ => remainder(i).get(HEAD_BYTES..).unwrap_or(&[]),
        };
        let tails_bytes: usize = (0..entries).map(|i| tail(i).len()).sum();
        let tail_width = if form == KeyForm::Equal { 0 } else { width_for(tails_bytes as u64, &[2, 4, 8]) };
        let starts = std::iter::once(&0).chain(&self.value_ends);
        let equal_value = equal_length(self.value_ends.iter().zip(starts).map(|(end, start)| end - start));
        let value_width =
            if equal_value.is_some() { 0 } else { width_for(self.values.len() as u64, &[2, 4, 8]) };
        let widths = [form as u8, tail_width, value_width];
        let lengths = [self.prefix_bytes, equal_remainder.unwrap_or(0), equal_value.unwrap_or(0)];
        let mut tail_ends = Vec::new();
        if tail_width > 0 {
            let sum = |total: &mut usize, i| {
                *total += tail(i).len();
                Some(*total)
            };
            tail_ends.extend((0..entries).scan(0, sum));
        }
        let seqno_width = self.push_header(out, widths, lengths);
        (0..entries).for_each(|i| out.extend_from_slice(&head(remainder(i)).to_le_bytes()));
        out.extend_from_slice(&self.key(0)[..self.prefix_bytes]);
        self.push_entry_columns(out, seqno_width);
        push_offsets(out, &tail_ends, tail_width);
        push_offsets(out, &self.value_ends, value_width);
        (0..entries).for_each(|i| out.extend_from_slice(tail(i)));
        out.extend_from_slice(&self.values);
        self.clear();
    }

    /// Writes the header; gives back the width chosen for sequence numbers.
    fn push_header(&self, out: &mut Vec<u8>, widths: [u8; 3], lengths: [usize; 3]) -> u8 {
        let (min, max) = self.seqno_range();
        let seqno_width = width_for(max - min, &[0, 1, 2, 4, 8]);
        let shared = self.shared_meta();
        let expiry_width = if self.metas.iter().any(|meta| meta.expires_at_ms != 0) { 8 } else { 0 };
        out.extend_from_slice(&(self.key_ends.len() as u32).to_le_bytes());
        out.extend_from_slice(&widths);
        out.extend_from_slice(&[seqno_width, u8::from(shared.is_none()), expiry_width]);
        out.extend_from_slice(&[shared.unwrap_or(0), 0]);
        for length in lengths {
            out.extend_from_slice(&(length as u32).to_le_bytes());
        }
        out.extend_from_slice(&min.to_le_bytes());
        seqno_width
    }

    fn push_entry_columns(&self, out: &mut Vec<u8>, seqno_width: u8) {
        if self.shared_meta().is_none() {
            out.extend(self.metas.iter().map(|meta| meta.to_byte()));
        }
        if self.metas.iter().any(|meta| meta.expires_at_ms != 0) {
            self.metas.iter().for_each(|meta| push_number(out, meta.expires_at_ms, 8));
        }
        let (min, _) = self.seqno_range();
        self.seqnos.iter().for_each(|seqno| push_number(out, seqno - min, seqno_width));
    }

    fn seqno_range(&self) -> (Seqno, Seqno) {
        let min = self.seqnos.iter().min().copied().unwrap_or(0);
        (min, self.seqnos.iter().max().copied().unwrap_or(0))
    }

    fn shared_meta(&self) -> Option<u8> {
        let first = self.metas.first()?.to_byte();
        self.metas.iter().all(|meta| meta.to_byte() == first).then_some(first)
    }

    fn clear(&mut self) {
        /// Memory kept for the next block; what one huge value took is given back.
        const KEEP_BYTES: usize = 1 << 20;
        self.keys.clear();
        self.key_ends.clear();
        self.prefix_bytes = 0;
        self.values.clear();
        self.values.shrink_to(KEEP_BYTES);
        self.value_ends.clear();
        self.metas.clear();
        self.seqnos.clear();
    }
}

/// Writes a zero and the ends, or nothing when the column is left out.
fn push_offsets(out: &mut Vec<u8>, ends: &[usize], width: u8) {
    if width > 0 {
        push_number(out, 0, width);
        for end in ends {
            push_number(out, *end as u64, width);
        }
    }
}
