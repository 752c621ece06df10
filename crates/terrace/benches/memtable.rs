//! Compares the memtable with what it could have been: an eager B+tree per shard, locked standard maps,
//! and a concurrent skip list. Prints Markdown tables of CPU time per operation on one thread.
//!
//! `cargo bench -p terrace --bench memtable -- [entries]`. The memtable is private to the crate, so its
//! sources are compiled into this program. Thread CPU time is used so that other work on the machine matters
//! less; it still moves cache contents and clock speed.

#[allow(dead_code, unused_imports, unreachable_pub)]
#[path = "../src/base/mod.rs"]
mod base;
#[allow(dead_code, unused_imports, unreachable_pub)]
#[path = "../src/memtable/mod.rs"]
mod memtable;

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base::hash::shard_hash;
use base::id::MAX_SEQNO;
use base::key::head;
use base::{Cursor, EntryMeta};
use crossbeam_skiplist::SkipMap;
use memtable::{ChunkPool, Memtable, MemtableOptions, ShardWriter};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use rustix::time::{ClockId, clock_gettime};

const SHARDS: usize = 16;
const SEED: u64 = 42;
const VALUE: [u8; 100] = [7; 100];
const SCAN: usize = 10;
const ROUNDS: usize = 3;

type Key = [u8; 16];

/// Counts the bytes asked for, so that maps of boxes can be compared with arenas.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes every call on to the system's allocator.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A plain load and store: the program has one thread, and a locked add would be part of the figures.
        ALLOCATED.store(ALLOCATED.load(Ordering::Relaxed) + layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.store(ALLOCATED.load(Ordering::Relaxed) - layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What every candidate can do. `sum` results keep the work from being optimised away.
trait Candidate {
    fn put(&mut self, key: &Key, seqno: u64);
    fn get(&self, key: &Key) -> Option<u64>;
    /// Visits up to `limit` entries in order from `from`.
    fn scan(&self, from: &[u8], limit: usize) -> u64;
    /// The memory in use, where counting what was allocated would be wrong.
    fn bytes(&self) -> Option<usize> {
        None
    }
}

fn shard_of(key: &Key) -> (u64, usize) {
    let hash = shard_hash(SEED, key);
    (hash, hash as usize & (SHARDS - 1))
}

/// (a) This crate's memtable, each writer under its lock as in the store.
struct Hashed {
    memtable: Arc<Memtable>,
    writers: Vec<Mutex<ShardWriter>>,
}

impl Hashed {
    fn new(pool: &Arc<ChunkPool>, entries: usize) -> Self {
        let expected_bytes = entries * 144;
        let options = MemtableOptions { shards: SHARDS, chunk_bytes: 256 << 10, expected_bytes };
        let (memtable, writers) = Memtable::new(pool, &options);
        Self { memtable, writers: writers.into_iter().map(Mutex::new).collect() }
    }
}

impl Candidate for Hashed {
    fn put(&mut self, key: &Key, seqno: u64) {
        let (hash, shard) = shard_of(key);
        self.writers[shard].lock().insert(hash, key, seqno, EntryMeta::PUT, &VALUE);
    }

    fn get(&self, key: &Key) -> Option<u64> {
        let found = self.memtable.get(shard_hash(SEED, key), key, MAX_SEQNO)?;
        Some(found.seqno + u64::from(found.value[50]))
    }

    fn bytes(&self) -> Option<usize> {
        Some(self.memtable.bytes())
    }

    fn scan(&self, from: &[u8], limit: usize) -> u64 {
        let mut cursor = self.memtable.cursor(MAX_SEQNO);
        let mut sum = 0;
        cursor.seek(from).expect("memory");
        for _ in 0..limit {
            if !cursor.valid() {
                break;
            }
            sum += u64::from(cursor.key()[15]) + u64::from(cursor.value()[50]);
            cursor.next().expect("memory");
        }
        sum
    }
}

const FAN_OUT: usize = 32;

/// (b) A B+tree over an arena, kept in order by every insert. Entries: 8 bytes seqno, key, value.
struct Tree {
    arena: Vec<u8>,
    /// How many leading bytes all keys share; given, which favours this candidate.
    skip: usize,
    leaves: Vec<Node>,
    inner: Vec<Node>,
    root: u32,
    height: usize,
}

/// A leaf (`links` are entries) or an inner node (`links[i]` is the child from `heads[i]` on, whose first
/// key was that of entry `keys[i]`).
struct Node {
    len: usize,
    next: u32,
    heads: [u64; FAN_OUT],
    keys: [u32; FAN_OUT],
    links: [u32; FAN_OUT],
}

const NO_NODE: u32 = u32::MAX;

impl Node {
    fn new() -> Self {
        Self { len: 0, next: NO_NODE, heads: [0; FAN_OUT], keys: [0; FAN_OUT], links: [0; FAN_OUT] }
    }

    fn insert(&mut self, at: usize, item: (u64, u32, u32)) {
        let len = self.len;
        self.heads.copy_within(at..len, at + 1);
        self.keys.copy_within(at..len, at + 1);
        self.links.copy_within(at..len, at + 1);
        (self.heads[at], self.keys[at], self.links[at]) = item;
        self.len += 1;
    }

    fn split(&mut self) -> Self {
        let half = self.len / 2;
        let mut right = Self::new();
        right.len = self.len - half;
        right.heads[..right.len].copy_from_slice(&self.heads[half..self.len]);
        right.keys[..right.len].copy_from_slice(&self.keys[half..self.len]);
        right.links[..right.len].copy_from_slice(&self.links[half..self.len]);
        self.len = half;
        right
    }
}

impl Tree {
    fn new(entries: usize, skip: usize) -> Self {
        // Mapped before the inserts, as the pooled chunks of (a) are.
        let mut arena = vec![1; entries * 128];
        arena.clear();
        Self { arena, skip, leaves: vec![Node::new()], inner: Vec::new(), root: 0, height: 0 }
    }

    fn key_at(&self, entry: u32) -> &[u8] {
        &self.arena[entry as usize * 4 + 8..][..16]
    }

    /// The number of items of `node` before `key`; with `or_equal`, not after it.
    fn rank(&self, node: &Node, wanted: u64, key: &[u8], or_equal: bool) -> usize {
        let mut at = node.heads[..node.len].partition_point(|head| *head < wanted);
        while at < node.len && node.heads[at] == wanted {
            let other = self.key_at(node.keys[at]);
            if other > key || (other == key && !or_equal) {
                break;
            }
            at += 1;
        }
        at
    }

    fn leaf_of(&self, wanted: u64, key: &[u8], path: &mut Vec<(u32, usize)>) -> u32 {
        let mut node = self.root;
        for _ in 0..self.height {
            let inner = &self.inner[node as usize];
            let child = self.rank(inner, wanted, key, true).saturating_sub(1);
            path.push((node, child));
            node = inner.links[child];
        }
        node
    }

    fn put(&mut self, key: &Key, seqno: u64) {
        let entry = (self.arena.len() / 4) as u32;
        self.arena.extend_from_slice(&seqno.to_le_bytes());
        self.arena.extend_from_slice(key);
        self.arena.extend_from_slice(&VALUE);
        let wanted = head(&key[self.skip..]);
        let mut path = Vec::with_capacity(8);
        let leaf = self.leaf_of(wanted, key, &mut path) as usize;
        let at = self.rank(&self.leaves[leaf], wanted, key, false);
        self.leaves[leaf].insert(at, (wanted, entry, entry));
        if self.leaves[leaf].len < FAN_OUT {
            return;
        }
        let mut right = self.leaves[leaf].split();
        let number = self.leaves.len() as u32;
        right.next = std::mem::replace(&mut self.leaves[leaf].next, number);
        let mut up = (right.heads[0], right.keys[0], number);
        self.leaves.push(right);
        let mut left = leaf as u32;
        while let Some((node, child)) = path.pop() {
            let inner = &mut self.inner[node as usize];
            inner.insert(child + 1, up);
            if inner.len < FAN_OUT {
                return;
            }
            let right = inner.split();
            up = (right.heads[0], right.keys[0], self.inner.len() as u32);
            self.inner.push(right);
            left = node;
        }
        // The first item of the leftmost path is never compared with, its key does not matter.
        let mut root = Node::new();
        root.insert(0, (0, up.1, left));
        root.insert(1, up);
        self.root = self.inner.len() as u32;
        self.inner.push(root);
        self.height += 1;
    }

    fn get(&self, key: &Key) -> Option<u64> {
        let wanted = head(&key[self.skip..]);
        let mut path = Vec::new();
        let leaf = &self.leaves[self.leaf_of(wanted, key, &mut path) as usize];
        let at = self.rank(leaf, wanted, key, false);
        let entry = (at < leaf.len && leaf.heads[at] == wanted).then(|| leaf.keys[at])?;
        (self.key_at(entry) == key).then(|| u64::from(self.arena[entry as usize * 4 + 24 + 50]))
    }

    /// The leaf and place of the first entry not before `from`.
    fn seek(&self, from: &[u8]) -> TreePlace<'_> {
        let wanted = head(&from[from.len().min(self.skip)..]);
        let leaf = self.leaf_of(wanted, from, &mut Vec::new());
        let at = self.rank(&self.leaves[leaf as usize], wanted, from, false);
        let mut place = TreePlace { tree: self, leaf, at };
        place.settle();
        place
    }
}

struct TreePlace<'a> {
    tree: &'a Tree,
    leaf: u32,
    at: usize,
}

impl<'a> TreePlace<'a> {
    fn settle(&mut self) {
        while self.leaf != NO_NODE && self.at == self.tree.leaves[self.leaf as usize].len {
            (self.leaf, self.at) = (self.tree.leaves[self.leaf as usize].next, 0);
        }
    }

    fn peek(&self) -> Option<(u64, &'a [u8], u8)> {
        let leaf = self.tree.leaves.get(self.leaf as usize)?;
        let entry = leaf.keys[self.at] as usize * 4;
        Some((leaf.heads[self.at], &self.tree.arena[entry + 8..][..16], self.tree.arena[entry + 24 + 50]))
    }
}

struct Trees(Vec<RwLock<Tree>>);

impl Candidate for Trees {
    fn put(&mut self, key: &Key, seqno: u64) {
        self.0[shard_of(key).1].write().put(key, seqno);
    }

    fn get(&self, key: &Key) -> Option<u64> {
        self.0[shard_of(key).1].read().get(key)
    }

    fn bytes(&self) -> Option<usize> {
        let nodes = |tree: &Tree| (tree.leaves.len() + tree.inner.len()) * size_of::<Node>();
        Some(self.0.iter().map(RwLock::read).map(|tree| tree.arena.len() + nodes(&tree)).sum())
    }

    fn scan(&self, from: &[u8], limit: usize) -> u64 {
        let guards: Vec<RwLockReadGuard<'_, Tree>> = self.0.iter().map(RwLock::read).collect();
        let places: Vec<TreePlace<'_>> = guards.iter().map(|tree| tree.seek(from)).collect();
        let peeked = places.iter().map(TreePlace::peek).collect();
        merge_shards(places, peeked, limit, |place| {
            place.at += 1;
            place.settle();
            place.peek()
        })
    }
}

/// A binary heap of the shards' next entries (head, key, a byte of the value).
fn merge_shards<'a, S>(
    mut sources: Vec<S>,
    peeked: Vec<Option<(u64, &'a [u8], u8)>>,
    limit: usize,
    mut step: impl FnMut(&mut S) -> Option<(u64, &'a [u8], u8)>,
) -> u64 {
    use std::cmp::Reverse;
    let next = peeked.into_iter().enumerate();
    let next = next.filter_map(|(n, item)| item.map(|(head, key, byte)| Reverse((head, key, byte, n))));
    let mut heap: std::collections::BinaryHeap<_> = next.collect();
    let mut sum = 0;
    for _ in 0..limit {
        let Some(mut top) = heap.peek_mut() else { break };
        let Reverse((_, key, byte, source)) = *top;
        sum += u64::from(key[15]) + u64::from(byte);
        match step(&mut sources[source]) {
            Some((head, key, byte)) => *top = Reverse((head, key, byte, source)),
            None => drop(std::collections::binary_heap::PeekMut::pop(top)),
        }
    }
    sum
}

type Boxed = (u64, Box<[u8]>);

/// (c) Standard maps behind locks.
struct Maps(Vec<RwLock<BTreeMap<Box<[u8]>, Boxed>>>);

impl Candidate for Maps {
    fn put(&mut self, key: &Key, seqno: u64) {
        self.0[shard_of(key).1].write().insert(Box::from(&key[..]), (seqno, Box::from(&VALUE[..])));
    }

    fn get(&self, key: &Key) -> Option<u64> {
        let shard = self.0[shard_of(key).1].read();
        shard.get(&key[..]).map(|(seqno, value)| seqno + u64::from(value[50]))
    }

    fn scan(&self, from: &[u8], limit: usize) -> u64 {
        let guards: Vec<_> = self.0.iter().map(RwLock::read).collect();
        let bounds = (Bound::Included(from), Bound::Unbounded);
        let mut ranges: Vec<_> = guards.iter().map(|map| map.range::<[u8], _>(bounds)).collect();
        let peeked = ranges.iter_mut().map(|range| range.next().map(|(k, v)| peek_box(k, &v.1))).collect();
        merge_shards(ranges, peeked, limit, |range| range.next().map(|(k, v)| peek_box(k, &v.1)))
    }
}

fn peek_box<'a>(key: &'a [u8], value: &[u8]) -> (u64, &'a [u8], u8) {
    (head(key), key, value[50])
}

/// (d) One concurrent skip list.
struct Skip(SkipMap<Box<[u8]>, Boxed>);

impl Candidate for Skip {
    fn put(&mut self, key: &Key, seqno: u64) {
        self.0.insert(Box::from(&key[..]), (seqno, Box::from(&VALUE[..])));
    }

    fn get(&self, key: &Key) -> Option<u64> {
        self.0.get(&key[..]).map(|entry| entry.value().0 + u64::from(entry.value().1[50]))
    }

    fn scan(&self, from: &[u8], limit: usize) -> u64 {
        let range = self.0.range::<[u8], _>((Bound::Included(from), Bound::Unbounded));
        let byte = |key: &[u8], value: &[u8]| u64::from(key[15]) + u64::from(value[50]);
        range.take(limit).map(|entry| byte(entry.key(), &entry.value().1)).sum()
    }
}

fn cpu_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// CPU nanoseconds per operation of `work`, which does `operations`.
fn per_op(operations: usize, work: impl FnOnce() -> u64) -> f64 {
    let start = cpu_ns();
    black_box(work());
    (cpu_ns() - start) as f64 / operations as f64
}

fn scramble(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// Keys of one kind; numbers from `entries` on are not inserted by the first phase.
struct Workload {
    name: &'static str,
    skip: usize,
    key: fn(u64) -> Key,
    entries: usize,
}

fn random_key(n: u64) -> Key {
    let mut key = [0; 16];
    key[1..9].copy_from_slice(&scramble(n).to_be_bytes());
    key[9..].copy_from_slice(&scramble(!n).to_be_bytes()[..7]);
    key
}

fn user_key(n: u64) -> Key {
    let mut key = *b"\0user:0000000000";
    let mut digits = scramble(n) % 10_000_000_000;
    for byte in key[6..].iter_mut().rev() {
        *byte = b'0' + (digits % 10) as u8;
        digits /= 10;
    }
    key
}

const COLUMNS: [&str; 9] = [
    "insert",
    "get hit",
    "get miss",
    "get hit, warm batch",
    "first scan, per entry",
    "drain",
    "put, 100:1 scan",
    "put + scan, 1:1",
    "bytes",
];

/// All figures of one candidate, one round.
fn measure(make: &mut dyn FnMut() -> Box<dyn Candidate>, load: &Workload) -> [f64; 9] {
    let n = load.entries;
    let keys: Vec<Key> = (0..n as u64).map(load.key).collect();
    let missing: Vec<Key> = (n as u64..n as u64 + n as u64 / 2).map(load.key).collect();
    let before = ALLOCATED.load(Ordering::Relaxed);
    let mut candidate = make();
    let insert = per_op(n, || {
        for (seqno, key) in (1..).zip(&keys) {
            candidate.put(key, seqno);
        }
        0
    });
    let allocated = ALLOCATED.load(Ordering::Relaxed).saturating_sub(before);
    let bytes = candidate.bytes().unwrap_or(allocated) as f64 / n as f64;
    let order: Vec<usize> = (0..n as u64 / 2).map(|at| scramble(at + 1) as usize % n).collect();
    let hit =
        per_op(order.len(), || order.iter().map(|at| candidate.get(&keys[*at]).expect("inserted")).sum());
    let miss =
        per_op(missing.len(), || missing.iter().map(|key| u64::from(candidate.get(key).is_some())).sum());
    let few = &order[..1024];
    let warm = per_op(few.len() * 64, || {
        (0..64).map(|_| few.iter().map(|at| candidate.get(&keys[*at]).expect("inserted")).sum::<u64>()).sum()
    });
    let first = per_op(n, || candidate.scan(&keys[0], SCAN));
    let drain = per_op(n, || candidate.scan(&[], n));
    let mut seqno = n as u64;
    let mut alternate = |puts: &[Key], every: usize| {
        per_op(puts.len(), || {
            let mut sum = 0;
            for (at, key) in puts.iter().enumerate() {
                seqno += 1;
                candidate.put(key, seqno);
                if at % every == 0 {
                    sum += candidate.scan(&keys[scramble(seqno) as usize % n], SCAN);
                }
            }
            sum
        })
    };
    let (some, others) = missing.split_at(missing.len() * 4 / 5);
    let rare = alternate(some, 100);
    let each = alternate(others, 1);
    [insert, hit, miss, warm, first, drain, rare, each, bytes]
}

fn report(name: &str, load: &Workload, make: &mut dyn FnMut() -> Box<dyn Candidate>) {
    let rounds: Vec<[f64; 9]> = (0..ROUNDS).map(|_| measure(make, load)).collect();
    let median = |column: usize| {
        let mut values: Vec<f64> = rounds.iter().map(|round| round[column]).collect();
        values.sort_by(f64::total_cmp);
        format!("{:.0}", values[ROUNDS / 2])
    };
    let cells: Vec<String> = (0..COLUMNS.len()).map(median).collect();
    println!("| {name} | {} |", cells.join(" | "));
}

/// Staged reads of 32 keys at a time, which only the memtable offers.
fn batched_hit(load: &Workload) -> f64 {
    let n = load.entries;
    let mut hashed = Hashed::new(&ChunkPool::new(0), n);
    let keys: Vec<Key> = (0..n as u64).map(load.key).collect();
    for (seqno, key) in (1..).zip(&keys) {
        hashed.put(key, seqno);
    }
    let wanted: Vec<Key> = (0..n as u64 / 2).map(|at| keys[scramble(at + 1) as usize % n]).collect();
    per_op(wanted.len(), || {
        let mut sum = 0;
        for batch in wanted.chunks(32) {
            let hashes: Vec<u64> = batch.iter().map(|key| shard_hash(SEED, key)).collect();
            for hash in &hashes {
                hashed.memtable.prefetch(*hash);
            }
            for hash in &hashes {
                hashed.memtable.prefetch_entry(*hash);
            }
            for (hash, key) in hashes.iter().zip(batch) {
                sum += hashed.memtable.get(*hash, key, MAX_SEQNO).expect("inserted").seqno;
            }
        }
        sum
    })
}

fn main() {
    // `cargo bench` adds `--bench`; `cargo test --benches` adds nothing, and should be quick.
    let asked = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let benching = std::env::args().any(|argument| argument == "--bench");
    let entries = asked.unwrap_or(if benching { 500_000 } else { 5_000 });
    let pool = ChunkPool::new(1 << 30);
    let cold = ChunkPool::new(0);
    for load in [
        Workload { name: "random keys", skip: 1, key: random_key, entries },
        Workload { name: "keys `user:` + 10 digits", skip: 6, key: user_key, entries },
    ] {
        println!(
            "\n{}, {entries} entries of 16 + 100 bytes, {SHARDS} shards; CPU ns per operation\n",
            load.name
        );
        println!("| structure | {} |", COLUMNS.join(" | "));
        println!("|---|{}", "---:|".repeat(COLUMNS.len()));
        report("hash + order on demand, pooled", &load, &mut || Box::new(Hashed::new(&pool, entries)));
        report("hash + order on demand, fresh memory", &load, &mut || Box::new(Hashed::new(&cold, entries)));
        report("arena B+tree, u64 heads", &load, &mut || {
            let tree = || RwLock::new(Tree::new(entries * 8 / 5 / SHARDS, load.skip));
            Box::new(Trees((0..SHARDS).map(|_| tree()).collect()))
        });
        report("RwLock<BTreeMap>", &load, &mut || {
            Box::new(Maps((0..SHARDS).map(|_| RwLock::default()).collect()))
        });
        report("crossbeam SkipMap", &load, &mut || Box::new(Skip(SkipMap::new())));
        println!("\nget hit, staged batches of 32: {:.0}", batched_hit(&load));
    }
}
