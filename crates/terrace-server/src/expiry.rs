//! Active expiry: a thread that removes expired keys soon after their time, in a bounded share of a core.
//!
//! The store hides expired entries and drops them in compactions; that needs no help. Removing them at once is for
//! those who listen: a removal raises the event `expired`, invalidates caches and counts in `expired_keys`. It is a
//! conditional delete, so of all that find a key expired, this thread or a command that missed it, exactly one
//! removes it, and a key that was written again meanwhile stays.
//!
//! Every [`CYCLE`] the thread works for at most [`SHARE_PER_EFFORT`] of it times `active-expire-effort` (1 to 10),
//! so 5 % to 50 % of one core. It takes the keys from the schedule. Only if somebody listens and keys may be
//! missing there (after a start, or when more keys expire than it holds) does it also go through the databases, in
//! the same share of time, to find the keys with an expiry.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::databases::COUNT;
use crate::effects::Effects;
use crate::failure::Failure;
use crate::hash::edit::Hash;
use crate::hash::view;
use crate::notify::{EXPIRED, GENERIC, HASH};
use crate::pending::Stored;
use crate::shared::Shared;
use crate::transaction::{self, TAG_HASH, is_storable};

/// How often the thread looks for work.
const CYCLE: Duration = Duration::from_millis(100);
/// The part of a cycle that it works, per degree of effort.
const SHARE_PER_EFFORT: f64 = 0.05;
/// Keys taken from the schedule, or looked at by the scan, between two looks at the clock.
const BATCH: usize = 64;
/// How long before the horizon the scan begins.
const LEAD_MS: u64 = 10_000;

/// Where the scan of the databases is.
#[derive(Debug)]
enum Scan {
    Idle,
    /// The next key to look at.
    At {
        db: u8,
        from: Vec<u8>,
    },
}

/// What the thread remembers between its cycles.
#[derive(Debug)]
struct Expirer {
    scan: Scan,
    /// The databases were scanned since the start, or nobody has asked yet.
    scanned: bool,
}

/// Works until the server stops.
pub(crate) fn run(shared: &Arc<Shared>) {
    let mut expirer = Expirer { scan: Scan::Idle, scanned: false };
    while !shared.is_stopping() {
        shared.config.clock.sleep(CYCLE);
        let share = SHARE_PER_EFFORT * shared.settings.expire_effort() as f64;
        if shared.settings.expires_actively() && !shared.pause.stops_writes(shared.now_ms()) {
            let budget_ns = (CYCLE.as_nanos() as f64 * share) as u64;
            expirer.cycle(shared, budget_ns);
        }
    }
}

impl Expirer {
    /// One cycle: what is due, then a part of the scan.
    fn cycle(&mut self, shared: &Shared, budget_ns: u64) {
        let clock = &shared.config.clock;
        let end_ns = clock.monotonic_ns().saturating_add(budget_ns);
        let store = shared.databases.store();
        while clock.monotonic_ns() < end_ns && !shared.is_stopping() && store.write_delay().is_zero() {
            let due = shared.schedule.take_due(shared.now_ms(), BATCH);
            if due.is_empty() && !self.scan_some(shared) {
                return;
            }
            for (_, db, key) in due {
                let removed = shared.expire(db, &key);
                let settled =
                    removed.and_then(|gone| if gone { Ok(true) } else { shared.expire_fields(db, &key) });
                if let Err(failure) = settled {
                    tracing::debug!(error = %failure.line(), "cannot remove an expired key");
                }
            }
        }
    }

    /// Goes on with the scan, or begins one if there is a reason to; `false` if there is nothing to do.
    fn scan_some(&mut self, shared: &Shared) -> bool {
        if !shared.watch.wants(EXPIRED) {
            self.scan = Scan::Idle;
            return false;
        }
        if matches!(self.scan, Scan::Idle) {
            let soon_ms = shared.now_ms().saturating_add(LEAD_MS);
            if self.scanned && shared.schedule.horizon_ms() > soon_ms {
                return false;
            }
            // What the scan passes over and is too late again sets a new horizon.
            shared.schedule.is_complete_again();
            self.scanned = true;
            self.scan = Scan::At { db: 0, from: Vec::new() };
        }
        self.scan_step(shared);
        true
    }

    fn scan_step(&mut self, shared: &Shared) {
        let Scan::At { db, from } = &mut self.scan else { return };
        let bounds = (Bound::Included(from.as_slice()), Bound::<&[u8]>::Unbounded);
        let entries = shared.databases.find(*db).map(|space| space.range::<&[u8]>(bounds));
        let mut last = None;
        for found in entries.into_iter().flat_map(|mut entries| {
            std::iter::from_fn(move || entries.next_entry()).take(BATCH).collect::<Vec<_>>()
        }) {
            let Ok((key, entry)) = found else { break };
            let of_entry = entry.expires_at_ms;
            let of_fields = view::header_of(&entry.into()).ok().and_then(|header| header.next_expiry_ms);
            for at_ms in of_entry.into_iter().chain(of_fields) {
                shared.schedule.add(at_ms, *db, &key);
            }
            last = Some(key);
        }
        match last {
            Some(key) => *from = [&key[..], &[0]].concat(),
            None if *db + 1 < COUNT => (*db, *from) = (*db + 1, Vec::new()),
            None => self.scan = Scan::Idle,
        }
    }
}

impl Shared {
    /// Removes a key if it has expired, and tells who listens.
    pub(crate) fn expire(&self, db: u8, key: &[u8]) -> Result<bool, Failure> {
        let Some(space) = self.databases.find(db).filter(|_| is_storable(key)) else { return Ok(false) };
        let Some((entry, stamp)) = space.read_expired(key)? else { return Ok(false) };
        let mut batch = self.databases.batch();
        batch.expect_in(space, key, stamp);
        batch.delete_in(space, key);
        let committed = {
            let _held = self.databases.hold_shared();
            batch.commit()
        };
        match committed.map_err(Failure::from) {
            Ok(_) => {
                let mut effects = Effects::new(&self.watch, 0);
                effects.changed(key);
                let stored = Stored::from(entry);
                let now_ms = self.databases.now_ms();
                if stored.tag == TAG_HASH && stored.expires_at_ms.is_none_or(|at_ms| at_ms > now_ms) {
                    // The last of its fields has expired, and the hash went with it.
                    let fields = view::header_of(&stored).map_or(0, |header| header.len);
                    self.expired_fields.fetch_add(fields, Ordering::Relaxed);
                    effects.event(HASH, "hexpired", db, key);
                    effects.event(GENERIC, "del", db, key);
                } else {
                    self.expired_keys.fetch_add(1, Ordering::Relaxed);
                    effects.event(EXPIRED, "expired", db, key);
                }
                self.release(effects);
                Ok(true)
            }
            // Somebody has written it, or was quicker.
            Err(failure) if failure.is_conflict() => Ok(false),
            Err(failure) => Err(failure),
        }
    }
    /// Uncounts the fields of a hash that have expired, and tells who listens.
    /// `false` if there are none.
    pub(crate) fn expire_fields(&self, db: u8, key: &[u8]) -> Result<bool, Failure> {
        let outcome = transaction::run(self, 0, |tx| match tx.read(db, key)? {
            Some(stored) if stored.tag == TAG_HASH => {
                let hash = Hash::open(tx, db, key, std::iter::empty())?;
                hash.map_or(Ok(()), Hash::close)
            }
            _ => Ok(()),
        })?;
        self.release(outcome.effects);
        Ok(outcome.seqno.is_some())
    }
}
