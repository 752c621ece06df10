//! `Iter`: entries in key order, from both ends.
//!
//! An iterator owns what it reads: a sequence number and the super version that was current when it began.
//! Each end is a merge of all sources, opened when that end is first used; the remaining range shrinks from
//! both sides until they meet.

use std::ops::Bound;
use std::sync::Arc;

use super::core::Core;
use super::handle::Handle;
use super::keyspaces::KeyspaceState;
use super::range_delete::{internal_range, prefix_bounds};
use super::read::Version;
use super::skipping::Skipping;
use super::snapshots::PinnedSeqno;
use super::stepped::DeadEntries;
use super::super_version::SuperVersion;
use super::types::Entry;
use crate::base::key::split;
use crate::base::{Coverage, Cursor, Result, Seqno, Slice};
use crate::compaction::merge::MergeCursor;

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

/// All sources of an iterator as one.
type Merged = MergeCursor<Box<dyn Cursor>>;

struct Source {
    core: Arc<Core>,
    state: Arc<SuperVersion>,
    at: Seqno,
    /// What range deletes hide.
    covered: Coverage,
    prefix_bytes: usize,
    /// First internal key still to be shown.
    low: Vec<u8>,
    /// First internal key past the range; `None` past the last possible key.
    high: Option<Vec<u8>>,
    front: Option<Merged>,
    back: Option<Merged>,
    /// The key of the last entry shown from the front, as scratch for skipping its older versions.
    scratch: Vec<u8>,
    dead: DeadEntries,
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

    /// The next entry with its tag and expiry.
    pub fn next_entry(&mut self) -> Option<Result<(Slice, Entry)>> {
        self.step(Source::next)
    }

    /// The next entry from the back, with its tag and expiry.
    pub fn next_back_entry(&mut self) -> Option<Result<(Slice, Entry)>> {
        self.step(Source::next_back)
    }

    /// Skips forward: the next entry from the front is the first one at or after `key`. Never goes back.
    pub fn seek(&mut self, key: impl AsRef<[u8]>) {
        if let Ok(source) = &mut self.source {
            source.skip_to(key.as_ref());
        }
    }

    fn step(
        &mut self,
        advance: impl FnOnce(&mut Source) -> Result<Option<(Slice, Entry)>>,
    ) -> Option<Result<(Slice, Entry)>> {
        if self.finished {
            return None;
        }
        let outcome = match &mut self.source {
            Ok(source) => advance(source).transpose(),
            Err(error) => Some(Err(error.clone())),
        };
        self.finished = !matches!(outcome, Some(Ok(_)));
        outcome
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

impl Source {
    fn open(
        handle: &Handle,
        keyspace: &KeyspaceState,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        snapshot: Option<&PinnedSeqno>,
    ) -> Result<Self> {
        let core = Arc::clone(&handle.core);
        core.check_open()?;
        let (low, high) = internal_range(keyspace, bounds)?;
        // The number is pinned until the state is, so that no flush in between drops what it needs.
        let own = if snapshot.is_none() { Some(core.pin_newest()) } else { None };
        let at = snapshot.or(own.as_ref()).map_or(0, PinnedSeqno::seqno);
        let state = core.shards.state_full();
        let covered = Coverage::new(state.range_fragments(), at);
        drop(own);
        let prefix_bytes = split(&low).map_or(0, |(_, user_key)| low.len() - user_key.len());
        let (scratch, dead) = (Vec::new(), DeadEntries::default());
        Ok(Self { core, state, at, covered, prefix_bytes, low, high, front: None, back: None, scratch, dead })
    }

    fn merged(&self) -> Merged {
        let mut sources: Vec<Box<dyn Cursor>> = Vec::new();
        if !self.covered.is_empty() {
            self.push_skipping(&mut sources);
            return MergeCursor::new(sources);
        }
        sources.push(Box::new(self.state.active.cursor(self.at)));
        for sealed in &self.state.sealed {
            sources.push(Box::new(sealed.memtable.cursor(self.at)));
        }
        sources.extend(self.state.version.cursors(&self.low, self.high.as_deref(), true));
        MergeCursor::new(sources)
    }

    /// The sources, each passing over what range deletes hide in it as a whole. One without anything to show is
    /// left out: a memtable would be sorted for nothing.
    fn push_skipping(&self, sources: &mut Vec<Box<dyn Cursor>>) {
        let last = [0xff; 8];
        let high = self.high.as_deref().unwrap_or(&last);
        let sealed = self.state.sealed.iter().map(|sealed| &sealed.memtable);
        for memtable in std::iter::once(&self.state.active).chain(sealed) {
            let newest = memtable.max_seqno().unwrap_or(0).min(self.at);
            if !self.covered.hides_all(&self.low, high, newest) {
                sources.push(Box::new(Skipping::new(memtable.cursor(self.at), newest, self.covered.clone())));
            }
        }
        for cursor in self.state.version.run_cursors(&self.low, self.high.as_deref(), true) {
            sources.push(Box::new(Skipping::new(cursor, (), self.covered.clone())));
        }
    }

    fn below_high(&self, key: &[u8]) -> bool {
        self.high.as_ref().is_none_or(|high| key < &high[..])
    }

    fn user_key(&self, internal: &[u8]) -> Slice {
        Slice::copy_from(&internal[self.prefix_bytes..])
    }

    fn next(&mut self) -> Result<Option<(Slice, Entry)>> {
        if self.front.is_none() {
            let mut merged = self.merged();
            merged.seek(&self.low)?;
            self.front = Some(merged);
        }
        let Some(mut cursor) = self.front.take() else { return Ok(None) };
        let outcome = self.next_from(&mut cursor);
        self.front = Some(cursor);
        outcome
    }

    fn next_from(&mut self, cursor: &mut Merged) -> Result<Option<(Slice, Entry)>> {
        self.dead.restart();
        while cursor.valid() && self.below_high(cursor.key()) {
            if cursor.seqno() > self.at {
                cursor.next()?;
                continue;
            }
            let version = Version { seqno: cursor.seqno(), meta: cursor.meta(), value: cursor.value_slice() };
            let hidden = self.covered.newest(cursor.key()) > version.seqno;
            let entry = if hidden { None } else { self.core.live(version) };
            let key = entry.is_some().then(|| self.user_key(cursor.key()));
            self.pass_versions(cursor)?;
            if let (Some(key), Some(entry)) = (key, entry) {
                return Ok(Some((key, entry)));
            }
            self.dead.pass(&self.scratch, &self.core, &self.state.version);
        }
        Ok(None)
    }

    /// Moves past every remaining version of the current key and notes that it was shown.
    fn pass_versions(&mut self, cursor: &mut Merged) -> Result<()> {
        self.scratch.clear();
        self.scratch.extend_from_slice(cursor.key());
        while cursor.valid() && cursor.key() == self.scratch {
            cursor.next()?;
        }
        if self.back.is_some() {
            self.low.clear();
            self.low.extend_from_slice(&self.scratch);
            self.low.push(0);
        }
        Ok(())
    }

    fn next_back(&mut self) -> Result<Option<(Slice, Entry)>> {
        if self.back.is_none() {
            // From now on `low` counts: take it from where the front stands.
            if let Some(front) = &self.front {
                self.low = if front.valid() { front.key().to_vec() } else { return Ok(None) };
            }
            let mut merged = self.merged();
            match &self.high {
                Some(high) => merged.seek_before(high)?,
                None => merged.seek_to_last()?,
            }
            self.back = Some(merged);
        }
        let Some(mut cursor) = self.back.take() else { return Ok(None) };
        let outcome = self.next_back_from(&mut cursor);
        self.back = Some(cursor);
        outcome
    }

    fn next_back_from(&mut self, cursor: &mut Merged) -> Result<Option<(Slice, Entry)>> {
        self.dead.restart();
        while cursor.valid() && cursor.key() >= &self.low[..] {
            let internal = cursor.key().to_vec();
            // Backwards, the versions of a key come oldest first: the last visible one is the newest.
            let mut newest = None;
            while cursor.valid() && cursor.key() == internal {
                if cursor.seqno() <= self.at {
                    let (seqno, meta) = (cursor.seqno(), cursor.meta());
                    newest = Some(Version { seqno, meta, value: cursor.value_slice() });
                }
                cursor.prev()?;
            }
            let deleted = self.covered.newest(&internal);
            let newest = newest.filter(|version| version.seqno >= deleted);
            let entry = newest.and_then(|version| self.core.live(version));
            if let Some(entry) = entry {
                let key = self.user_key(&internal);
                self.high = Some(internal);
                return Ok(Some((key, entry)));
            }
            self.dead.pass(&internal, &self.core, &self.state.version);
            self.high = Some(internal);
        }
        Ok(None)
    }

    fn skip_to(&mut self, key: &[u8]) {
        let mut target = self.low[..self.prefix_bytes].to_vec();
        target.extend_from_slice(key);
        let ahead = self.front.as_ref().is_none_or(|front| front.valid() && target[..] > *front.key());
        if ahead && target > self.low {
            self.low = target;
            self.front = None;
        }
    }
}
