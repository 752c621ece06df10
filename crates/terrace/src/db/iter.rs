//! `Iter`: entries in key order, from both ends.
//!
//! An iterator owns what it reads: a sequence number and the super version that was current when it began. What
//! it reads from is in `source`; here is what the caller holds.

mod part;
mod source;

use std::ops::Bound;

use self::source::Source;
use super::handle::Handle;
use super::keyspaces::KeyspaceState;
use super::range_delete::prefix_bounds;
use super::snapshots::PinnedSeqno;
use super::types::Entry;
use crate::base::{Result, Slice};

/// Entries in key order; a `DoubleEndedIterator` over `(key, value)` pairs.
///
/// It shows the store as it was when the iterator was made. Holding one keeps the memory and files of that
/// moment alive.
pub struct Iter {
    source: Result<Source>,
    finished: bool,
}

impl std::fmt::Debug for Iter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Iter").field("finished", &self.finished).finish_non_exhaustive()
    }
}

impl Iter {
    pub(super) fn open(
        handle: &Handle,
        keyspace: &KeyspaceState,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        snapshot: Option<&PinnedSeqno>,
    ) -> Self {
        let source = Source::open(handle, keyspace, bounds, snapshot);
        Self { source, finished: false }
    }

    pub(super) fn open_prefix(
        handle: &Handle,
        keyspace: &KeyspaceState,
        prefix: &[u8],
        snapshot: Option<&PinnedSeqno>,
    ) -> Self {
        let mut end = None;
        Self::open(handle, keyspace, prefix_bounds(prefix, &mut end), snapshot)
    }

    /// The next entry as a key and a value that are borrowed until the next call: nothing is copied, which makes
    /// long scans two to three times faster than the owned entries of [`Iterator::next`].
    ///
    /// ```
    /// # fn main() -> terrace::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let db = terrace::Db::open(dir.path())?;
    /// db.put("sum:1", "20")?;
    /// db.put("sum:2", "22")?;
    /// let (mut bytes, mut scan) = (0, db.prefix("sum:"));
    /// while let Some(entry) = scan.next_ref() {
    ///     let (_key, value) = entry?;
    ///     bytes += value.len();
    /// }
    /// assert_eq!(bytes, 4);
    /// # Ok(())
    /// # }
    /// ```
    pub fn next_ref(&mut self) -> Option<Result<(&[u8], &[u8])>> {
        Some(self.advance()?.map(|source| (source.front_key(), source.front_value())))
    }

    /// The next entry with its tag and expiry.
    pub fn next_entry(&mut self) -> Option<Result<(Slice, Entry)>> {
        Some(self.advance()?.map(Source::front_entry))
    }

    /// The next entry from the back, with its tag and expiry.
    pub fn next_back_entry(&mut self) -> Option<Result<(Slice, Entry)>> {
        if self.finished {
            return None;
        }
        let outcome = match &mut self.source {
            Ok(source) => source.next_back().transpose(),
            Err(error) => Some(Err(error.clone())),
        };
        self.finished = !matches!(outcome, Some(Ok(_)));
        outcome
    }

    /// Skips forward: the next entry from the front is the first one at or after `key`. Never goes back.
    pub fn seek(&mut self, key: impl AsRef<[u8]>) {
        if let Ok(source) = &mut self.source {
            source.skip_to(key.as_ref());
        }
    }

    /// Goes to the next entry from the front. After the end or an error there is nothing more.
    #[inline]
    fn advance(&mut self) -> Option<Result<&Source>> {
        if self.finished {
            return None;
        }
        self.finished = true;
        match &mut self.source {
            Ok(source) => match source.advance() {
                Ok(true) => {
                    self.finished = false;
                    Some(Ok(source))
                }
                Ok(false) => None,
                Err(error) => Some(Err(error)),
            },
            Err(error) => Some(Err(error.clone())),
        }
    }
}

impl Iterator for Iter {
    type Item = Result<(Slice, Slice)>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.next_entry()?.map(|(key, entry)| (key, entry.value)))
    }
}

impl DoubleEndedIterator for Iter {
    fn next_back(&mut self) -> Option<Self::Item> {
        Some(self.next_back_entry()?.map(|(key, entry)| (key, entry.value)))
    }
}
