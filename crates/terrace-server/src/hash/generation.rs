//! Numbers for generations of hashes: never given out twice in the life of a store.
//!
//! They come from a counter in a keyspace of the server's own, which is raised by a block at a time; a restart
//! loses the rest of two blocks. The next block is taken while the current one still has numbers, by
//! [`Generations::top_up`] on a thread that may wait, so that an event loop waits for the store only for the very
//! first block of a new store, or if it uses up half a block faster than the other thread looks.

use parking_lot::Mutex;
use terrace::{Db, Result};

const KEYSPACE: &str = "terrace-server";
const KEY: &str = "generation";
/// Numbers taken from the counter at once.
const BLOCK: u64 = 1 << 20;

/// A generation that no key leads to any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Dead {
    /// The database of its hash.
    pub(crate) db: u8,
    /// Its number.
    pub(crate) generation: u64,
}

/// Numbers that were taken from the counter and not given out yet.
#[derive(Clone, Debug)]
struct Taken {
    current: std::ops::Range<u64>,
    next: std::ops::Range<u64>,
}

/// Gives out numbers.
#[derive(Debug)]
pub(crate) struct Generations(Mutex<Taken>);

impl Default for Generations {
    fn default() -> Self {
        Self(Mutex::new(Taken { current: 0..0, next: 0..0 }))
    }
}

/// Takes a block from the counter.
fn take(db: &Db) -> Result<std::ops::Range<u64>> {
    let end = db.keyspace(KEYSPACE)?.increment(KEY, BLOCK as i64)? as u64;
    Ok(end - BLOCK + 1..end + 1)
}

impl Generations {
    /// The next number; at least 1.
    pub(crate) fn next(&self, db: &Db) -> Result<u64> {
        let mut taken = self.0.lock();
        if taken.current.is_empty() {
            taken.current = std::mem::replace(&mut taken.next, 0..0);
        }
        if taken.current.is_empty() {
            taken.current = take(db)?;
        }
        let next = taken.current.start;
        taken.current.start += 1;
        Ok(next)
    }

    /// Takes the next block, if the current one is half used up; may wait for the store. In a store that has no counter
    /// yet it does nothing, so a store without hashes never gets one.
    pub(crate) fn top_up(&self, db: &Db) -> Result<()> {
        let wanted = {
            let taken = self.0.lock();
            taken.next.is_empty() && taken.current.end - taken.current.start <= BLOCK / 2
        };
        if !wanted || db.find_keyspace(KEYSPACE).is_none() {
            return Ok(());
        }
        // Nobody else fills `next`, and whoever asks for a number meanwhile does not wait for this.
        let block = take(db)?;
        self.0.lock().next = block;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_never_given_out_twice() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        let first = Generations::default();
        first.top_up(&db).unwrap();
        assert!(db.find_keyspace(KEYSPACE).is_none(), "there are no hashes yet");
        assert_eq!([first.next(&db).unwrap(), first.next(&db).unwrap()], [1, 2]);
        let restarted = Generations::default();
        restarted.top_up(&db).unwrap();
        assert_eq!(restarted.next(&db).unwrap(), BLOCK + 1);
        assert_eq!(first.next(&db).unwrap(), 3);
    }

    /// Once in a million new hashes, `HSET` waited on its event loop for a write of the store, together with all other
    /// clients of the loop; with a store that held its writers back that was seconds. Nobody had made so many hashes
    /// in a test. Here the store takes no more writes at all when the first block ends.
    #[test]
    fn the_next_block_is_there_before_the_current_one_ends() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        let numbers = Generations::default();
        assert_eq!(numbers.next(&db).unwrap(), 1);
        numbers.top_up(&db).unwrap();
        assert_eq!(Generations::default().next(&db).unwrap(), BLOCK + 1, "a full block needs no other");
        numbers.0.lock().current.start = BLOCK / 2 + 1;
        numbers.top_up(&db).unwrap();
        numbers.top_up(&db).unwrap();
        numbers.0.lock().current.start = BLOCK;
        db.close().unwrap();
        assert_eq!([numbers.next(&db).unwrap(), numbers.next(&db).unwrap()], [BLOCK, 2 * BLOCK + 1]);
        numbers.0.lock().current.start = 3 * BLOCK + 1;
        assert!(numbers.next(&db).is_err(), "one block was taken ahead, and not more");
    }
}
