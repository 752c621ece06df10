//! What hashes need of a transaction: fields, which the stamp of their header guards, ranges of them, and sight of
//! what was staged before.

use std::ops::{Bound, ControlFlow};

use terrace::{Keyspace, Slice};

use super::{Transaction, is_storable};
use crate::failure::Failure;
use crate::hash::generation::Dead;
use crate::pending::Stored;

impl Transaction<'_> {
    /// Makes the commit depend on what was read even if nothing is written.
    pub(crate) fn depend_on_reads(&mut self) {
        self.checks_reads = true;
    }

    /// What is committed in a keyspace, unless it was emptied here.
    fn committed(&self, space: u8) -> Option<&Keyspace> {
        self.databases.find(space).filter(|_| !self.is_emptied(space))
    }

    /// Whether this is part of a transaction of several commands.
    pub(crate) fn sees_others(&self) -> bool {
        self.pending.is_some()
    }

    /// Makes this command see what it writes from here on.
    pub(crate) fn stage(&mut self) {
        self.pending.get_or_insert_default();
    }

    /// A number for a new generation of a hash.
    pub(crate) fn new_generation(&self) -> Result<u64, Failure> {
        Ok(self.databases.generations.next(self.databases.store())?)
    }

    /// The time by which the store judges expiry.
    pub(crate) fn now_ms(&self) -> u64 {
        self.databases.now_ms()
    }

    /// Notes that after the commit no key leads to a generation.
    pub(crate) fn bury(&mut self, dead: Dead) {
        self.dead.push(dead);
    }

    /// Entries of a keyspace of fields, in the order of the keys; the commit depends on them. The stamp of the
    /// header would not do: a batch reaches the shards of the store one after the other, so a reader may see the
    /// header that it wrote and not yet its fields.
    pub(crate) fn read_fields(
        &mut self,
        space: u8,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Stored>>, Failure> {
        keys.iter().map(|key| self.read(space, key)).collect()
    }

    /// The entry of one field; the commit does not depend on it.
    pub(crate) fn peek_field(&self, space: u8, key: &[u8]) -> Result<Option<Stored>, Failure> {
        let found = self.committed(space).filter(|_| is_storable(key));
        Ok(found.map(|space| space.get_entry(key)).transpose()?.flatten().map(Stored::from))
    }

    /// Calls `body` for the entries from `low` up to, not including, `high` in order, until it breaks.
    pub(crate) fn visit(
        &self,
        space: u8,
        low: &[u8],
        high: &[u8],
        body: impl FnMut(Slice, Stored) -> ControlFlow<()>,
    ) -> Result<(), Failure> {
        self.visit_range(space, (Bound::Included(low), Bound::Excluded(high)), body)
    }

    /// The same between any bounds.
    pub(super) fn visit_range(
        &self,
        space: u8,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        mut body: impl FnMut(Slice, Stored) -> ControlFlow<()>,
    ) -> Result<(), Failure> {
        let mut stored = self.committed(space).map(|space| space.range::<&[u8]>(bounds));
        let mut next = || stored.as_mut().and_then(terrace::Iter::next_entry).transpose();
        let mut staged = self.pending.iter().flat_map(|pending| pending.range(space, bounds)).peekable();
        let mut committed = next()?;
        loop {
            let first_is_staged = match (&committed, staged.peek()) {
                (None, None) => return Ok(()),
                (Some((key, _)), Some((staged_key, _))) => *staged_key <= &key[..],
                (committed, _) => committed.is_none(),
            };
            let flow = if first_is_staged {
                let Some((key, write)) = staged.next() else { return Ok(()) };
                if committed.as_ref().is_some_and(|(committed_key, _)| committed_key[..] == *key) {
                    committed = next()?;
                }
                let stored = write.stored().cloned();
                stored.map_or(ControlFlow::Continue(()), |stored| body(key.into(), stored))
            } else {
                let Some((key, entry)) = std::mem::replace(&mut committed, next()?) else { return Ok(()) };
                body(key, entry.into())
            };
            if flow.is_break() {
                return Ok(());
            }
        }
    }

    /// The first key from `low` up to, not including, `high`.
    pub(crate) fn first_in(&self, space: u8, low: &[u8], high: &[u8]) -> Result<Option<Slice>, Failure> {
        let mut first = None;
        self.visit(space, low, high, |key, _| {
            first = Some(key);
            ControlFlow::Break(())
        })?;
        Ok(first)
    }

    /// The last key from `low` up to, not including, `high`.
    pub(crate) fn last_in(&self, space: u8, low: &[u8], high: &[u8]) -> Result<Option<Slice>, Failure> {
        let bounds = (Bound::Included(low), Bound::Excluded(high));
        let staged = self.pending.iter().flat_map(|pending| pending.range(space, bounds).rev());
        let last_staged = staged.filter(|(_, write)| write.stored().is_some()).map(|(key, _)| key).next();
        let mut committed = self.committed(space).map(|space| space.range::<&[u8]>(bounds));
        while let Some((key, _)) = committed.as_mut().and_then(terrace::Iter::next_back_entry).transpose()? {
            if last_staged.is_some_and(|staged| staged >= &key[..]) {
                break;
            }
            if self.pending.as_ref().is_none_or(|pending| pending.get(space, &key).is_none()) {
                return Ok(Some(key));
            }
        }
        Ok(last_staged.map(Slice::from))
    }
}
