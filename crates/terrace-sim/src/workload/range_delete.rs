//! Range deletes, alone and in batches, wide and narrow.

use std::ops::Bound;

use terrace::Batch;

use super::{Step, Workload, show};
use crate::model::Model;

/// What is deleted.
enum Range {
    Prefix(Vec<u8>),
    Keys(Bound<Vec<u8>>, Bound<Vec<u8>>),
}

impl Workload {
    pub(super) fn delete_range(&mut self) -> Step {
        let (name, keyspace) = self.keyspace();
        let range = self.some_range();
        let deleted = match &range {
            Range::Prefix(prefix) => keyspace.delete_prefix(prefix),
            Range::Keys(low, high) => keyspace.delete_range((low.clone(), high.clone())),
        };
        deleted.map_err(show)?;
        apply(&mut self.model, &name, &range);
        Ok(())
    }

    pub(super) fn delete_range_in_batch(&self, batch: &mut Batch, after: &mut Model) {
        let (name, keyspace) = self.keyspace();
        let range = self.some_range();
        match &range {
            Range::Prefix(prefix) => batch.delete_prefix_in(&keyspace, prefix),
            Range::Keys(low, high) => batch.delete_range_in(&keyspace, (low.clone(), high.clone())),
        };
        apply(after, &name, &range);
    }

    fn some_range(&self) -> Range {
        if self.rng.chance(30) {
            let key = self.key();
            return Range::Prefix(key[..self.rng.below(key.len() as u64 + 1) as usize].to_vec());
        }
        let bound = |key: Vec<u8>| match self.rng.below(10) {
            0 => Bound::Unbounded,
            1..=3 => Bound::Excluded(key),
            _ => Bound::Included(key),
        };
        // Now and then the wrong way round: then no key is in it.
        let (low, high) = (self.key(), self.key());
        let (low, high) = if low > high && self.rng.chance(90) { (high, low) } else { (low, high) };
        Range::Keys(bound(low), bound(high))
    }
}

fn apply(model: &mut Model, name: &str, range: &Range) {
    let past = |key: &[u8]| [key, &[0]].concat();
    let (low, high) = match range {
        Range::Prefix(prefix) => {
            let last = prefix.iter().rposition(|byte| *byte != 0xff);
            let end = last.map(|last| {
                let mut end = prefix[..=last].to_vec();
                end[last] += 1;
                end
            });
            (prefix.clone(), end)
        }
        Range::Keys(low, high) => {
            let low = match low {
                Bound::Included(key) => key.clone(),
                Bound::Excluded(key) => past(key),
                Bound::Unbounded => Vec::new(),
            };
            let high = match high {
                Bound::Included(key) => Some(past(key)),
                Bound::Excluded(key) => Some(key.clone()),
                Bound::Unbounded => None,
            };
            (low, high)
        }
    };
    model.delete_range(name, &low, high.as_deref());
}
