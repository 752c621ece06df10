//! The sets of cases that have a name.

use super::case::{Case, Task};
use crate::store::Level;

fn with_threads(task: Task, threads: usize) -> Case {
    Case { threads, ..Case::of(task) }
}

fn durable(threads: usize) -> Case {
    let mut case = with_threads(Task::Fillrandom, threads);
    case.setup.durability = Level::Sync;
    case
}

/// The same with a cache that holds all the data. The usual one holds a third of it, but for the stores that read from
/// the page cache.
fn cached(case: Case) -> Case {
    let mut case = case;
    case.setup.cache_bytes = 256 << 20;
    case
}

/// The cases that the project measures itself by, about twenty minutes for four stores and three rounds.
pub fn issue() -> Vec<Case> {
    vec![
        Case { seconds: 5.0, ..with_threads(Task::Fillrandom, 1) },
        Case { seconds: 5.0, ..with_threads(Task::Fillseq, 1) },
        with_threads(Task::Batch50, 1),
        with_threads(Task::Batch1000, 1),
        // Long enough for compactions to keep pace with the writers, or not.
        Case { seconds: 6.0, ..with_threads(Task::Overwrite, 2) },
        Case::of(Task::Put64),
        durable(1),
        durable(8),
        durable(64),
        with_threads(Task::Readrandom, 1),
        with_threads(Task::Readrandom, 8),
        cached(with_threads(Task::Readrandom, 1)),
        cached(with_threads(Task::Readrandom, 8)),
        with_threads(Task::Readmissing, 1),
        with_threads(Task::Multiget100, 1),
        cached(with_threads(Task::Multiget100, 1)),
        with_threads(Task::Scan10, 1),
        cached(with_threads(Task::Scan10, 1)),
        with_threads(Task::Scan100, 1),
        cached(with_threads(Task::Scan100, 1)),
        with_threads(Task::Fullscan, 1),
        cached(with_threads(Task::Fullscan, 1)),
        with_threads(Task::Prefixscan, 1),
        with_threads(Task::Readwhilewriting, 2),
        cached(with_threads(Task::Readwhilewriting, 2)),
        with_threads(Task::Deleterandom, 1),
        with_threads(Task::YcsbA, 8),
        with_threads(Task::YcsbB, 8),
        with_threads(Task::YcsbC, 8),
        with_threads(Task::YcsbD, 8),
        with_threads(Task::YcsbE, 2),
        with_threads(Task::YcsbF, 8),
        Case::of(Task::Open),
    ]
}

/// Every workload, small and short: shows that all of it works, and gives a first impression.
pub fn quick() -> Vec<Case> {
    let small = |case: Case| Case { entries: 100_000, seconds: 0.3, ..case };
    issue().into_iter().map(small).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_is_in_the_presets_and_every_title_is_its_own() {
        for cases in [issue(), quick()] {
            assert!(Task::ALL.iter().all(|task| cases.iter().any(|case| case.task == *task)));
            let mut titles: Vec<String> = cases.iter().map(Case::title).collect();
            titles.sort();
            titles.dedup();
            assert_eq!(titles.len(), cases.len());
            assert!(cases.iter().all(|case| case.check().is_ok()));
        }
    }
}
