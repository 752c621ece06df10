//! Client-side caching: which clients are to be told when a key changes.
//!
//! In the default mode a client is told about the keys that it has read. The table remembers them *before* the
//! read, and a write looks here *after* its commit: so either the read sees the new value, or the write finds the
//! reader. A key leaves the table with the first invalidation. In broadcast mode a client is told about every key
//! with one of its prefixes, read or not.
//!
//! The table holds at most `tracking-table-max-keys` keys; one that is pushed out is invalidated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use indexmap::IndexMap;
use parking_lot::Mutex;

use crate::pubsub::{Name, Place, Push, send};
use crate::shared::Shared;

/// Default of `tracking-table-max-keys`.
const DEFAULT_MAX_KEYS: usize = 1_000_000;

/// What a client has asked for; kept in its session.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // Independent options.
pub(crate) struct Tracking {
    /// It has invalidations sent.
    pub(crate) on: bool,
    /// About all keys with its prefixes, rather than those it has read.
    pub(crate) broadcast: bool,
    /// About the keys of commands after `CLIENT CACHING YES` only.
    pub(crate) opt_in: bool,
    /// About the keys of all commands but those after `CLIENT CACHING NO`.
    pub(crate) opt_out: bool,
    /// Not about what it has written itself.
    pub(crate) no_loop: bool,
    /// The client that gets them instead; 0 for none.
    pub(crate) redirect: u64,
    /// That client was gone when the last one was due.
    pub(crate) broken: bool,
    /// `CLIENT CACHING` was given for the next command.
    pub(crate) caching: bool,
    /// The prefixes of broadcast mode.
    pub(crate) prefixes: BTreeSet<Vec<u8>>,
}

impl Tracking {
    /// Whether the keys of a command that reads are to be remembered.
    pub(crate) fn remembers(&self) -> bool {
        self.on && !self.broadcast && (!self.opt_in || self.caching) && !(self.opt_out && self.caching)
    }
}

/// What the table knows about a client.
#[derive(Debug)]
struct Tracked {
    place: Place,
    options: Tracking,
}

#[derive(Debug, Default)]
struct Table {
    /// Who has read a key.
    readers: IndexMap<Name, BTreeSet<u64>>,
    /// The position of the key that goes next when there is no room.
    hand: usize,
    /// All readers of all keys.
    items: usize,
    clients: BTreeMap<u64, Tracked>,
    /// Who is told about a prefix.
    prefixes: BTreeMap<Vec<u8>, BTreeSet<u64>>,
}

/// The table of all clients that cache.
#[derive(Debug)]
pub(crate) struct Tracker {
    table: Mutex<Table>,
    max_keys: AtomicUsize,
}

impl Default for Tracker {
    fn default() -> Self {
        Self { table: Mutex::default(), max_keys: AtomicUsize::new(DEFAULT_MAX_KEYS) }
    }
}

/// How many keys, readers of keys, prefixes and clients the table holds.
pub(crate) struct Totals {
    /// Keys.
    pub(crate) keys: usize,
    /// Readers of keys.
    pub(crate) items: usize,
    /// Prefixes.
    pub(crate) prefixes: usize,
    /// Clients.
    pub(crate) clients: usize,
}

/// Keys that changed, and the client that changed each.
type Changed = [(Name, u64)];

impl Tracker {
    /// Begins to track for a client, or changes how.
    pub(crate) fn enable(&self, shared: &Shared, place: Place, options: Tracking) {
        let mut table = self.table.lock();
        for prefix in &options.prefixes {
            table.prefixes.entry(prefix.clone()).or_default().insert(place.client);
        }
        table.clients.insert(place.client, Tracked { place, options });
        shared.watch.set_tracked(true);
    }

    /// Ends it. What is remembered of the client's reads is dropped as those keys change.
    pub(crate) fn disable(&self, shared: &Shared, client: u64) {
        let mut table = self.table.lock();
        let Some(gone) = table.clients.remove(&client) else { return };
        for prefix in gone.options.prefixes {
            if let Some(clients) = table.prefixes.get_mut(&prefix) {
                clients.remove(&client);
                if clients.is_empty() {
                    table.prefixes.remove(&prefix);
                }
            }
        }
        if table.clients.is_empty() {
            shared.watch.set_tracked(false);
            (table.readers, table.items) = (IndexMap::new(), 0);
        }
    }

    /// Remembers that a client is about to read keys; returns those that were not remembered already.
    pub(crate) fn remember<'a>(
        &self,
        shared: &Shared,
        client: u64,
        keys: impl Iterator<Item = &'a [u8]>,
    ) -> Vec<&'a [u8]> {
        let mut table = self.table.lock();
        let mut new = Vec::new();
        for key in keys {
            let readers = match table.readers.get_mut(key) {
                Some(readers) => readers,
                None => table.readers.entry(key.into()).or_default(),
            };
            if readers.insert(client) {
                new.push(key);
            }
        }
        table.items += new.len();
        self.shrink(shared, &mut table);
        new
    }

    /// The most keys; 0 for no limit.
    pub(crate) fn max_keys(&self) -> usize {
        self.max_keys.load(Ordering::Relaxed)
    }

    /// Changes the most keys; what is too much is invalidated.
    pub(crate) fn set_max_keys(&self, shared: &Shared, max: usize) {
        self.max_keys.store(max, Ordering::Relaxed);
        self.shrink(shared, &mut self.table.lock());
    }

    /// Invalidates keys, in turn, until no more than the limit are left.
    fn shrink(&self, shared: &Shared, table: &mut Table) {
        let max = self.max_keys();
        while max > 0 && table.readers.len() > max {
            table.hand = (table.hand + 1) % table.readers.len();
            let Some((key, _)) = table.readers.get_index(table.hand) else { return };
            let key = Name::clone(key);
            table.invalidate_readers(shared, &key, 0);
        }
    }

    /// Tells everyone concerned that keys have changed. Of those in `known` the client that changed them has read
    /// the new value, so it stays remembered instead of being told.
    pub(crate) fn invalidate(&self, shared: &Shared, changed: &Changed, known: &BTreeSet<Name>) {
        let mut table = self.table.lock();
        for (key, by) in changed {
            let knows = known.contains(key) && table.forget_reader(key, *by);
            table.invalidate_readers(shared, key, *by);
            if knows {
                table.readers.entry(Name::clone(key)).or_default().insert(*by);
                table.items += 1;
            }
        }
        for (prefix, clients) in &table.prefixes {
            let hits: Vec<&(Name, u64)> = changed.iter().filter(|(key, _)| key.starts_with(prefix)).collect();
            for client in clients.iter().filter(|_| !hits.is_empty()) {
                table.broadcast(shared, *client, &hits);
            }
        }
    }

    /// Tells everyone to forget everything.
    pub(crate) fn invalidate_all(&self, shared: &Shared) {
        let mut table = self.table.lock();
        (table.readers, table.items) = (IndexMap::new(), 0);
        for tracked in table.clients.values() {
            tracked.send(shared, |reader| Push::Invalidation { keys: None, reader });
        }
    }

    /// What the table holds.
    pub(crate) fn totals(&self) -> Totals {
        let table = self.table.lock();
        Totals {
            keys: table.readers.len(),
            items: table.items,
            prefixes: table.prefixes.len(),
            clients: table.clients.len(),
        }
    }
}

impl Table {
    /// Forgets one reader of a key; `false` if it was none.
    fn forget_reader(&mut self, key: &Name, client: u64) -> bool {
        let forgotten = self.readers.get_mut(key).is_some_and(|readers| readers.remove(&client));
        self.items -= usize::from(forgotten);
        forgotten
    }

    /// Tells the readers of a key, except a client that has changed it itself and does not want to know.
    fn invalidate_readers(&mut self, shared: &Shared, key: &Name, by: u64) {
        let Some(readers) = self.readers.swap_remove(key) else { return };
        self.items -= readers.len();
        for reader in readers {
            let Some(tracked) = self.clients.get(&reader).filter(|t| !t.options.broadcast) else { continue };
            if !(tracked.options.no_loop && reader == by) {
                tracked.send(shared, |reader| Push::invalidation([&key[..]].into_iter(), reader));
            }
        }
    }

    /// Tells a client about the keys with one of its prefixes.
    fn broadcast(&self, shared: &Shared, client: u64, hits: &[&(Name, u64)]) {
        let Some(tracked) = self.clients.get(&client) else { return };
        let wanted = |hit: &&&(Name, u64)| !(tracked.options.no_loop && hit.1 == client);
        let keys: BTreeSet<&[u8]> = hits.iter().filter(wanted).map(|(key, _)| &key[..]).collect();
        if !keys.is_empty() {
            tracked.send(shared, |reader| Push::invalidation(keys.into_iter(), reader));
        }
    }
}

impl Tracked {
    /// Sends a push to the client, or to the one that it redirects to.
    fn send(&self, shared: &Shared, push: impl FnOnce(Option<Place>) -> Push) {
        let redirect = self.options.redirect;
        let (push, place) = if redirect == 0 {
            (push(None), self.place)
        } else if let Some(target) = shared.clients.place(redirect) {
            (push(Some(self.place)), target)
        } else {
            (Push::BrokenRedirect(redirect), self.place)
        };
        send(&Arc::new(push), &[place], &shared.loops);
    }
}
