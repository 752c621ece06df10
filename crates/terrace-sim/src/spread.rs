//! Spreading numbered pieces of work over threads until they are all done or the time is over.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::tally::Tally;

/// How much to do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// No piece is begun after this time.
    pub time: Duration,
    /// Threads.
    pub jobs: usize,
    /// The number of the first piece.
    pub from_seed: u64,
    /// How many pieces at most.
    pub seeds: u64,
}

/// Does the pieces `from_seed`, `from_seed + 1`, … and adds up what they report, with the number of pieces as
/// `seeds`. After a violation no piece is begun.
pub fn spread(limits: &Limits, work: impl Fn(u64) -> Tally + Sync) -> Tally {
    let (start, next, sum) = (Instant::now(), AtomicU64::new(0), Mutex::new(Tally::default()));
    let worker = || {
        while start.elapsed() < limits.time && sum.lock().violations() == 0 {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= limits.seeds {
                return;
            }
            let mut done = work(limits.from_seed + number);
            done.add("seeds", 1);
            sum.lock().merge(done);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..limits.jobs.max(1) {
            scope.spawn(worker);
        }
    });
    sum.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_done_once_and_none_after_a_violation() {
        let mut limits = Limits { time: Duration::MAX, jobs: 3, from_seed: 5, seeds: 40 };
        let done = Mutex::new(Vec::new());
        let sum = spread(&limits, |seed| {
            done.lock().push(seed);
            Tally::default()
        });
        let mut done = done.into_inner();
        done.sort_unstable();
        assert_eq!((done, sum.count("seeds")), ((5..45).collect(), 40));
        limits.jobs = 1;
        let sum = spread(&limits, |seed| {
            let mut tally = Tally::default();
            if seed == 7 {
                tally.violation("bad");
            }
            tally
        });
        assert_eq!((sum.count("seeds"), sum.violations()), (3, 1));
    }
}
