//! `Shards`: who may write, in which order, and what readers see. The concurrent kernel under writing,
//! sealing, snapshots and reading.
//!
//! It knows nothing of what it orders: `S` is what a shard's lock protects, `V` the state that readers pin.
//! So the models in `loom_tests` check this very code, with small stand-ins.
//!
//! Invariants:
//! 1. Sequence numbers are dense, and are taken under a shard's lock that is held until what they number is
//!    in place. So whoever passes once through every lock waits for all that was numbered before.
//! 2. A swap holds every shard's lock from reading the last number until the new state is published. So all
//!    numbers up to that one belong to the old payloads and all later ones to the new, and nobody finishes a
//!    write in a new payload that a reader coming after it would not look into.
//! 3. A state is replaced under `install` only, by something made from its predecessor there. So no
//!    replacement undoes another.
//! 4. A snapshot is listed in one step with reading its number. So one that is missing from a list reads its
//!    number later, and is at or above every number that was taken before the list was read.
//! 5. A batch marks its shards with its first number before it inserts, and takes the marks off after. So whoever
//!    finds a number at or above the mark has found part of a batch that is not all there yet, and waits for it:
//!    what is read after that shows the whole batch.
//!
//! Lock order: `install`, then the shards in ascending order; the list of snapshots is a leaf.

use std::ops::Deref;
use std::sync::Arc;

use crossbeam_utils::CachePadded;

use super::snapshots::{PinnedSeqno, SnapshotList};
use crate::base::Seqno;
use crate::base::sync::{AtomicU64, Mutex, MutexGuard, Ordering, PublishedArc, fence};

/// The shards of a store, their common counter, and the published state.
pub(super) struct Shards<S, V> {
    locks: Box<[CachePadded<Mutex<S>>]>,
    /// By shard, the first number of the batch that is being inserted there; 0 if none is. Apart from the locks,
    /// which every write changes: readers look here.
    batches: Box<[CachePadded<AtomicU64>]>,
    /// The last sequence number given out.
    last: CachePadded<AtomicU64>,
    state: PublishedArc<V>,
    install: Mutex<()>,
    snapshots: Arc<SnapshotList>,
}

impl<S, V> Shards<S, V> {
    /// A power of two of shards with these payloads.
    pub(super) fn new(payloads: impl IntoIterator<Item = S>, last_seqno: Seqno, state: V) -> Self {
        let locks: Box<[_]> = payloads.into_iter().map(|s| CachePadded::new(Mutex::new(s))).collect();
        assert!(locks.len().is_power_of_two() && locks.len() <= MAX_SHARDS);
        let batches = locks.iter().map(|_| CachePadded::new(AtomicU64::new(0))).collect();
        Self {
            locks,
            batches,
            last: CachePadded::new(AtomicU64::new(last_seqno)),
            state: PublishedArc::new(state),
            install: Mutex::default(),
            snapshots: Arc::default(),
        }
    }

    /// How many shards there are.
    pub(super) fn count(&self) -> usize {
        self.locks.len()
    }

    /// The shard of a hash.
    #[inline]
    pub(super) fn of(&self, hash: u64) -> usize {
        (hash as usize) & (self.locks.len() - 1)
    }

    /// Locks one shard.
    #[inline]
    pub(super) fn lock(&self, shard: usize) -> MutexGuard<'_, S> {
        self.locks[shard].lock()
    }

    /// Locks several shards, each once however often it is named, in ascending order.
    pub(super) fn lock_several(&self, shards: impl Iterator<Item = usize>) -> LockedShards<'_, S> {
        let mut wanted = [0u64; MAX_SHARDS / 64]; // One bit for each.
        for shard in shards {
            wanted[shard / 64] |= 1 << (shard % 64);
        }
        let wanted = (0..self.count()).filter(|s| wanted[s / 64] & (1 << (s % 64)) != 0);
        LockedShards { guards: wanted.map(|s| (s, self.lock(s))).collect() }
    }

    /// Runs `insert`, which puts a batch in place whose first number is `first`. Until it returns, nobody goes on
    /// who has found part of it (invariant 5).
    pub(super) fn insert_whole(
        &self,
        locked: &mut LockedShards<'_, S>,
        first: Seqno,
        insert: impl FnOnce(&mut LockedShards<'_, S>),
    ) {
        for (shard, _) in &locked.guards {
            self.batches[*shard].store(first, Ordering::Relaxed); // Published with the first entry.
        }
        insert(locked);
        for (shard, _) in &locked.guards {
            self.batches[*shard].store(0, Ordering::Release);
        }
    }

    /// Waits, if a reader has found the number `seqno` in a shard, until the batch that it may be of is all there.
    #[inline]
    pub(super) fn await_whole(&self, shard: usize, seqno: Seqno) {
        let first = self.batches[shard].load(Ordering::Acquire);
        if first != 0 && seqno >= first {
            self.await_batch(shard);
        }
    }

    #[cold]
    fn await_batch(&self, shard: usize) {
        drop(self.lock(shard));
    }

    /// Takes `count` sequence numbers and returns the first. `_locked` stands for the lock of one of the
    /// shards that they are for, all of which stay locked until everything is in place (invariant 1).
    #[inline]
    pub(super) fn take_seqnos(&self, _locked: &mut S, count: u64) -> Seqno {
        self.last.fetch_add(count, Ordering::AcqRel) + 1
    }

    /// The last sequence number given out.
    pub(super) fn last_seqno(&self) -> Seqno {
        self.last.load(Ordering::Acquire)
    }

    /// Makes `seqno` the last one given out, if it is later: for recovery, which brings its numbers along.
    pub(super) fn raise_seqno(&self, seqno: Seqno) {
        self.last.fetch_max(seqno, Ordering::AcqRel);
    }

    /// Passes through each shard's lock once: whoever takes one later sees what was done before this.
    pub(super) fn writers_barrier(&self) {
        for lock in &self.locks {
            drop(lock.lock());
        }
    }

    /// Waits until everything is in place that has a number at or below one that the caller has read.
    ///
    /// Only the locks that are held are passed through. A number is taken while its shard is locked, so to who has
    /// read it, a lock that is free was unlocked again, and the fence makes visible what was done under it.
    pub(super) fn await_numbered(&self) {
        for lock in &self.locks {
            if lock.is_locked() {
                drop(lock.lock());
            }
        }
        fence(Ordering::Acquire);
    }

    /// Pins the newest sequence number: every write at or below it is complete on return, every later one
    /// gets a higher number, and what it sees is kept until the pin goes.
    pub(super) fn pin_newest(&self) -> PinnedSeqno {
        let pinned = self.snapshots.pin(|| self.last_seqno());
        self.await_numbered();
        pinned
    }

    /// The published state, and the newest number, at which the state is complete: what lies at or below it does not
    /// change in this state any more. Costs less than a pin; the later states may lack what this one shows.
    pub(super) fn moment(&self) -> (impl Deref<Target = Arc<V>> + use<S, V>, Seqno) {
        loop {
            let state = self.state.load();
            let seqno = self.last_seqno();
            self.await_numbered();
            // Otherwise what is numbered may be in a payload of the next state.
            if Arc::ptr_eq(&self.state.load(), &state) {
                return (state, seqno);
            }
        }
    }

    /// The pinned sequence numbers.
    pub(super) fn snapshots(&self) -> &SnapshotList {
        &self.snapshots
    }

    /// The published state, for a moment.
    #[inline]
    pub(super) fn state(&self) -> impl Deref<Target = Arc<V>> + use<S, V> {
        self.state.load()
    }

    /// The published state, to be kept.
    pub(super) fn state_full(&self) -> Arc<V> {
        self.state.load_full()
    }

    /// Replaces the state by what `next` makes of it. Writers go on.
    pub(super) fn install(&self, next: impl FnOnce(&V) -> V) {
        let _install = self.install.lock();
        let now = self.state.load_full();
        self.state.store(Arc::new(next(&now)));
    }

    /// Replaces payloads and state together. With all shards locked, `change` gets the state, the last
    /// sequence number and the payloads in ascending order, and returns the next state and what is to be
    /// dropped after everything is unlocked.
    pub(super) fn swap<R>(&self, change: impl FnOnce(&V, Seqno, &mut [MutexGuard<'_, S>]) -> (V, R)) -> R {
        let _install = self.install.lock();
        let now = self.state.load_full();
        let mut guards: Vec<_> = self.locks.iter().map(|lock| lock.lock()).collect();
        let (next, retired) = change(&now, self.last_seqno(), &mut guards);
        self.state.store(Arc::new(next));
        retired
    }
}

/// The most shards there may be.
const MAX_SHARDS: usize = 256;

/// Several locked shards.
pub(super) struct LockedShards<'a, S> {
    /// By ascending number.
    guards: Vec<(usize, MutexGuard<'a, S>)>,
}

impl<S> LockedShards<'_, S> {
    /// One of the shards that were asked for.
    pub(super) fn get(&mut self, shard: usize) -> &mut S {
        let at = self.guards.binary_search_by_key(&shard, |(s, _)| *s);
        let at = at.expect("every shard of the batch is locked");
        &mut self.guards[at].1
    }
}

#[cfg(all(test, loom))]
mod loom_tests;
