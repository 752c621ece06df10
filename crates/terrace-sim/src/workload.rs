//! Random operations over the whole API, applied to a store and to its model; every answer is compared.
//!
//! One seed is one run: keys, values, choices and options all come from one generator, and the clock is the
//! test's own. A failure prints the seed and the number of the step.

mod merge;
mod options;
pub(crate) mod outage;
mod range_delete;
mod reads;
mod store_wide;
mod transaction;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use terrace::{Clock, Db, Durability, Env, Error, Keyspace, ManualClock, Options, SeededRng, Snapshot};
use terrace::{Rng, WriteOptions};

pub(crate) use self::options::random_options;
use crate::model::{Cell, Change, Model};

/// A store under test with its model.
pub struct Workload {
    seed: u64,
    rng: SeededRng,
    clock: Arc<ManualClock>,
    now_ms: u64,
    options: Options,
    durability: Durability,
    env: Env,
    dir: PathBuf,
    db: Db,
    model: Model,
    snapshots: Vec<(Snapshot, Model)>,
    step: u64,
    /// Kinds of steps that this seed leaves out, by their place among the choices.
    left_out: u64,
    /// What the store has acknowledged, write by write, and nobody has asked for yet.
    written: Vec<Vec<Change>>,
    /// All that was acknowledged is durable.
    settled: bool,
    /// The machine may fail, so background work may have.
    unreliable: bool,
    /// The moments of background work are chosen by the caller.
    holds_work: bool,
}

/// Choices lie this close together in `left_out`.
const CHOICES_PER_BIT: u64 = 20;
/// Choices below this are never left out, or nothing would happen.
const ALWAYS_CHOICES: u64 = 300;

/// Why a step came to nothing.
#[derive(Debug)]
pub enum Trouble {
    /// An answer is wrong.
    Wrong(String),
    /// The store could not do it. Right or wrong, as the circumstances are.
    Store(Error),
}

impl From<String> for Trouble {
    fn from(detail: String) -> Self {
        Self::Wrong(detail)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong(detail) => f.write_str(detail),
            Self::Store(error) => write!(f, "unexpected error: {error}"),
        }
    }
}

type Step = Result<(), Trouble>;

/// The manual clock, but for one thing: when the store sleeps (back-pressure, say), only monotonic time moves,
/// so that expiry depends on nothing but the operations.
#[derive(Debug)]
pub(crate) struct StillClock(Arc<ManualClock>);

impl StillClock {
    /// A view of `clock` under which nobody's sleep moves it.
    pub(crate) fn new(clock: &Arc<ManualClock>) -> Self {
        Self(Arc::clone(clock))
    }
}

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
    if found == expected { Ok(()) } else { wrong(format!("{what}: found {found:?}, expected {expected:?}")) }
}

fn wrong<T>(detail: String) -> Result<T, Trouble> {
    Err(Trouble::Wrong(detail))
}

fn show(error: Error) -> Trouble {
    Trouble::Store(error)
}

/// Whether an error can only come from below the store.
fn is_outage(error: &Error) -> bool {
    matches!(error, Error::Io { .. } | Error::Full { .. } | Error::Poisoned { .. })
}

impl Workload {
    /// Opens a store in `dir` of the file system of `env`, whose clock is replaced by a manual one. Options
    /// are drawn from the seed.
    pub fn new(mut env: Env, dir: PathBuf, seed: u64) -> Result<Self, String> {
        let rng = SeededRng::new(seed);
        let clock = Arc::new(ManualClock::default());
        env.clock = Arc::new(StillClock::new(&clock));
        let (options, durability) = random_options(&rng);
        let options = options.env(env.clone());
        let left_out = if rng.chance(60) { rng.next_u64() & rng.next_u64() } else { 0 };
        let db = options.clone().open(&dir).map_err(|error| format!("cannot open a new store: {error}"))?;
        let now_ms = clock.now_ms();
        Ok(Self {
            seed,
            rng,
            clock,
            now_ms,
            options,
            durability,
            env,
            dir,
            db,
            model: Model::new(),
            snapshots: Vec::new(),
            step: 0,
            left_out,
            written: Vec::new(),
            settled: false,
            unreliable: false,
            holds_work: false,
        })
    }

    /// Runs `steps` operations, then checks everything once more, also after a reopening.
    ///
    /// # Panics
    ///
    /// When an answer differs from the model's, with the seed and the step.
    pub fn run(mut self, steps: u64) {
        for number in 1..=steps {
            let outcome = self.step(number);
            self.report(outcome);
            self.written.clear();
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

    /// Does one step. What it does follows from the seed and its number, and from what the store holds; so steps
    /// can be left out when a failure is to be made smaller.
    pub(crate) fn step(&mut self, number: u64) -> Step {
        self.step = number;
        self.rng = SeededRng::new(SeededRng::new(self.seed ^ (number << 32)).next_u64());
        self.one()?;
        self.wrote();
        Ok(())
    }

    /// The store has acknowledged what the model was changed by since the last call: as one write, or as nothing.
    fn wrote(&mut self) {
        let changes = self.model.take_changes();
        if !changes.is_empty() {
            self.written.push(changes);
            self.settled = false;
        }
    }

    /// The store has said that everything so far survives a power loss.
    fn settle(&mut self) {
        self.wrote();
        self.settled = true;
    }

    fn choice(&self) -> u64 {
        let choice = self.rng.below(1000);
        let left_out = self.left_out >> (choice / CHOICES_PER_BIT) & 1 == 1;
        if choice >= ALWAYS_CHOICES && left_out { choice % ALWAYS_CHOICES } else { choice }
    }

    fn one(&mut self) -> Step {
        match self.choice() {
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
            920..=934 => self.flush(),
            935..=944 => self.compact(),
            945..=954 => self.sync(),
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
        self.model.set(&name, &key, Some(Cell { value: value.clone(), tag, expires_at_ms }));
        keyspace.put_with(&key, &value, options).map_err(show)
    }

    fn flush(&mut self) -> Step {
        self.db.flush().map_err(show)?;
        self.settle();
        Ok(())
    }

    fn sync(&mut self) -> Step {
        self.db.sync().map_err(show)?;
        self.settle();
        Ok(())
    }

    fn delete(&mut self) -> Step {
        let (name, keyspace) = self.keyspace();
        let key = self.key();
        self.model.set(&name, &key, None);
        keyspace.delete(&key).map_err(show)
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
        self.model = after;
        batch.commit().map_err(show).map(|_| ())
    }

    fn get(&mut self) -> Step {
        let (name, keyspace) = self.keyspace();
        let key = self.key();
        let found = keyspace.get_entry(&key).map_err(show)?.map(|entry| to_cell(&entry));
        let expected = self.model.get(&name, &key, self.now_ms).cloned();
        check(&format!("get {key:?} in {name}"), &found, &expected)?;
        check("contains", &keyspace.contains(&key).map_err(show)?, &expected.is_some())
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
        if let Some(sum) = sum {
            let (tag, expires_at_ms) = old.map_or((0, 0), |cell| (cell.tag, cell.expires_at_ms));
            let value = sum.to_string().into_bytes();
            self.model.set(&name, &key, Some(Cell { value, tag, expires_at_ms }));
        }
        match (keyspace.increment(&key, delta), sum) {
            (Ok(found), Some(sum)) => check("increment", &found, &sum),
            (Err(Error::NotAnInteger(_)), None) => Ok(()),
            (Err(error), _) if is_outage(&error) => Err(Trouble::Store(error)),
            (found, expected) => wrong(format!("increment: found {found:?}, expected {expected:?}")),
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
        let expected = change(old.as_ref().map(|cell| &cell.value[..]));
        let (tag, expires_at_ms) = old.map_or((0, 0), |cell| (cell.tag, cell.expires_at_ms));
        let cell = expected.clone().map(|value| Cell { value, tag, expires_at_ms });
        self.model.set(&name, &key, cell);
        let found = keyspace.update(&key, change).map_err(show)?.map(|v| v.to_vec());
        check("update", &found, &expected)
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

    fn conditional_once(&mut self) -> Result<bool, Trouble> {
        let (name, keyspace) = self.keyspace();
        let (read, written, value) = (self.key(), self.key(), self.value());
        let (entry, stamp) = keyspace.read(&read).map_err(show)?;
        check("read", &entry.map(|e| to_cell(&e)), &self.model.get(&name, &read, self.now_ms).cloned())?;
        let disturbed = self.rng.chance(40);
        if disturbed && self.rng.chance(20) {
            self.model.set(&name, &read, None);
            keyspace.delete_range(&read[..]..=&read[..]).map_err(show)?;
            self.wrote();
        } else if disturbed {
            let cell = Cell { value: b"disturbed".to_vec(), tag: 0, expires_at_ms: 0 };
            self.model.set(&name, &read, Some(cell));
            keyspace.put(&read, "disturbed").map_err(show)?;
            self.wrote();
        }
        let mut batch = self.db.batch();
        batch.expect_in(&keyspace, &read, stamp);
        batch.put_in(&keyspace, &written, &value, WriteOptions::new());
        let before = self.model.clone();
        if !disturbed {
            self.model.set(&name, &written, Some(Cell { value, tag: 0, expires_at_ms: 0 }));
        }
        match batch.commit() {
            Ok(_) if !disturbed => Ok(true),
            Err(Error::Conflict) => {
                self.model = before;
                Ok(disturbed)
            }
            Err(error) if is_outage(&error) => Err(Trouble::Store(error)),
            found => wrong(format!("conditional commit: found {found:?}, disturbed: {disturbed}")),
        }
    }

    fn move_clock(&mut self) -> Step {
        if self.rng.chance(80) {
            self.clock.advance(Duration::from_millis(self.rng.below(3_000)));
        } else {
            // A clock that jumps back revives nothing: make the store look at the time first.
            self.look_at_the_clock()?;
            self.clock.set_wall_ms(self.now_ms - self.rng.below(2_000));
        }
        self.now_ms = self.now_ms.max(self.clock.now_ms());
        self.look_at_the_clock()
    }

    /// The store notices the time when it is asked to judge by it.
    fn look_at_the_clock(&mut self) -> Step {
        let cell = Cell { value: Vec::new(), tag: 0, expires_at_ms: self.now_ms + 1 };
        self.model.set("default", b"clock", Some(cell));
        self.db.put_with("clock", "", WriteOptions::new().ttl(Duration::from_millis(1))).map_err(show)?;
        self.wrote();
        Ok(())
    }

    fn reopen(&mut self) -> Step {
        self.snapshots.clear();
        self.db.close().map_err(show)?;
        self.settle();
        check("closed", &matches!(self.db.get("k"), Err(Error::Closed)), &true)?;
        self.db = self.options.clone().open(&self.dir).map_err(show)?;
        self.hold_again();
        Ok(())
    }

    fn hold_again(&self) {
        if self.holds_work {
            self.db.hold_background_work();
        }
    }
}

fn to_cell(entry: &terrace::Entry) -> Cell {
    Cell { value: entry.value.to_vec(), tag: entry.tag, expires_at_ms: entry.expires_at_ms.unwrap_or(0) }
}
