//! What a command works with: its session, the reply, and the store by way of the write group.
//!
//! Every access that sees the store settles the group first when this connection has a write in it, so a
//! command cannot forget to. Inside `EXEC` reads and writes of keys go through its transaction instead, so a
//! command need not know of it, unless it goes through many keys.

use std::sync::Arc;

use terrace::{Keyspace, Snapshot};
use terrace_resp::Encoder;

use crate::effects::Effects;
use crate::failure::Failure;
use crate::group::Group;
use crate::metrics::LoopMetrics;
use crate::notify::{GENERIC, HASH, MISS, NEW, STRING};
use crate::pending::Stored;
use crate::pubsub::Kind;
use crate::session::Session;
use crate::shared::Shared;
use crate::transaction::{self, Transaction, check_write, is_storable, write_options};

/// The world of one command.
pub(crate) struct Context<'a> {
    /// What all loops share.
    pub(crate) shared: &'a Arc<Shared>,
    /// The connection's state.
    pub(crate) session: &'a mut Session,
    /// Where the reply goes.
    pub(crate) reply: Encoder<'a>,
    /// The loop's write group.
    pub(crate) group: &'a mut Group,
    /// The loop's counters.
    pub(crate) metrics: &'a LoopMetrics,
    /// The time of this wake-up.
    pub(crate) now_ms: u64,
    /// Writes of this loop wait for the store, so others wait behind them.
    pub(crate) writers_wait: bool,
    /// When the command began, by the monotonic clock; moves on to its end.
    pub(crate) started_ns: u64,
    /// Whether commands are neither counted nor shown: `EXEC` runs them again.
    pub(crate) quiet: bool,
    /// Whether errors are not counted either.
    pub(crate) mutes_errors: bool,
    /// The transaction between `MULTI` and `EXEC` that this command is part of.
    pub(crate) many: Option<Transaction<'a>>,
}

impl Context<'_> {
    /// Commits the group if this connection has a write in it.
    pub(crate) fn settle(&mut self) {
        if self.session.group_epoch == self.group.epoch() {
            self.group.commit(self.metrics);
        }
    }

    /// The selected database, if it was ever written to.
    pub(crate) fn space(&self) -> Option<&Keyspace> {
        self.shared.databases.find(self.session.db)
    }

    /// What a key holds, counted as a hit or a miss. A key that cannot be stored holds nothing.
    pub(crate) fn lookup(&mut self, key: &[u8]) -> Result<Option<Stored>, Failure> {
        self.settle();
        let entry = if let Some(many) = &mut self.many {
            many.read(self.session.db, key)?
        } else {
            let space = self.space().filter(|_| is_storable(key));
            space.map(|space| space.get_entry(key)).transpose()?.flatten().map(Stored::from)
        };
        self.count_lookups(usize::from(entry.is_some()), 1);
        if entry.is_none() {
            self.missed(key);
        }
        Ok(entry)
    }

    /// As `lookup`, refusing what is not a string.
    pub(crate) fn lookup_string(&mut self, key: &[u8]) -> Result<Option<Stored>, Failure> {
        let entry = self.lookup(key)?;
        if let Some(entry) = &entry {
            transaction::check_string(entry.tag)?;
        }
        Ok(entry)
    }

    /// A moment at which several keys are to be looked up together. A transaction is one already, and one key needs
    /// none.
    pub(crate) fn moment(&mut self, keys: usize) -> Option<Snapshot> {
        self.settle();
        (self.many.is_none() && keys > 1).then(|| self.shared.databases.store().snapshot())
    }

    /// What several keys hold, in their order; each as it is now, or all as they were at one moment.
    pub(crate) fn lookup_many(
        &mut self,
        keys: &[&[u8]],
        moment: Option<&Snapshot>,
    ) -> Result<Vec<Option<Stored>>, Failure> {
        if self.many.is_some() {
            return keys.iter().map(|key| self.lookup(key)).collect();
        }
        self.settle();
        let entries = match self.space() {
            None => vec![None; keys.len()],
            Some(space) if keys.iter().all(|key| is_storable(key)) => match moment {
                Some(moment) => moment.multi_get_in(space, keys)?,
                None => space.multi_get_entries(keys)?,
            },
            Some(space) => {
                let one = |key: &&[u8]| match moment {
                    _ if !is_storable(key) => Ok(None),
                    Some(moment) => moment.get_in(space, key),
                    None => space.get_entry(key),
                };
                keys.iter().map(one).collect::<terrace::Result<_>>()?
            }
        };
        self.count_lookups(entries.iter().flatten().count(), keys.len());
        keys.iter().zip(&entries).filter(|(_, found)| found.is_none()).for_each(|(key, _)| self.missed(key));
        Ok(entries.into_iter().map(|entry| entry.map(Stored::from)).collect())
    }

    /// Fields of a hash that was looked up have expired, and somebody may want to know.
    pub(crate) fn passed(&self, key: &[u8]) {
        let listened_to = self.many.is_none() && self.shared.watch.wants(HASH);
        if listened_to && self.may_remove() {
            // A failure is for the next writer to hear of.
            let _ = self.shared.expire_fields(self.session.db, key);
        }
    }

    /// Whether a read may remove what it finds expired: if writes wait, the thread for active expiry does it later.
    fn may_remove(&self) -> bool {
        !self.shared.pause.stops_writes(self.now_ms) && self.shared.databases.store().write_delay().is_zero()
    }

    /// A key that was looked up is not there: it may have expired, and somebody may want to know of either.
    pub(crate) fn missed(&mut self, key: &[u8]) {
        let db = self.session.db;
        if let Some(many) = &mut self.many {
            many.event(MISS, "keymiss", db, key);
            return;
        }
        self.remove_expired(key);
        self.shared.notify(MISS, "keymiss", db, key);
    }

    /// A key that a command has found absent may have expired, and somebody may want to know.
    pub(crate) fn remove_expired(&self, key: &[u8]) {
        if self.many.is_none() && !self.shared.schedule.is_empty() && self.may_remove() {
            // A failure is for the next writer to hear of.
            let _ = self.shared.expire(self.session.db, key);
        }
    }

    /// Sends a message, with the commit if this is part of a transaction; returns how many clients get it.
    pub(crate) fn publish(&mut self, kind: Kind, channel: &[u8], payload: &[u8]) -> usize {
        let hub = &self.shared.hub;
        match &mut self.many {
            Some(many) => {
                many.effects().publish(kind, channel, payload);
                hub.receivers(kind, channel)
            }
            None => hub.publish(kind, channel, payload, &self.shared.loops),
        }
    }

    /// Notes that keys are used.
    pub(crate) fn touch<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) {
        if !self.session.no_touch {
            keys.for_each(|key| self.shared.recency.touch(key, self.now_ms));
        }
    }

    /// Counts look-ups of keys.
    pub(crate) fn count_lookups(&self, hits: usize, all: usize) {
        self.metrics.hits.add(hits as u64);
        self.metrics.misses.add((all - hits) as u64);
    }

    /// Adds a plain write of strings to the group, all with one expiry. With a past one they are deletes.
    pub(crate) fn write(
        &mut self,
        pairs: &[(&[u8], &[u8])],
        expires_at_ms: Option<u64>,
    ) -> Result<(), Failure> {
        let (db, now_ms) = (self.session.db, self.now_ms);
        // Whether a key is new is seen only by reading it.
        if self.many.is_some() || self.shared.watch.wants(NEW) {
            return self.transact(|tx| {
                for (key, value) in pairs {
                    match expires_at_ms {
                        Some(at) if at <= now_ms => tx.delete(db, key)?,
                        at => tx.put(db, key, value, at)?,
                    }
                    announce_set(tx.effects(), db, key, expires_at_ms, now_ms);
                }
                Ok(())
            });
        }
        for (key, value) in pairs {
            check_write(key, value.len())?;
        }
        let space = self.shared.databases.create(db)?;
        for (key, value) in pairs {
            if expires_at_ms.is_some_and(|at| at <= now_ms) {
                self.group.delete(space, key);
            } else {
                self.group.put(space, key, value, write_options(expires_at_ms));
            }
            let effects = self.group.effects(self.session.info.id);
            effects.changed(key);
            if let Some(at_ms) = expires_at_ms {
                effects.expires(db, key, at_ms);
            }
            announce_set(effects, db, key, expires_at_ms, now_ms);
        }
        Ok(())
    }

    /// Answers `+OK` on condition that the writes added to the group (or the transaction) are committed.
    pub(crate) fn promise_ok(&mut self) {
        let position = self.reply.position();
        self.reply.ok();
        if self.many.is_some() {
            return;
        }
        self.session.group_epoch = self.group.epoch();
        let position = (!self.session.is_silent()).then_some(position);
        self.group.promise(self.session.slot, position, self.metrics);
    }

    /// Reads, decides and writes in one atomic step; see `transaction`.
    pub(crate) fn transact<T>(
        &mut self,
        body: impl FnMut(&mut Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if let Some(many) = &mut self.many {
            return many.step(body);
        }
        self.settle();
        let outcome = transaction::run(self.shared, self.session.info.id, body)?;
        if let Some(seqno) = outcome.seqno {
            self.group.committed(self.session.slot, seqno);
        }
        self.metrics.conflicts.add(outcome.conflicts);
        self.shared.release(outcome.effects);
        Ok(outcome.value)
    }
}

/// Stages the events of a `SET`.
pub(crate) fn announce_set(
    effects: &mut Effects,
    db: u8,
    key: &[u8],
    expires_at_ms: Option<u64>,
    now_ms: u64,
) {
    effects.event(STRING, "set", db, key);
    match expires_at_ms {
        Some(at) if at <= now_ms => effects.event(GENERIC, "del", db, key),
        Some(_) => effects.event(GENERIC, "expire", db, key),
        None => {}
    }
}
