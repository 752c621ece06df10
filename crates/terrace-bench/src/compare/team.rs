//! A team of threads that works against the clock, and what each of its workers notes down.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;

use crate::keys::mix;
use crate::latency::{self, Latency};

/// One in so many writes is looked up afterwards.
const SAMPLE_EVERY: u64 = 1021;
/// At most so many of each worker.
const SAMPLES: usize = 1000;

/// What a key must hold after the run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Expected {
    /// The value of this round.
    Round(u64),
    /// Nothing.
    Absent,
}

/// What a team did.
pub(super) struct Outcome {
    /// Operations that count.
    pub(super) operations: u64,
    /// Operations of those who work beside (the writer of `readwhilewriting`).
    pub(super) beside: u64,
    /// From the first start to the last end.
    pub(super) seconds: f64,
    /// Latencies of the operations that count.
    pub(super) latencies: Histogram<u64>,
    /// The longest time in which no thread ended an operation that counts, in ms.
    pub(super) longest_pause_ms: u64,
    /// Writes to look up afterwards.
    pub(super) samples: Vec<(u64, Expected)>,
    /// Bytes of keys and values written.
    pub(super) written_bytes: u64,
}

/// One thread of a team.
pub(super) struct Worker<'a> {
    /// Its number, counted from 0.
    pub(super) index: u64,
    random: u64,
    deadline: Instant,
    latency: Latency,
    pauses: &'a Pauses,
    operations: u64,
    beside: u64,
    samples: Vec<(u64, Expected)>,
    writes: u64,
    written_bytes: u64,
}

impl Worker<'_> {
    /// A random number.
    #[inline]
    pub(super) fn random(&mut self) -> u64 {
        self.random = mix(self.random);
        self.random
    }

    /// So many operations have ended now, in one step; whether there is time for more.
    #[inline]
    pub(super) fn did(&mut self, operations: u64) -> bool {
        let now = self.latency.tick();
        self.pauses.mark(now);
        self.operations += operations;
        now < self.deadline
    }

    /// An operation has ended that does not count; whether there is time for more.
    #[inline]
    pub(super) fn did_beside(&mut self) -> bool {
        self.beside += 1;
        Instant::now() < self.deadline
    }

    /// A key was written, so that some of them are looked up afterwards.
    #[inline]
    pub(super) fn wrote(&mut self, number: u64, expected: Expected, bytes: usize) {
        self.writes += 1;
        self.written_bytes += bytes as u64;
        if self.writes % SAMPLE_EVERY == 1 && self.samples.len() < SAMPLES {
            self.samples.push((number, expected));
        }
    }
}

/// Lets `threads` threads do `work` from the same moment on; they stop when `seconds` are over, or earlier.
pub(super) fn team(
    threads: usize,
    seconds: f64,
    seed: u64,
    work: impl Fn(&mut Worker<'_>) -> Result<()> + Sync,
) -> Result<Outcome> {
    let barrier = Barrier::new(threads);
    let pauses = Pauses::new(seconds);
    let one = |index: u64| -> Result<(Worker<'_>, Instant)> {
        barrier.wait();
        let latency = Latency::start();
        let mut worker = Worker {
            index,
            random: mix(seed ^ (index << 32) ^ 0x7e22_ace5),
            deadline: Instant::now() + Duration::from_secs_f64(seconds),
            latency,
            pauses: &pauses,
            operations: 0,
            beside: 0,
            samples: Vec::new(),
            writes: 0,
            written_bytes: 0,
        };
        work(&mut worker)?;
        Ok((worker, Instant::now()))
    };
    let ended: Vec<Result<_>> = thread::scope(|scope| {
        let spawned: Vec<_> = (0..threads as u64).map(|index| scope.spawn(move || one(index))).collect();
        spawned.into_iter().map(|t| t.join().ok().context("a thread panicked").and_then(|r| r)).collect()
    });
    let mut outcome = Outcome::nothing();
    let mut last = pauses.started;
    for ended in ended {
        let (worker, end) = ended?;
        last = last.max(end);
        outcome.add(worker)?;
    }
    outcome.seconds = last.duration_since(pauses.started).as_secs_f64().max(1e-9);
    outcome.longest_pause_ms = pauses.longest_ms(last);
    Ok(outcome)
}

impl Outcome {
    /// Nothing done.
    pub(super) fn nothing() -> Self {
        Self {
            operations: 0,
            beside: 0,
            seconds: 0.0,
            latencies: latency::empty(),
            longest_pause_ms: 0,
            samples: Vec::new(),
            written_bytes: 0,
        }
    }

    fn add(&mut self, worker: Worker<'_>) -> Result<()> {
        self.operations += worker.operations;
        self.beside += worker.beside;
        self.written_bytes += worker.written_bytes;
        self.samples.extend(worker.samples);
        self.latencies.add(worker.latency.into_histogram()).context("adding histograms of the same bounds")
    }
}

/// In which milliseconds an operation ended, over all threads.
struct Pauses {
    started: Instant,
    marked: Vec<AtomicU8>,
}

/// An hour; later milliseconds are not told apart.
const MAX_MARKS: f64 = 3_600_000.0;

impl Pauses {
    fn new(seconds: f64) -> Self {
        // Twice the time, because fills and pauses may run over it.
        let marks = (seconds * 2000.0 + 1000.0).min(MAX_MARKS) as usize;
        Self { started: Instant::now(), marked: (0..marks).map(|_| AtomicU8::new(0)).collect() }
    }

    #[inline]
    fn mark(&self, now: Instant) {
        let ms = now.duration_since(self.started).as_millis() as usize;
        // Looked at first: the line stays shared among the threads while nothing changes.
        if let Some(mark) = self.marked.get(ms)
            && mark.load(Ordering::Relaxed) == 0
        {
            mark.store(1, Ordering::Relaxed);
        }
    }

    /// The longest row of milliseconds without a mark before `end`.
    fn longest_ms(&self, end: Instant) -> u64 {
        let until = (end.duration_since(self.started).as_millis() as usize).min(self.marked.len());
        let (mut longest, mut row) = (0, 0);
        for mark in &self.marked[..until] {
            row = if mark.load(Ordering::Relaxed) == 0 { row + 1 } else { 0 };
            longest = longest.max(row);
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_team_counts_what_its_workers_did() {
        let outcome = team(3, 1000.0, 1, |worker| {
            for number in 0..10 {
                worker.wrote(number, Expected::Round(0), 116);
                assert!(worker.did(2) && worker.did_beside());
            }
            Ok(())
        });
        let outcome = outcome.unwrap();
        assert_eq!((outcome.operations, outcome.beside, outcome.written_bytes), (60, 30, 3480));
        assert_eq!(outcome.latencies.len(), 30);
        assert_eq!(outcome.samples, [(0, Expected::Round(0)); 3]);
        assert!(team(2, 1.0, 1, |worker| anyhow::bail!("worker {}", worker.index)).is_err());
    }

    #[test]
    fn time_ends_the_work() {
        let outcome = team(2, 0.01, 1, |worker| {
            while worker.did(1) {}
            Ok(())
        });
        assert!(outcome.unwrap().operations > 0);
    }

    #[test]
    fn the_longest_row_of_silent_milliseconds_is_found() {
        let pauses = Pauses::new(1.0);
        let at = |ms| pauses.started + Duration::from_millis(ms);
        for ms in [0, 1, 2, 8, 9, 12] {
            pauses.mark(at(ms));
        }
        assert_eq!(pauses.longest_ms(at(13)), 5);
        assert_eq!(pauses.longest_ms(at(43)), 30);
        pauses.mark(at(1 << 40));
    }
}
