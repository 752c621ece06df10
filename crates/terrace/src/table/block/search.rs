//! Finding a key in a block: a branchless search over heads, tails only to break ties.

use std::cmp::Ordering;
use std::hint::select_unpredictable;

use super::{Block, COPY_MAX_BYTES, HEAD_BYTES, KeyForm};
use crate::base::Seqno;
use crate::base::key::head;
use crate::table::prefetch::{prefetch, prefetch_lines};

/// Heads in one cache line.
const HEADS_PER_LINE: usize = 8;

/// Columns longer than this many lines are not prefetched: a search visits few of them.
const PREFETCH_LINES_MAX: usize = 24;

/// The index of the first head that is not below `want`.
#[inline]
fn first_not_below(heads: &[[u8; HEAD_BYTES]], want: u64) -> usize {
    let below = |i: usize| u64::from_le_bytes(heads[i]) < want;
    let (mut base, mut len) = (0, heads.len());
    while len > 1 {
        let half = len / 2;
        base = select_unpredictable(below(base + half - 1), base + half, base);
        len -= half;
    }
    base + usize::from(len == 1 && below(base))
}

impl Block {
    /// What follows the common prefix in `key`, or where a key without that prefix belongs.
    #[inline]
    fn remainder<'k>(&self, key: &'k [u8]) -> Result<&'k [u8], usize> {
        let prefix = self.prefix();
        match key.strip_prefix(prefix) {
            Some(remainder) => Ok(remainder),
            None if key < prefix => Err(0),
            None => Err(self.entries),
        }
    }

    /// Compares the remainder of entry `i` with `wanted`, given that their heads are equal.
    #[inline]
    fn compare_after_head(&self, i: usize, wanted: &[u8]) -> Ordering {
        match self.key_form {
            // Equal padded heads and nothing beyond them: the shorter one is a prefix of the other.
            KeyForm::Equal if self.remainder_bytes <= HEAD_BYTES => self.remainder_bytes.cmp(&wanted.len()),
            KeyForm::Whole => self.tail(i).cmp(wanted),
            KeyForm::Equal | KeyForm::AfterHead => match wanted.get(HEAD_BYTES..) {
                Some(rest) => self.tail(i).cmp(rest),
                None => Ordering::Greater,
            },
        }
    }

    /// The first entry at or after the remainder `wanted`, and whether it has exactly that remainder.
    #[inline]
    fn search(&self, wanted: &[u8]) -> (usize, bool) {
        let heads = self.heads();
        let want = head(wanted);
        let start = first_not_below(heads, want);
        if start == self.entries || self.head(start) != want {
            return (start, false);
        }
        match self.compare_after_head(start, wanted) {
            Ordering::Less => self.search_ties(start + 1, want, wanted),
            order => (start, order == Ordering::Equal),
        }
    }

    /// Continues `search` among the entries from `start` on whose heads equal `want`.
    #[cold]
    fn search_ties(&self, start: usize, want: u64, wanted: &[u8]) -> (usize, bool) {
        let ties = self.heads()[start..].partition_point(|head| u64::from_le_bytes(*head) <= want);
        let (mut low, mut high) = (start, start + ties);
        while low < high {
            let middle = low.midpoint(high);
            if self.compare_after_head(middle, wanted) == Ordering::Less {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let found = low < start + ties && self.compare_after_head(low, wanted) == Ordering::Equal;
        (low, found)
    }

    /// The first entry whose key is at or after `key`; the number of entries if there is none.
    #[inline]
    pub(in crate::table) fn lower_bound(&self, key: &[u8]) -> usize {
        match self.remainder(key) {
            Ok(remainder) => self.search(remainder).0,
            Err(place) => place,
        }
    }

    /// Whether `key` is at or before entry `i`.
    #[inline]
    pub(in crate::table) fn reaches(&self, i: usize, key: &[u8]) -> bool {
        match self.remainder(key) {
            Ok(remainder) => match self.head(i).cmp(&head(remainder)) {
                Ordering::Equal => self.compare_after_head(i, remainder) != Ordering::Less,
                order => order == Ordering::Greater,
            },
            Err(place) => place == 0,
        }
    }

    /// The newest version of `key` with a sequence number of at most `at`.
    #[inline]
    pub(in crate::table) fn find(&self, key: &[u8], at: Seqno) -> Option<usize> {
        self.prefetch_heads();
        let remainder = self.remainder(key).ok()?;
        let (mut i, mut same_key) = self.search(remainder);
        while same_key {
            if self.seqno(i) <= at {
                return Some(i);
            }
            i += 1;
            same_key = i < self.entries
                && self.head(i) == head(remainder)
                && self.compare_after_head(i, remainder) == Ordering::Equal;
        }
        None
    }

    /// Asks for all heads at once: a binary search would wait for its cache misses one by one.
    #[inline]
    pub(in crate::table) fn prefetch_heads(&self) {
        let heads = self.heads();
        if heads.len() <= HEADS_PER_LINE * PREFETCH_LINES_MAX {
            heads.iter().step_by(HEADS_PER_LINE).for_each(prefetch);
        }
    }

    /// Asks for the value of entry `i` if a reader would copy it.
    #[inline]
    pub(in crate::table) fn prefetch_value(&self, i: usize) {
        let value = self.value(i);
        if value.len() <= COPY_MAX_BYTES {
            prefetch_lines(value);
        }
    }
}
