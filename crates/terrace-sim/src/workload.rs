//! Random operations over the whole API, applied to a store and to its model; every answer is compared.
//!
//! One seed is one run: keys, values, choices and options all come from one generator, and the clock is the
//! test's own. A failure prints the seed and the number of the step.

mod merge;
mod range_delete;
mod store_wide;
mod transaction;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use terrace::{
    Append, Clock, Compression, Db, Durability, Env, Error, Keyspace, ManualClock, Options, SeededRng,
    Snapshot,
};
use terrace::{Iter, Rng, WriteOptions};

use crate::model::{Cell, Model};

/// A store under test with its model.
pub struct Workload {
    seed: u64,
    rng: SeededRng,
    clock: Arc<ManualClock>,
    now_ms: u64,
    options: Options,
    dir: PathBuf,
    db: Db,
    model: Model,
    snapshots: Vec<(Snapshot, Model)>,
    step: u64,
}

type Step = Result<(), String>;

/// The manual clock, but for one thing: when the store sleeps (back-pressure, say), only monotonic time moves,
/// so that expiry depends on nothing but the operations.
#[derive(Debug)]
struct StillClock(Arc<ManualClock>);

impl Clock for StillClock {
    fn now_ms(&self) -> u64 {
        self.0.now_ms()
    }

    fn monotonic_ns(&self) -> u64 {
        self.0.monotonic_ns()
    }

    fn sleep(&self, _duration: Duration) {
        std::thread::yield_now();
    }
}

fn check<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Step {
    if found == expected { Ok(()) } else { Err(format!("{what}: found {found:?}, expected {expected:?}")) }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn show(error: Error) -> String {
    format!("unexpected error: {error}")
}

impl Workload {
    /// Opens a store in `dir` of the file system of `env`, whose clock is replaced by a manual one. Options
    /// are drawn from the seed.
    pub fn new(mut env: Env, dir: PathBuf, seed: u64) -> Result<Self, String> {
        let rng = SeededRng::new(seed);
        let clock = Arc::new(ManualClock::default());
        env.clock = Arc::new(StillClock(Arc::clone(&clock)));
        let options = random_options(&rng).env(env);
        let db = options.clone().open(&dir).map_err(show)?;
        let now_ms = clock.now_ms();
        let model = Model::new();
        Ok(Self { seed, rng, clock, now_ms, options, dir, db, model, snapshots: Vec::new(), step: 0 })
    }

    /// Runs `steps` operations, then checks everything once more, also after a reopening.
    ///
    /// # Panics
    ///
    /// When an answer differs from the model's, with the seed and the step.
    pub fn run(mut self, steps: u64) {
        for _ in 0..steps {
            self.step += 1;
            let outcome = self.one();
            self.report(outcome);
        }
        let outcome = self.compare_all().and_then(|()| self.reopen()).and_then(|()| self.compare_all());
        self.report(outcome);
        self.snapshots.clear();
        let outcome = self.db.close().map_err(show);
        self.report(outcome);
    }

    fn report(&self, outcome: Step) {
        if let Err(detail) = outcome {
            panic!("seed {}, step {}: {detail}\noptions: {:?}", self.seed, self.step, self.options);
        }
    }

    fn one(&mut self) -> Step {
        match self.rng.below(1000) {
            0..=259 => self.put(),
            260..=299 => self.merge(),
            300..=359 => self.delete(),
            360..=379 => self.delete_range(),
            380..=459 => self.batch(),
            460..=599 => self.get(),
            600..=639 => self.multi_get(),
            640..=729 => self.scan(),
            730..=769 => self.increment(),
            770..=799 => self.update(),
            800..=814 => self.conditional(),
            815..=829 => self.transaction(),
            830..=859 => {
                self.snapshot();
                Ok(())
            }
            860..=899 => self.read_snapshot(),
            900..=919 => self.move_clock(),
            920..=934 => self.db.flush().map_err(show),
            935..=944 => self.compact(),
            945..=954 => self.db.sync().map_err(show),
            955..=974 => self.keyspaces(),
            975..=984 => self.bad_input(),
            985..=989 => self.compare_all(),
            990..=994 => self.statistics(),
            _ => self.reopen(),
        }
    }

    fn key(&self) -> Vec<u8> {
        // Few keys, so that they meet again; some short, some long, some with bytes that need care.
        let n = self.rng.below(120);
        match self.rng.below(10) {
            0 => vec![n as u8],
            1 => vec![0xff; 1 + (n % 12) as usize],
            2 => format!("a long shared prefix of many keys/{n:04}/and a tail").into_bytes(),
            _ => format!("k{n:03}").into_bytes(),
        }
    }

    fn value(&self) -> Vec<u8> {
        let len = match self.rng.below(20) {
            0 => 0,
            1 => self.rng.below(20_000),
            2 => 130 + self.rng.below(900),
            _ => self.rng.below(120),
        };
        let fill = self.rng.next_u64() as u8;
        (0..len).map(|i| fill.wrapping_add((i / 7) as u8)).collect()
    }

    fn keyspace(&self) -> (String, Keyspace) {
        let names = self.db.keyspaces();
        let name = names[self.rng.below(names.len() as u64) as usize].clone();
        let keyspace = self.db.find_keyspace(&name).expect("a listed keyspace exists");
        (name, keyspace)
    }

    fn write_options(&self) -> (WriteOptions, u8, u64) {
        let mut options = WriteOptions::new();
        let tag = if self.rng.chance(20) { self.rng.below(16) as u8 } else { 0 };
        options = options.tag(tag);
        let mut expires_at_ms = 0;
        if self.rng.chance(20) {
            let ttl_ms = 1 + self.rng.below(5_000);
            expires_at_ms = self.now_ms + ttl_ms;
            options = options.ttl(Duration::from_millis(ttl_ms));
        }
        if self.rng.chance(5) {
            options = options.durability(Durability::Sync);
        }
        (options, tag, expires_at_ms)
    }

    fn put(&mut self) -> Step {
        let (name, keyspace) = self.keyspace();
        let (key, value) = (self.key(), self.value());
        let (options, tag, expires_at_ms) = self.write_options();
        keyspace.put_with(&key, &value, options).map_err(show)?;
        self.model.set(&name, &key, Some(Cell { value, tag, expires_at_ms }));
        Ok(())
    }

    fn delete(&mut self) -> Step {
        let (name, keyspace) = self.keyspace();
        let key = self.key();
        keyspace.delete(&key).map_err(show)?;
        self.model.set(&name, &key, None);
        Ok(())
    }

    fn batch(&mut self) -> Step {
        let mut batch = self.db.batch();
        let mut after = self.model.clone();
        for _ in 0..=self.rng.below(30) {
            let (name, keyspace) = self.keyspace();
            let key = self.key();
            if self.rng.chance(3) {
                self.delete_range_in_batch(&mut batch, &mut after);
            } else if self.rng.chance(10) {
                self.merge_in_batch(&mut batch, &mut after);
            } else if self.rng.chance(25) {
                batch.delete_in(&keyspace, &key);
                after.set(&name, &key, None);
            } else {
                let value = self.value();
                let (options, tag, expires_at_ms) = self.write_options();
                batch.put_in(&keyspace, &key, &value, options);
                after.set(&name, &key, Some(Cell { value, tag, expires_at_ms }));
            }
        }
        batch.commit().map_err(show)?;
        self.model = after;
        Ok(())
    }

    fn get(&mut self) -> Step {
        let (name, keyspace) = self.keyspace();
        let key = self.key();
        let found = keyspace.get_entry(&key).map_err(show)?.map(|entry| to_cell(&entry));
        let expected = self.model.get(&name, &key, self.now_ms).cloned();
        check(&format!("get {key:?} in {name}"), &found, &expected)?;
        check("contains", &keyspace.contains(&key).map_err(show)?, &expected.is_some())
    }

    fn multi_get(&mut self) -> Step {
        let (name, keyspace) = self.keyspace();
        let keys: Vec<Vec<u8>> = (0..self.rng.below(70)).map(|_| self.key()).collect();
        let found = keyspace.multi_get(&keys).map_err(show)?;
        let found: Vec<Option<Vec<u8>>> = found.into_iter().map(|v| v.map(|v| v.to_vec())).collect();
        let model = |key: &Vec<u8>| self.model.get(&name, key, self.now_ms).map(|cell| cell.value.clone());
        check("multi_get", &found, &keys.iter().map(model).collect())
    }

    fn scan(&mut self) -> Step {
        let (name, keyspace) = self.keyspace();
        if self.rng.chance(30) {
            let key = self.key();
            let prefix = key[..=self.rng.below(key.len() as u64) as usize].to_vec();
            let expected = self.model.range(&name, &prefix, None, self.now_ms);
            let expected = expected.into_iter().filter(|(key, _)| key.starts_with(&prefix)).collect();
            return self.compare_iter(keyspace.prefix(&prefix), expected, "prefix");
        }
        let (mut low, mut high) = (self.key(), self.key());
        if low > high {
            std::mem::swap(&mut low, &mut high);
        }
        let expected = self.model.range(&name, &low, Some(&high), self.now_ms);
        self.compare_iter(keyspace.range(low..high), expected, "range")
    }

    /// Consumes an iterator from a random mix of its ends, with seeks, and compares each answer.
    fn compare_iter(&self, mut iter: Iter, expected: Vec<(Vec<u8>, Cell)>, what: &str) -> Step {
        let mut expected: std::collections::VecDeque<_> = expected.into();
        let from_front = self.rng.below(101);
        let seeks = self.rng.chance(20);
        loop {
            if seeks && self.rng.chance(20) {
                let key = self.key();
                iter.seek(&key);
                while expected.front().is_some_and(|(front, _)| *front < key) {
                    expected.pop_front();
                }
            }
            let (found, wanted) = if self.rng.chance(from_front) {
                (iter.next_entry(), expected.pop_front())
            } else {
                (iter.next_back_entry(), expected.pop_back())
            };
            let found = found.transpose().map_err(show)?;
            let found = found.map(|(key, entry)| (key.to_vec(), to_cell(&entry)));
            check(what, &found, &wanted)?;
            if found.is_none() {
                return Ok(());
            }
        }
    }

    fn increment(&mut self) -> Step {
        let (name, keyspace) = self.keyspace();
        let key = self.key();
        let delta = if self.rng.chance(5) { i64::MAX } else { self.rng.below(100) as i64 - 50 };
        let old = self.model.get(&name, &key, self.now_ms).cloned();
        let number = match &old {
            None => Some(0),
            Some(cell) => std::str::from_utf8(&cell.value).ok().and_then(|text| text.parse::<i64>().ok()),
        };
        let sum = number.and_then(|number| number.checked_add(delta));
        match (keyspace.increment(&key, delta), sum) {
            (Ok(found), Some(sum)) => {
                check("increment", &found, &sum)?;
                let (tag, expires_at_ms) = old.map_or((0, 0), |cell| (cell.tag, cell.expires_at_ms));
                let value = sum.to_string().into_bytes();
                self.model.set(&name, &key, Some(Cell { value, tag, expires_at_ms }));
                Ok(())
            }
            (Err(Error::NotAnInteger(_)), None) => Ok(()),
            (found, expected) => Err(format!("increment: found {found:?}, expected {expected:?}")),
        }
    }

    fn update(&mut self) -> Step {
        let (name, keyspace) = self.keyspace();
        let key = self.key();
        let old = self.model.get(&name, &key, self.now_ms).cloned();
        let delete = self.rng.chance(20);
        let change = |old: Option<&[u8]>| {
            let mut value = old.map(<[u8]>::to_vec).unwrap_or_default();
            value.truncate(40);
            value.push(b'+');
            (!delete).then_some(value)
        };
        let found = keyspace.update(&key, change).map_err(show)?.map(|v| v.to_vec());
        let expected = change(old.as_ref().map(|cell| &cell.value[..]));
        check("update", &found, &expected)?;
        let (tag, expires_at_ms) = old.map_or((0, 0), |cell| (cell.tag, cell.expires_at_ms));
        self.model.set(&name, &key, expected.map(|value| Cell { value, tag, expires_at_ms }));
        Ok(())
    }

    fn conditional(&mut self) -> Step {
        // A flush between read and commit may refuse a commit that nothing disturbed, but not time and again.
        let mut refused = 0;
        while !self.conditional_once()? {
            refused += 1;
            check("refused too often", &(refused < 10), &true)?;
        }
        Ok(())
    }

    fn conditional_once(&mut self) -> Result<bool, String> {
        let (name, keyspace) = self.keyspace();
        let (read, written, value) = (self.key(), self.key(), self.value());
        let (entry, stamp) = keyspace.read(&read).map_err(show)?;
        check("read", &entry.map(|e| to_cell(&e)), &self.model.get(&name, &read, self.now_ms).cloned())?;
        let disturbed = self.rng.chance(40);
        if disturbed && self.rng.chance(20) {
            keyspace.delete_range(&read[..]..=&read[..]).map_err(show)?;
            self.model.set(&name, &read, None);
        } else if disturbed {
            keyspace.put(&read, "disturbed").map_err(show)?;
            let cell = Cell { value: b"disturbed".to_vec(), tag: 0, expires_at_ms: 0 };
            self.model.set(&name, &read, Some(cell));
        }
        let mut batch = self.db.batch();
        batch.expect_in(&keyspace, &read, stamp);
        batch.put_in(&keyspace, &written, &value, WriteOptions::new());
        match batch.commit() {
            Ok(_) if !disturbed => {
                self.model.set(&name, &written, Some(Cell { value, tag: 0, expires_at_ms: 0 }));
                Ok(true)
            }
            Err(Error::Conflict) => Ok(disturbed),
            found => Err(format!("conditional commit: found {found:?}, disturbed: {disturbed}")),
        }
    }

    fn snapshot(&mut self) {
        if self.snapshots.len() >= 4 {
            let at = self.rng.below(self.snapshots.len() as u64) as usize;
            self.snapshots.swap_remove(at);
        }
        self.snapshots.push((self.db.snapshot(), self.model.clone()));
    }

    fn read_snapshot(&mut self) -> Step {
        if self.snapshots.is_empty() {
            return Ok(());
        }
        let at = self.rng.below(self.snapshots.len() as u64) as usize;
        let keys: Vec<Vec<u8>> = (0..self.rng.below(40)).map(|_| self.key()).collect();
        let (name, keyspace) = self.keyspace();
        let (snapshot, model) = &self.snapshots[at];
        let key = self.key();
        let found = snapshot.get_in(&keyspace, &key).map_err(show)?.map(|entry| to_cell(&entry));
        check("get in snapshot", &found, &model.get(&name, &key, self.now_ms).cloned())?;
        let found = snapshot.multi_get_in(&keyspace, &keys).map_err(show)?;
        let found: Vec<Option<Cell>> = found.iter().map(|entry| entry.as_ref().map(to_cell)).collect();
        let expected = keys.iter().map(|key| model.get(&name, key, self.now_ms).cloned()).collect();
        check("multi_get in snapshot", &found, &expected)?;
        let expected = model.range(&name, &key, None, self.now_ms);
        self.compare_iter(snapshot.range_in(&keyspace, key..), expected, "range in snapshot")
    }

    fn move_clock(&mut self) -> Step {
        if self.rng.chance(80) {
            self.clock.advance(Duration::from_millis(self.rng.below(3_000)));
        } else {
            // A clock that jumps back revives nothing: make the store look at the time first.
            self.db.put_with("clock", "", WriteOptions::new().ttl(Duration::from_millis(1))).map_err(show)?;
            let expires_at_ms = self.now_ms + 1;
            self.model.set("default", b"clock", Some(Cell { value: Vec::new(), tag: 0, expires_at_ms }));
            self.clock.set_wall_ms(self.now_ms - self.rng.below(2_000));
        }
        self.now_ms = self.now_ms.max(self.clock.now_ms());
        // The store, too, notices the time when it is asked to judge by it.
        self.db.put_with("clock", "", WriteOptions::new().ttl(Duration::from_millis(1))).map_err(show)?;
        let expires_at_ms = self.now_ms + 1;
        self.model.set("default", b"clock", Some(Cell { value: Vec::new(), tag: 0, expires_at_ms }));
        Ok(())
    }

    fn reopen(&mut self) -> Step {
        self.snapshots.clear();
        self.db.close().map_err(show)?;
        check("closed", &matches!(self.db.get("k"), Err(Error::Closed)), &true)?;
        self.db = self.options.clone().open(&self.dir).map_err(show)?;
        Ok(())
    }

    fn compare_all(&mut self) -> Step {
        for (name, _) in self.model.keyspaces.clone() {
            let keyspace =
                self.db.find_keyspace(&name).ok_or_else(|| format!("keyspace {name} is missing"))?;
            let expected = self.model.range(&name, b"", None, self.now_ms);
            self.compare_iter(keyspace.iter(), expected, "everything")?;
        }
        Ok(())
    }
}

fn to_cell(entry: &terrace::Entry) -> Cell {
    Cell { value: entry.value.to_vec(), tag: entry.tag, expires_at_ms: entry.expires_at_ms.unwrap_or(0) }
}

fn random_options(rng: &SeededRng) -> Options {
    let pick = |choices: &[u64]| choices[rng.below(choices.len() as u64) as usize];
    let durability = match rng.below(4) {
        0 => Durability::Memory,
        1 => Durability::Interval(Duration::from_millis(50)),
        2 => Durability::Sync,
        _ => Durability::Process,
    };
    let l0_runs = pick(&[1, 2, 4]) as usize;
    Options::new()
        .memory_budget(pick(&[4 << 20, 64 << 20]))
        .write_buffer(pick(&[256 << 10, 512 << 10, 1 << 20]))
        .shards(pick(&[1, 2, 16, 64]) as usize)
        .durability(durability)
        .block_bytes(pick(&[512, 4096, 8192]) as usize)
        .table_bytes(pick(&[64 << 10, 1 << 20, 32 << 20]))
        .filter_bits_per_key(pick(&[0, 4, 10]) as u8)
        .compression(if rng.chance(50) { Compression::Lz4 } else { Compression::None })
        .compression_from_level(rng.below(4) as usize)
        .level_ratio(pick(&[2, 4, 10]) as u32)
        .l0_runs(l0_runs)
        .l0_limit(l0_runs + 1 + rng.below(20) as usize)
        .background_compaction(rng.chance(80))
        .map_tables(rng.chance(30))
        .merge_operator(Append)
}
