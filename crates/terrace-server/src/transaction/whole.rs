//! What a transaction that is alone does with whole databases: going through the keys, and emptying.
//!
//! Both see what was staged before. Emptying is a range delete in the batch of the commit, so it is atomic with the
//! writes around it, after a crash too.

use std::ops::{Bound, ControlFlow};

use terrace::Slice;

use super::Transaction;
use crate::databases::{COUNT, fields_of};
use crate::failure::Failure;
use crate::pending::Stored;

impl Transaction<'_> {
    /// Whether a keyspace holds nothing but what was staged since it was emptied.
    pub(super) fn is_emptied(&self, space: u8) -> bool {
        self.emptied & 1 << (space % COUNT) != 0
    }

    /// Removes everything in a database.
    pub(crate) fn empty(&mut self, db: u8) {
        self.emptied |= 1 << db;
        if let Some(pending) = &mut self.pending {
            pending.forget(db);
            pending.forget(fields_of(db));
        }
    }

    /// Whether a database was emptied.
    pub(crate) fn empties(&self) -> bool {
        self.emptied != 0
    }

    /// Puts the range deletes into the batch, before the writes that follow.
    pub(super) fn stage_emptying(&mut self) {
        let spaces = (0..COUNT).filter(|db| self.emptied & 1 << db != 0).flat_map(|db| [db, fields_of(db)]);
        for space in spaces.filter_map(|space| self.databases.find(space)) {
            self.batch.delete_prefix_in(space, b"");
        }
    }

    /// Calls `body` for the keys of a database from `low` on in order, until it breaks.
    pub(crate) fn visit_keys(
        &self,
        db: u8,
        low: Bound<&[u8]>,
        body: impl FnMut(Slice, Stored) -> ControlFlow<()>,
    ) -> Result<(), Failure> {
        self.visit_range(db, (low, Bound::Unbounded), body)
    }

    /// Whether nothing was written to a database.
    pub(crate) fn is_untouched(&self, db: u8) -> bool {
        let staged =
            self.pending.as_ref().map(|pending| pending.range(db, (Bound::Unbounded, Bound::Unbounded)));
        !self.is_emptied(db) && staged.is_none_or(|mut staged| staged.next().is_none())
    }
}
