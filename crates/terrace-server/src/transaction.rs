//! Read-modify-write: read with stamps, stage the writes, commit on condition that nothing read has changed.
//!
//! A transaction runs its body again after a conflict, with a growing pause, and gives up after a bound that
//! is only reached when a key is overwritten without end.

use std::time::Duration;

use terrace::{Batch, Entry, Keyspace, WriteOptions};

use crate::databases::Databases;
use crate::failure::{Failure, TOO_CONTENDED, WRONG_TYPE};

/// The type tag of plain strings.
pub(crate) const TAG_STRING: u8 = 0;
/// The longest key.
pub(crate) const MAX_KEY_BYTES: usize = 65_535;
/// The longest value.
pub(crate) const MAX_VALUE_BYTES: usize = 512 << 20;

const SPIN_ATTEMPTS: u32 = 8;
const YIELD_ATTEMPTS: u32 = 64;
const MAX_ATTEMPTS: u32 = 5_000;
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

/// Refuses an entry that is not a string.
pub(crate) fn check_string(entry: &Entry) -> Result<(), Failure> {
    if entry.tag == TAG_STRING { Ok(()) } else { Err(WRONG_TYPE) }
}

/// One attempt at a read-modify-write.
pub(crate) struct Transaction<'a> {
    databases: &'a Databases,
    batch: Batch,
    /// A database that did not exist when it was read has been created since: what was read has no stamp.
    stale: bool,
}

impl<'a> Transaction<'a> {
    fn new(databases: &'a Databases) -> Self {
        Self { databases, batch: databases.store().batch(), stale: false }
    }

    /// What a key holds, of any type; the commit depends on it.
    pub(crate) fn read(&mut self, db: u8, key: &[u8]) -> Result<Option<Entry>, Failure> {
        let Some(space) = self.databases.find(db).filter(|_| is_storable(key)) else { return Ok(None) };
        let (entry, stamp) = space.read(key)?;
        self.batch.expect_in(space, key, stamp);
        Ok(entry)
    }

    /// As `read`, refusing what is not a string.
    pub(crate) fn read_string(&mut self, db: u8, key: &[u8]) -> Result<Option<Entry>, Failure> {
        let entry = self.read(db, key)?;
        if let Some(entry) = &entry {
            check_string(entry)?;
        }
        Ok(entry)
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
        let space = self.space(db)?;
        self.batch.put_in(space, key, value, write_options(expires_at_ms).tag(tag));
        Ok(())
    }

    /// Removes a key.
    pub(crate) fn delete(&mut self, db: u8, key: &[u8]) {
        if let Some(space) = self.databases.find(db).filter(|_| is_storable(key)) {
            self.batch.delete_in(space, key);
        }
    }

    fn space(&mut self, db: u8) -> Result<&'a Keyspace, Failure> {
        if let Some(found) = self.databases.find(db) {
            return Ok(found);
        }
        self.stale = true;
        Ok(self.databases.create(db)?)
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
    /// How often it had to be tried again.
    pub(crate) conflicts: u64,
}

/// Runs `body` until its writes are committed or it writes nothing.
pub(crate) fn run<T>(
    databases: &Databases,
    mut body: impl FnMut(&mut Transaction<'_>) -> Result<T, Failure>,
) -> Result<Outcome<T>, Failure> {
    for attempt in 0..MAX_ATTEMPTS {
        let conflicts = u64::from(attempt);
        let mut transaction = Transaction::new(databases);
        let value = body(&mut transaction)?;
        if transaction.stale {
            continue;
        }
        if transaction.batch.is_empty() {
            return Ok(Outcome { value, seqno: None, conflicts });
        }
        match transaction.batch.commit().map_err(Failure::from) {
            Ok(seqno) => return Ok(Outcome { value, seqno: Some(seqno), conflicts }),
            Err(failure) if failure.is_conflict() => pause(attempt),
            Err(failure) => return Err(failure),
        }
    }
    Err(TOO_CONTENDED)
}

fn pause(attempt: u32) {
    if attempt < SPIN_ATTEMPTS {
        std::hint::spin_loop();
    } else if attempt < YIELD_ATTEMPTS {
        std::thread::yield_now();
    } else {
        std::thread::sleep(PAUSE);
    }
}
