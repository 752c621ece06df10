//! `State`: all that the manifest's edits add up to. Plain data; no file is opened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::blobs::LiveBlobs;
use super::edit::{Edit, Placed};
use super::levels::Version;
use super::names;
use super::range_deletes::RangeDeletes;
use crate::base::{FileId, KeyspaceId, RangeDelete, Seqno, key};
use crate::table::{Table, TableMeta};

/// The sum of all edits.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct State {
    /// The live tables.
    pub(crate) tables: BTreeMap<FileId, Placed>,
    /// Every entry up to this seqno is in a table.
    pub(crate) flushed_seqno: Seqno,
    /// File ids from this one on have not been given out, as far as the manifest knows.
    pub(crate) next_file_id: u64,
    /// Time in milliseconds since the epoch never runs behind this.
    pub(crate) clock_ms: u64,
    /// The keyspaces and their names.
    pub(crate) keyspaces: BTreeMap<KeyspaceId, String>,
    /// Keyspace ids from this one on have not been given out.
    pub(crate) next_keyspace_id: u32,
    /// The range deletes that hide entries of tables.
    pub(crate) range_deletes: BTreeMap<Seqno, RangeDelete>,
    /// The name of the merge operator, once there is one.
    pub(crate) merge_operator: Option<String>,
    /// The first log segment that is needed; 0 for none.
    pub(crate) log_start: FileId,
    /// The blob files that tables point to.
    pub(crate) blobs: LiveBlobs,
}

impl State {
    /// Applies an edit, or says what is wrong with it and changes nothing.
    pub(crate) fn apply(&mut self, edit: &Edit) -> Result<(), String> {
        self.check_tables(edit)?;
        self.check_range_deletes(edit)?;
        self.check_merge_operator(edit)?;
        let blobs = self.blobs.after(edit, &self.tables)?;
        self.keyspaces = self.keyspaces_after(edit)?;
        self.blobs = blobs.unwrap_or_else(|| std::mem::take(&mut self.blobs));
        for seqno in &edit.settled_range_deletes {
            self.range_deletes.remove(seqno);
        }
        self.range_deletes.extend(edit.range_deletes.iter().map(|d| (d.seqno, d.clone())));
        for (_, id) in &edit.removed {
            self.tables.remove(id);
        }
        for placed in &edit.added {
            self.next_file_id = self.next_file_id.max(placed.meta.id.0.saturating_add(1));
            self.tables.insert(placed.meta.id, placed.clone());
        }
        for blob in &edit.blobs {
            self.next_file_id = self.next_file_id.max(blob.id.0.saturating_add(1));
        }
        for (id, _) in &edit.created {
            self.next_keyspace_id = self.next_keyspace_id.max(id.0.saturating_add(1));
        }
        self.merge_operator = edit.merge_operator.clone().or(self.merge_operator.take());
        self.flushed_seqno = edit.flushed_seqno.unwrap_or(0).max(self.flushed_seqno);
        self.next_file_id = edit.next_file_id.unwrap_or(0).max(self.next_file_id);
        self.clock_ms = edit.clock_ms.unwrap_or(0).max(self.clock_ms);
        self.next_keyspace_id = edit.next_keyspace_id.unwrap_or(0).max(self.next_keyspace_id);
        self.log_start = edit.log_start.unwrap_or(self.log_start);
        Ok(())
    }

    /// Says what is wrong with an edit, if anything is.
    pub(crate) fn check(&self, edit: &Edit) -> Result<(), String> {
        self.check_tables(edit)?;
        self.check_range_deletes(edit)?;
        self.check_merge_operator(edit)?;
        self.blobs.after(edit, &self.tables)?;
        self.keyspaces_after(edit).map(|_| ())
    }

    fn check_tables(&self, edit: &Edit) -> Result<(), String> {
        let mut removed = BTreeSet::new();
        for (level, id) in &edit.removed {
            let there = self.tables.get(id).is_some_and(|placed| placed.level == *level);
            if !there || !removed.insert(*id) {
                return Err(format!("table {id} is to be removed from level {level} but is not there"));
            }
        }
        let mut added = BTreeSet::new();
        for Placed { meta, .. } in &edit.added {
            let known = self.tables.contains_key(&meta.id) && !removed.contains(&meta.id);
            if known || !added.insert(meta.id) {
                return Err(format!("table {} is added twice", meta.id));
            }
        }
        Ok(())
    }

    fn check_range_deletes(&self, edit: &Edit) -> Result<(), String> {
        let unknown = |seqno: &&Seqno| !self.range_deletes.contains_key(seqno);
        if let Some(seqno) = edit.settled_range_deletes.iter().find(unknown) {
            return Err(format!("range delete {seqno} is to go but is not there"));
        }
        let known = |delete: &&RangeDelete| self.range_deletes.contains_key(&delete.seqno);
        match edit.range_deletes.iter().find(known) {
            Some(delete) => Err(format!("range delete {} is added twice", delete.seqno)),
            None => Ok(()),
        }
    }

    fn check_merge_operator(&self, edit: &Edit) -> Result<(), String> {
        match (&self.merge_operator, &edit.merge_operator) {
            (Some(now), Some(next)) if now != next => {
                Err(format!("the merge operator {now:?} is to become {next:?}"))
            }
            _ => Ok(()),
        }
    }

    fn keyspaces_after(&self, edit: &Edit) -> Result<BTreeMap<KeyspaceId, String>, String> {
        let mut keyspaces = self.keyspaces.clone();
        for id in &edit.dropped {
            keyspaces.remove(id).ok_or_else(|| format!("keyspace {} is dropped but unknown", id.0))?;
        }
        for (id, name) in &edit.renamed {
            let entry = keyspaces.get_mut(id);
            entry.ok_or_else(|| format!("keyspace {} is renamed but unknown", id.0))?.clone_from(name);
        }
        for (id, name) in &edit.created {
            let reused = id.0 < self.next_keyspace_id;
            if reused || keyspaces.insert(*id, name.clone()).is_some() {
                return Err(format!("keyspace number {} is given out twice", id.0));
            }
        }
        let mut names = BTreeSet::new();
        match keyspaces.values().find(|name| !names.insert(name.as_str())) {
            Some(name) => Err(format!("two keyspaces are named {name:?}")),
            None => Ok(keyspaces),
        }
    }

    /// The names of all files that hold its data, beside the manifest.
    pub(crate) fn files(&self) -> impl Iterator<Item = String> + '_ {
        let blobs = self.blobs.iter().map(|blob| names::blob(blob.meta.id));
        self.tables.keys().map(|id| names::table(*id)).chain(blobs)
    }

    /// One edit that makes this state out of an empty one.
    pub(crate) fn snapshot(&self) -> Edit {
        Edit {
            added: self.tables.values().cloned().collect(),
            flushed_seqno: Some(self.flushed_seqno),
            next_file_id: Some(self.next_file_id),
            clock_ms: Some(self.clock_ms),
            created: self.keyspaces.iter().map(|(id, name)| (*id, name.clone())).collect(),
            next_keyspace_id: Some(self.next_keyspace_id),
            range_deletes: self.range_deletes.values().cloned().collect(),
            merge_operator: self.merge_operator.clone(),
            log_start: Some(self.log_start),
            blobs: self.blobs.iter().map(|blob| blob.meta).collect(),
            ..Edit::default()
        }
    }

    /// The version of this state; the text says which tables contradict each other.
    pub(crate) fn version(&self, mut open: impl FnMut(&TableMeta) -> Arc<Table>) -> Result<Version, String> {
        let version = Version::new(self.tables.values().map(|p| (p.level, p.run, open(&p.meta))))?;
        let range_deletes = self.range_deletes.values().cloned().collect();
        Ok(version.with_range_deletes(RangeDeletes::recorded(range_deletes)))
    }

    /// The keyspaces as retention needs them.
    pub(crate) fn live_keyspaces(&self) -> LiveKeyspaces {
        LiveKeyspaces::new(self.keyspaces.keys().copied().collect(), self.next_keyspace_id)
    }
}

/// Which keyspaces' entries are still wanted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct LiveKeyspaces {
    /// The ids in use, ascending.
    live: Vec<KeyspaceId>,
    /// Ids from here on had not been given out when the list was made: their entries stay.
    next: u32,
}

impl LiveKeyspaces {
    /// The keyspaces `live`, where `next` is the first id never given out.
    pub(crate) fn new(mut live: Vec<KeyspaceId>, next: u32) -> Self {
        live.sort_unstable();
        Self { live, next }
    }

    /// Whether the keyspace existed once and was dropped.
    pub(crate) fn is_dropped(&self, id: KeyspaceId) -> bool {
        id.0 < self.next && self.live.binary_search(&id).is_err()
    }

    /// How many keyspaces with numbers from `first` to `last` may have entries that are wanted.
    pub(crate) fn live_between(&self, first: KeyspaceId, last: KeyspaceId) -> u64 {
        let below = |id: u64| self.live.partition_point(|live| u64::from(live.0) < id) as u64;
        let (first, end, next) = (u64::from(first.0), u64::from(last.0) + 1, u64::from(self.next));
        let known = below(end.min(next)).saturating_sub(below(first));
        known + end.saturating_sub(first.max(next))
    }

    /// Whether every key from `smallest` to `largest` lies in a dropped keyspace.
    pub(crate) fn all_dropped(&self, smallest: &[u8], largest: &[u8]) -> bool {
        let (Some((first, _)), Some((last, _))) = (key::split(smallest), key::split(largest)) else {
            return false;
        };
        let from = self.live.partition_point(|id| *id < first);
        last.0 < self.next && self.live.get(from).is_none_or(|id| *id > last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::testing::meta;

    fn key_in(keyspace: u32, name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        key::push_prefix(&mut bytes, KeyspaceId(keyspace));
        bytes.extend_from_slice(name.as_bytes());
        bytes
    }

    fn named(id: u32, name: &str) -> (KeyspaceId, String) {
        (KeyspaceId(id), name.to_string())
    }

    fn example() -> State {
        let mut state = State::default();
        let edit = Edit {
            added: vec![Placed { level: 1, run: 0, meta: meta(7, "a", "b", 100) }],
            created: vec![named(0, "default"), named(1, "other")],
            flushed_seqno: Some(5),
            ..Edit::default()
        };
        state.apply(&edit).unwrap();
        state
    }

    #[test]
    fn a_snapshot_rebuilds_the_state() {
        let mut state = example();
        state.apply(&Edit { dropped: vec![KeyspaceId(1)], clock_ms: Some(9), ..Edit::default() }).unwrap();
        assert_eq!((state.next_file_id, state.next_keyspace_id), (8, 2));
        let mut copy = State::default();
        copy.apply(&state.snapshot()).unwrap();
        assert_eq!(copy, state);
    }

    #[test]
    fn a_refused_edit_changes_nothing() {
        let state = example();
        let meta = meta(7, "a", "b", 100);
        let again = Placed { level: 2, run: 0, meta };
        let wrong = [
            Edit { added: vec![again.clone()], ..Edit::default() },
            Edit { removed: vec![(2, FileId(7))], ..Edit::default() },
            Edit { removed: vec![(1, FileId(7)), (1, FileId(7))], ..Edit::default() },
            Edit { created: vec![named(1, "new")], ..Edit::default() },
            Edit { created: vec![named(5, "other")], ..Edit::default() },
            Edit { dropped: vec![KeyspaceId(3)], ..Edit::default() },
            Edit { renamed: vec![named(0, "other")], ..Edit::default() },
        ];
        for mut edit in wrong {
            edit.flushed_seqno = Some(99);
            let mut copy = state.clone();
            assert!(copy.apply(&edit).is_err(), "{edit:?}");
            assert_eq!(copy, state);
        }
        let moved = Edit { removed: vec![(1, FileId(7))], added: vec![again], ..Edit::default() };
        state.clone().apply(&moved).unwrap();
    }

    #[test]
    fn a_dropped_keyspace_number_is_never_given_out_again() {
        let mut state = example();
        state.apply(&Edit { dropped: vec![KeyspaceId(1)], ..Edit::default() }).unwrap();
        assert!(state.apply(&Edit { created: vec![named(1, "again")], ..Edit::default() }).is_err());
        let live = state.live_keyspaces();
        assert!(live.is_dropped(KeyspaceId(1)) && !live.is_dropped(KeyspaceId(0)));
        assert!(!live.is_dropped(KeyspaceId(2)), "not given out yet, so its entries are new");
    }

    #[test]
    fn what_was_not_given_out_yet_counts_as_live() {
        let keyspaces = LiveKeyspaces::new(vec![KeyspaceId(4), KeyspaceId(0)], 6);
        let live = |first, last| keyspaces.live_between(KeyspaceId(first), KeyspaceId(last));
        assert_eq!([live(0, 0), live(1, 3), live(0, 4), live(5, 5)], [1, 0, 2, 0]);
        assert_eq!([live(4, 7), live(6, 9), live(0, u32::MAX)], [3, 4, 2 + u64::from(u32::MAX) - 5]);
    }

    #[test]
    fn a_range_is_dropped_only_if_no_live_keyspace_meets_it() {
        let keyspaces = LiveKeyspaces::new(vec![KeyspaceId(4), KeyspaceId(0)], 6);
        let all = |a, b| keyspaces.all_dropped(&key_in(a, "z"), &key_in(b, "a"));
        assert!(all(1, 1) && all(1, 3) && all(5, 5));
        assert!(!all(0, 1) && !all(3, 4) && !all(3, 5) && !all(5, 6) && !all(6, 6));
    }
}
