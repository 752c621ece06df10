//! Beginning transactions, and running them until they get through.

use std::time::Duration;

use super::Db;
use super::snapshot::Snapshot;
use super::transaction::Transaction;
use crate::base::{Error, Result};

/// How often [`Db::transaction`] runs its function before it gives up.
pub const MAX_TRANSACTION_ATTEMPTS: u32 = 100;
/// The longest first pause after a conflict; it doubles with every further one.
const FIRST_PAUSE: Duration = Duration::from_micros(10);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

impl Db {
    /// Begins a serializable transaction: it reads at a snapshot of now and sees its own writes; its commit
    /// succeeds only if nothing that it has read, key or range, was changed by others meanwhile.
    ///
    /// Keys that were only written cause no conflict, and neither does an entry that expires meanwhile; a keyspace
    /// that was used and is cleared does. It locks nothing until the commit, so it never waits for other transactions, and they never for it. Where
    /// conflicts are frequent, [`Db::transaction`] does the repeating.
    ///
    /// ```
    /// # fn main() -> terrace::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = terrace::Db::open(dir.path())?;
    /// let mut tx = db.begin();
    /// if tx.get("seat:12")?.is_none() {
    ///     tx.put("seat:12", "Alice")?;
    /// }
    /// match tx.commit() {
    ///     Ok(_) => {}
    ///     Err(terrace::Error::Conflict) => println!("somebody was faster"),
    ///     Err(error) => return Err(error),
    /// }
    /// # db.close()
    /// # }
    /// ```
    pub fn begin(&self) -> Transaction {
        Transaction::new(self.handle())
    }

    /// Begins a transaction that only reads: a snapshot. It never conflicts and needs no commit.
    pub fn begin_read_only(&self) -> Snapshot {
        self.snapshot()
    }

    /// Runs `work` in a transaction and commits it. After a conflict it runs again in a new one, at most
    /// [`MAX_TRANSACTION_ATTEMPTS`] times with growing pauses in between (10 microseconds to 10 milliseconds,
    /// drawn at random), then [`Error::Conflict`] comes back. So `work` should have no effects of its own.
    ///
    /// An error of `work` ends it at once, without a commit, and is passed on.
    ///
    /// ```
    /// # fn main() -> terrace::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = terrace::Db::open(dir.path())?;
    /// let seats = db.transaction(|tx| -> terrace::Result<usize> {
    ///     let taken = tx.prefix("seat:").count();
    ///     tx.put(format!("seat:{taken}"), "Bob")?;
    ///     Ok(taken + 1)
    /// })?;
    /// assert_eq!(seats, 1);
    /// # db.close()
    /// # }
    /// ```
    pub fn transaction<T, E: From<Error>>(
        &self,
        mut work: impl FnMut(&mut Transaction) -> Result<T, E>,
    ) -> Result<T, E> {
        let env = &self.handle().core.env;
        let mut longest = FIRST_PAUSE;
        for attempt in 1.. {
            let mut transaction = self.begin();
            let outcome = work(&mut transaction)?;
            match transaction.commit() {
                Ok(_) => return Ok(outcome),
                Err(Error::Conflict) if attempt < MAX_TRANSACTION_ATTEMPTS => {
                    let nanos = env.rng.next_u64() % (longest.as_nanos() as u64);
                    env.clock.sleep(Duration::from_nanos(nanos));
                    longest = (longest * 2).min(LONGEST_PAUSE);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Conflict.into())
    }
}
