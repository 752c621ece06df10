//! `Core`: the state of an open store, shared by handles, iterators and background threads.
//!
//! Lock order, outermost first; a thread takes them only in this direction:
//!
//! 0. `keyspaces.changing`, `work.flushing`, and the list of running compactions;
//! 1. `manifest`: held across the edit's sync and the installation of its version;
//! 2. `ready`: the next memtable, while it is prepared or taken;
//! 3. `install`, in `shards`: the short critical section that replaces the super version;
//! 4. the shards, in ascending order.
//!
//! No I/O happens under `install` or a shard lock (but for the log append, which is a store into memory), and
//! no user code under any of them.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::batch::check_value;
use super::clock::StoreClock;
use super::compact::Compactions;
use super::counters::Counters;
use super::keyspaces::Keyspaces;
use super::options::Options;
use super::poison::Poison;
use super::shards::Shards;
use super::snapshots::PinnedSeqno;
use super::stall::{Load, Stall};
use super::super_version::SuperVersion;
use super::syncer::Syncer;
use super::work::Work;
use crate::base::hash::shard_hash;
use crate::base::{Error, FileId, Merging, Result, Seqno};
use crate::io::{Env, LockGuard};
use crate::memtable::{ChunkPool, Memtable, MemtableOptions, ShardWriter};
use crate::table::Cache;
use crate::version::Manifest;
use crate::wal::{Lane, Segment, Wal};

/// What a shard's lock protects: the right to write into the shard of the active memtable and into its lane.
pub(super) struct Shard {
    pub(super) writer: ShardWriter,
    /// Lane and current segment; `None` in a store without a log.
    pub(super) log: Option<(Lane, Arc<Segment>)>,
}

/// A memtable made ready to become the active one.
pub(super) struct Ready {
    pub(super) memtable: Arc<Memtable>,
    pub(super) writers: Vec<ShardWriter>,
}

/// The newest sequence number and a state that is complete up to it; see `Shards::moment`.
pub(super) struct Present<S> {
    pub(super) state: S,
    pub(super) at: Seqno,
    _pin: Option<PinnedSeqno>,
}

/// An open store.
pub(super) struct Core {
    pub(super) env: Env,
    pub(super) dir: PathBuf,
    pub(super) options: Options,
    pub(super) merging: Merging,
    pub(super) clock: StoreClock,
    pub(super) hash_seed: u64,
    /// Drawn at this opening; see `TableOptions::origin`.
    pub(super) origin: u64,
    /// The size at which a memtable is sealed: the option, or more if an empty memtable comes near it.
    pub(super) write_buffer_bytes: u64,
    pub(super) shards: Shards<Shard, SuperVersion>,
    pub(super) manifest: Mutex<Manifest>,
    pub(super) ready: Mutex<Option<Ready>>,
    pub(super) next_file_id: Arc<AtomicU64>,
    pub(super) wal: Option<Wal>,
    pub(super) pool: Arc<ChunkPool>,
    pub(super) memtable_options: MemtableOptions,
    pub(super) keyspaces: Keyspaces,
    pub(super) cache: Arc<Cache>,
    pub(super) stall: Stall,
    /// Held while the stall and the cache are told of the state.
    pub(super) pressure: Mutex<()>,
    pub(super) syncer: Syncer,
    pub(super) poison: Poison,
    pub(super) compactions: Compactions,
    pub(super) work: Work,
    pub(super) counters: Counters,
    pub(super) closed: AtomicBool,
    /// Released when the store is closed.
    pub(super) lock: Mutex<Option<Box<dyn LockGuard>>>,
}

impl Core {
    /// The hash that picks a key's shard and its place in the memtable's index.
    #[inline]
    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        shard_hash(self.hash_seed, key)
    }

    /// The super version that is current now, for the duration of a read.
    #[inline]
    pub(super) fn current(&self) -> impl Deref<Target = Arc<SuperVersion>> + use<> {
        self.shards.state()
    }

    /// The last sequence number given out.
    pub(super) fn last_seqno(&self) -> Seqno {
        self.shards.last_seqno()
    }

    /// `Error::Closed` once the store is closed.
    #[inline]
    pub(super) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Relaxed) { Err(Error::Closed) } else { Ok(()) }
    }

    /// Checks an operand that is about to be merged.
    pub(super) fn check_operand(&self, operand: &[u8]) -> Result<()> {
        check_value(operand)?;
        self.merging.check_operand(operand)
    }

    /// `Error::Closed` once the directory was let go. Whoever is about to write into it asks while holding
    /// `flushing`, `manifest` or `ready`, which the closing holds to let go; it itself writes after `closed`.
    pub(super) fn check_held(&self) -> Result<()> {
        if self.lock.lock().is_some() { Ok(()) } else { Err(Error::Closed) }
    }

    /// A number for a new file.
    pub(super) fn new_file_id(&self) -> FileId {
        FileId(self.next_file_id.fetch_add(1, Ordering::Relaxed))
    }

    /// A snapshot of now; see `Shards::pin_newest`.
    pub(super) fn pin_newest(&self) -> PinnedSeqno {
        self.shards.pin_newest()
    }

    /// The present, for one read.
    pub(super) fn present(&self) -> Present<impl Deref<Target = Arc<SuperVersion>> + use<>> {
        let (state, at) = self.shards.moment();
        if !state.active.has_range_deletes() {
            return Present { state, at, _pin: None };
        }
        // Later markers may displace those that this one sees, unless it is listed.
        let pin = self.pin_newest();
        let (state, _) = self.shards.moment();
        Present { state, at: pin.seqno(), _pin: Some(pin) }
    }

    /// Replaces the super version by what `next` makes of the current one.
    pub(super) fn install(&self, next: impl FnOnce(&SuperVersion) -> SuperVersion) {
        self.shards.install(next);
        self.update_pressure();
    }

    /// Tells back-pressure and the cache how full things are.
    pub(super) fn update_pressure(&self) {
        // Looking and telling in one step: who looked first must not speak last.
        let _in_order = self.pressure.lock();
        let state = self.current();
        let budget = self.options.memory_budget_bytes;
        let background = self.options.background_compaction;
        let pending = if background { self.pending_compaction_bytes(&state.version) } else { 0 };
        let runs = state.version.levels()[0].runs().len() + state.sealed.len();
        let load = Load {
            sealed_bytes: state.sealed_bytes(),
            write_buffer_bytes: self.write_buffer_bytes,
            write_buffers: WRITE_BUFFERS,
            l0_runs: if background { runs as u64 } else { 0 },
            l0_limit: self.options.l0_limit as u64,
            pending_bytes: pending,
            pending_limit: (budget * PENDING_BUDGETS).max(MIN_PENDING_LIMIT_BYTES),
        };
        self.stall.update(&load, &*self.env.clock);
        self.cache.set_capacity(self.cache_capacity(&state));
    }

    /// What the budget leaves for cached blocks: everything that memtables, the log's resident pages,
    /// pinned filters and indexes, and the buffers of background work do not take.
    fn cache_capacity(&self, state: &SuperVersion) -> u64 {
        let budget = self.options.memory_budget_bytes;
        let write_buffer = self.write_buffer_bytes;
        let log = if self.wal.is_some() { write_buffer + write_buffer / 4 } else { 0 };
        let memtables = (2 * write_buffer).max(write_buffer + state.sealed_bytes());
        let range_deletes = 2 * state.version.range_deletes().fragments().bytes() as u64;
        let taken = memtables + log + self.cache.pinned_bytes() + range_deletes + budget / 16;
        budget.saturating_sub(taken).max(budget / 16)
    }
}

/// The size of all memtables together at which writers stop, in write buffers.
const WRITE_BUFFERS: u64 = 4;
/// Bytes awaiting compaction at which writers stop, in memory budgets.
const PENDING_BUDGETS: u64 = 32;
const MIN_PENDING_LIMIT_BYTES: u64 = 1 << 30;
