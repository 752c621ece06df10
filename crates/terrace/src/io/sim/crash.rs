//! What is left of the simulated disk after a crash.
//!
//! A crash makes a new disk and leaves the old one running, so that one run can be crashed at many points and
//! in many ways. The same state, policy and seed give the same outcome.

use std::collections::BTreeMap;

use super::dir::{Entry, Names};
use super::state::State;
use crate::io::manual::SeededRng;

/// How a simulated machine goes down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CrashPolicy {
    /// The process dies and the kernel lives: everything is kept as written, the boot id stays, and what was
    /// not synced can still be lost in a later power loss.
    ProcessDeath,
    /// The machine restarts: the boot id changes and what was not synced is at risk.
    PowerLoss(PowerLoss),
}

impl CrashPolicy {
    /// Every policy, for tests that try them all.
    pub const ALL: [Self; 6] = [
        Self::ProcessDeath,
        Self::PowerLoss(PowerLoss::LoseUnsynced),
        Self::PowerLoss(PowerLoss::KeepAll),
        Self::PowerLoss(PowerLoss::RandomSectors),
        Self::PowerLoss(PowerLoss::Reordered),
        Self::PowerLoss(PowerLoss::LoseDirEntries),
    ];
}

/// What a power loss does to changes that were not synced. Synced ones survive them all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PowerLoss {
    /// All are lost.
    LoseUnsynced,
    /// All are kept, as when the kernel had just written everything back.
    KeepAll,
    /// Each 512-byte sector of data is kept or lost on its own; each directory keeps a random prefix of its
    /// operations. A move between directories is one operation on both.
    RandomSectors,
    /// Each write is kept or lost as a whole, whatever became of earlier ones; so is each directory
    /// operation, but those on the same file stay in order.
    Reordered,
    /// All data is kept, all directory operations are lost.
    LoseDirEntries,
}

/// The random choices of one crash.
#[derive(Debug)]
pub(super) struct Dice {
    rng: SeededRng,
    keep_percent: u64,
}

impl Dice {
    fn new(seed: u64) -> Self {
        let rng = SeededRng::new(seed);
        // An even chance for every item would never try "almost all" or "almost nothing".
        let keep_percent = [10, 50, 90][rng.below(3) as usize];
        Self { rng, keep_percent }
    }

    /// Whether one item is kept.
    pub(super) fn keeps(&self) -> bool {
        self.rng.chance(self.keep_percent)
    }

    /// How many of `count` items in order are kept; each number is as likely as any other.
    pub(super) fn prefix(&self, count: usize) -> usize {
        self.rng.below(count as u64 + 1) as usize
    }

    /// Up to which of `count` changes a sector got onto the medium: mostly none or all.
    pub(super) fn moment(&self, count: usize) -> usize {
        if self.rng.chance(20) {
            return self.prefix(count);
        }
        if self.keeps() { count } else { 0 }
    }
}

impl State {
    /// The disk as the next process finds it, with nothing open and nothing locked.
    pub(super) fn crash(&self, policy: CrashPolicy, seed: u64) -> Self {
        let mut next = match policy {
            CrashPolicy::ProcessDeath => self.after_process_death(),
            CrashPolicy::PowerLoss(loss) => self.after_power_loss(loss, &Dice::new(seed)),
        };
        next.restart_counters();
        next
    }

    fn after_process_death(&self) -> Self {
        let mut next = self.clone();
        next.locked.clear();
        next.files.values_mut().for_each(|file| file.handles = 0);
        next.sweep();
        next
    }

    fn after_power_loss(&self, loss: PowerLoss, dice: &Dice) -> Self {
        let dirs = self.names.after_power_loss(loss, dice);
        let mut files = BTreeMap::new();
        for entry in dirs.values().flat_map(|entries| entries.values()) {
            if let Entry::File(id) = entry {
                files.insert(*id, self.file(*id).after_power_loss(loss, dice));
            }
        }
        let mut next = self.empty_with_settings();
        (next.names, next.files, next.boot_id) = (Names::durable(dirs), files, self.boot_id + 1);
        next
    }
}
