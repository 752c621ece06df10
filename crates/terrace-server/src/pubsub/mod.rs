//! Publish and subscribe: who listens to what, and the way of a message to them.
//!
//! One table, shared by all loops, says which clients listen to a channel or pattern. A subscription is in it
//! before its confirmation is written, so whoever publishes after that reaches the subscriber. A message goes as
//! one letter to each loop that serves a receiver; loops take their letters in the order they were sent, so what
//! one client publishes arrives in order. A loop writes a message only if its client is still subscribed. Nobody
//! waits for a receiver: what it does not take is bounded by its output limit, and letters that a loop has not
//! taken by [`MAX_QUEUED_BYTES`](crate::shared::MAX_QUEUED_BYTES).

mod push;
mod subscriptions;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;

use crate::glob;
use crate::shared::LoopHandle;

pub(crate) use push::Push;
pub(crate) use subscriptions::Subscriptions;

/// A channel or pattern.
pub(crate) type Name = Arc<[u8]>;

/// What a client can subscribe to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A channel.
    Channel,
    /// All channels that match a pattern.
    Pattern,
    /// A sharded channel, which in a cluster lives where a key of its name would.
    Shard,
}

/// Where a client is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// The client.
    pub(crate) client: u64,
    /// Its loop.
    pub(crate) loop_index: usize,
    /// Its slot there.
    pub(crate) slot: usize,
}

/// The listeners of each name.
type Listeners = HashMap<Name, BTreeMap<u64, Place>>;

/// The table of all subscriptions.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    /// By `Kind as usize`.
    tables: [RwLock<Listeners>; 3],
    /// Names in each table, readable without its lock.
    counts: [AtomicUsize; 3],
}

impl Hub {
    /// Adds a subscription; nothing happens if it is there.
    pub(crate) fn subscribe(&self, kind: Kind, name: &Name, place: Place) {
        let mut table = self.tables[kind as usize].write();
        table.entry(Arc::clone(name)).or_default().insert(place.client, place);
        self.counts[kind as usize].store(table.len(), Ordering::Release);
    }

    /// Removes a subscription.
    pub(crate) fn unsubscribe(&self, kind: Kind, name: &Name, client: u64) {
        let mut table = self.tables[kind as usize].write();
        if let Some(listeners) = table.get_mut(name) {
            listeners.remove(&client);
            if listeners.is_empty() {
                table.remove(name);
            }
        }
        self.counts[kind as usize].store(table.len(), Ordering::Release);
    }

    /// Removes all subscriptions of a client.
    pub(crate) fn forget(&self, client: u64, subscriptions: &Subscriptions) {
        for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
            subscriptions.names(kind).iter().for_each(|name| self.unsubscribe(kind, name, client));
        }
    }

    /// The names in a table, in order, that match a pattern.
    pub(crate) fn names(&self, kind: Kind, pattern: Option<&[u8]>) -> Vec<Name> {
        let table = self.tables[kind as usize].read();
        let wanted = |name: &&Name| pattern.is_none_or(|pattern| glob::matches(pattern, name));
        let mut names: Vec<Name> = table.keys().filter(wanted).cloned().collect();
        names.sort();
        names
    }

    /// How many names a table has.
    pub(crate) fn len(&self, kind: Kind) -> usize {
        self.counts[kind as usize].load(Ordering::Acquire)
    }

    /// How many clients listen to a name.
    pub(crate) fn listeners(&self, kind: Kind, name: &[u8]) -> usize {
        self.tables[kind as usize].read().get(name).map_or(0, BTreeMap::len)
    }

    /// How many receivers a message would have now.
    pub(crate) fn receivers(&self, kind: Kind, channel: &[u8]) -> usize {
        let direct = if self.len(kind) == 0 { 0 } else { self.listeners(kind, channel) };
        direct + self.matching(kind, channel).iter().map(|(_, places)| places.len()).sum::<usize>()
    }

    /// Sends a message; returns how many clients it goes to, one with a channel and a pattern that matches it
    /// counted twice, as it gets it twice.
    pub(crate) fn publish(
        &self,
        kind: Kind,
        channel: &[u8],
        payload: &[u8],
        loops: &[Arc<LoopHandle>],
    ) -> usize {
        let mut sent = 0;
        if self.len(kind) > 0 {
            let listeners: Vec<Place> = self.tables[kind as usize]
                .read()
                .get(channel)
                .map(|listeners| listeners.values().copied().collect())
                .unwrap_or_default();
            if !listeners.is_empty() {
                sent += listeners.len();
                send(&Arc::new(Push::message(kind, channel, payload)), &listeners, loops);
            }
        }
        for (pattern, listeners) in self.matching(kind, channel) {
            sent += listeners.len();
            send(&Arc::new(Push::pattern_message(&pattern, channel, payload)), &listeners, loops);
        }
        sent
    }

    /// The patterns that match a channel, and who listens to them. Sharded channels know no patterns.
    fn matching(&self, kind: Kind, channel: &[u8]) -> Vec<(Name, Vec<Place>)> {
        if kind == Kind::Shard || self.len(Kind::Pattern) == 0 {
            return Vec::new();
        }
        let table = self.tables[Kind::Pattern as usize].read();
        table
            .iter()
            .filter(|(pattern, _)| glob::matches(pattern, channel))
            .map(|(pattern, listeners)| (Arc::clone(pattern), listeners.values().copied().collect()))
            .collect()
    }
}

/// Sends one letter to each loop that serves a receiver.
pub(crate) fn send(push: &Arc<Push>, to: &[Place], loops: &[Arc<LoopHandle>]) {
    for (index, handle) in loops.iter().enumerate() {
        let here = to.iter().filter(|place| place.loop_index == index);
        let here: Vec<(usize, u64)> = here.map(|place| (place.slot, place.client)).collect();
        if !here.is_empty() {
            handle.push(Arc::clone(push), here);
        }
    }
}
