//! What others are told about a write: keyspace events, invalidations, messages, and when its key expires.
//!
//! Every write of a key passes here: a command stages what it did in [`Effects`], and [`Shared::release`] carries
//! it out once the write is committed, never before, so who hears of a change and reads sees it. When nobody wants
//! to know, a write costs one relaxed load of [`Watch`].

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering, fence};

use crate::notify::{self, Classes};
use crate::pubsub::{Kind, Name};
use crate::shared::Shared;

/// Somebody has its reads tracked. The other bits are classes of keyspace events.
const TRACKED: u32 = 1 << 31;

/// What somebody wants to know of.
#[derive(Debug, Default)]
pub(crate) struct Watch(AtomicU32);

impl Watch {
    /// Chooses the classes of keyspace events.
    pub(crate) fn set_classes(&self, classes: Classes) {
        let update = |old: u32| Some(old & TRACKED | notify::effective(classes));
        let _ = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, update);
    }

    /// Begins or ends the tracking of reads.
    pub(crate) fn set_tracked(&self, tracked: bool) {
        if tracked {
            self.0.fetch_or(TRACKED, Ordering::SeqCst);
        } else {
            self.0.fetch_and(!TRACKED, Ordering::SeqCst);
        }
    }

    fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether events of a class are wanted.
    pub(crate) fn wants(&self, class: Classes) -> bool {
        self.get() & class != 0
    }
}

/// One effect.
#[derive(Clone, Debug)]
enum Effect {
    Changed { key: Name, by: u64 },
    Event { class: Classes, event: &'static str, db: u8, key: Name },
    Publish { kind: Kind, channel: Name, payload: Vec<u8> },
    Expires { db: u8, key: Name, at_ms: u64 },
    ExpiredFields(u64),
}

/// The effects of writes that wait for their commit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effects {
    list: Vec<Effect>,
    /// What was wanted when the first of the writes was staged.
    wanted: u32,
    /// The client that writes; 0 for the server itself.
    by: u64,
    /// Keys that the client has read after it wrote them: it knows their new values.
    known: BTreeSet<Name>,
}

impl Effects {
    /// Those of writes by a client, none so far.
    pub(crate) fn new(watch: &Watch, by: u64) -> Self {
        Self { wanted: watch.get(), by, ..Self::default() }
    }

    /// Whether events of a class are wanted.
    pub(crate) fn wants(&self, class: Classes) -> bool {
        self.wanted & class != 0
    }

    /// Another client's writes follow.
    pub(crate) fn set_client(&mut self, by: u64) {
        self.by = by;
    }

    /// A key was written or removed.
    pub(crate) fn changed(&mut self, key: &[u8]) {
        if self.wanted & TRACKED != 0 {
            self.known.remove(key);
            self.list.push(Effect::Changed { key: key.into(), by: self.by });
        }
    }

    /// The client reads a key, for the first time since it tracks. If it has written it before in the same step, it
    /// need not be told of that.
    pub(crate) fn read(&mut self, key: &[u8]) {
        let wrote =
            |effect: &Effect| matches!(effect, Effect::Changed { key: changed, .. } if **changed == *key);
        if self.list.iter().any(wrote) {
            self.known.insert(key.into());
        }
    }

    /// A keyspace event.
    pub(crate) fn event(&mut self, class: Classes, event: &'static str, db: u8, key: &[u8]) {
        if self.wants(class) {
            self.list.push(Effect::Event { class, event, db, key: key.into() });
        }
    }

    /// A key expires then.
    pub(crate) fn expires(&mut self, db: u8, key: &[u8], at_ms: u64) {
        self.list.push(Effect::Expires { db, key: key.into(), at_ms });
    }

    /// A message to be published with the commit.
    pub(crate) fn publish(&mut self, kind: Kind, channel: &[u8], payload: &[u8]) {
        self.list.push(Effect::Publish { kind, channel: channel.into(), payload: payload.into() });
    }

    /// So many expired fields of hashes are removed.
    pub(crate) fn expired_fields(&mut self, count: u64) {
        self.list.push(Effect::ExpiredFields(count));
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Drops the newest down to `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.list.truncate(len);
    }
}

impl Shared {
    /// Carries out the effects of writes that are committed.
    pub(crate) fn release(&self, effects: Effects) {
        // A client that begins to track after this reads what was committed before it. One that began while the
        // writes were under way may have read the old values, and nobody noted which keys to tell it of.
        fence(Ordering::SeqCst);
        if effects.wanted & TRACKED == 0 && self.watch.get() & TRACKED != 0 {
            self.tracker.invalidate_all(self);
        }
        let mut changed: Vec<(Name, u64)> = Vec::new();
        for effect in effects.list {
            match effect {
                Effect::Changed { key, by } => changed.push((key, by)),
                Effect::Event { class, event, db, key } => self.notify(class, event, db, &key),
                Effect::Publish { kind, channel, payload } => {
                    self.hub.publish(kind, &channel, &payload, &self.loops);
                }
                Effect::ExpiredFields(count) => {
                    self.expired_fields.fetch_add(count, Ordering::Relaxed);
                }
                Effect::Expires { db, key, at_ms } => self.schedule.add(at_ms, db, &key),
            }
        }
        if !changed.is_empty() {
            self.tracker.invalidate(self, &changed, &effects.known);
        }
    }

    /// Publishes a keyspace event, if its class is wanted.
    pub(crate) fn notify(&self, class: Classes, event: &str, db: u8, key: &[u8]) {
        let classes = self.watch.get();
        if classes & class == 0 {
            return;
        }
        for (channel, payload) in notify::messages(classes, db, event, key) {
            self.hub.publish(Kind::Channel, &channel, &payload, &self.loops);
        }
    }

    /// Notes that databases were emptied: whoever tracks keys must forget all of them.
    pub(crate) fn emptied(&self) {
        fence(Ordering::SeqCst);
        if self.watch.get() & TRACKED != 0 {
            self.tracker.invalidate_all(self);
        }
    }
}
