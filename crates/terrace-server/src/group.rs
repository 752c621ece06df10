//! The write group: plain writes of all ready connections, gathered into one engine batch.
//!
//! A plain write is one whose reply does not depend on the store: it is promised (`+OK` goes into the
//! connection's output at once) and committed with the others, before anything is sent. Should the commit
//! fail, the promises are replaced by the error, which works because output leaves only at the end of a
//! wake-up. A connection that has a promise in the group commits the group before it reads; the others need
//! not, for their clients cannot yet know of the write.

use std::sync::Arc;

use terrace::{Batch, Keyspace, WriteOptions};

use crate::effects::Effects;
use crate::failure::store_line;
use crate::metrics::LoopMetrics;
use crate::shared::Shared;

/// Writes after which the group is committed early, to keep the shard locks short.
const MAX_WRITES: usize = 1024;
/// Bytes after which the group is committed early.
const MAX_BYTES: usize = 4 << 20;

/// The reply `+OK` that was written before its commit.
#[derive(Clone, Copy, Debug)]
struct Promise {
    slot: usize,
    position: usize,
}

/// A promise that could not be kept.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    /// The slot of its connection.
    pub(crate) slot: usize,
    /// Where in the connection's output the `+OK` is.
    pub(crate) position: usize,
    /// The error that takes its place.
    pub(crate) line: Arc<str>,
}

/// The write group of one loop.
pub(crate) struct Group {
    shared: Arc<Shared>,
    batch: Option<Batch>,
    /// What others are told once the batch is committed.
    effects: Effects,
    promises: Vec<Promise>,
    broken: Vec<Broken>,
    epoch: u64,
    /// The slots of the connections that have written in this turn.
    writers: Vec<usize>,
    last_seqno: u64,
    /// The newest write of any turn.
    newest_seqno: u64,
}

impl Group {
    /// An empty group.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            batch: None,
            effects: Effects::default(),
            promises: Vec::new(),
            broken: Vec::new(),
            epoch: 1,
            writers: Vec::new(),
            last_seqno: 0,
            newest_seqno: 0,
        }
    }

    /// The number of the current group; a session remembers the one that holds its newest promise.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Adds a write. The key and the value have been checked, because one bad write would fail all.
    pub(crate) fn put(&mut self, space: &Keyspace, key: &[u8], value: &[u8], options: WriteOptions) {
        self.batch().put_in(space, key, value, options);
    }

    /// Adds a delete.
    pub(crate) fn delete(&mut self, space: &Keyspace, key: &[u8]) {
        self.batch().delete_in(space, key);
    }

    fn batch(&mut self) -> &mut Batch {
        self.batch.get_or_insert_with(|| {
            self.effects = Effects::new(&self.shared.watch, 0);
            self.shared.databases.batch()
        })
    }

    /// Where the writes added next stage what others are told of them; after the first write.
    pub(crate) fn effects(&mut self, client: u64) -> &mut Effects {
        self.effects.set_client(client);
        &mut self.effects
    }

    /// Notes that the `+OK` at `position` of the connection in `slot` depends on the writes added last.
    /// Without a position nothing is answered. If nothing was added, nothing is to be kept.
    pub(crate) fn promise(&mut self, slot: usize, position: Option<usize>, metrics: &LoopMetrics) {
        if self.batch.is_none() {
            return;
        }
        self.wrote(slot);
        self.promises.extend(position.map(|position| Promise { slot, position }));
        let full = |batch: &Batch| batch.len() >= MAX_WRITES || batch.bytes() >= MAX_BYTES;
        if self.batch.as_ref().is_some_and(full) {
            self.commit(metrics);
        }
    }

    /// Commits what was gathered.
    pub(crate) fn commit(&mut self, metrics: &LoopMetrics) {
        let Some(batch) = self.batch.take() else { return };
        metrics.group_sizes.record(batch.len() as u64, 1);
        self.epoch += 1;
        let effects = std::mem::take(&mut self.effects);
        let committed = {
            let _held = self.shared.databases.hold_shared();
            batch.commit()
        };
        match committed {
            Ok(seqno) => {
                self.promises.clear();
                self.reached(seqno);
                self.shared.release(effects);
            }
            Err(error) => {
                let line: Arc<str> = store_line(&error).into();
                let broken = |p: Promise| Broken { slot: p.slot, position: p.position, line: line.clone() };
                self.broken.extend(self.promises.drain(..).map(broken));
            }
        }
    }

    /// Notes a commit that the connection in `slot` made outside the group.
    pub(crate) fn committed(&mut self, slot: usize, seqno: u64) {
        self.wrote(slot);
        self.reached(seqno);
    }

    fn wrote(&mut self, slot: usize) {
        if self.writers.last() != Some(&slot) {
            self.writers.push(slot);
        }
    }

    fn reached(&mut self, seqno: u64) {
        self.last_seqno = self.last_seqno.max(seqno);
        self.newest_seqno = self.newest_seqno.max(seqno);
    }

    /// Takes note of a write that went another way and comes before all later ones.
    pub(crate) fn follows(&mut self, seqno: u64) {
        self.newest_seqno = self.newest_seqno.max(seqno);
    }

    /// The newest write of this loop so far, of whatever connection; 0 if there was none.
    pub(crate) fn newest_seqno(&self) -> u64 {
        self.newest_seqno
    }

    /// The connections that have written since the last call, by slot.
    pub(crate) fn take_writers(&mut self) -> Vec<usize> {
        let mut writers = std::mem::take(&mut self.writers);
        writers.sort_unstable();
        writers.dedup();
        writers
    }

    /// The newest write since the last call; 0 if there was none.
    pub(crate) fn take_last_seqno(&mut self) -> u64 {
        std::mem::take(&mut self.last_seqno)
    }

    /// The promises that could not be kept, by connection and then from the last to the first.
    pub(crate) fn take_broken(&mut self) -> Vec<Broken> {
        let mut broken = std::mem::take(&mut self.broken);
        broken.sort_by_key(|b| (b.slot, std::cmp::Reverse(b.position)));
        broken
    }
}
