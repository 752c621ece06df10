//! `Source`: what an iterator reads from, and where its two ends stand.
//!
//! Each end is a merge of all sources, opened when that end is first used; the remaining range shrinks from
//! both sides until they meet. The front stays on the entry it has shown, so that the caller may look at it in
//! place, and passes its older versions when it moves on. The back has to pass them first, because backwards the
//! newest comes last.

use std::ops::Bound;
use std::sync::Arc;

use super::part::Part;
use crate::base::key::split;
use crate::base::{Coverage, Cursor, EntryMeta, Kind, Result, Seqno, Slice};
use crate::compaction::merge::MergeCursor;
use crate::db::core::Core;
use crate::db::handle::Handle;
use crate::db::keyspaces::KeyspaceState;
use crate::db::merged::Gathered;
use crate::db::range_delete::internal_range;
use crate::db::read::Version;
use crate::db::skipping::Skipping;
use crate::db::snapshots::PinnedSeqno;
use crate::db::stepped::DeadEntries;
use crate::db::super_version::SuperVersion;
use crate::db::types::Entry;

type Merged = MergeCursor<Part>;

/// Both ends of an iterator.
pub(super) struct Source {
    view: View,
    prefix_bytes: usize,
    /// First internal key still to be shown, as far as the back needs to know.
    low: Vec<u8>,
    /// First internal key past the range; `None` past the last possible key.
    high: Option<Vec<u8>>,
    front: Option<Front>,
    back: Option<Merged>,
}

/// What the reader sees.
struct View {
    core: Arc<Core>,
    state: Arc<SuperVersion>,
    at: Seqno,
    /// What range deletes hide.
    covered: Coverage,
    dead: DeadEntries,
}

/// The end that goes forward.
struct Front {
    cursor: Merged,
    /// Whether the cursor stands on an entry that the caller has seen.
    shown: bool,
    /// The key whose versions were passed last.
    key: Vec<u8>,
    /// The entry that was shown, if it does not lie under a cursor: folded from operands, or fetched out of a blob
    /// file. Its key is `key`, and the cursor is past it.
    apart: Option<Entry>,
}

impl View {
    /// Whether the reader sees an entry that is not newer than itself and the newest of its key.
    #[inline]
    fn shows(&mut self, key: &[u8], seqno: Seqno, meta: EntryMeta) -> bool {
        let now_ms = if meta.expires_at_ms == 0 { 0 } else { self.core.clock.now_ms() };
        meta.is_live(now_ms) && self.covered.newest(key) <= seqno
    }

    fn pass_dead(&mut self, key: &[u8]) {
        self.dead.pass(key, &self.core, &self.state.version);
    }

    /// All sources over a range. A memtable without anything to show is left out: it would be sorted for nothing.
    fn merged(&self, low: &[u8], high: Option<&[u8]>) -> Merged {
        let sealed = self.state.sealed.iter().map(|sealed| &sealed.memtable);
        let memtables = std::iter::once(&self.state.active).chain(sealed).filter(|table| !table.is_empty());
        self.core.scan_begins(&self.state.version);
        let runs = self.state.version.run_cursors(low, high, true);
        if self.covered.is_empty() {
            let memtables = memtables.map(|memtable| Part::Memtable(memtable.cursor(self.at)));
            return MergeCursor::new(memtables.chain(runs.map(Part::Run)));
        }
        let end = high.unwrap_or(&[0xff; 8]);
        let memtables = memtables.filter_map(|memtable| {
            let newest = memtable.max_seqno().unwrap_or(0).min(self.at);
            let cursor = || Skipping::new(memtable.cursor(self.at), newest, self.covered.clone());
            let hidden = self.covered.hides_all(low, end, newest);
            (!hidden).then(|| Part::Skipping(Box::new(cursor())))
        });
        let skipping = |run| Part::Skipping(Box::new(Skipping::new(run, (), self.covered.clone())));
        MergeCursor::new(memtables.chain(runs.map(skipping)))
    }
}

impl Front {
    /// Folds the operands that the cursor stands on, and moves past their key. A range delete up to `deleted` hides
    /// what is older.
    #[cold]
    fn fold(&mut self, core: &Core, state: &SuperVersion, deleted: Seqno) -> Result<()> {
        self.key.clear();
        self.key.extend_from_slice(self.cursor.key());
        let mut gathered = Gathered::default();
        let mut more = true;
        while self.cursor.valid() && self.cursor.key() == self.key {
            let (seqno, meta) = (self.cursor.seqno(), self.cursor.meta());
            more = more
                && seqno >= deleted
                && gathered.take(Version { seqno, meta, value: self.cursor.value_slice() });
            self.cursor.next()?;
        }
        self.apart = Some(core.fold(state, &self.key, gathered)?);
        Ok(())
    }

    /// Fetches the value to which the entry under the cursor points, and moves past its key. Afterwards nothing is
    /// shown if the entry has expired in this moment.
    #[cold]
    fn fetch(&mut self, core: &Core, state: &SuperVersion) -> Result<()> {
        let (seqno, meta) = (self.cursor.seqno(), self.cursor.meta());
        let version = Version { seqno, meta, value: self.cursor.value_slice() };
        self.apart = core.fetched(state, self.cursor.key(), version)?;
        self.pass_versions()
    }

    /// Moves past every remaining version of the current key, which is left in `key`.
    #[inline]
    fn pass_versions(&mut self) -> Result<()> {
        self.shown = false;
        self.key.clear();
        self.key.extend_from_slice(self.cursor.key());
        self.cursor.next()?;
        while self.cursor.valid() && self.cursor.key() == self.key {
            self.cursor.next()?;
        }
        Ok(())
    }
}

impl Source {
    pub(super) fn open(
        handle: &Handle,
        keyspace: &KeyspaceState,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        snapshot: Option<&PinnedSeqno>,
    ) -> Result<Self> {
        let core = Arc::clone(&handle.core);
        core.check_open()?;
        let (low, high) = internal_range(keyspace, bounds)?;
        let (state, at, covered) = if let Some(snapshot) = snapshot {
            let (state, at) = (core.shards.state_full(), snapshot.seqno());
            let covered = Coverage::new(state.range_fragments(), at);
            (state, at, covered)
        } else {
            let present = core.present();
            let covered = Coverage::new(present.state.range_fragments(), present.at);
            (Arc::clone(&present.state), present.at, covered)
        };
        let prefix_bytes = split(&low).map_or(0, |(_, user_key)| low.len() - user_key.len());
        let view = View { core, state, at, covered, dead: DeadEntries::default() };
        Ok(Self { view, prefix_bytes, low, high, front: None, back: None })
    }

    fn open_front(&self) -> Result<Front> {
        let mut cursor = self.view.merged(&self.low, self.high.as_deref());
        cursor.seek(&self.low)?;
        Ok(Front { cursor, shown: false, key: Vec::new(), apart: None })
    }

    /// Puts the front on the next entry to be shown; `false` at the end.
    pub(super) fn advance(&mut self) -> Result<bool> {
        if self.front.is_none() {
            self.front = Some(self.open_front()?);
        }
        let Self { view, low, high, front: Some(front), back, .. } = self else { return Ok(false) };
        view.dead.restart();
        front.apart = None;
        if front.shown {
            front.pass_versions()?;
        }
        while front.cursor.valid() {
            let key = front.cursor.key();
            if high.as_ref().is_some_and(|high| key >= &high[..]) {
                break;
            }
            let seqno = front.cursor.seqno();
            if seqno > view.at {
                front.cursor.next()?;
                continue;
            }
            let meta = front.cursor.meta();
            if view.shows(key, seqno, meta) {
                if meta.kind == Kind::Pointer {
                    front.fetch(&view.core, &view.state)?;
                    if front.apart.is_none() {
                        continue;
                    }
                    if back.is_some() {
                        just_past(&front.key, low);
                    }
                    return Ok(true);
                }
                if back.is_some() {
                    just_past(key, low);
                }
                front.shown = true;
                return Ok(true);
            }
            if meta.kind == Kind::Merge {
                let deleted = view.covered.newest(key);
                if deleted <= seqno {
                    front.fold(&view.core, &view.state, deleted)?;
                    if back.is_some() {
                        just_past(&front.key, low);
                    }
                    return Ok(true);
                }
            }
            front.pass_versions()?;
            view.pass_dead(&front.key);
        }
        Ok(false)
    }

    /// The front, which `advance` has put on an entry.
    #[inline]
    fn shown(&self) -> &Front {
        match &self.front {
            Some(front) => front,
            None => panic!("an entry is looked at only while the front stands on it"),
        }
    }

    /// The key of the entry under the front.
    #[inline]
    pub(super) fn front_key(&self) -> &[u8] {
        let front = self.shown();
        let key = if front.apart.is_some() { &front.key } else { front.cursor.key() };
        &key[self.prefix_bytes..]
    }

    /// Its value.
    #[inline]
    pub(super) fn front_value(&self) -> &[u8] {
        let front = self.shown();
        front.apart.as_ref().map_or_else(|| front.cursor.value(), |entry| &entry.value)
    }

    /// Key and entry under the front, as owned bytes.
    pub(super) fn front_entry(&self) -> (Slice, Entry) {
        let front = self.shown();
        if let Some(entry) = &front.apart {
            return (Slice::copy_from(self.front_key()), entry.clone());
        }
        let cursor = &front.cursor;
        let meta = cursor.meta();
        let expires_at_ms = (meta.expires_at_ms != 0).then_some(meta.expires_at_ms);
        let entry = Entry { value: cursor.value_slice(), tag: meta.tag, expires_at_ms };
        (Slice::copy_from(self.front_key()), entry)
    }

    /// The next entry from the back.
    pub(super) fn next_back(&mut self) -> Result<Option<(Slice, Entry)>> {
        if self.back.is_none() {
            // From now on `low` counts: take it from where the front stands.
            match &self.front {
                Some(front) if !front.cursor.valid() => return Ok(None),
                Some(front) if front.shown => just_past(front.cursor.key(), &mut self.low),
                Some(front) => self.low = front.cursor.key().to_vec(),
                None => {}
            }
            let mut merged = self.view.merged(&self.low, self.high.as_deref());
            match &self.high {
                Some(high) => merged.seek_before(high)?,
                None => merged.seek_to_last()?,
            }
            self.back = Some(merged);
        }
        let Self { view, low, high, back: Some(cursor), .. } = self else { return Ok(None) };
        view.dead.restart();
        while cursor.valid() && cursor.key() >= &low[..] {
            let internal = cursor.key().to_vec();
            let deleted = view.covered.newest(&internal);
            // Backwards, the versions of a key come oldest first: the last visible one is the newest.
            let (mut newest, mut operands) = (None, Vec::new());
            while cursor.valid() && cursor.key() == internal {
                let (seqno, meta) = (cursor.seqno(), cursor.meta());
                if (deleted..=view.at).contains(&seqno) {
                    let version = Version { seqno, meta, value: cursor.value_slice() };
                    if meta.kind == Kind::Merge {
                        operands.push(version.value);
                    } else {
                        operands.clear();
                        newest = Some(version);
                    }
                }
                cursor.prev()?;
            }
            let newest = match newest {
                Some(version) => view.core.fetched(&view.state, &internal, version)?,
                None => None,
            };
            let entry = match &operands[..] {
                [] => newest,
                operands => {
                    let operands: Vec<&[u8]> = operands.iter().map(|operand: &Slice| &operand[..]).collect();
                    Some(view.core.fold_onto(&internal, newest.as_ref(), &operands)?)
                }
            };
            if let Some(entry) = entry {
                let key = Slice::copy_from(&internal[self.prefix_bytes..]);
                *high = Some(internal);
                return Ok(Some((key, entry)));
            }
            view.pass_dead(&internal);
            *high = Some(internal);
        }
        Ok(None)
    }

    /// The front goes on at the first entry at or after `key`, unless it is already further.
    pub(super) fn skip_to(&mut self, key: &[u8]) {
        let mut target = self.low[..self.prefix_bytes].to_vec();
        target.extend_from_slice(key);
        let further = |front: &Front| front.cursor.valid() && target[..] > *front.cursor.key();
        if self.front.as_ref().is_none_or(further) && target > self.low {
            self.low = target;
            self.front = None;
        }
    }
}

/// Makes `bound` the smallest key after `key`.
fn just_past(key: &[u8], bound: &mut Vec<u8>) {
    bound.clear();
    bound.extend_from_slice(key);
    bound.push(0);
}
