//! `TransactionIter`: the entries of the snapshot and the transaction's own writes as one, from both ends.
//!
//! The two never have a key in common: what the transaction has written or deleted is left out of the snapshot's
//! side. What was looked at goes into the read set when the iterator is dropped; until then the whole range
//! stands there, so that nothing is missing if it never is.

use super::Transaction;
use super::overlay::Own;
use super::reads::Scan;
use crate::base::{Result, Slice};
use crate::db::iter::Iter;
use crate::db::types::Entry;

type Item = Result<(Slice, Entry)>;

/// Entries in key order, as the transaction sees them; a `DoubleEndedIterator` over `(key, value)` pairs.
///
/// The part of the range that was looked at must be unchanged when the transaction commits.
pub struct TransactionIter<'a> {
    transaction: &'a Transaction,
    ends: Result<Ends<'a>>,
    finished: bool,
}

impl std::fmt::Debug for TransactionIter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransactionIter").field("finished", &self.finished).finish_non_exhaustive()
    }
}

struct Ends<'a> {
    stored: Peeked<Stored<'a>>,
    own: Peeked<Box<dyn DoubleEndedIterator<Item = Item> + Send + 'a>>,
    prefix: Vec<u8>,
    /// The whole range.
    range: Scan,
    /// Its place in the read set.
    place: usize,
    /// The last keys shown from the front and from the back.
    front: Option<Slice>,
    back: Option<Slice>,
}

impl<'a> TransactionIter<'a> {
    /// An iterator over `range`, whose keys begin with `prefix`; `iter` is the snapshot's.
    pub(super) fn new(transaction: &'a Transaction, iter: Iter, range: Result<(Vec<u8>, Scan)>) -> Self {
        let ends = range.and_then(|(prefix, range)| {
            let place = transaction.reads.lock().scan(range.clone())?;
            let prefix_bytes = prefix.len();
            let live = move |(key, own): (&Vec<u8>, &Own)| {
                let entry = transaction.own_entry(key, own).transpose()?;
                Some(entry.map(|entry| (Slice::copy_from(&key[prefix_bytes..]), entry)))
            };
            let own = transaction.own.range(&range.low, range.high.as_deref()).filter_map(live);
            let stored = Stored { iter, transaction, prefix: prefix.clone() };
            let own: Box<dyn DoubleEndedIterator<Item = Item> + Send + 'a> = Box::new(own);
            let (stored, own) = (Peeked::new(stored), Peeked::new(own));
            Ok(Ends { stored, own, prefix, range, place, front: None, back: None })
        });
        Self { transaction, ends, finished: false }
    }

    /// The next entry with its tag and expiry.
    pub fn next_entry(&mut self) -> Option<Result<(Slice, Entry)>> {
        self.step(Ends::next)
    }

    /// The next entry from the back, with its tag and expiry.
    pub fn next_back_entry(&mut self) -> Option<Result<(Slice, Entry)>> {
        self.step(Ends::next_back)
    }

    fn step(&mut self, advance: impl FnOnce(&mut Ends<'a>) -> Option<Item>) -> Option<Item> {
        if self.finished {
            return None;
        }
        let item = match &mut self.ends {
            Ok(ends) => advance(ends),
            Err(error) => Some(Err(error.clone())),
        };
        self.finished = !matches!(item, Some(Ok(_)));
        item
    }
}

impl Iterator for TransactionIter<'_> {
    type Item = Result<(Slice, Slice)>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.next_entry()?.map(|(key, entry)| (key, entry.value)))
    }
}

impl DoubleEndedIterator for TransactionIter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        Some(self.next_back_entry()?.map(|(key, entry)| (key, entry.value)))
    }
}

impl Drop for TransactionIter<'_> {
    fn drop(&mut self) {
        let Ok(ends) = &self.ends else { return };
        if self.finished {
            return; // All of it was looked at.
        }
        let internal =
            |key: &Slice, past: bool| [&ends.prefix[..], key, if past { &[0] } else { &[] }].concat();
        let nothing = Scan { low: ends.range.low.clone(), high: Some(ends.range.low.clone()) };
        let front = ends
            .front
            .as_ref()
            .map_or(nothing, |key| Scan { low: ends.range.low.clone(), high: Some(internal(key, true)) });
        let back =
            ends.back.as_ref().map(|key| Scan { low: internal(key, false), high: ends.range.high.clone() });
        let mut reads = self.transaction.reads.lock();
        // Where there is no room for two, the whole range stays.
        if back.is_none_or(|back| reads.scan(back).is_ok()) {
            reads.scans[ends.place] = front;
        }
    }
}

impl Ends<'_> {
    fn next(&mut self) -> Option<Item> {
        let own_first = match (self.stored.front(), self.own.front()) {
            (Some(Ok(stored)), Some(Ok(own))) => own.0 < stored.0,
            (Some(Ok(_)) | None, Some(_)) => true,
            _ => false,
        };
        let item = if own_first { self.own.front.take() } else { self.stored.front.take() };
        if let Some(Ok((key, _))) = &item {
            self.front = Some(key.clone());
        }
        item
    }

    fn next_back(&mut self) -> Option<Item> {
        let own_first = match (self.stored.back(), self.own.back()) {
            (Some(Ok(stored)), Some(Ok(own))) => own.0 > stored.0,
            (Some(Ok(_)) | None, Some(_)) => true,
            _ => false,
        };
        let item = if own_first { self.own.back.take() } else { self.stored.back.take() };
        if let Some(Ok((key, _))) = &item {
            self.back = Some(key.clone());
        }
        item
    }
}

/// An iterator with a look at what comes next from either end.
struct Peeked<I> {
    iter: I,
    front: Option<Item>,
    back: Option<Item>,
}

impl<I: DoubleEndedIterator<Item = Item>> Peeked<I> {
    fn new(iter: I) -> Self {
        Self { iter, front: None, back: None }
    }

    /// What comes next from the front: the last one of all may have been looked at from the back.
    fn front(&mut self) -> Option<&Item> {
        if self.front.is_none() {
            self.front = self.iter.next().or_else(|| self.back.take());
        }
        self.front.as_ref()
    }

    fn back(&mut self) -> Option<&Item> {
        if self.back.is_none() {
            self.back = self.iter.next_back().or_else(|| self.front.take());
        }
        self.back.as_ref()
    }
}

/// The entries of the snapshot but for those that the transaction has replaced.
struct Stored<'a> {
    iter: Iter,
    transaction: &'a Transaction,
    prefix: Vec<u8>,
}

impl Stored<'_> {
    fn shows(&self, item: &Item) -> bool {
        let own = &self.transaction.own;
        match item {
            Ok((key, _)) => own.is_empty() || !own.hides(&[&self.prefix[..], key].concat()),
            Err(_) => true,
        }
    }
}

impl Iterator for Stored<'_> {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        loop {
            let item = self.iter.next_entry()?;
            if self.shows(&item) {
                return Some(item);
            }
        }
    }
}

impl DoubleEndedIterator for Stored<'_> {
    fn next_back(&mut self) -> Option<Item> {
        loop {
            let item = self.iter.next_back_entry()?;
            if self.shows(&item) {
                return Some(item);
            }
        }
    }
}
