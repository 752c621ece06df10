//! The same operations on Terrace and on fjall give the same answers: gets, gets of many keys, scans from both ends,
//! prefixes, snapshots, batches, reopenings.
//!
//! `cargo test -p terrace-bench --features peer-fjall --test differential`; `TERRACE_SEEDS=n` runs that many seeds,
//! `TERRACE_SEED=n` one of them. What only one of the two has (expiry, tags, merges, range deletes) is not here; those
//! are compared with a model, and under different options with each other, in the crate `terrace-sim`.

#![cfg(feature = "peer-fjall")]

use std::path::Path;

use fjall::{Database, Guard, Keyspace, KeyspaceCreateOptions, Readable};
use terrace::{Compression, Db, Iter, Options};

const STEPS: u64 = 4_000;
/// Reopenings and flushes come once in so many steps.
const UPKEEP: u64 = 150;

/// splitmix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn key(&mut self) -> Vec<u8> {
        let n = self.below(400);
        match self.below(8) {
            0 => vec![n as u8 | 1],
            1 => vec![0xff; 1 + (n % 9) as usize],
            2 => format!("a long shared prefix of many keys/{n:04}/and a tail").into_bytes(),
            _ => format!("k{n:03}").into_bytes(),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        let len = if self.below(20) == 0 { self.below(20_000) } else { self.below(200) };
        let fill = self.next() as u8;
        (0..len).map(|i| fill.wrapping_add((i / 7) as u8)).collect()
    }

    fn range(&mut self) -> (Vec<u8>, Vec<u8>) {
        let (a, b) = (self.key(), self.key());
        (a.clone().min(b.clone()), a.max(b))
    }
}

type Entry = (Vec<u8>, Vec<u8>);

fn ours(iter: Iter, backwards: bool, limit: usize) -> Vec<Entry> {
    let entry = |entry: terrace::Result<(terrace::Slice, terrace::Slice)>| {
        let (key, value) = entry.unwrap();
        (key.to_vec(), value.to_vec())
    };
    if backwards {
        iter.rev().take(limit).map(entry).collect()
    } else {
        iter.take(limit).map(entry).collect()
    }
}

fn theirs(iter: impl DoubleEndedIterator<Item = Guard>, backwards: bool, limit: usize) -> Vec<Entry> {
    let entry = |guard: Guard| {
        let (key, value) = guard.into_inner().unwrap();
        (key.to_vec(), value.to_vec())
    };
    if backwards {
        iter.rev().take(limit).map(entry).collect()
    } else {
        iter.take(limit).map(entry).collect()
    }
}

/// Both stores, and two snapshots of the same moment.
struct Pair {
    ours: Db,
    theirs: (Database, Keyspace),
    moment: Option<(terrace::Snapshot, fjall::Snapshot)>,
}

impl Pair {
    fn open(dir: &Path, options: &Options) -> Self {
        let database = Database::builder(dir.join("theirs")).open().unwrap();
        let small = || KeyspaceCreateOptions::default().max_memtable_size(256 << 10);
        let keyspace = database.keyspace("default", small).unwrap();
        Self {
            ours: options.clone().open(dir.join("ours")).unwrap(),
            theirs: (database, keyspace),
            moment: None,
        }
    }

    fn step(&mut self, dice: &mut Dice) {
        let (database, keyspace) = &self.theirs;
        match dice.below(100) {
            0..=39 => {
                let (key, value) = (dice.key(), dice.value());
                self.ours.put(&key, &value).unwrap();
                keyspace.insert(&key[..], &value[..]).unwrap();
            }
            40..=49 => {
                let key = dice.key();
                self.ours.delete(&key).unwrap();
                keyspace.remove(&key[..]).unwrap();
            }
            50..=54 => {
                let (mut batch, mut other) = (self.ours.batch(), database.batch());
                for _ in 0..dice.below(20) {
                    let (key, value) = (dice.key(), dice.value());
                    batch.put(&key, &value);
                    other.insert(keyspace, &key[..], &value[..]);
                }
                batch.commit().unwrap();
                other.commit().unwrap();
            }
            55..=69 => {
                let key = dice.key();
                let found = self.ours.get(&key).unwrap().map(|value| value.to_vec());
                assert_eq!(found, keyspace.get(&key).unwrap().map(|value| value.to_vec()), "get {key:?}");
            }
            70..=76 => {
                let keys: Vec<_> = (0..dice.below(50)).map(|_| dice.key()).collect();
                let found = self.ours.multi_get(&keys).unwrap();
                let found: Vec<_> = found.into_iter().map(|value| value.map(|v| v.to_vec())).collect();
                let one = |key: &Vec<u8>| keyspace.get(key).unwrap().map(|value| value.to_vec());
                assert_eq!(found, keys.iter().map(one).collect::<Vec<_>>(), "multi_get {keys:?}");
            }
            77..=86 => {
                let ((low, high), back, limit) = (dice.range(), dice.below(2) == 1, dice.below(500) as usize);
                let found = ours(self.ours.range(&low[..]..&high[..]), back, limit);
                let expected = theirs(keyspace.range(low.clone()..high.clone()), back, limit);
                assert_eq!(found, expected, "range {low:?}..{high:?} {back}");
            }
            87..=90 => {
                let (mut prefix, back) = (dice.key(), dice.below(2) == 1);
                prefix.truncate(1 + dice.below(3) as usize);
                let found = ours(self.ours.prefix(&prefix), back, usize::MAX);
                assert_eq!(found, theirs(keyspace.prefix(&prefix), back, usize::MAX), "prefix {prefix:?}");
            }
            91..=92 => self.moment = Some((self.ours.snapshot(), database.snapshot())),
            _ => self.look_back(dice),
        }
    }

    fn look_back(&self, dice: &mut Dice) {
        let Some((ours_then, theirs_then)) = &self.moment else { return };
        let keyspace = &self.theirs.1;
        let (key, (low, high), back) = (dice.key(), dice.range(), dice.below(2) == 1);
        let found = ours_then.get(&key).unwrap().map(|value| value.to_vec());
        let expected = theirs_then.get(keyspace, &key).unwrap().map(|value| value.to_vec());
        assert_eq!(found, expected, "get {key:?} in a snapshot");
        let found = ours(ours_then.range(&low[..]..&high[..]), back, usize::MAX);
        let expected = theirs(theirs_then.range(keyspace, low.clone()..high.clone()), back, usize::MAX);
        assert_eq!(found, expected, "range {low:?}..{high:?} in a snapshot");
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn terrace_and_fjall_answer_alike() {
    let seeds = number("TERRACE_SEED").map_or(1..=number("TERRACE_SEEDS").unwrap_or(4), |seed| seed..=seed);
    for seed in seeds {
        println!("seed {seed}");
        let (dir, mut dice) = (tempfile::tempdir().unwrap(), Dice(seed));
        let options = Options::new()
            .memory_budget(16 << 20)
            .write_buffer(256 << 10)
            .shards([1, 16, 64][dice.below(3) as usize])
            .table_bytes(64 << 10)
            .block_bytes([512, 4096][dice.below(2) as usize])
            .compression([Compression::None, Compression::Lz4][dice.below(2) as usize]);
        let mut pair = Pair::open(dir.path(), &options);
        for _ in 0..STEPS {
            match dice.below(UPKEEP) {
                0 => {
                    pair.moment = None;
                    pair.ours.close().unwrap();
                    drop(pair);
                    pair = Pair::open(dir.path(), &options);
                }
                1 => {
                    pair.ours.compact_all().unwrap();
                    pair.theirs.1.rotate_memtable_and_wait().unwrap();
                }
                _ => pair.step(&mut dice),
            }
        }
        let all = ours(pair.ours.iter(), false, usize::MAX);
        assert_eq!(all, theirs(pair.theirs.1.iter(), false, usize::MAX), "seed {seed}: everything");
    }
}
