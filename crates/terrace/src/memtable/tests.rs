//! The memtable against a sorted map, and its promises to concurrent readers.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::{ChunkPool, MemEntry, Memtable, MemtableOptions, ShardWriter};
use crate::base::hash::shard_hash;
use crate::base::id::MAX_SEQNO;
use crate::base::{Cursor, EntryMeta, Kind, Seqno};

type Model = BTreeMap<(Vec<u8>, Reverse<Seqno>), (EntryMeta, Vec<u8>)>;
type Shown = (Vec<u8>, Seqno, EntryMeta, Vec<u8>);

/// A memtable, its writers and the map it must agree with.
struct Pair {
    memtable: Arc<Memtable>,
    writers: Vec<ShardWriter>,
    model: Model,
    last_seqno: Seqno,
    /// Hashes are masked with this: 0 makes all keys collide.
    hash_mask: u64,
}

impl Pair {
    fn new(shards: usize, hash_mask: u64) -> Self {
        let options = MemtableOptions { shards, chunk_bytes: 1024, expected_bytes: 0 };
        let (memtable, writers) = Memtable::new(&ChunkPool::new(1 << 20), &options);
        Self { memtable, writers, model: Model::new(), last_seqno: 0, hash_mask }
    }

    fn hash(&self, key: &[u8]) -> u64 {
        shard_hash(7, key) & self.hash_mask
    }

    fn insert(&mut self, key: &[u8], meta: EntryMeta, value: &[u8]) {
        self.last_seqno += 1;
        let hash = self.hash(key);
        let shard = self.memtable.shard_of(hash);
        self.writers[shard].insert(hash, key, self.last_seqno, meta, value);
        self.model.insert((key.to_vec(), Reverse(self.last_seqno)), (meta, value.to_vec()));
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.insert(key, EntryMeta::PUT, value);
    }

    fn check_get(&self, key: &[u8], at: Seqno) {
        let from = (key.to_vec(), Reverse(at));
        let to = (key.to_vec(), Reverse(0));
        let expected = self.model.range(from..=to).next().map(|((_, seqno), (meta, value))| MemEntry {
            seqno: seqno.0,
            meta: *meta,
            value,
        });
        assert_eq!(self.memtable.get(self.hash(key), key, at), expected);
        if at >= self.last_seqno {
            assert_eq!(self.memtable.newest(self.hash(key), key), expected.map(|entry| entry.seqno));
        }
    }

    fn visible(&self, at: Seqno) -> Vec<Shown> {
        let visible = self.model.iter().filter(|((_, seqno), _)| seqno.0 <= at);
        visible.map(|((key, seqno), (meta, value))| (key.clone(), seqno.0, *meta, value.clone())).collect()
    }
}

fn shown(cursor: &impl Cursor) -> Option<Shown> {
    cursor.valid().then(|| (cursor.key().to_vec(), cursor.seqno(), cursor.meta(), cursor.value().to_vec()))
}

fn drain(cursor: &mut impl Cursor) -> Vec<Shown> {
    let mut all = Vec::new();
    cursor.seek_to_first().unwrap();
    while let Some(entry) = shown(cursor) {
        all.push(entry);
        cursor.next().unwrap();
    }
    all
}

fn drain_backward(cursor: &mut impl Cursor) -> Vec<Shown> {
    let mut all = Vec::new();
    cursor.seek_to_last().unwrap();
    while let Some(entry) = shown(cursor) {
        all.push(entry);
        cursor.prev().unwrap();
    }
    all.reverse();
    all
}

#[derive(Clone, Debug)]
enum Step {
    Insert {
        key: Vec<u8>,
        meta: EntryMeta,
        value: Vec<u8>,
    },
    Get {
        key: Vec<u8>,
        back: u64,
    },
    Drain {
        back: u64,
    },
    /// Seek, then move by the signs of the bits.
    Seek {
        key: Vec<u8>,
        before: bool,
        back: u64,
        moves: u16,
    },
}

/// Few distinct keys, with shared prefixes, zero bytes, the empty key, and lengths around a head's.
fn any_key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255)], 0..4),
        (0u8..30).prop_map(|n| format!("\0user:{n:012}").into_bytes()),
        (0usize..20).prop_map(|n| vec![0; n]),
        proptest::collection::vec(0u8..3, 10..200),
    ]
}

fn any_meta() -> impl Strategy<Value = EntryMeta> {
    (any::<bool>(), 0u8..16, prop_oneof![Just(0u64), any::<u64>()]).prop_map(|(put, tag, expires_at_ms)| {
        EntryMeta { kind: if put { Kind::Put } else { Kind::Delete }, tag, expires_at_ms }
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    let value = prop_oneof![proptest::collection::vec(any::<u8>(), 0..40), Just(vec![9; 700])];
    prop_oneof![
        8 => (any_key(), any_meta(), value).prop_map(|(key, meta, value)| Step::Insert { key, meta, value }),
        3 => (any_key(), 0u64..20).prop_map(|(key, back)| Step::Get { key, back }),
        1 => (0u64..20).prop_map(|back| Step::Drain { back }),
        3 => (any_key(), any::<bool>(), 0u64..20, any::<u16>())
            .prop_map(|(key, before, back, moves)| Step::Seek { key, before, back, moves }),
    ]
}

/// Seeks in the memtable and in the sorted list of what is visible, and walks both the same way.
fn check_seek(pair: &Pair, key: &[u8], before: bool, at: Seqno, moves: u16) {
    let visible = pair.visible(at);
    let mut cursor = pair.memtable.cursor(at);
    let first_at = visible.partition_point(|entry| entry.0.as_slice() < key);
    let mut place = if before { first_at.checked_sub(1) } else { Some(first_at) };
    if before { cursor.seek_before(key) } else { cursor.seek(key) }.unwrap();
    for bit in 0..16 {
        let expected = place.and_then(|place| visible.get(place));
        assert_eq!(shown(&cursor).as_ref(), expected);
        if expected.is_none() {
            return;
        }
        if moves >> bit & 1 == 1 {
            place = place.map(|place| place + 1);
            cursor.next().unwrap();
        } else {
            place = place.and_then(|place| place.checked_sub(1));
            cursor.prev().unwrap();
        }
    }
}

fn run(pair: &mut Pair, steps: Vec<Step>) {
    for step in steps {
        let now = pair.last_seqno;
        match step {
            Step::Insert { key, meta, value } => pair.insert(&key, meta, &value),
            Step::Get { key, back } => pair.check_get(&key, now.saturating_sub(back)),
            Step::Drain { back } => {
                let at = now.saturating_sub(back);
                let mut cursor = pair.memtable.cursor(at);
                assert_eq!(drain(&mut cursor), pair.visible(at));
                assert_eq!(drain_backward(&mut cursor), pair.visible(at));
            }
            Step::Seek { key, before, back, moves } => {
                check_seek(pair, &key, before, now.saturating_sub(back), moves);
            }
        }
    }
    assert_eq!(drain(&mut pair.memtable.cursor(MAX_SEQNO)), pair.visible(MAX_SEQNO));
    assert_eq!(pair.memtable.entries(), pair.model.len());
    assert_eq!(pair.memtable.is_empty(), pair.model.is_empty());
    let seqnos = pair.model.keys().map(|(_, seqno)| seqno.0);
    assert_eq!(pair.memtable.min_seqno(), seqnos.clone().min());
    assert_eq!(pair.memtable.max_seqno(), seqnos.max());
}

/// Miri is a thousand times slower.
const CASES: u32 = if cfg!(miri) { 2 } else { 256 };
const STEPS: usize = if cfg!(miri) { 25 } else { 200 };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn behaves_like_a_sorted_map(shards in 0u32..4, steps in proptest::collection::vec(any_step(), 0..STEPS)) {
        run(&mut Pair::new(1 << shards, u64::MAX), steps);
    }

    #[test]
    fn colliding_hashes_change_nothing(steps in proptest::collection::vec(any_step(), 0..STEPS)) {
        run(&mut Pair::new(4, 0), steps.clone());
        // The same tag in every shard, then every tag in the last slots of the table.
        run(&mut Pair::new(4, 3), steps.clone());
        run(&mut Pair::new(4, 0x3 << 32), steps);
    }
}

/// A cheap generator, so that tests of many entries stay fast.
fn scramble(n: u64) -> u64 {
    let n = (n ^ 0x5851_f42d_4c95_7f2d).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (n ^ (n >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ (n >> 32)
}

#[test]
fn thousands_of_keys_survive_index_growth_and_uneven_scans() {
    let entries: u64 = if cfg!(miri) { 100 } else { 20_000 };
    let mut pair = Pair::new(4, u64::MAX);
    for n in 0..entries {
        let key = format!("\0user:{:010}", scramble(n) % 8_000);
        pair.put(key.as_bytes(), &n.to_le_bytes());
        if n.is_power_of_two() || n % 4_999 == 0 {
            assert_eq!(drain(&mut pair.memtable.cursor(MAX_SEQNO)), pair.visible(MAX_SEQNO));
        }
    }
    for n in 0..entries {
        pair.check_get(format!("\0user:{:010}", scramble(n) % 8_000).as_bytes(), MAX_SEQNO);
        pair.check_get(&scramble(n).to_le_bytes(), MAX_SEQNO);
    }
    assert_eq!(drain_backward(&mut pair.memtable.cursor(MAX_SEQNO)), pair.visible(MAX_SEQNO));
}

#[test]
fn alternating_puts_and_scans_keep_few_runs() {
    let mut pair = Pair::new(2, u64::MAX);
    for n in 0..if cfg!(miri) { 40 } else { 3_000 } {
        pair.put(&scramble(n).to_be_bytes(), b"");
        let view = pair.memtable.order.current(&pair.memtable);
        let lengths: Vec<usize> = view.runs().iter().map(|run| run.len()).collect();
        assert_eq!(lengths.iter().sum::<usize>() as u64, n + 1);
        assert!(lengths.len() <= 3, "{lengths:?}");
    }
    assert_eq!(drain(&mut pair.memtable.cursor(MAX_SEQNO)), pair.visible(MAX_SEQNO));
}

#[test]
fn keys_that_share_ever_shorter_prefixes_stay_sorted() {
    let mut pair = Pair::new(2, u64::MAX);
    for length in (0..if cfg!(miri) { 3 } else { 100 }).rev() {
        for n in 0..30u8 {
            let mut key = vec![b'p'; length];
            key.extend_from_slice(&[0; 9][..usize::from(n) % 10]);
            key.push(n % 5);
            pair.put(&key, &[n]);
        }
        if length % 9 == 0 {
            assert_eq!(drain(&mut pair.memtable.cursor(MAX_SEQNO)), pair.visible(MAX_SEQNO));
        }
    }
}

#[test]
fn a_cursor_does_not_see_what_is_inserted_later() {
    let mut pair = Pair::new(4, u64::MAX);
    pair.put(b"a", b"1");
    pair.put(b"c", b"1");
    let mut cursor = pair.memtable.cursor(MAX_SEQNO);
    let before = pair.visible(MAX_SEQNO);
    for n in 0..if cfg!(miri) { 20 } else { 200u8 } {
        pair.put(&[b'b', n], b"2");
        pair.put(b"a", b"2");
    }
    assert_eq!(drain(&mut cursor), before);
    assert_eq!(drain(&mut pair.memtable.cursor(2)), before);
}

#[test]
fn entries_larger_than_a_chunk_round_trip() {
    let mut pair = Pair::new(1, u64::MAX);
    let meta = EntryMeta { kind: Kind::Put, tag: 15, expires_at_ms: u64::MAX };
    for length in [0, 200, 256, 1_000, 16_381, 16_382, 16_383, 16_384, 70_000] {
        pair.insert(format!("value {length}").as_bytes(), meta, &vec![7; length]);
        pair.insert(&vec![b'k'; length.min(65_540)], EntryMeta::PUT, b"small");
        pair.put(b"between", b"x");
    }
    assert_eq!(drain(&mut pair.memtable.cursor(MAX_SEQNO)), pair.visible(MAX_SEQNO));
    pair.check_get(b"value 16383", MAX_SEQNO);
}

#[test]
fn long_values_round_trip_inside_a_large_chunk() {
    let options = MemtableOptions { shards: 1, chunk_bytes: 1 << 18, expected_bytes: 0 };
    let (memtable, mut writers) = Memtable::new(&ChunkPool::new(0), &options);
    let meta = EntryMeta { kind: Kind::Put, tag: 3, expires_at_ms: 5 };
    for (seqno, length) in (1..).zip([16_381usize, 16_382, 16_383, 16_384, 65_000]) {
        let key = (length as u32).to_be_bytes();
        writers[0].insert(seqno << 32, &key, seqno, meta, &vec![seqno as u8; length]);
        let value = vec![seqno as u8; length];
        let expected = MemEntry { seqno, meta, value: &value };
        assert_eq!(memtable.get(seqno << 32, &key, seqno), Some(expected));
    }
    assert_eq!(drain(&mut memtable.cursor(MAX_SEQNO)).len(), 5);
}

#[test]
fn split_keys_cut_into_even_ranges() {
    let mut pair = Pair::new(4, u64::MAX);
    assert!(pair.memtable.split_keys(4).is_empty());
    let quarter = if cfg!(miri) { 20 } else { 250 };
    for n in 0..4 * quarter as u64 {
        pair.put(&scramble(n).to_be_bytes(), b"v");
    }
    let keys: Vec<Vec<u8>> = pair.visible(MAX_SEQNO).into_iter().map(|entry| entry.0).collect();
    let cuts = pair.memtable.split_keys(4);
    let ranks: Vec<usize> = cuts.iter().map(|cut| keys.partition_point(|key| key < cut)).collect();
    assert_eq!(ranks, [quarter, 2 * quarter, 3 * quarter]);
}

#[test]
fn split_keys_never_repeat_a_key() {
    let mut pair = Pair::new(4, u64::MAX);
    (0..if cfg!(miri) { 20 } else { 100 }).for_each(|_| pair.put(b"one", b"v"));
    assert!(pair.memtable.split_keys(8).is_empty());
    pair.put(b"two", b"v");
    assert!(pair.memtable.split_keys(1_000).len() <= 1);
}

#[test]
#[cfg_attr(miri, ignore = "counts what a thousand entries take")]
fn memory_is_counted_and_chunks_go_back_to_the_pool() {
    let pool = ChunkPool::new(1 << 20);
    let options = MemtableOptions { shards: 4, chunk_bytes: 4096, expected_bytes: 1 << 16 };
    let (memtable, mut writers) = Memtable::new(&pool, &options);
    let empty_bytes = memtable.bytes();
    assert!(empty_bytes >= 4 * 4096 && memtable.is_empty());
    for seqno in 1..=1_000 {
        let hash = scramble(seqno) << 2; // Shard 0, spread over its index.
        writers[0].insert(hash, &seqno.to_be_bytes(), seqno, EntryMeta::PUT, &[0; 100]);
    }
    let full_bytes = memtable.bytes();
    assert!((130_000..300_000).contains(&(full_bytes - empty_bytes)), "{empty_bytes} {full_bytes}");
    drop(memtable.cursor(MAX_SEQNO));
    assert_eq!(memtable.bytes(), full_bytes + 16 * 1_000);
    drop(writers);
    assert_eq!(pool.pooled_bytes(), 0);
    drop(memtable);
    assert!(pool.pooled_bytes() >= 130_000);
    let pooled_bytes = pool.pooled_bytes();
    let again = Memtable::new(&pool, &options);
    assert_eq!(pool.pooled_bytes(), pooled_bytes - 4 * 4096);
    drop(again);
}

#[test]
#[should_panic(expected = "seqnos of a shard increase")]
fn a_seqno_that_goes_back_is_refused() {
    let mut pair = Pair::new(1, u64::MAX);
    pair.put(b"a", b"");
    pair.last_seqno = 0;
    pair.put(b"b", b"");
}

/// One writer per shard and readers of everything: a reader that has seen a seqno announced sees its
/// entry whole, at that seqno and in every later cursor.
#[test]
fn readers_see_whole_entries_while_every_shard_is_written() {
    const SHARDS: u64 = 2;
    let per_shard: u64 = if cfg!(miri) { 40 } else { 20_000 };
    let options = MemtableOptions { shards: SHARDS as usize, chunk_bytes: 1024, expected_bytes: 0 };
    let (memtable, writers) = Memtable::new(&ChunkPool::new(1 << 16), &options);
    let done: Vec<AtomicU64> = (0..SHARDS).map(|_| AtomicU64::new(0)).collect();
    // Each key is written about ten times; the value tells key and seqno.
    let key_of = |shard: u64, n: u64| (scramble(n) % (per_shard / 10) * SHARDS + shard).to_be_bytes();
    let hash_of = |key: &[u8; 8]| {
        let shard = u64::from_be_bytes(*key) % SHARDS;
        shard_hash(1, key) & !(SHARDS - 1) | shard
    };
    std::thread::scope(|scope| {
        for (shard, mut writer) in (0..).zip(writers) {
            let done = &done;
            scope.spawn(move || {
                for n in 1..=per_shard {
                    let key = key_of(shard, n);
                    let value = [key, n.to_be_bytes()].concat();
                    writer.insert(hash_of(&key), &key, n, EntryMeta::PUT, &value);
                    done[shard as usize].store(n, Ordering::Release);
                }
            });
        }
        for reader in 0..2 {
            let (memtable, done) = (&memtable, &done);
            scope.spawn(move || {
                for round in 0.. {
                    let shard = (reader + round) % SHARDS;
                    let n = done[shard as usize].load(Ordering::Acquire);
                    if n == 0 {
                        std::thread::yield_now();
                        continue;
                    }
                    let key = key_of(shard, n);
                    let entry = memtable.get(hash_of(&key), &key, n).expect("an announced entry");
                    assert_eq!((entry.seqno, entry.value), (n, &[key, n.to_be_bytes()].concat()[..]));
                    assert!(memtable.newest(hash_of(&key), &key) >= Some(n));
                    if round % 512 == 0 {
                        check_cursor(&memtable.cursor(MAX_SEQNO), &key, n);
                        check_ascending(&mut memtable.cursor(MAX_SEQNO), n);
                    }
                    if n == per_shard {
                        break;
                    }
                }
            });
        }
    });
    assert_eq!(memtable.entries() as u64, SHARDS * per_shard);
    check_ascending(&mut memtable.cursor(MAX_SEQNO), SHARDS * per_shard);
}

fn check_cursor(cursor: &super::MemCursor, key: &[u8], seqno: Seqno) {
    let mut cursor = super::MemCursor::new(Arc::clone(&cursor.memtable), Arc::clone(&cursor.view), seqno);
    cursor.seek(key).unwrap();
    assert!(cursor.valid() && cursor.key() == key && cursor.seqno() == seqno);
}

fn check_ascending(cursor: &mut super::MemCursor, least_count: u64) {
    let mut count = 0;
    let mut last: Option<(Vec<u8>, Reverse<Seqno>)> = None;
    cursor.seek_to_first().unwrap();
    while cursor.valid() {
        assert_eq!(&cursor.value()[..8], cursor.key());
        assert_eq!(cursor.value()[8..], cursor.seqno().to_be_bytes());
        let this = (cursor.key().to_vec(), Reverse(cursor.seqno()));
        assert!(last.is_none_or(|last| last < this));
        last = Some(this);
        count += 1;
        cursor.next().unwrap();
    }
    assert!(count >= least_count);
}
