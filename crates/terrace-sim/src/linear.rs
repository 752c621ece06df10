//! Linearizability: threads work on a few keys of one store, and there must be an order of what they did, true
//! to the time of each call, in which a plain map gives the same answers.
//!
//! Calls are single writes and reads, batches and range deletes over all keys, snapshots, reads of several keys,
//! scans in both directions, and conditional commits that depend on one key or two. Every value is written once, so an answer says which write it comes from. Beside them, other
//! threads fill the buffers, so that the keys move from memtable to table while they are in use.

mod history;

use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use terrace::{Db, Error, Options, SeededRng, Slice};

pub use self::history::{Action, Call, is_linearizable};

use self::history::{Cells, KEYS};
use crate::tally::Tally;

/// Threads that make the calls.
const THREADS: usize = 4;
/// Calls of each thread in a history. More make the check slow and find little more.
const CALLS: usize = 6;
/// Histories of a seed, all on one store.
const HISTORIES: u64 = 150;

/// Makes and checks the histories of a seed, on a real file system.
pub fn histories(seed: u64) -> Tally {
    let mut tally = Tally::default();
    let dir = match tempfile::tempdir() {
        Ok(dir) => dir,
        Err(error) => {
            tally.violation(format!("no directory: {error}"));
            return tally;
        }
    };
    if let Err(error) = try_histories(dir.path(), seed, &mut tally) {
        tally.violation(format!("seed {seed}: {error}"));
    }
    tally
}

fn try_histories(dir: &Path, seed: u64, tally: &mut Tally) -> Result<(), Error> {
    let options = Options::new().memory_budget(4 << 20).write_buffer(256 << 10).table_bytes(64 << 10);
    let db = options.l0_runs(2).shards(4).open(dir.join("store"))?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let filler = scope.spawn(|| fill(&db, seed, &stop));
        for number in 0..HISTORIES {
            let calls = one_history(&db, seed, number)?;
            tally.add("histories", 1);
            tally.add("calls", calls.len() as u64);
            let conflicts = calls.iter().filter(|call| matches!(call.action, Action::Refused)).count();
            tally.add("conflicts", conflicts as u64);
            if !is_linearizable(&calls) {
                tally.violation(format!("seed {seed}, history {number} has no order: {calls:#?}"));
            }
        }
        stop.store(true, Ordering::Relaxed);
        filler.join().unwrap_or(Ok(()))
    })?;
    db.close()
}

/// Keeps flushes and compactions going.
fn fill(db: &Db, seed: u64, stop: &AtomicBool) -> Result<(), Error> {
    let rng = SeededRng::new(seed);
    let mut round = 0;
    while !stop.load(Ordering::Relaxed) {
        round += 1;
        db.put(format!("filler{:04}", rng.below(2000)), [round as u8; 400])?;
        if round % 97 == 0 {
            db.flush()?;
        }
    }
    Ok(())
}

fn one_history(db: &Db, seed: u64, number: u64) -> Result<Vec<Call>, Error> {
    let (clock, start) = (AtomicU64::new(0), Barrier::new(THREADS));
    let run = |thread: usize| {
        let caller = Caller {
            db,
            rng: SeededRng::new(seed ^ (number << 20) ^ ((thread as u64) << 50)),
            clock: &clock,
            keys: [0, 1, 2].map(|key| format!("linear{number}/{key}")),
        };
        start.wait();
        (0..CALLS).try_fold(Vec::new(), |calls, at| caller.call(calls, (thread * 1000 + at * 10 + 1) as u64))
    };
    thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || run(thread))).collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().expect("a caller does not panic")?);
        }
        Ok(all)
    })
}

/// One thread's view.
struct Caller<'a> {
    db: &'a Db,
    rng: SeededRng,
    clock: &'a AtomicU64,
    keys: [String; KEYS],
}

impl Caller<'_> {
    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// Lets another thread in, now and then: calls are so short that they would hardly meet otherwise.
    fn pause(&self) {
        if self.rng.chance(40) {
            thread::yield_now();
        }
    }

    /// Makes a call (a read and a write for a conditional commit) and notes it.
    fn call(&self, mut calls: Vec<Call>, value: u64) -> Result<Vec<Call>, Error> {
        let at = self.rng.below(KEYS as u64) as usize;
        let key = &self.keys[at];
        self.pause();
        let begin = self.tick();
        let action = match self.rng.below(14) {
            0..=1 => {
                self.db.put(key, value.to_le_bytes())?;
                Action::Write(only(at, Some(value)))
            }
            2 => {
                self.db.delete(key)?;
                Action::Write(only(at, None))
            }
            3..=4 => Action::Read(only(at, number(self.db.get(key)?))),
            5 => {
                let mut batch = self.db.batch();
                let values = [0, 1, 2].map(|n| value + n);
                for (key, value) in self.keys.iter().zip(values) {
                    batch.put(key, value.to_le_bytes());
                }
                batch.commit()?;
                Action::Write(values.map(|value| Some(Some(value))))
            }
            6 => {
                let snapshot = self.db.snapshot();
                let mut found = [None; KEYS];
                for (found, key) in found.iter_mut().zip(&self.keys) {
                    *found = Some(number(snapshot.get(key)?));
                }
                Action::Read(found)
            }
            7 => {
                let mut found = self.db.multi_get(&self.keys)?.into_iter();
                Action::Read([0; KEYS].map(|_| Some(number(found.next().flatten()))))
            }
            8 => Action::Read(self.scan()?),
            9 => {
                self.db.delete_prefix(self.prefix())?;
                Action::Write([Some(None); KEYS])
            }
            _ => return self.commit(calls, at, value),
        };
        calls.push(Call { begin, end: self.tick(), action });
        Ok(calls)
    }

    /// What the names of all keys start with.
    fn prefix(&self) -> &str {
        self.keys[0].trim_end_matches('0')
    }

    /// Reads all keys by an iterator, forwards or backwards.
    fn scan(&self) -> Result<Cells, Error> {
        let mut found = [Some(None); KEYS];
        let mut scan = self.db.prefix(self.prefix());
        let backwards = self.rng.chance(50);
        while let Some(entry) = if backwards { scan.next_back() } else { scan.next() } {
            let (key, value) = entry?;
            if let Some(at) = self.keys.iter().position(|known| known.as_bytes() == &key[..]) {
                found[at] = Some(number(Some(value)));
            }
        }
        Ok(found)
    }

    /// Reads one key or two, and writes others on the condition that these have not changed.
    fn commit(&self, mut calls: Vec<Call>, at: usize, value: u64) -> Result<Vec<Call>, Error> {
        let other = (at + 1) % KEYS;
        let read = if self.rng.chance(50) { vec![at] } else { vec![at, other] };
        let mut batch = self.db.batch();
        let mut expected = [None; KEYS];
        for key in read {
            let begin = self.tick();
            let (entry, stamp) = self.db.read(&self.keys[key])?;
            expected[key] = Some(number(entry.map(|entry| entry.value)));
            calls.push(Call {
                begin,
                end: self.tick(),
                action: Action::Read(only(key, expected[key].flatten())),
            });
            batch.expect_in(self.db, &self.keys[key], stamp);
            self.pause();
        }
        batch.put(&self.keys[at], value.to_le_bytes()).put(&self.keys[other], (value + 1).to_le_bytes());
        let mut written = only(at, Some(value));
        written[other] = Some(Some(value + 1));
        let begin = self.tick();
        let action = match batch.commit() {
            Ok(_) => Action::Commit { expected, written },
            Err(Error::Conflict) => Action::Refused,
            Err(error) => return Err(error),
        };
        calls.push(Call { begin, end: self.tick(), action });
        Ok(calls)
    }
}

fn only(at: usize, value: Option<u64>) -> Cells {
    let mut all = [None; KEYS];
    all[at] = Some(value);
    all
}

fn number(found: Option<Slice>) -> Option<u64> {
    // A value of another length would be somebody else's; no map has it.
    found.map(|bytes| bytes.first_chunk().map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes)))
}
