//! What one client listens to.

use std::collections::BTreeSet;

use super::{Kind, Name};

/// The most names that one client subscribes to.
pub(crate) const MAX_NAMES: usize = 1 << 20;

/// The names of one client, by kind.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    names: [BTreeSet<Name>; 3],
}

impl Subscriptions {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.names.iter().all(BTreeSet::is_empty)
    }

    /// How many there are of a kind.
    pub(crate) fn len(&self, kind: Kind) -> usize {
        self.names[kind as usize].len()
    }

    /// The number in confirmations: channels and patterns count together, sharded channels for themselves.
    pub(crate) fn counted_with(&self, kind: Kind) -> usize {
        match kind {
            Kind::Shard => self.len(Kind::Shard),
            Kind::Channel | Kind::Pattern => self.len(Kind::Channel) + self.len(Kind::Pattern),
        }
    }

    /// Whether a name is among them.
    pub(crate) fn contains(&self, kind: Kind, name: &[u8]) -> bool {
        self.names[kind as usize].contains(name)
    }

    /// Adds a name; `false` if it was there or there is no room.
    pub(crate) fn add(&mut self, kind: Kind, name: &Name) -> bool {
        let all: usize = self.names.iter().map(BTreeSet::len).sum();
        all < MAX_NAMES && self.names[kind as usize].insert(Name::clone(name))
    }

    /// Removes a name; returns the stored copy.
    pub(crate) fn remove(&mut self, kind: Kind, name: &[u8]) -> Option<Name> {
        self.names[kind as usize].take(name)
    }

    /// All names of a kind, in order.
    pub(crate) fn names(&self, kind: Kind) -> Vec<Name> {
        self.names[kind as usize].iter().cloned().collect()
    }
}
