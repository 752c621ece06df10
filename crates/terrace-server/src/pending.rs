//! What a transaction has written and not committed: the value of each key, in order, and the way back.
//!
//! Only the last value of a key is kept, because nobody sees the ones before it. The memory is bounded by
//! [`MAX_BYTES`], whatever a few short commands may blow a value up to.

use std::collections::BTreeMap;
use std::ops::Bound;

use terrace::{Entry, Slice};

use crate::failure::Failure;
use crate::hash::header::Header;
use crate::transaction::TAG_HASH;

/// The most bytes of keys and values in one transaction; below the limit of an engine batch, so that a commit
/// is never refused for its size.
const MAX_BYTES: usize = (1 << 30) - (64 << 20);
/// The most keys written by one transaction, as in an engine batch.
const MAX_KEYS: usize = 1 << 20;
/// What a key costs beside its bytes.
const KEY_OVERHEAD_BYTES: usize = 32;

/// What a key holds, committed or not.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// The value.
    pub(crate) value: Slice,
    /// The type tag.
    pub(crate) tag: u8,
    /// When the key expires, in milliseconds since the epoch. The entry of a hash may disappear earlier, with
    /// the last of its fields; see [`Stored::entry_expiry_ms`].
    pub(crate) expires_at_ms: Option<u64>,
}

impl Stored {
    /// When the entry is to disappear from the store.
    pub(crate) fn entry_expiry_ms(&self) -> Option<u64> {
        if self.tag != TAG_HASH {
            return self.expires_at_ms;
        }
        let vanishes = Header::decode(&self.value).ok().and_then(|header| header.vanishes_at_ms);
        vanishes.into_iter().chain(self.expires_at_ms).min()
    }
}

impl From<Entry> for Stored {
    fn from(entry: Entry) -> Self {
        let mut expires_at_ms = entry.expires_at_ms;
        if entry.tag == TAG_HASH
            && let Ok(header) = Header::decode(&entry.value)
        {
            expires_at_ms = header.key_expiry_ms;
        }
        Self { value: entry.value, tag: entry.tag, expires_at_ms }
    }
}

/// What a transaction does to a key.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    /// Sets it.
    Put(Stored),
    /// Removes it.
    Delete,
}

impl Write {
    /// What the key holds afterwards.
    pub(crate) fn stored(&self) -> Option<&Stored> {
        match self {
            Self::Put(stored) => Some(stored),
            Self::Delete => None,
        }
    }
}

/// Database and key.
type Place = (u8, Vec<u8>);

/// Writes that wait for their commit.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// In order, because a range of keys is read from here and from the store at once.
    writes: BTreeMap<Place, Write>,
    bytes: usize,
    /// What the current command has replaced, in order.
    undo: Vec<(Place, Option<Write>)>,
}

impl Pending {
    /// The last write to a key.
    pub(crate) fn get(&self, db: u8, key: &[u8]) -> Option<&Write> {
        if self.writes.is_empty() {
            return None;
        }
        self.writes.get(&(db, key.to_vec()))
    }

    /// The last writes to the keys between bounds, in order from both ends.
    pub(crate) fn range<'a>(
        &'a self,
        db: u8,
        (low, high): (Bound<&[u8]>, Bound<&[u8]>),
    ) -> impl DoubleEndedIterator<Item = (&'a [u8], &'a Write)> + use<'a> {
        let place = |key: &[u8]| (db, key.to_vec());
        let low = if low == Bound::Unbounded { Bound::Included(place(b"")) } else { low.map(place) };
        let next_db = || Bound::Excluded((db + 1, Vec::new()));
        let bounds = (low, if high == Bound::Unbounded { next_db() } else { high.map(place) });
        self.writes.range(bounds).map(|((_, key), write)| (key.as_slice(), write))
    }

    /// Adds a write.
    pub(crate) fn add(&mut self, db: u8, key: &[u8], new: Write) -> Result<(), Failure> {
        let place = (db, key.to_vec());
        let bytes = cost(&place, &new);
        let old_bytes = self.writes.get(&place).map_or(0, |old| cost(&place, old));
        if self.bytes - old_bytes + bytes > MAX_BYTES || (old_bytes == 0 && self.writes.len() >= MAX_KEYS) {
            return Err(Failure::text(format!(
                "ERR a transaction writes at most {MAX_BYTES} bytes and {MAX_KEYS} keys"
            )));
        }
        self.bytes = self.bytes - old_bytes + bytes;
        let old = self.writes.insert(place.clone(), new);
        self.undo.push((place, old));
        Ok(())
    }

    /// Forgets what was written to a keyspace, for good.
    pub(crate) fn forget(&mut self, db: u8) {
        let (writes, bytes) = (&mut self.writes, &mut self.bytes);
        let mut later = writes.split_off(&(db, Vec::new()));
        let mut after = later.split_off(&(db + 1, Vec::new()));
        writes.append(&mut after);
        *bytes -= later.iter().map(|(place, write)| cost(place, write)).sum::<usize>();
    }

    /// The number of keys written to.
    pub(crate) fn len(&self) -> usize {
        self.writes.len()
    }

    /// Keeps what the current command has written.
    pub(crate) fn keep(&mut self) {
        self.undo.clear();
    }

    /// Takes back what the current command has written.
    pub(crate) fn take_back(&mut self) {
        while let Some((place, old)) = self.undo.pop() {
            if let Some(new) = self.writes.remove(&place) {
                self.bytes -= cost(&place, &new);
            }
            if let Some(old) = old {
                self.bytes += cost(&place, &old);
                self.writes.insert(place, old);
            }
        }
    }

    /// All writes.
    pub(crate) fn into_writes(self) -> impl Iterator<Item = (Place, Write)> {
        self.writes.into_iter()
    }
}

fn cost(place: &Place, write: &Write) -> usize {
    KEY_OVERHEAD_BYTES + place.1.len() + write.stored().map_or(0, |stored| stored.value.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(text: &str) -> Write {
        Write::Put(Stored { value: text.as_bytes().into(), tag: 0, expires_at_ms: None })
    }

    fn shown(pending: &Pending, key: &str) -> String {
        match pending.get(0, key.as_bytes()) {
            None => "untouched".into(),
            Some(Write::Delete) => "removed".into(),
            Some(Write::Put(stored)) => String::from_utf8_lossy(&stored.value).into_owned(),
        }
    }

    #[test]
    fn a_failed_command_leaves_what_the_earlier_ones_wrote() {
        let mut pending = Pending::default();
        pending.add(0, b"a", put("1")).unwrap();
        pending.add(0, b"gone", Write::Delete).unwrap();
        pending.keep();
        let bytes = pending.bytes;
        pending.add(0, b"a", put("twenty")).unwrap();
        pending.add(0, b"a", Write::Delete).unwrap();
        pending.add(0, b"gone", put("back")).unwrap();
        pending.add(0, b"new", put("x")).unwrap();
        pending.take_back();
        assert_eq!(shown(&pending, "a"), "1");
        assert_eq!(shown(&pending, "gone"), "removed");
        assert_eq!(shown(&pending, "new"), "untouched");
        assert_eq!(pending.bytes, bytes);
    }

    #[test]
    fn databases_are_apart() {
        let mut pending = Pending::default();
        pending.add(1, b"a", put("1")).unwrap();
        assert_eq!(shown(&pending, "a"), "untouched");
    }

    #[test]
    fn memory_is_bounded_by_what_is_held_and_not_by_what_was_written() {
        let mut pending = Pending::default();
        let value = Slice::from(vec![0; 400 << 20]);
        let large = || Write::Put(Stored { value: value.clone(), tag: 0, expires_at_ms: None });
        for _ in 0..5 {
            pending.add(0, b"same", large()).unwrap();
        }
        pending.add(0, b"second", large()).unwrap();
        assert!(pending.add(0, b"third", large()).is_err());
        assert_eq!(shown(&pending, "third"), "untouched");
    }
}
