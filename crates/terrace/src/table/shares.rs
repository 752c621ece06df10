//! `Shares`: how much of a table goes when, as far as that is known when it is written.
//!
//! Two lists. *Steps* say until when how much of the table has expired; *groups* say how much of it belongs to which
//! keyspaces, where it holds more than one. With them the time and the list of keyspaces tell what a rewrite would
//! remove, without reading the table.
//!
//! Both lists are short: neighbours become one where there are too many. A step says when all of it has expired, so
//! what two made one is only noticed later, never too early; those go together that wait least for it. Of keyspaces the smallest neighbours do. How they were cut is the writer's business: a reader may only
//! rely on their sums.
//!
//! Encoding, all varints: number of steps, and for each its end (less that of the one before it), bytes, bytes in blob
//! files; number of groups (not 1), and for each its first keyspace (less the last one of the group before it), how much
//! larger its last one is, its keyspaces less one, bytes, bytes in blob files.

use crate::base::varint::{push_u64, take_u64};
use crate::base::{KeyspaceId, key};

/// The most steps, and the most groups, that a table keeps.
const MOST: usize = 16;
/// While a table is written there may be more, so that they are not made fewer at every entry.
const MOST_WHILE_COUNTING: usize = 2 * MOST;

/// How much some entries take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Weight {
    /// Keys and values before compression, values in blob files included.
    pub(crate) raw_bytes: u64,
    /// Records in blob files.
    pub(crate) blob_bytes: u64,
}

impl Weight {
    /// Adds that of others.
    pub(crate) fn add(&mut self, other: Self) {
        self.raw_bytes = self.raw_bytes.saturating_add(other.raw_bytes);
        self.blob_bytes = self.blob_bytes.saturating_add(other.blob_bytes);
    }

    /// `part` of `whole` of it; nothing of nothing.
    pub(crate) fn part(self, part: u64, whole: u64) -> Self {
        let of = |bytes: u64| {
            let scaled = u128::from(bytes) * u128::from(part.min(whole)) / u128::from(whole.max(1));
            u64::try_from(scaled).unwrap_or(bytes)
        };
        Self { raw_bytes: of(self.raw_bytes), blob_bytes: of(self.blob_bytes) }
    }
}

/// Entries that have all expired at some time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Step {
    /// When the last of them does, in milliseconds since the epoch.
    pub(crate) until_ms: u64,
    /// How much they take.
    pub(crate) weight: Weight,
}

/// The entries of some keyspaces that follow each other in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Group {
    /// The first of them.
    pub(crate) first: KeyspaceId,
    /// The last of them.
    pub(crate) last: KeyspaceId,
    /// How many of those from the first to the last have entries in the table.
    pub(crate) keyspaces: u32,
    /// How much the entries take.
    pub(crate) weight: Weight,
}

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Shares {
    /// What expires, earliest first; without what never does.
    pub(crate) steps: Vec<Step>,
    /// What belongs to which keyspaces, in their order; empty where there is only one.
    pub(crate) groups: Vec<Group>,
    /// While the table is written: how much may wait how long, in bytes times milliseconds, for steps to become fewer.
    patience: u64,
}

impl Shares {
    /// Whether nothing is known: nothing expires and there is one keyspace, or the table is from before shares.
    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.groups.is_empty()
    }

    /// What has expired at `now_ms`, at least.
    pub(crate) fn expired(&self, now_ms: u64) -> Weight {
        sum(self.steps.iter().take_while(|step| step.until_ms <= now_ms).map(|step| step.weight))
    }

    /// Counts an entry. They come in the order of their keys.
    #[inline]
    pub(super) fn count(&mut self, key: &[u8], expires_at_ms: u64, weight: Weight) {
        if let Some((id, _)) = key::split(key) {
            self.count_in(id, weight);
        }
        if expires_at_ms != 0 {
            self.count_expiring(expires_at_ms, weight);
        }
    }

    #[inline]
    fn count_in(&mut self, id: KeyspaceId, weight: Weight) {
        match self.groups.last_mut() {
            // Numbers ascend with the keys, if they are spelled as they should be.
            Some(group) if group.last >= id => group.weight.add(weight),
            _ => {
                if self.groups.len() == MOST_WHILE_COUNTING {
                    self.join_groups();
                }
                self.groups.push(Group { first: id, last: id, keyspaces: 1, weight });
            }
        }
    }

    fn count_expiring(&mut self, until_ms: u64, weight: Weight) {
        match self.steps.binary_search_by_key(&until_ms, |step| step.until_ms) {
            Ok(at) => self.steps[at].weight.add(weight),
            Err(at) => {
                self.steps.insert(at, Step { until_ms, weight });
                if self.steps.len() > MOST_WHILE_COUNTING {
                    self.join_steps();
                }
            }
        }
    }

    /// Makes both lists what is kept, after the last entry.
    pub(super) fn close(&mut self) {
        self.join_steps();
        self.join_groups();
        self.patience = 0;
        if self.groups.len() == 1 {
            self.groups.clear();
        }
    }

    /// Puts neighbouring steps together where the earlier ones wait no more than `patience` for it, and has more of it until
    /// there are few enough.
    fn join_steps(&mut self) {
        while self.steps.len() > MOST {
            let (mut last, mut waited) = (0, 0u64);
            for next in 1..self.steps.len() {
                let (earlier, mut step) = (self.steps[last], self.steps[next]);
                let wait_ms = step.until_ms - earlier.until_ms;
                waited = waited.saturating_add(earlier.weight.raw_bytes.saturating_mul(wait_ms));
                if waited <= self.patience {
                    step.weight.add(earlier.weight);
                } else {
                    (last, waited) = (last + 1, 0);
                }
                self.steps[last] = step;
            }
            self.steps.truncate(last + 1);
            if self.steps.len() > MOST {
                self.patience = self.patience.saturating_mul(2).max(1);
            }
        }
    }

    fn join_groups(&mut self) {
        let groups = &mut self.groups;
        while groups.len() > MOST {
            let bytes =
                |i: &usize| groups[*i].weight.raw_bytes.saturating_add(groups[i + 1].weight.raw_bytes);
            let Some(least) = (0..groups.len() - 1).min_by_key(bytes) else { return };
            let before = groups.remove(least);
            let group = &mut groups[least];
            group.first = before.first;
            group.keyspaces = group.keyspaces.saturating_add(before.keyspaces);
            group.weight.add(before.weight);
        }
    }

    /// What all steps and what all groups take.
    pub(super) fn sums(&self) -> (Weight, Weight) {
        let steps = sum(self.steps.iter().map(|step| step.weight));
        (steps, sum(self.groups.iter().map(|group| group.weight)))
    }

    /// Appends the encoding.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        push_u64(out, self.steps.len() as u64);
        let mut before = 0;
        for step in &self.steps {
            for number in [step.until_ms - before, step.weight.raw_bytes, step.weight.blob_bytes] {
                push_u64(out, number);
            }
            before = step.until_ms;
        }
        push_u64(out, self.groups.len() as u64);
        let mut before = 0;
        for group in &self.groups {
            let (first, last) = (u64::from(group.first.0), u64::from(group.last.0));
            let Weight { raw_bytes, blob_bytes } = group.weight;
            let keyspaces = u64::from(group.keyspaces) - 1;
            for number in [first - before, last - first, keyspaces, raw_bytes, blob_bytes] {
                push_u64(out, number);
            }
            before = last;
        }
    }

    /// Takes one encoding off the front of `input`; `None` if it is malformed.
    pub(super) fn decode(input: &mut &[u8]) -> Option<Self> {
        let mut shares = Self::default();
        for _ in 0..take_u64(input).filter(|n| *n <= MOST as u64)? {
            let before = shares.steps.last().map_or(0, |step| step.until_ms);
            let more_ms = take_u64(input).filter(|more| *more > 0)?;
            let until_ms = before.checked_add(more_ms)?;
            shares.steps.push(Step { until_ms, weight: take_weight(input)? });
        }
        for _ in 0..take_u64(input).filter(|n| *n <= MOST as u64 && *n != 1)? {
            let before = shares.groups.last().map(|group| group.last.0);
            let more = take_u64(input).filter(|more| *more > 0 || before.is_none())?;
            let first = u64::from(before.unwrap_or(0)).checked_add(more)?;
            let wider = take_u64(input)?;
            let last = u32::try_from(first.checked_add(wider)?).ok()?;
            let others = take_u64(input).filter(|others| *others <= wider)?;
            shares.groups.push(Group {
                first: KeyspaceId(u32::try_from(first).ok()?),
                last: KeyspaceId(last),
                keyspaces: u32::try_from(others).ok()?.checked_add(1)?,
                weight: take_weight(input)?,
            });
        }
        (!shares.is_empty()).then_some(shares)
    }
}

fn sum(weights: impl Iterator<Item = Weight>) -> Weight {
    weights.fold(Weight::default(), |mut sum, weight| {
        sum.add(weight);
        sum
    })
}

fn take_weight(input: &mut &[u8]) -> Option<Weight> {
    Some(Weight { raw_bytes: take_u64(input)?, blob_bytes: take_u64(input)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::key::push_prefix;
    use proptest::prelude::*;

    fn weight(raw_bytes: u64) -> Weight {
        Weight { raw_bytes, blob_bytes: raw_bytes / 2 }
    }

    fn key_in(keyspace: u32) -> Vec<u8> {
        let mut key = Vec::new();
        push_prefix(&mut key, KeyspaceId(keyspace));
        key.push(b'k');
        key
    }

    /// Of entries (keyspace, expiry, bytes), the keyspaces ascending.
    fn counted(entries: &[(u32, u64, u64)]) -> Shares {
        let mut shares = Shares::default();
        for (keyspace, expires_at_ms, bytes) in entries {
            shares.count(&key_in(*keyspace), *expires_at_ms, weight(*bytes));
        }
        shares.close();
        shares
    }

    #[test]
    fn few_expiries_are_told_exactly_and_many_never_too_early() {
        let few = counted(&[(3, 50, 10), (3, 0, 99), (3, 20, 1), (3, 50, 5)]);
        let at = |shares: &Shares, now_ms| shares.expired(now_ms).raw_bytes;
        assert_eq!([19, 20, 49, 50, 60].map(|now| at(&few, now)), [0, 1, 1, 16, 16]);
        assert!(few.groups.is_empty(), "one keyspace needs no list");
        for order in [7919, 1, 9_999] {
            let many: Vec<_> = (0..10_000).map(|n| (3, 1_000 + n * order % 10_000, 10)).collect();
            let many = counted(&many);
            assert!((MOST / 4..=MOST).contains(&many.steps.len()), "{many:?}");
            for now in (0..12_000).step_by(250) {
                let truly = now.clamp(1_000, 11_000) - 1_000;
                let told = at(&many, now) / 10;
                assert!(told <= truly + 1 && told + 2_500 >= truly, "{told} of {truly} at {now}, {order}");
            }
        }
    }

    /// With steps of one width, an entry that expires in a thousand years would have put off all others.
    #[test]
    fn one_late_expiry_puts_off_no_other() {
        let mut entries: Vec<_> = (0..1_000).map(|n| (1, 1_000 + n, 10)).collect();
        entries.extend([(1, u64::MAX, 10), (1, 1 << 44, 10)]);
        let shares = counted(&entries);
        assert_eq!(shares.expired(2_000).raw_bytes, 10_000);
        assert_eq!(shares.expired(1 << 44).raw_bytes, 10_010);
        assert!(shares.expired(1_500).raw_bytes >= 3_500, "{shares:?}");
    }

    #[test]
    fn keyspaces_are_told_apart_and_small_neighbours_go_together() {
        let two = counted(&[(0, 0, 5), (0, 0, 5), (7, 0, 1)]);
        let ids = |shares: &Shares| {
            let group = |g: &Group| (g.first.0, g.last.0, g.keyspaces, g.weight.raw_bytes);
            shares.groups.iter().map(group).collect::<Vec<_>>()
        };
        assert_eq!(ids(&two), [(0, 0, 1, 10), (7, 7, 1, 1)]);
        let mut entries: Vec<_> = (0..300).map(|id| (2 * id, 0, 1)).collect();
        entries[100].2 = 1_000;
        let shares = counted(&entries);
        assert_eq!(shares.groups.len(), MOST);
        assert_eq!(shares.groups.iter().map(|group| group.keyspaces).sum::<u32>(), 300);
        assert!(ids(&shares).contains(&(200, 200, 1, 1_000)), "{:?}", ids(&shares));
    }

    proptest! {
        #[test]
        fn what_was_counted_round_trips(
            entries in prop::collection::vec((0u32..500, 0u64..100_000, 0u64..1 << 40), 1..200),
            rest: Vec<u8>,
        ) {
            let mut entries = entries;
            entries.sort_unstable();
            let shares = counted(&entries);
            let expiring = entries.iter().filter(|(_, expiry, _)| *expiry != 0);
            prop_assert_eq!(shares.sums().0.raw_bytes, expiring.map(|(_, _, bytes)| bytes).sum::<u64>());
            let mut out = Vec::new();
            shares.encode(&mut out);
            for cut in 0..out.len() {
                prop_assert_eq!(Shares::decode(&mut &out[..cut]), None);
            }
            out.extend_from_slice(&rest);
            let mut input = &out[..];
            let found = Shares::decode(&mut input);
            prop_assert_eq!(found, (!shares.is_empty()).then_some(shares.clone()));
            prop_assert!(shares.is_empty() || input == &rest[..]);
        }

        #[test]
        fn decoding_gives_back_the_bytes_or_refuses(bytes in prop::collection::vec(0u8..20, 0..60)) {
            let mut input = &bytes[..];
            if let Some(shares) = Shares::decode(&mut input) {
                let mut out = Vec::new();
                shares.encode(&mut out);
                prop_assert_eq!(&out[..], &bytes[..bytes.len() - input.len()]);
            }
        }
    }
}
