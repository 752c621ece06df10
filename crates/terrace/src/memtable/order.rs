//! `Order`: sorted views of a memtable, made when somebody asks.
//!
//! A `View` is immutable: a few sorted runs over all shards, and for every shard the place up to which they
//! cover it. A cursor keeps its view, so what is written later does not disturb it. Whoever finds the
//! newest view behind the writers walks the new ends of the arenas, sorts them into a run, and publishes
//! a longer view. That happens under a mutex which writers never take.
//!
//! Runs shrink by a factor of at least `RATIO`: a new run that is not that much smaller than the one before
//! is merged into it. So with n entries a cursor has at most log16(n / 64) + 2 runs to merge, and however puts
//! and scans alternate an entry is copied about 16 times in each of log16(n / 64) runs and up to 64 times
//! in the shortest (16 bytes each time, mostly in blocks). One order for all shards rather than one each: a
//! short scan then searches three or four runs instead of that many for every shard.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::Memtable;
use super::shard::Shard;
use super::sort::{Item, Keys, common_prefix, sort};
use crate::base::key::head;
use crate::base::sync::Ordering;

/// How many times longer a run must be than the next.
const RATIO: usize = 16;
/// Runs shorter than this count as one that long, so that the shortest ones do not pile up.
const SHORT_RUN: usize = 64;
/// Longer shared prefixes than this are not worth finding.
const MAX_PREFIX_BYTES: usize = 64;
/// How often the heads may be computed anew because a key without the shared prefix came, before the
/// prefix is given up.
const MAX_REBASES: u32 = 4;

/// A sorted sequence of items.
pub(super) type Run = Arc<Vec<Item>>;

/// An immutable ordered view of a memtable.
pub(super) struct View {
    /// What every key in the view starts with; heads are the eight bytes after it.
    prefix: Vec<u8>,
    rebases: u32,
    /// Longest first. Together they hold every entry up to `ends`, each once.
    runs: Vec<Run>,
    /// One place per shard.
    ends: Vec<u32>,
}

/// The newest view and the right to make the next.
pub(super) struct Order {
    newest: ArcSwap<View>,
    extending: Mutex<()>,
}

impl Order {
    /// The order of an empty memtable.
    pub(super) fn new(shards: usize) -> Self {
        let view =
            View { prefix: Vec::new(), rebases: 0, runs: Vec::new(), ends: vec![Shard::START; shards] };
        Self { newest: ArcSwap::from_pointee(view), extending: Mutex::new(()) }
    }

    /// A view of everything published before this call.
    pub(super) fn current(&self, memtable: &Memtable) -> Arc<View> {
        let view = self.newest.load_full();
        if view.covers(&memtable.shards) {
            return view;
        }
        let _extending = self.extending.lock();
        let view = self.newest.load_full();
        if view.covers(&memtable.shards) {
            return view;
        }
        let longer = Arc::new(view.extended(&memtable.shards));
        self.newest.store(Arc::clone(&longer));
        memtable.add_bytes(longer.bytes());
        memtable.bytes.fetch_sub(view.bytes(), Ordering::Relaxed);
        longer
    }
}

impl View {
    /// The runs, longest first.
    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The number of items in `run` (one of this view's) whose key is before `key`.
    pub(super) fn rank(&self, keys: Keys<'_>, run: &[Item], key: &[u8]) -> usize {
        let shared = common_prefix(&self.prefix, key);
        if shared < self.prefix.len() {
            // The key leaves the prefix, so it is on one side of everything.
            let after = key.get(shared).is_some_and(|byte| *byte > self.prefix[shared]);
            return if after { run.len() } else { 0 };
        }
        let wanted = head(&key[shared..]);
        run.partition_point(|item| item.head < wanted || (item.head == wanted && keys.key(item) < key))
    }

    /// See `Memtable::split_keys`.
    pub(super) fn split_keys(&self, shards: &[Shard], ranges: usize) -> Vec<Vec<u8>> {
        let Some(longest) = self.runs.first() else { return Vec::new() };
        let keys = Keys(shards);
        let mut found: Vec<Vec<u8>> = Vec::new();
        for range in 1..ranges {
            let key = keys.key(&longest[range * longest.len() / ranges]);
            let previous = found.last().map_or_else(|| keys.key(&longest[0]), Vec::as_slice);
            if key > previous {
                found.push(key.to_vec());
            }
        }
        found
    }

    fn covers(&self, shards: &[Shard]) -> bool {
        shards.iter().zip(&self.ends).all(|(shard, end)| shard.end() == *end)
    }

    fn bytes(&self) -> usize {
        self.runs.iter().map(|run| run.len() * size_of::<Item>()).sum()
    }

    /// A view that also covers what has been published since.
    fn extended(&self, shards: &[Shard]) -> Self {
        let keys = Keys(shards);
        let ends: Vec<u32> = shards.iter().map(Shard::end).collect();
        let mut batch = Batch { items: Vec::new(), prefix: None, stale: 0 };
        if !self.runs.is_empty() {
            batch.prefix = Some(self.prefix.clone());
        }
        for (number, shard) in shards.iter().enumerate() {
            shard.walk(self.ends[number], ends[number], |offset, key| {
                let head = batch.head_of(key);
                batch.items.push(Item { head, offset, shard: number as u16 });
            });
        }
        let mut prefix = batch.prefix.unwrap_or_default();
        let mut runs = self.runs.clone();
        let mut rebases = self.rebases;
        if !runs.is_empty() && prefix.len() < self.prefix.len() {
            rebases += 1;
            if rebases > MAX_REBASES {
                prefix.clear();
                batch.stale = batch.items.len();
            }
            for run in &mut runs {
                let mut items = run.to_vec();
                rebase(keys, &mut items, prefix.len());
                *run = Arc::new(items);
            }
        }
        rebase(keys, &mut batch.items[..batch.stale], prefix.len());
        sort(keys, &mut batch.items, prefix.len());
        push_run(keys, &mut runs, batch.items);
        Self { prefix, rebases, runs, ends }
    }
}

/// New items while they are collected.
struct Batch {
    items: Vec<Item>,
    /// What all keys so far share; `None` before the first.
    prefix: Option<Vec<u8>>,
    /// The items before this have heads after a prefix that turned out too long.
    stale: usize,
}

impl Batch {
    /// The head of the next key, whose item must be pushed next.
    #[inline]
    fn head_of(&mut self, key: &[u8]) -> u64 {
        let prefix = self.prefix.get_or_insert_with(|| key[..key.len().min(MAX_PREFIX_BYTES)].to_vec());
        let shared = common_prefix(prefix, key);
        if shared < prefix.len() {
            prefix.truncate(shared);
            self.stale = self.items.len();
        }
        head(&key[prefix.len()..])
    }
}

/// Computes heads after a prefix of `skip` bytes.
fn rebase(keys: Keys<'_>, items: &mut [Item], skip: usize) {
    for item in items {
        item.head = head(&keys.key(item)[skip..]);
    }
}

/// Adds a sorted run and restores the ratio between neighbours.
fn push_run(keys: Keys<'_>, runs: &mut Vec<Run>, items: Vec<Item>) {
    let mut last = items;
    while let Some(previous) =
        runs.pop_if(|previous| previous.len() < RATIO * last.len().max(SHORT_RUN / RATIO))
    {
        last = merge(keys, &previous, &last);
    }
    runs.push(Arc::new(last));
}

/// Merges a run with a (usually much) shorter one: what lies between two items of the shorter is found by
/// a search and copied as a block.
fn merge(keys: Keys<'_>, long: &[Item], short: &[Item]) -> Vec<Item> {
    let (long, short) = if long.len() < short.len() { (short, long) } else { (long, short) };
    let mut merged = Vec::with_capacity(long.len() + short.len());
    let mut rest = long;
    for item in short {
        let (before, after) = rest.split_at(leading(rest, |other| keys.compare(other, item).is_lt()));
        merged.extend_from_slice(before);
        merged.push(*item);
        rest = after;
    }
    merged.extend_from_slice(rest);
    merged
}

/// The number of leading items for which `is_before` holds, found by doubling steps, then by halving.
fn leading(items: &[Item], is_before: impl Fn(&Item) -> bool) -> usize {
    let mut bound = 1;
    while bound <= items.len() && is_before(&items[bound - 1]) {
        bound *= 2;
    }
    let start = bound / 2;
    start + items[start..items.len().min(bound - 1).max(start)].partition_point(is_before)
}
