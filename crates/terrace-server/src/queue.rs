//! What a connection has between `MULTI` and `EXEC`: its queued requests; and the keys it watches.

use std::collections::HashMap;

use terrace::{Batch, Stamp};
use terrace_resp::{Args, KeptArgs};

use crate::commands::Command;
use crate::commands::table::ALONE;
use crate::databases::Databases;
use crate::failure::Failure;
use crate::transaction::is_storable;

/// The most requests of a transaction.
const MAX_REQUESTS: usize = 1 << 20;
/// The most memory of a connection's queued requests.
const MAX_REQUEST_BYTES: usize = 1 << 30;
/// The most keys that a connection watches.
const MAX_WATCHED: usize = 1 << 16;

/// A request to run at `EXEC`.
#[derive(Debug)]
pub(crate) struct Queued {
    /// Its command.
    pub(crate) command: &'static Command,
    /// Its arguments.
    pub(crate) args: KeptArgs,
}

impl Queued {
    /// Whether its transaction has to have all keys for itself.
    pub(crate) fn must_be_alone(&self) -> bool {
        let named = self.args.args().get(1).and_then(|name| self.command.subcommand(name));
        self.command.has(ALONE) || named.is_some_and(|runs| runs.has(ALONE))
    }
}

/// The requests after `MULTI`.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// In order.
    pub(crate) requests: Vec<Queued>,
    bytes: usize,
    /// A request was refused, so `EXEC` runs nothing.
    pub(crate) refused: bool,
}

impl Queue {
    /// Adds a request. Once one was refused, nothing will run and nothing is kept.
    pub(crate) fn push(&mut self, command: &'static Command, args: Args<'_>) -> Result<(), Failure> {
        if self.refused {
            return Ok(());
        }
        let args = args.to_kept();
        self.bytes += args.bytes();
        if self.requests.len() >= MAX_REQUESTS || self.bytes > MAX_REQUEST_BYTES {
            return Err(Failure::text(format!(
                "ERR a transaction takes at most {MAX_REQUESTS} commands of {MAX_REQUEST_BYTES} bytes together"
            )));
        }
        self.requests.push(Queued { command, args });
        Ok(())
    }

    /// Notes that a request was refused.
    pub(crate) fn refuse(&mut self) {
        *self = Self { refused: true, ..Self::default() };
    }
}

/// A key as it was at `WATCH`.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// The stamp of the read; `None` if the database had never been written to.
    stamp: Option<Stamp>,
    existed: bool,
    /// How often its database had been emptied.
    times_emptied: u64,
}

impl Seen {
    /// A key as it is now.
    fn now(databases: &Databases, db: u8, key: &[u8]) -> Result<Self, Failure> {
        // Counted before the read, so that an emptying in between is noticed.
        let times_emptied = databases.times_emptied(db);
        let Some(space) = databases.find(db) else {
            return Ok(Self { stamp: None, existed: false, times_emptied });
        };
        let (entry, stamp) = space.read(key)?;
        Ok(Self { stamp: Some(stamp), existed: entry.is_some(), times_emptied })
    }
}

/// The keys that a connection watches.
#[derive(Debug, Default)]
pub(crate) struct Watches(HashMap<(u8, Vec<u8>), Seen>);

impl Watches {
    /// Whether none is watched.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Begins to watch a key. One that is watched already stays as it was; one that cannot be stored never
    /// changes.
    pub(crate) fn add(&mut self, databases: &Databases, db: u8, key: &[u8]) -> Result<(), Failure> {
        let place = (db, key.to_vec());
        if !is_storable(key) || self.0.contains_key(&place) {
            return Ok(());
        }
        if self.0.len() >= MAX_WATCHED {
            return Err(Failure::text(format!("ERR a client watches at most {MAX_WATCHED} keys")));
        }
        self.0.insert(place, Seen::now(databases, db, key)?);
        Ok(())
    }

    /// Looks again at keys that did not exist when their database was emptied: if they still do not, nothing has
    /// happened to them, although their stamps say otherwise.
    pub(crate) fn renew(&mut self, databases: &Databases) -> Result<(), Failure> {
        for ((db, key), seen) in &mut self.0 {
            if !seen.existed && seen.times_emptied != databases.times_emptied(*db) {
                let now = Seen::now(databases, *db, key)?;
                if !now.existed {
                    *seen = now;
                }
            }
        }
        Ok(())
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets them all.
    pub(crate) fn clear(&mut self) {
        self.0 = HashMap::new();
    }

    /// Makes a commit depend on the keys being as they were; `false` if there are none.
    pub(crate) fn expect(&self, databases: &Databases, batch: &mut Batch) -> bool {
        for ((db, key), seen) in &self.0 {
            if let (Some(space), Some(stamp)) = (databases.find(*db), seen.stamp) {
                batch.expect_in(space, key, stamp);
            }
        }
        !self.0.is_empty()
    }

    /// Whether a key has changed in a way that no stamp tells: it has expired, or its database came to be. The
    /// latter happens once, so that transactions are refused for another key's sake hardly matters.
    pub(crate) fn any_vanished(&self, databases: &Databases) -> Result<bool, Failure> {
        for ((db, key), seen) in &self.0 {
            let vanished = match (databases.find(*db), seen.stamp) {
                (Some(space), Some(_)) => seen.existed && space.get_entry(key)?.is_none(),
                (None, None) => false,
                _ => true,
            };
            if vanished {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a key was written to, or its database emptied, by its stamp.
    pub(crate) fn any_written(&self, databases: &Databases) -> Result<bool, Failure> {
        let mut batch = databases.batch();
        if !self.expect(databases, &mut batch) {
            return Ok(false);
        }
        match batch.commit().map_err(Failure::from) {
            Ok(_) => Ok(false),
            Err(failure) if failure.is_conflict() => Ok(true),
            Err(failure) => Err(failure),
        }
    }
}
