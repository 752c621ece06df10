//! A simulated file apart from its names: what is on the medium, what readers see, and what lies between.
//!
//! Invariant: `current` is what the running system reads; `durable` is what the medium is sure to hold;
//! `pending` are the changes since the last sync, oldest first. Names are the directories' business.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::content::Content;
use super::crash::{Dice, PowerLoss};

/// What a disk writes in one piece: a power loss keeps all of it or nothing.
const SECTOR_BYTES: u64 = 512;

/// A change of a file's content.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Bytes stored at an offset.
    Write { offset: u64, bytes: Arc<[u8]> },
    /// Truncation or preallocation.
    SetLen(u64),
}

impl Change {
    fn apply(&self, content: &mut Content) {
        match self {
            Self::Write { offset, bytes } => content.write(*offset, bytes),
            Self::SetLen(len) => content.set_len(*len),
        }
    }
}

/// One file's content, durable and not.
#[derive(Clone, Debug, Default)]
pub(super) struct FileNode {
    durable: Arc<Content>,
    current: Arc<Content>,
    pending: Vec<Change>,
    /// Open handles: they keep the content alive after the last name is gone.
    pub(super) handles: usize,
}

impl FileNode {
    /// A file whose content is on the medium.
    pub(super) fn durable(content: Arc<Content>) -> Self {
        Self { durable: Arc::clone(&content), current: content, ..Self::default() }
    }

    /// Gives the file this content, on the medium and for readers.
    pub(super) fn overwrite(&mut self, content: Content) {
        *self = Self { handles: self.handles, ..Self::durable(Arc::new(content)) };
    }

    /// What readers see.
    pub(super) fn current(&self) -> &Content {
        &self.current
    }

    /// Changes what readers see; the medium follows at the next sync.
    pub(super) fn change(&mut self, change: Change) {
        change.apply(Arc::make_mut(&mut self.current));
        self.pending.push(change);
    }

    /// Brings the medium up to date.
    pub(super) fn sync(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let durable = Arc::make_mut(&mut self.durable);
        for change in self.pending.drain(..) {
            change.apply(durable);
        }
    }

    /// Brings the medium's length and the bytes in `range` up to date; of a change that reaches beyond, the rest
    /// stays pending.
    pub(super) fn sync_range(&mut self, range: &Range<u64>) {
        let durable = Arc::make_mut(&mut self.durable);
        let mut pending = Vec::new();
        for change in self.pending.drain(..) {
            let Change::Write { offset, bytes } = &change else {
                change.apply(durable);
                continue;
            };
            let len = bytes.len() as u64;
            let from = range.start.clamp(*offset, offset + len) - offset;
            let to = range.end.clamp(*offset, offset + len) - offset;
            if from >= to {
                pending.push(change);
                continue;
            }
            durable.write(offset + from, &bytes[from as usize..to as usize]);
            for (from, to) in [(0, from), (to, len)].into_iter().filter(|(from, to)| from < to) {
                let bytes = Arc::from(&bytes[from as usize..to as usize]);
                pending.push(Change::Write { offset: offset + from, bytes });
            }
        }
        self.pending = pending;
    }

    /// Takes the pending changes for written although they are not: readers still see them, no later sync
    /// will write them. This is what a kernel does after a failed sync.
    pub(super) fn forget_pending(&mut self) {
        self.pending.clear();
    }

    /// What the medium holds after a power loss.
    pub(super) fn after_power_loss(&self, loss: PowerLoss, dice: &Dice) -> Self {
        if self.pending.is_empty() {
            return Self::durable(Arc::clone(&self.durable));
        }
        let mut content = Content::clone(&self.durable);
        match loss {
            PowerLoss::LoseUnsynced => {}
            PowerLoss::KeepAll | PowerLoss::LoseDirEntries => {
                self.pending.iter().for_each(|change| change.apply(&mut content));
            }
            PowerLoss::Reordered => {
                self.pending.iter().filter(|_| dice.keeps()).for_each(|change| change.apply(&mut content));
            }
            PowerLoss::RandomSectors => self.apply_random_sectors(&mut content, dice),
        }
        Self::durable(Arc::new(content))
    }

    /// Each touched sector takes part up to a moment of its own: none of its pending writes, all of them, or
    /// now and then some, as when the sector was written back between two writes.
    fn apply_random_sectors(&self, content: &mut Content, dice: &Dice) {
        let mut moments: BTreeMap<u64, usize> = BTreeMap::new();
        for (index, change) in self.pending.iter().enumerate() {
            let Change::Write { offset, bytes } = change else {
                if dice.keeps() {
                    change.apply(content);
                }
                continue;
            };
            let mut done = 0;
            while done < bytes.len() {
                let at = offset + done as u64;
                let in_sector = (SECTOR_BYTES - at % SECTOR_BYTES) as usize;
                let end = bytes.len().min(done + in_sector);
                let draw = || dice.moment(self.pending.len());
                if index < *moments.entry(at / SECTOR_BYTES).or_insert_with(draw) {
                    content.write(at, &bytes[done..end]);
                }
                done = end;
            }
        }
    }
}
