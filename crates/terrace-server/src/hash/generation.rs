//! Numbers for generations of hashes: never given out twice in the life of a store.
//!
//! They come from a counter in a keyspace of the server's own, which is raised by a block at a time; a restart
//! loses the rest of a block.

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

/// The numbers that were taken from the counter and not given out yet.
#[derive(Debug, Default)]
pub(crate) struct Generations(Mutex<std::ops::Range<u64>>);

impl Generations {
    /// The next number; at least 1.
    pub(crate) fn next(&self, db: &Db) -> Result<u64> {
        let mut block = self.0.lock();
        if block.is_empty() {
            let end = db.keyspace(KEYSPACE)?.increment(KEY, BLOCK as i64)? as u64;
            *block = end - BLOCK + 1..end + 1;
        }
        let next = block.start;
        block.start += 1;
        Ok(next)
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
        assert_eq!([first.next(&db).unwrap(), first.next(&db).unwrap()], [1, 2]);
        let restarted = Generations::default();
        assert_eq!(restarted.next(&db).unwrap(), BLOCK + 1);
        assert_eq!(first.next(&db).unwrap(), 3);
    }
}
