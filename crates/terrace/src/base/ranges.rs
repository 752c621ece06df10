//! Range deletes: one marker that hides every older entry of a range of keys, and fast answers to "which one?".
//!
//! Markers overlap as they please. `Fragments` cuts them at each other's borders into sorted, disjoint pieces, so
//! that a look-up is one binary search. Of the markers over a piece only those stay that some reader can tell
//! apart: the newest at or below each snapshot, and the newest of all. So a piece lists at most one more than
//! there are snapshots, however often the same keys are deleted.
//!
//! A marker hides what is older than itself. Sequence numbers are unique, so a point entry is never as old as a
//! marker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::key::{MAX_INTERNAL_KEY_BYTES, head};
use super::{EntryRef, Kind, Seqno};

/// The deletion of all internal keys in `start..end`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RangeDelete {
    /// Its place in the order of writes: it hides what is older.
    pub(crate) seqno: Seqno,
    /// The first key.
    pub(crate) start: Vec<u8>,
    /// The key after the last; above `start`.
    pub(crate) end: Vec<u8>,
}

/// A bound that excludes a key is stored as that key and a zero byte.
const MAX_BOUND_BYTES: usize = MAX_INTERNAL_KEY_BYTES + 1;

impl RangeDelete {
    /// The range delete that an entry of the log is, if it is a sound one.
    pub(crate) fn from_entry(entry: &EntryRef<'_>, seqno: Seqno) -> Option<Self> {
        let sound = entry.meta.kind == Kind::RangeDelete
            && entry.key < entry.value
            && entry.value.len() <= MAX_BOUND_BYTES
            && entry.key.len() <= MAX_BOUND_BYTES;
        sound.then(|| Self { seqno, start: entry.key.to_vec(), end: entry.value.to_vec() })
    }

    /// Whether it meets the keys `smallest..=largest`.
    pub(crate) fn overlaps(&self, smallest: &[u8], largest: &[u8]) -> bool {
        self.start.as_slice() <= largest && smallest < self.end.as_slice()
    }

    /// Whether it hides an entry.
    pub(crate) fn hides(&self, key: &[u8], seqno: Seqno) -> bool {
        seqno < self.seqno && self.start.as_slice() <= key && key < self.end.as_slice()
    }
}

/// A piece that no marker's border cuts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fragment {
    /// The first key.
    pub(crate) start: Vec<u8>,
    /// The key after the last.
    pub(crate) end: Vec<u8>,
    /// The markers over it, newest first; never empty.
    pub(crate) seqnos: Vec<Seqno>,
}

impl Fragment {
    /// The newest marker that a reader at `at` sees; 0 if there is none.
    fn newest(&self, at: Seqno) -> Seqno {
        self.seqnos.iter().copied().find(|seqno| *seqno <= at).unwrap_or(0)
    }

    /// The oldest marker that is newer than `seqno`.
    pub(crate) fn oldest_above(&self, seqno: Seqno) -> Option<Seqno> {
        self.seqnos.iter().rev().copied().find(|marker| *marker > seqno)
    }

    fn has_between(&self, above: Seqno, up_to: Seqno) -> bool {
        self.newest(up_to) > above
    }
}

/// Markers cut into sorted, disjoint fragments. Immutable.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Fragments {
    list: Vec<Fragment>,
}

impl Fragments {
    /// The fragments of some markers, as far as readers at `snapshots` (ascending) and later ones differ.
    pub(crate) fn new<'a>(deletes: impl IntoIterator<Item = &'a RangeDelete>, snapshots: &[Seqno]) -> Self {
        let spans = deletes.into_iter().map(|d| (d.start.as_slice(), d.end.as_slice(), d.seqno));
        Self::cut(spans, snapshots)
    }

    /// The fragments of two sets of markers together.
    pub(crate) fn union(&self, other: &Self, snapshots: &[Seqno]) -> Self {
        let spans = self.list.iter().chain(&other.list).flat_map(|fragment| {
            let bounds = (fragment.start.as_slice(), fragment.end.as_slice());
            fragment.seqnos.iter().map(move |seqno| (bounds.0, bounds.1, *seqno))
        });
        Self::cut(spans, snapshots)
    }

    fn cut<'a>(spans: impl Iterator<Item = (&'a [u8], &'a [u8], Seqno)>, snapshots: &[Seqno]) -> Self {
        // What begins and what ends at each border.
        let mut borders: BTreeMap<&[u8], (Vec<Seqno>, Vec<Seqno>)> = BTreeMap::new();
        for (start, end, seqno) in spans.filter(|(start, end, _)| start < end) {
            borders.entry(start).or_default().0.push(seqno);
            borders.entry(end).or_default().1.push(seqno);
        }
        let mut list: Vec<Fragment> = Vec::new();
        // The markers over the piece, each with the number of spans that bring it: pieces of one marker may meet.
        let mut over: BTreeMap<Seqno, usize> = BTreeMap::new();
        let mut start: &[u8] = &[];
        for (border, (begins, ends)) in borders {
            if !over.is_empty() {
                let seqnos = told_apart(&over, snapshots);
                match list.last_mut() {
                    Some(last) if last.end == start && last.seqnos == seqnos => last.end = border.to_vec(),
                    _ => list.push(Fragment { start: start.to_vec(), end: border.to_vec(), seqnos }),
                }
            }
            for seqno in begins {
                *over.entry(seqno).or_insert(0) += 1;
            }
            for seqno in ends {
                if let Some(count) = over.get_mut(&seqno) {
                    *count -= 1;
                    if *count == 0 {
                        over.remove(&seqno);
                    }
                }
            }
            start = border;
        }
        Self { list }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// The memory they take, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let of = |f: &Fragment| size_of::<Fragment>() + f.start.len() + f.end.len() + 8 * f.seqnos.len();
        self.list.iter().map(of).sum()
    }

    /// The numbers of all markers that some fragment lists.
    pub(crate) fn seqnos(&self) -> BTreeSet<Seqno> {
        self.list.iter().flat_map(|fragment| fragment.seqnos.iter().copied()).collect()
    }

    /// The index of the first fragment that ends after `key`.
    fn first_reaching(&self, key: &[u8]) -> usize {
        self.list.partition_point(|fragment| fragment.end.as_slice() <= key)
    }

    /// The fragment that holds `key`.
    pub(crate) fn find(&self, key: &[u8]) -> Option<&Fragment> {
        self.list.get(self.first_reaching(key)).filter(|fragment| fragment.start.as_slice() <= key)
    }

    /// Whether any fragment holds a key from `smallest` to `largest`.
    pub(crate) fn meets(&self, smallest: &[u8], largest: &[u8]) -> bool {
        let first = self.list.get(self.first_reaching(smallest));
        first.is_some_and(|fragment| fragment.start.as_slice() <= largest)
    }

    /// The newest marker over `key` that a reader at `at` sees; 0 if there is none.
    #[inline]
    pub(crate) fn newest(&self, key: &[u8], at: Seqno) -> Seqno {
        self.find(key).map_or(0, |fragment| fragment.newest(at))
    }

    /// The newest marker that meets the keys from `low` up to `high`, exclusive; 0 if there is none.
    pub(crate) fn newest_within(&self, low: &[u8], high: Option<&[u8]>) -> Seqno {
        let from = &self.list[self.first_reaching(low)..];
        let inside = from.iter().take_while(|f| high.is_none_or(|high| f.start.as_slice() < high));
        inside.map(|fragment| fragment.newest(Seqno::MAX)).max().unwrap_or(0)
    }

    /// Whether each key from `smallest` to `largest` has a marker above `above` and at most `up_to`.
    pub(crate) fn covers(&self, smallest: &[u8], largest: &[u8], above: Seqno, up_to: Seqno) -> bool {
        self.reach(smallest, above, up_to).is_some_and(|end| end > largest)
    }

    /// Up to where, exclusive, each key from `from` on has such a marker.
    fn reach(&self, from: &[u8], above: Seqno, up_to: Seqno) -> Option<&[u8]> {
        let mut end: Option<&[u8]> = None;
        for fragment in &self.list[self.first_reaching(from)..] {
            if fragment.start.as_slice() > end.unwrap_or(from) || !fragment.has_between(above, up_to) {
                break;
            }
            end = Some(&fragment.end);
        }
        end
    }

    /// About how much of `smallest..=largest` has such a marker, in percent, as if keys were evenly spread.
    pub(crate) fn share(&self, smallest: &[u8], largest: &[u8], above: Seqno, up_to: Seqno) -> u64 {
        let shared = smallest.iter().zip(largest).take_while(|(a, b)| a == b).count();
        let place = |key: &[u8]| head(key.get(shared..).unwrap_or_default());
        let (first, last) = (place(smallest), place(largest));
        let from = &self.list[self.first_reaching(smallest)..];
        let inside = from.iter().take_while(|f| f.start.as_slice() <= largest);
        let mut covered = 0u128;
        for fragment in inside.filter(|f| f.has_between(above, up_to)) {
            let start = if fragment.start.as_slice() <= smallest { first } else { place(&fragment.start) };
            let end = if fragment.end.as_slice() > largest { last } else { place(&fragment.end) };
            covered += u128::from(end.saturating_sub(start));
        }
        if first >= last { 0 } else { (covered * 100 / u128::from(last - first)) as u64 }
    }
}

/// Of the markers over a piece those that some reader tells apart, newest first.
fn told_apart(over: &BTreeMap<Seqno, usize>, snapshots: &[Seqno]) -> Vec<Seqno> {
    let mut seqnos = Vec::with_capacity(1);
    let mut newest = over.last_key_value();
    while let Some((seqno, _)) = newest {
        seqnos.push(*seqno);
        // The newest reader that does not see this one yet.
        let older = snapshots[..snapshots.partition_point(|s| s < seqno)].last();
        newest = older.and_then(|snapshot| over.range(..=*snapshot).next_back());
    }
    seqnos
}

/// What a reader sees of several lists of fragments, for keys that come in runs: the answer for one key is
/// remembered together with the keys around it that have the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coverage {
    lists: Vec<Arc<Fragments>>,
    at: Seqno,
    known: bool,
    low: Vec<u8>,
    high: Vec<u8>,
    /// Whether there is a `high`.
    bounded: bool,
    newest: Seqno,
}

impl Coverage {
    /// What a reader at `at` sees.
    pub(crate) fn new(lists: Vec<Arc<Fragments>>, at: Seqno) -> Self {
        Self { lists, at, ..Self::default() }
    }

    /// Whether there is no marker at all.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// The newest marker over `key`; 0 if there is none.
    #[inline]
    pub(crate) fn newest(&mut self, key: &[u8]) -> Seqno {
        if self.lists.is_empty() {
            return 0;
        }
        let known = self.known && self.low.as_slice() <= key && (!self.bounded || key < &self.high[..]);
        if !known {
            self.look_up(key);
        }
        self.newest
    }

    /// Whether everything from `low` up to `high`, exclusive, is hidden if it is as old as `newest` or older: as
    /// far as one list tells.
    pub(crate) fn hides_all(&self, low: &[u8], high: &[u8], newest: Seqno) -> bool {
        let above = newest.saturating_sub(1);
        self.lists.iter().any(|list| list.reach(low, above, self.at).is_some_and(|end| end >= high))
    }

    fn look_up(&mut self, key: &[u8]) {
        let (mut low, mut high): (&[u8], Option<&[u8]>) = (&[], None);
        self.newest = 0;
        for list in &self.lists {
            let index = list.first_reaching(key);
            let next = list.list.get(index);
            let (from, to) = match next {
                Some(fragment) if fragment.start.as_slice() <= key => {
                    self.newest = self.newest.max(fragment.newest(self.at));
                    (fragment.start.as_slice(), Some(fragment.end.as_slice()))
                }
                _ => {
                    let before = index.checked_sub(1).map_or(&[][..], |i| list.list[i].end.as_slice());
                    (before, next.map(|fragment| fragment.start.as_slice()))
                }
            };
            low = low.max(from);
            high = match (high, to) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        self.known = true;
        self.low.clear();
        self.low.extend_from_slice(low);
        self.bounded = high.is_some();
        self.high.clear();
        self.high.extend_from_slice(high.unwrap_or_default());
    }

    /// The first key around the one asked last for which the answer is the same.
    pub(crate) fn low(&self) -> &[u8] {
        &self.low
    }

    /// The first key after it for which the answer may differ, if any.
    pub(crate) fn high(&self) -> Option<&[u8]> {
        self.bounded.then_some(&self.high[..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn delete(seqno: Seqno, start: &str, end: &str) -> RangeDelete {
        RangeDelete { seqno, start: start.into(), end: end.into() }
    }

    fn shown(fragments: &Fragments) -> Vec<String> {
        let text = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
        fragments.list.iter().map(|f| format!("{}-{} {:?}", text(&f.start), text(&f.end), f.seqnos)).collect()
    }

    #[test]
    fn markers_are_cut_at_each_others_borders() {
        let deletes = [delete(3, "a", "m"), delete(5, "g", "z")];
        assert_eq!(shown(&Fragments::new(&deletes, &[4])), ["a-g [3]", "g-m [5, 3]", "m-z [5]"]);
        assert_eq!(
            shown(&Fragments::new(&deletes, &[])),
            ["a-g [3]", "g-z [5]"],
            "nobody reads between them"
        );
    }

    /// A queue that deletes its consumed part again and again had as many markers over each key as there were
    /// deletes.
    #[test]
    fn deleting_the_same_keys_again_leaves_one_marker_over_them() {
        let deletes: Vec<_> = (1..2000).map(|n| delete(n, "a", &format!("b{n:05}"))).collect();
        assert_eq!(shown(&Fragments::new(&deletes, &[])), ["a-b01999 [1999]"]);
        assert_eq!(Fragments::new(&deletes, &[1000]).find(b"a").unwrap().seqnos, [1999, 1000]);
    }

    #[test]
    fn a_gap_or_an_old_marker_is_not_cover() {
        let deletes = [delete(3, "a", "c"), delete(5, "c", "e"), delete(9, "f", "z")];
        let fragments = Fragments::new(&deletes, &[]);
        assert!(fragments.covers(b"a", b"d", 2, 9) && fragments.covers(b"b", b"c", 2, 5));
        assert!(!fragments.covers(b"a", b"d", 3, 9) && !fragments.covers(b"a", b"d", 2, 4));
        assert!(!fragments.covers(b"a", b"e", 2, 9) && !fragments.covers(b"d", b"g", 0, 9));
        assert!(!fragments.covers(b"x", b"z", 0, 9), "the end is not deleted");
        assert!(fragments.meets(b"b", b"b") && fragments.meets(b"0", b"a") && fragments.meets(b"e", b"f"));
        assert!(!fragments.meets(b"e", b"ee") && !fragments.meets(b"z", b"zz"));
        assert_eq!(fragments.newest_within(b"d", Some(b"f")), 5);
        assert_eq!(fragments.newest_within(b"e", Some(b"f")), 0);
        assert_eq!(fragments.share(b"a", b"i", 0, 9) / 10, 8);
    }

    proptest! {
        #[test]
        fn look_ups_agree_with_the_markers(
            deletes in prop::collection::vec(("[a-d]{1,2}", "[a-d]{1,2}"), 0..12),
            snapshots in prop::collection::btree_set(0u64..14, 0..4),
            keys in prop::collection::vec("[a-d]{1,3}", 1..20),
            split in 0usize..12,
        ) {
            let deletes: Vec<_> = deletes.iter().zip(1..)
                .map(|((a, b), seqno)| delete(seqno, a.min(b), a.max(b))).collect();
            let snapshots: Vec<_> = snapshots.into_iter().collect();
            let split = split.min(deletes.len());
            let (one, two) = (Fragments::new(&deletes[..split], &snapshots), Fragments::new(&deletes[split..], &snapshots));
            let whole = Fragments::new(&deletes, &snapshots);
            prop_assert_eq!(&one.union(&two, &snapshots), &whole);
            for at in snapshots.iter().copied().chain([Seqno::MAX]) {
                let mut coverage = Coverage::new(vec![Arc::new(one.clone()), Arc::new(two.clone())], at);
                for key in &keys {
                    let key = key.as_bytes();
                    let over = deletes.iter().filter(|d| d.seqno <= at && d.hides(key, 0));
                    let expected = over.map(|d| d.seqno).max().unwrap_or(0);
                    prop_assert_eq!(whole.newest(key, at), expected);
                    prop_assert_eq!(coverage.newest(key), expected);
                    prop_assert!(coverage.low() <= key && coverage.high().is_none_or(|high| key < high));
                }
            }
        }
    }
}
