//! Read-modify-write: read with stamps, stage the writes, commit on condition that nothing read has changed.
//!
//! The same serves one command and the commands between `MULTI` and `EXEC`; the latter go into one batch, so they
//! are atomic, and the commit depends on all they have read, so nothing came between them. A transaction runs its
//! body again after a conflict, with a growing pause, and gives up after a bound that is only reached when a key is
//! overwritten without end.

mod fields;
mod whole;

use std::time::Duration;

use terrace::{Batch, WriteOptions};

use crate::databases::{self, Databases};
use crate::effects::Effects;
use crate::failure::{Failure, TOO_CONTENDED, WRONG_TYPE};
use crate::hash::generation::Dead;
use crate::notify::{Classes, NEW};
use crate::pending::{Pending, Stored, Write};
use crate::queue::Watches;
use crate::shared::Shared;

/// The type tag of plain strings.
pub(crate) const TAG_STRING: u8 = 0;
/// The type tag of the headers of hashes.
pub(crate) const TAG_HASH: u8 = 1;
/// The longest key.
pub(crate) const MAX_KEY_BYTES: usize = 65_535;
/// The longest value.
pub(crate) const MAX_VALUE_BYTES: usize = 512 << 20;

const SPIN_ATTEMPTS: u32 = 8;
const YIELD_ATTEMPTS: u32 = 64;
/// Attempts before giving up.
pub(crate) const MAX_ATTEMPTS: u32 = 5_000;
const PAUSE: Duration = Duration::from_micros(20);

/// Whether the store takes this key.
pub(crate) fn is_storable(key: &[u8]) -> bool {
    !key.is_empty() && key.len() <= MAX_KEY_BYTES
}

/// Refuses what the store would refuse.
pub(crate) fn check_write(key: &[u8], value_bytes: usize) -> Result<(), Failure> {
    if !is_storable(key) {
        let found = key.len();
        return Err(Failure::text(format!("ERR a key takes 1 to 65,535 bytes; this one has {found}")));
    }
    if value_bytes > MAX_VALUE_BYTES {
        return Err(crate::failure::STRING_TOO_LONG);
    }
    Ok(())
}

/// Refuses what is not a string.
pub(crate) fn check_string(tag: u8) -> Result<(), Failure> {
    if tag == TAG_STRING { Ok(()) } else { Err(WRONG_TYPE) }
}

/// One attempt at a read-modify-write, of one command or of all between `MULTI` and `EXEC`.
pub(crate) struct Transaction<'a> {
    databases: &'a Databases,
    batch: Batch,
    /// Whether the commit depends on a read.
    expects: bool,
    /// One bit for each database that did not exist when it was read: what was read there has no stamp.
    unstamped: u32,
    /// The writes of several commands, which see those of the ones before; a single command writes into the
    /// batch at once, unless it reads what it has written.
    pending: Option<Pending>,
    /// What others are told once it is committed.
    effects: Effects,
    /// Whether the commit depends on the reads although nothing is written.
    checks_reads: bool,
    /// When a hash counts as large: its fields, and the bytes of a name or value.
    pub(crate) list_limits: (u64, usize),
    /// Whether all keys are its own until it ends: no other client commits meanwhile.
    alone: bool,
    /// How often databases were swapped when it began.
    swaps: u64,
    /// One bit for each database that is emptied before what is written.
    emptied: u32,
    /// Generations of hashes that no key leads to after the commit.
    dead: Vec<Dead>,
}

/// How an attempt ended.
pub(crate) enum Attempt {
    /// Committed; the sequence number of the last write.
    Written(u64),
    /// There was nothing to write.
    Unchanged,
    /// What was read has changed: to be tried again.
    Conflict,
}

impl<'a> Transaction<'a> {
    fn new(shared: &'a Shared, client: u64) -> Self {
        let databases = &shared.databases;
        let batch = databases.batch();
        Self {
            databases,
            batch,
            expects: false,
            unstamped: 0,
            pending: None,
            effects: Effects::new(&shared.watch, client),
            checks_reads: false,
            list_limits: shared.settings.list_limits(),
            alone: false,
            swaps: databases.times_swapped(),
            emptied: 0,
            dead: Vec::new(),
        }
    }

    /// For several commands: each sees what those before it wrote, and the commit depends on every read, also
    /// if nothing is written, and on the watched keys.
    pub(crate) fn of_many(shared: &'a Shared, client: u64, watches: &Watches) -> Self {
        let mut transaction =
            Self { pending: Some(Pending::default()), checks_reads: true, ..Self::new(shared, client) };
        transaction.expects = watches.expect(&shared.databases, &mut transaction.batch);
        transaction
    }

    /// The same for one that has all keys for itself ([`Databases::hold_alone`]), so that its commands may go
    /// through all of them and empty databases.
    pub(crate) fn of_many_alone(shared: &'a Shared, client: u64, watches: &Watches) -> Self {
        Self { alone: true, ..Self::of_many(shared, client, watches) }
    }

    /// Runs one of several commands; if it fails, its writes are taken back and the others stay.
    pub(crate) fn step<T>(
        &mut self,
        mut body: impl FnMut(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let effects = self.effects.len();
        let outcome = body(self);
        if outcome.is_err() {
            self.effects.truncate(effects);
        }
        if let Some(pending) = &mut self.pending {
            if outcome.is_ok() { pending.keep() } else { pending.take_back() }
        }
        outcome
    }

    /// Raises a keyspace event with the commit.
    pub(crate) fn event(&mut self, class: Classes, event: &'static str, db: u8, key: &[u8]) {
        self.effects.event(class, event, db, key);
    }

    /// Where a command stages what others are told with the commit.
    pub(crate) fn effects(&mut self) -> &mut Effects {
        &mut self.effects
    }

    /// What a key holds, of any type; the commit depends on it.
    pub(crate) fn read(&mut self, db: u8, key: &[u8]) -> Result<Option<Stored>, Failure> {
        if !is_storable(key) {
            return Ok(None);
        }
        if let Some(written) = self.pending.as_ref().and_then(|pending| pending.get(db, key)) {
            return Ok(written.stored().cloned());
        }
        if self.is_emptied(db) {
            return Ok(None);
        }
        let Some(space) = self.databases.find(db) else {
            self.unstamped |= 1 << db;
            return Ok(None);
        };
        let (entry, stamp) = space.read(key)?;
        self.batch.expect_in(space, key, stamp);
        self.expects = true;
        Ok(entry.map(Stored::from))
    }

    /// As `read`, refusing what is not a string.
    pub(crate) fn read_string(&mut self, db: u8, key: &[u8]) -> Result<Option<Stored>, Failure> {
        let stored = self.read(db, key)?;
        if let Some(stored) = &stored {
            check_string(stored.tag)?;
        }
        Ok(stored)
    }

    /// Writes a string.
    pub(crate) fn put(
        &mut self,
        db: u8,
        key: &[u8],
        value: &[u8],
        expires_at_ms: Option<u64>,
    ) -> Result<(), Failure> {
        self.put_tagged(db, key, value, expires_at_ms, TAG_STRING)
    }

    /// Writes an entry with the type of another.
    pub(crate) fn put_tagged(
        &mut self,
        db: u8,
        key: &[u8],
        value: &[u8],
        expires_at_ms: Option<u64>,
        tag: u8,
    ) -> Result<(), Failure> {
        check_write(key, value.len())?;
        let stored = Stored { value: value.into(), tag, expires_at_ms };
        if db < databases::COUNT {
            if self.effects.wants(NEW) && self.read(db, key)?.is_none() {
                self.effects.event(NEW, "new", db, key);
            }
            self.effects.changed(key);
            if let Some(at_ms) = stored.entry_expiry_ms() {
                self.effects.expires(db, key, at_ms);
            }
        }
        if let Some(pending) = &mut self.pending {
            return pending.add(db, key, Write::Put(stored));
        }
        let space = self.databases.create(db)?;
        self.batch.put_in(space, key, value, write_options(stored.entry_expiry_ms()).tag(tag));
        Ok(())
    }

    /// Removes a key.
    pub(crate) fn delete(&mut self, db: u8, key: &[u8]) -> Result<(), Failure> {
        if !is_storable(key) {
            return Ok(());
        }
        if db < databases::COUNT {
            self.effects.changed(key);
        }
        if let Some(pending) = &mut self.pending {
            return pending.add(db, key, Write::Delete);
        }
        if let Some(space) = self.databases.find(db) {
            self.batch.delete_in(space, key);
        }
        Ok(())
    }

    /// How many writes are staged.
    pub(crate) fn staged(&self) -> usize {
        self.pending.as_ref().map_or(0, Pending::len)
    }

    /// Commits what was written, on condition that nothing read has changed. A single command that writes
    /// nothing needs no such check: it has read one moment's state or given the answer that ends it. The effects
    /// are for the caller to release, unless there was a conflict.
    pub(crate) fn commit(mut self) -> Result<(Attempt, Effects), Failure> {
        let effects = std::mem::take(&mut self.effects);
        Ok((self.commit_writes()?, effects))
    }

    fn commit_writes(mut self) -> Result<Attempt, Failure> {
        self.stage_emptying();
        for ((db, key), new) in self.pending.take().into_iter().flat_map(Pending::into_writes) {
            let space = self.databases.create(db)?;
            match new {
                Write::Put(stored) => {
                    let options = write_options(stored.entry_expiry_ms()).tag(stored.tag);
                    self.batch.put_in(space, key, &stored.value, options)
                }
                Write::Delete => self.batch.delete_in(space, key),
            };
        }
        let writes = !self.batch.is_empty();
        if !writes && !self.checks_reads {
            return Ok(if self.is_torn() { Attempt::Conflict } else { Attempt::Unchanged });
        }
        if self.unstamped != 0 {
            // Somebody may have written there since. Next time those reads have stamps.
            for db in (0..databases::SPACES as u8).filter(|db| self.unstamped & 1 << db != 0) {
                self.databases.create(db)?;
            }
            return Ok(Attempt::Conflict);
        }
        if !writes && !self.expects {
            return Ok(Attempt::Unchanged);
        }
        let committed = {
            let _held = (!self.alone).then(|| self.databases.hold_shared());
            if self.is_torn() {
                return Ok(Attempt::Conflict);
            }
            self.batch.commit()
        };
        match committed.map_err(Failure::from) {
            Ok(seqno) if writes => {
                (0..databases::COUNT)
                    .filter(|db| self.emptied & 1 << db != 0)
                    .for_each(|db| self.databases.note_emptied(db));
                self.databases.bury(self.dead);
                Ok(Attempt::Written(seqno))
            }
            Ok(_) => Ok(Attempt::Unchanged),
            Err(failure) if failure.is_conflict() => Ok(Attempt::Conflict),
            Err(failure) => Err(failure),
        }
    }
}

impl Transaction<'_> {
    /// Whether what was read may be of two databases, because they were swapped meanwhile.
    fn is_torn(&self) -> bool {
        !self.swaps.is_multiple_of(2) || self.swaps != self.databases.times_swapped()
    }
}

/// The options of a write that may expire.
pub(crate) fn write_options(expires_at_ms: Option<u64>) -> WriteOptions {
    match expires_at_ms {
        Some(at) => WriteOptions::new().expires_at_ms(at.max(1)),
        None => WriteOptions::new(),
    }
}

/// What a finished read-modify-write leaves behind.
pub(crate) struct Outcome<T> {
    /// What its body returned.
    pub(crate) value: T,
    /// The sequence number of its last write; `None` if it wrote nothing.
    pub(crate) seqno: Option<u64>,
    /// What others are to be told.
    pub(crate) effects: Effects,
    /// How often it had to be tried again.
    pub(crate) conflicts: u64,
}

/// Runs `body` until its writes are committed or it writes nothing.
pub(crate) fn run<T>(
    shared: &Shared,
    client: u64,
    mut body: impl FnMut(&mut Transaction<'_>) -> Result<T, Failure>,
) -> Result<Outcome<T>, Failure> {
    for attempt in 0..MAX_ATTEMPTS {
        let conflicts = u64::from(attempt);
        let mut transaction = Transaction::new(shared, client);
        let value = body(&mut transaction)?;
        let (attempt_ended, effects) = transaction.commit()?;
        let seqno = match attempt_ended {
            Attempt::Written(seqno) => Some(seqno),
            Attempt::Unchanged => None,
            Attempt::Conflict => {
                pause(attempt);
                continue;
            }
        };
        return Ok(Outcome { value, seqno, effects, conflicts });
    }
    Err(TOO_CONTENDED)
}

/// Waits before the next attempt: not at all, then a little.
pub(crate) fn pause(attempt: u32) {
    if attempt < SPIN_ATTEMPTS {
        std::hint::spin_loop();
    } else if attempt < YIELD_ATTEMPTS {
        std::thread::yield_now();
    } else {
        std::thread::sleep(PAUSE);
    }
}
