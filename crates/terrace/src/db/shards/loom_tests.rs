//! Loom models of the kernel: every order in which writers, a seal, a flush and readers may meet.
//!
//! The payloads are stand-ins: a memtable is a few places for sequence numbers, a version the list of what
//! was flushed. Locks, counter, publication and the list of snapshots are the store's own, and so is the rule
//! by which a flush drops versions. Above each model stands which mistakes were planted to see it fail.

use std::sync::Arc;

use loom::thread;

use super::Shards;
use crate::base::sync::{AtomicU64, Ordering};
use crate::base::{EntryMeta, Seqno, key};
use crate::compaction::visible::{Below, Retention, Verdict};
use crate::version::LiveKeyspaces;

const SHARDS: usize = 2;

/// Checks all interleavings with at most this many preemptions of a thread.
const PREEMPTIONS: usize = 4;

fn model(check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(check);
}

/// The entries of a memtable: a word per shard, with a bit for each sequence number.
struct Memtable([AtomicU64; SHARDS]);

impl Memtable {
    fn new() -> Arc<Self> {
        Arc::new(Self(std::array::from_fn(|_| AtomicU64::new(0))))
    }

    fn shard(&self, shard: usize) -> impl Iterator<Item = Seqno> + use<> {
        let entries = self.0[shard].load(Ordering::Acquire);
        (1..64).filter(move |seqno| entries >> seqno & 1 == 1)
    }

    fn all(&self) -> Vec<Seqno> {
        let mut all: Vec<_> = (0..SHARDS).flat_map(|shard| self.shard(shard)).collect();
        all.sort_unstable();
        all
    }
}

/// The right to write into a shard of a memtable.
struct Writer {
    memtable: Arc<Memtable>,
    shard: usize,
    entries: u64,
}

impl Writer {
    fn of(memtable: &Arc<Memtable>, shard: usize) -> Self {
        Self { memtable: Arc::clone(memtable), shard, entries: 0 }
    }

    fn insert(&mut self, seqno: Seqno) {
        self.entries |= 1 << seqno;
        self.memtable.0[self.shard].store(self.entries, Ordering::Release);
    }
}

struct State {
    active: Arc<Memtable>,
    /// Newest first, each with the last number that was given out when it was sealed.
    sealed: Vec<(Arc<Memtable>, Seqno)>,
    tables: Vec<Seqno>,
}

impl State {
    /// Everything in one shard, wherever it is.
    fn shard(&self, shard: usize) -> Vec<Seqno> {
        let sealed = self.sealed.iter().flat_map(|(memtable, _)| memtable.shard(shard));
        self.active.shard(shard).chain(sealed).chain(self.tables.iter().copied()).collect()
    }

    /// What a reader at `at` finds, in order.
    fn visible(&self, at: Seqno) -> Vec<Seqno> {
        let sealed = self.sealed.iter().flat_map(|(memtable, _)| memtable.all());
        let all = self.active.all().into_iter().chain(sealed).chain(self.tables.iter().copied());
        let mut visible: Vec<_> = all.filter(|seqno| *seqno <= at).collect();
        visible.sort_unstable();
        visible
    }
}

/// The kernel with its stand-ins, and what the store does with it.
struct Store(Shards<Writer, State>);

impl Store {
    fn new() -> Arc<Self> {
        let active = Memtable::new();
        let writers: Vec<_> = (0..SHARDS).map(|shard| Writer::of(&active, shard)).collect();
        let state = State { active, sealed: Vec::new(), tables: Vec::new() };
        Arc::new(Self(Shards::new(writers, 0, state)))
    }

    fn put(&self, shard: usize) -> Seqno {
        let mut writer = self.0.lock(shard);
        let seqno = self.0.take_seqnos(&mut writer, 1);
        writer.insert(seqno);
        seqno
    }

    /// One entry in each shard; returns the first number.
    fn put_batch(&self) -> Seqno {
        let mut locked = self.0.lock_several((0..SHARDS).rev());
        let first = self.0.take_seqnos(locked.get(0), SHARDS as u64);
        self.0.insert_whole(&mut locked, first, |locked| {
            for shard in 0..SHARDS {
                locked.get(shard).insert(first + shard as u64);
            }
        });
        first
    }

    /// The newest number in a shard, 0 if there is none, as a read without a snapshot finds it.
    fn newest(&self, shard: usize) -> Seqno {
        let newest = self.0.state().shard(shard).into_iter().max().unwrap_or(0);
        self.0.await_whole(shard, newest);
        newest
    }

    fn seal(&self) {
        let next = Memtable::new();
        let retired = self.0.swap(|now, last_seqno, writers| {
            let mut retired = Vec::new();
            for (shard, writer) in writers.iter_mut().enumerate() {
                retired.push(std::mem::replace(&mut **writer, Writer::of(&next, shard)));
            }
            let mut sealed = vec![(Arc::clone(&now.active), last_seqno)];
            sealed.extend(now.sealed.iter().cloned());
            (State { active: next, sealed, tables: now.tables.clone() }, retired)
        });
        drop(retired);
    }

    /// Moves the oldest sealed memtable into the tables. All entries count as versions of one key.
    fn flush(&self) {
        let Some((memtable, _)) = self.0.state().sealed.last().cloned() else { return };
        let snapshots = self.0.snapshots().seqnos();
        let kept = retained(memtable.all(), snapshots);
        self.0.install(|now| {
            let stays = |s: &&(Arc<Memtable>, Seqno)| !Arc::ptr_eq(&s.0, &memtable);
            State {
                active: Arc::clone(&now.active),
                sealed: now.sealed.iter().filter(stays).cloned().collect(),
                tables: now.tables.iter().copied().chain(kept).collect(),
            }
        });
    }
}

/// What a flush leaves of ascending versions of one key.
fn retained(versions: Vec<Seqno>, snapshots: Vec<Seqno>) -> Vec<Seqno> {
    let mut key = Vec::new();
    key::push_prefix(&mut key, crate::base::KeyspaceId(0));
    let mut rule = Retention::new(snapshots, 0, LiveKeyspaces::default(), Below::Unknown);
    let stays = |seqno: &Seqno| rule.judge(&key, *seqno, EntryMeta::PUT) != Verdict::Drop;
    versions.into_iter().rev().filter(stays).collect()
}

fn spawn<T: 'static>(store: &Arc<Store>, run: impl FnOnce(&Store) -> T + 'static) -> thread::JoinHandle<T> {
    let store = Arc::clone(store);
    thread::spawn(move || run(&store))
}

/// Fails when a swap reads the last number before it has all locks; when it takes and gives back the locks
/// one by one; when it unlocks before it publishes; when a number is taken before the lock.
#[test]
fn a_seal_cuts_the_writes_at_one_number_and_hides_none() {
    model(|| {
        let store = Store::new();
        let put = spawn(&store, |store| {
            let seqno = store.put(0);
            assert!(store.0.state().shard(0).contains(&seqno), "a finished put is visible");
        });
        let batch = spawn(&store, |store| {
            let first = store.put_batch();
            assert!(store.0.state().shard(1).contains(&(first + 1)), "a finished batch is visible");
        });
        store.seal();
        put.join().unwrap();
        batch.join().unwrap();
        let state = store.0.state_full();
        let (sealed, last) = &state.sealed[0];
        assert_eq!(sealed.all(), (1..=*last).collect::<Vec<_>>(), "all up to the cut");
        assert_eq!(state.active.all(), (*last + 1..=3).collect::<Vec<_>>(), "all after it");
    });
}

/// Fails when `install` or `swap` does without the lock that keeps them apart; when a flush removes the
/// memtable in one installation and adds the tables in another; when a reader takes the memtables from one
/// load and the tables from a second.
#[test]
fn an_entry_is_always_in_exactly_one_part_of_the_state() {
    model(|| {
        let store = Store::new();
        store.put(0);
        store.seal();
        store.put(1);
        let seal = spawn(&store, Store::seal);
        let flush = spawn(&store, Store::flush);
        assert_eq!(store.0.state().visible(2), [1, 2], "each once");
        seal.join().unwrap();
        flush.join().unwrap();
        let state = store.0.state_full();
        assert_eq!((state.visible(2), &state.tables[..]), (vec![1, 2], &[1][..]));
        assert_eq!((state.sealed.len(), state.active.all().len()), (1, 0), "neither change was lost");
    });
}

/// Fails when a pin leaves out the barrier; when a batch takes its numbers one by one; when it unlocks one
/// shard before it locks the next.
#[test]
fn a_snapshot_sees_all_up_to_its_number_and_batches_whole() {
    model(|| {
        let store = Store::new();
        let put = spawn(&store, |store| store.put(1));
        let batch = spawn(&store, Store::put_batch);
        let pinned = store.0.pin_newest();
        let at = pinned.seqno();
        assert_eq!(store.0.state().visible(at), (1..=at).collect::<Vec<_>>(), "nothing is missing");
        put.join().unwrap();
        let first = batch.join().unwrap();
        assert!(at < first || at > first, "a batch is seen whole or not at all");
        assert_eq!(store.0.state().visible(at), (1..=at).collect::<Vec<_>>(), "it does not move");
    });
}

/// Once a reader found one key of a batch that was still being inserted, and then, in the next read, the old value of
/// another. Fails when a batch sets no marks, or takes them off before its entries are in; when a reader does not
/// look at them.
#[test]
fn who_has_read_a_part_of_a_batch_reads_the_rest() {
    model(|| {
        let store = Store::new();
        let batch = spawn(&store, Store::put_batch);
        let other = spawn(&store, |store| {
            if store.newest(1) == 2 {
                assert_eq!(store.newest(0), 1, "upwards");
            }
        });
        if store.newest(0) == 1 {
            assert_eq!(store.newest(1), 2, "downwards");
        }
        batch.join().unwrap();
        other.join().unwrap();
    });
}

/// Fails when a moment leaves out the wait; when it does not look whether the state is still the same, or looks
/// before the wait.
#[test]
fn a_moment_is_complete_beside_a_batch_and_a_seal() {
    model(|| {
        let store = Store::new();
        store.put(0);
        let batch = spawn(&store, Store::put_batch);
        let seal = spawn(&store, Store::seal);
        let (state, at) = store.0.moment();
        assert!(at == 1 || at == 3, "a batch is seen whole or not at all");
        assert_eq!(state.visible(at), (1..=at).collect::<Vec<_>>(), "nothing is missing");
        batch.join().unwrap();
        seal.join().unwrap();
    });
}

/// Fails when a moment takes the number before the state: a flush in between keeps only what is newer.
#[test]
fn a_moment_keeps_what_it_shows_beside_a_flush() {
    model(|| {
        let store = Store::new();
        store.put(0);
        let put = spawn(&store, |store| store.put(0));
        let flush = spawn(&store, |store| {
            store.seal();
            store.flush();
        });
        let (state, at) = store.0.moment();
        // All are versions of one key, so the newest at or below the moment is the one with its number.
        let newest = || state.shard(0).into_iter().filter(|seqno| *seqno <= at).max();
        assert_eq!(newest(), Some(at), "seen at once");
        put.join().unwrap();
        flush.join().unwrap();
        assert_eq!(newest(), Some(at), "still there after the flush");
    });
}

/// Fails when a pin leaves out the barrier; when a swap unlocks before it publishes.
#[test]
fn a_snapshot_is_whole_beside_a_seal() {
    model(|| {
        let store = Store::new();
        store.put(0);
        let batch = spawn(&store, Store::put_batch);
        let seal = spawn(&store, Store::seal);
        let pinned = store.0.pin_newest();
        let at = pinned.seqno();
        assert!(at == 1 || at == 3, "a batch is seen whole or not at all");
        assert_eq!(store.0.state().visible(at), (1..=at).collect::<Vec<_>>(), "nothing is missing");
        batch.join().unwrap();
        seal.join().unwrap();
    });
}

/// Fails when a pin reads the number before it has the list's lock; when a flush lists the snapshots before
/// it has fixed its inputs.
#[test]
fn a_flush_keeps_what_a_registered_snapshot_sees() {
    model(|| {
        let store = Store::new();
        store.put(0);
        let put = spawn(&store, |store| store.put(0));
        let flush = spawn(&store, |store| {
            store.seal();
            store.flush();
        });
        let pinned = store.0.pin_newest();
        // All are versions of one key, so the newest at or below the snapshot is the one with its number.
        let newest =
            |store: &Store| store.0.state().shard(0).into_iter().filter(|s| *s <= pinned.seqno()).max();
        assert_eq!(newest(&store), Some(pinned.seqno()), "seen at once");
        put.join().unwrap();
        flush.join().unwrap();
        assert_eq!(newest(&store), Some(pinned.seqno()), "still there after the flush");
    });
}
