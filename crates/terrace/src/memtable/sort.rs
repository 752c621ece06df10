//! Sorting references to entries by key ascending, then newest first.
//!
//! An `Item` carries the head of its key: eight bytes after a prefix that all keys of a view share. Most
//! comparisons end there, in the array, without a visit to the arena. Items with equal heads are sorted
//! again by the eight bytes after what *they* share, and so on; a key's bytes are thus read once per
//! level instead of once per comparison, and each of those reads is independent of the others.

use std::cmp::Ordering;
use std::ops::Range;

use super::arena::Offset;
use super::shard::Shard;
use crate::base::key::head;

/// Groups up to this size are sorted by comparing whole keys.
const SMALL_GROUP: usize = 12;
const HEAD_BYTES: usize = 8;

/// A reference to an entry, with the part of its key that decides most comparisons.
#[derive(Clone, Copy)]
pub(super) struct Item {
    pub(super) head: u64,
    pub(super) offset: Offset,
    pub(super) shard: u16,
}

/// Finds the keys of items.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a>(pub(super) &'a [Shard]);

impl<'a> Keys<'a> {
    /// The whole key of an item.
    #[inline]
    pub(super) fn key(self, item: &Item) -> &'a [u8] {
        self.0[usize::from(item.shard)].key(item.offset)
    }

    /// The order of two items of one view.
    #[inline]
    pub(super) fn compare(self, a: &Item, b: &Item) -> Ordering {
        a.head.cmp(&b.head).then_with(|| self.compare_whole(a, b))
    }

    /// The order of two items whose heads are equal or not comparable.
    fn compare_whole(self, a: &Item, b: &Item) -> Ordering {
        self.key(a).cmp(self.key(b)).then_with(|| newest_first(a, b))
    }
}

/// The order of two versions of one key: both are in one shard, where a later entry has a larger offset.
#[inline]
fn newest_first(a: &Item, b: &Item) -> Ordering {
    b.offset.cmp(&a.offset)
}

/// Sorts items whose heads are the bytes of their keys after the first `skip`, which all of them share.
pub(super) fn sort(keys: Keys<'_>, items: &mut [Item], skip: usize) {
    items.sort_unstable_by_key(|item| item.head);
    for group in items.chunk_by_mut(|a, b| a.head == b.head) {
        if group.len() <= SMALL_GROUP {
            group.sort_unstable_by(|a, b| keys.compare_whole(a, b));
            continue;
        }
        let head = group[0].head;
        refine(keys, group, skip);
        for item in group {
            item.head = head;
        }
    }
}

/// Sorts a group of equal heads; leaves other heads in it. The work is kept on a heap of its own,
/// because keys can be made that need a level for every eight of their bytes.
fn refine(keys: Keys<'_>, group: &mut [Item], skip: usize) {
    let mut work = vec![(0..group.len(), skip)];
    while let Some((range, skip)) = work.pop() {
        let part = &mut group[range.clone()];
        if part.len() <= SMALL_GROUP {
            part.sort_unstable_by(|a, b| keys.compare_whole(a, b));
            continue;
        }
        // A key that ends within its (zero-padded) head is the head without some zeros: the shorter the
        // earlier, and before all that go on after the head.
        let short = partition(part, |item| keys.key(item).len() <= skip + HEAD_BYTES);
        let (ended, longer) = part.split_at_mut(short);
        ended.sort_unstable_by(|a, b| {
            keys.key(a).len().cmp(&keys.key(b).len()).then_with(|| newest_first(a, b))
        });
        let Some((first, others)) = longer.split_first() else { continue };
        let first = keys.key(first);
        let shared = others.iter().fold(first.len(), |n, item| common_prefix(&first[..n], keys.key(item)));
        for item in &mut *longer {
            item.head = head(&keys.key(item)[shared..]);
        }
        longer.sort_unstable_by_key(|item| item.head);
        push_groups(&mut work, longer, range.start + short, shared);
    }
}

/// Adds the groups of equal heads in `items`, which start at `start`, to the work.
fn push_groups(work: &mut Vec<(Range<usize>, usize)>, items: &[Item], mut start: usize, shared: usize) {
    for group in items.chunk_by(|a, b| a.head == b.head) {
        if group.len() > 1 {
            work.push((start..start + group.len(), shared));
        }
        start += group.len();
    }
}

/// Moves the items for which `first` holds to the front; returns their number.
fn partition(items: &mut [Item], first: impl Fn(&Item) -> bool) -> usize {
    let mut count = 0;
    for at in 0..items.len() {
        if first(&items[at]) {
            items.swap(at, count);
            count += 1;
        }
    }
    count
}

/// The length of the longest common prefix.
pub(super) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    if b.starts_with(a) {
        return a.len();
    }
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
