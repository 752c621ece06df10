//! The names on the simulated disk: those on the medium, those that programs see, and the operations between
//! the two, oldest first.
//!
//! Invariants: `durable` plus all `pending` operations gives `current`. An operation happens as a whole, so a
//! rename leaves its target with the old entry or the new one, and its file in the old place or the new one.
//! What the names stand for is not looked at here.

use std::collections::{BTreeMap, BTreeSet};

use super::crash::{Dice, PowerLoss};

/// Identifies a file or directory for as long as the simulated disk exists; never reused.
pub(super) type NodeId = u64;

/// The directory that every path starts from.
pub(super) const ROOT: NodeId = 0;

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Entry {
    File(NodeId),
    Dir(NodeId),
}

/// The names of one directory.
pub(super) type Entries = BTreeMap<String, Entry>;

/// All directories.
pub(super) type Dirs = BTreeMap<NodeId, Entries>;

/// A name in a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) dir: NodeId,
    pub(super) name: String,
}

/// One step on names: a creation has only `to`, a removal only `from`, a rename both.
#[derive(Clone, Debug)]
pub(super) struct DirOp {
    pub(super) entry: Entry,
    pub(super) from: Option<Place>,
    pub(super) to: Option<Place>,
}

impl DirOp {
    fn apply(&self, dirs: &mut Dirs) {
        if let Some(Place { dir, name }) = &self.from {
            let entries = dirs.entry(*dir).or_default();
            // After a loss of other operations the name may stand for something else.
            if entries.get(name) == Some(&self.entry) {
                entries.remove(name);
            }
        }
        if let Some(Place { dir, name }) = &self.to {
            dirs.entry(*dir).or_default().insert(name.clone(), self.entry);
        }
    }

    /// The directories that it changes, each once.
    fn dirs(&self) -> impl Iterator<Item = NodeId> {
        let [from, to] = [&self.from, &self.to].map(|place| place.as_ref().map(|place| place.dir));
        from.into_iter().chain(to.filter(|_| to != from))
    }
}

/// The names of all directories, durable and not.
#[derive(Clone, Debug)]
pub(super) struct Names {
    durable: Dirs,
    current: Dirs,
    pending: Vec<DirOp>,
}

impl Names {
    /// These names, on the medium.
    pub(super) fn durable(dirs: Dirs) -> Self {
        Self { durable: dirs.clone(), current: dirs, pending: Vec::new() }
    }

    /// What programs see in a directory.
    pub(super) fn entries(&self, dir: NodeId) -> &Entries {
        self.current.get(&dir).expect("an entry names an existing directory")
    }

    /// What programs see, of all directories.
    pub(super) fn current(&self) -> &Dirs {
        &self.current
    }

    /// Changes what programs see; the medium follows at the next sync.
    pub(super) fn change(&mut self, op: DirOp) {
        op.apply(&mut self.current);
        if let Entry::Dir(id) = op.entry {
            self.current.entry(id).or_default();
            self.durable.entry(id).or_default();
        }
        self.pending.push(op);
    }

    /// Makes the names in a directory durable. A move to or from another directory is one step, so it takes
    /// along what happened in that directory before.
    pub(super) fn sync(&mut self, dir: NodeId) {
        let mut dirs = BTreeSet::from([dir]);
        let mut settled = vec![false; self.pending.len()];
        for (op, settled) in self.pending.iter().zip(&mut settled).rev() {
            *settled = op.dirs().any(|dir| dirs.contains(&dir));
            if *settled {
                dirs.extend(op.dirs());
            }
        }
        let mut settled = settled.into_iter();
        self.pending.retain(|op| {
            let settled = settled.next().unwrap_or(false);
            if settled {
                op.apply(&mut self.durable);
            }
            !settled
        });
    }

    /// The names that can be reached from the root after a power loss.
    pub(super) fn after_power_loss(&self, loss: PowerLoss, dice: &Dice) -> Dirs {
        let mut dirs = self.durable.clone();
        for op in self.kept(loss, dice) {
            op.apply(&mut dirs);
        }
        let mut reached = Dirs::new();
        let mut to_visit = vec![ROOT];
        while let Some(id) = to_visit.pop() {
            let entries = dirs.remove(&id).unwrap_or_default();
            to_visit.extend(entries.values().filter_map(|entry| match entry {
                Entry::Dir(id) => Some(*id),
                Entry::File(_) => None,
            }));
            reached.insert(id, entries);
        }
        reached
    }

    /// The pending operations that a power loss leaves, oldest first.
    fn kept(&self, loss: PowerLoss, dice: &Dice) -> Vec<&DirOp> {
        match loss {
            PowerLoss::LoseUnsynced | PowerLoss::LoseDirEntries => Vec::new(),
            PowerLoss::KeepAll => self.pending.iter().collect(),
            PowerLoss::RandomSectors => self.kept_prefixes(dice),
            PowerLoss::Reordered => {
                // Operations on one file stay in order, as any file system keeps them: otherwise a file
                // renamed twice would end under two names.
                let mut lost = BTreeSet::new();
                let mut keeps = |op: &&DirOp| {
                    let kept = !lost.contains(&op.entry) && dice.keeps();
                    if !kept {
                        lost.insert(op.entry);
                    }
                    kept
                };
                self.pending.iter().filter(|op| keeps(op)).collect()
            }
        }
    }

    /// A random prefix of the operations on each directory.
    fn kept_prefixes(&self, dice: &Dice) -> Vec<&DirOp> {
        let mut left: BTreeMap<NodeId, usize> = BTreeMap::new();
        for dir in self.pending.iter().flat_map(DirOp::dirs) {
            *left.entry(dir).or_default() += 1;
        }
        for count in left.values_mut() {
            *count = dice.prefix(*count);
        }
        let mut keeps = |op: &&DirOp| {
            let kept = op.dirs().all(|dir| left.get(&dir).is_some_and(|left| *left > 0));
            for dir in op.dirs() {
                // A lost operation ends the prefix of every directory that it was to change.
                left.entry(dir).and_modify(|left| *left = if kept { left.saturating_sub(1) } else { 0 });
            }
            kept
        };
        self.pending.iter().filter(|op| keeps(op)).collect()
    }

    /// Every entry that may still show, now or after a crash.
    pub(super) fn referenced(&self) -> impl Iterator<Item = Entry> + '_ {
        let named = self.durable.values().chain(self.current.values()).flat_map(|entries| entries.values());
        named.copied().chain(self.pending.iter().map(|op| op.entry))
    }
}
