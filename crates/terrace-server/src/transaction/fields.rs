//! What hashes need of a transaction: fields, which the stamp of their header guards, ranges of them, and sight of
//! what was staged before.

use std::ops::ControlFlow;

use terrace::Slice;

use super::{Transaction, is_storable};
use crate::failure::Failure;
use crate::hash::generation::Dead;
use crate::pending::Stored;

impl Transaction<'_> {
    /// Makes the commit depend on what was read even if nothing is written.
    pub(crate) fn depend_on_reads(&mut self) {
        self.checks_reads = true;
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

    /// Entries of a keyspace of fields, in the order of the keys; the commit does not depend on them.
    pub(crate) fn read_fields(&self, space: u8, keys: &[Vec<u8>]) -> Result<Vec<Option<Stored>>, Failure> {
        let Some(found) = self.databases.find(space) else { return Ok(vec![None; keys.len()]) };
        if !keys.iter().all(|key| is_storable(key)) {
            let one = |key: &Vec<u8>| {
                let storable = is_storable(key).then(|| self.read_fields(space, std::slice::from_ref(key)));
                Ok(storable.transpose()?.and_then(|mut found| found.pop()).flatten())
            };
            return keys.iter().map(one).collect();
        }
        let mut entries: Vec<_> =
            found.multi_get_entries(keys)?.into_iter().map(|e| e.map(Stored::from)).collect();
        if let Some(pending) = &self.pending {
            for (key, entry) in keys.iter().zip(&mut entries) {
                if let Some(write) = pending.get(space, key) {
                    *entry = write.stored().cloned();
                }
            }
        }
        Ok(entries)
    }

    /// Calls `body` for the entries from `low` up to, not including, `high` in order, until it breaks.
    pub(crate) fn visit(
        &self,
        space: u8,
        low: &[u8],
        high: &[u8],
        mut body: impl FnMut(Slice, Stored) -> ControlFlow<()>,
    ) -> Result<(), Failure> {
        let mut stored = self.databases.find(space).map(|space| space.range(low..high));
        let mut next = || stored.as_mut().and_then(terrace::Iter::next_entry).transpose();
        let mut staged = self.pending.iter().flat_map(|pending| pending.range(space, low, high)).peekable();
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
        let staged = self.pending.iter().flat_map(|pending| pending.range(space, low, high).rev());
        let last_staged = staged.filter(|(_, write)| write.stored().is_some()).map(|(key, _)| key).next();
        let mut committed = self.databases.find(space).map(|space| space.range(low..high));
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
