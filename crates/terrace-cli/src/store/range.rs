//! `Range`: which keys a scan visits, as pure arithmetic on bounds.

use std::ops::Bound;

/// The first and the last key of a range.
pub(crate) type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The keys of a scan: all that fulfil every condition given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Range {
    /// Keys that start with this.
    pub(crate) prefix: Vec<u8>,
    /// Keys at or after this.
    pub(crate) from: Option<Vec<u8>>,
    /// Keys before this.
    pub(crate) to: Option<Vec<u8>>,
    /// At most this many.
    pub(crate) limit: Option<u64>,
    /// From the last key to the first.
    pub(crate) reverse: bool,
    /// The values are not wanted.
    pub(crate) keys_only: bool,
}

impl Range {
    /// The bounds that prefix, from and to leave; `None` when no key can lie between them.
    pub(crate) fn bounds(&self) -> Option<Bounds> {
        let from = self.from.clone().unwrap_or_default().max(self.prefix.clone());
        let ends = [self.to.clone(), successor(&self.prefix)];
        let to = ends.into_iter().flatten().min();
        if to.as_ref().is_some_and(|to| *to <= from) {
            return None;
        }
        let start = if from.is_empty() { Bound::Unbounded } else { Bound::Included(from) };
        Some((start, to.map_or(Bound::Unbounded, Bound::Excluded)))
    }

    /// Whether a key lies in the range.
    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        key.starts_with(&self.prefix)
            && self.from.as_deref().is_none_or(|from| from <= key)
            && self.to.as_deref().is_none_or(|to| key < to)
    }
}

/// The first key after all that start with `prefix`; `None` when there is none (only `0xff` bytes).
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ops::RangeBounds as _;

    fn short() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(254), Just(255)], 0..4)
    }

    proptest! {
        #[test]
        fn bounds_hold_exactly_the_keys_that_are_contained(
            prefix in short(), from in proptest::option::of(short()), to in proptest::option::of(short()),
            key in short().prop_filter("a key is never empty", |k| !k.is_empty()),
        ) {
            let range = Range { prefix, from, to, ..Range::default() };
            let inside = range.bounds().is_some_and(|bounds| bounds.contains(&key));
            prop_assert_eq!(inside, range.contains(&key));
        }
    }
}
