//! `Summary`: medians of the rounds, per case and store.

use super::record::{Figures, Record};
use crate::spread::Spread;
use crate::store::Engine;

/// One store in one case.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The store.
    pub store: Engine,
    /// The rounds that succeeded.
    pub rounds: Vec<Figures>,
    /// Why a round failed, if one did.
    pub error: Option<String>,
}

impl Entry {
    /// Median, smallest and largest of a figure; `None` without a round that has it.
    pub(crate) fn spread(&self, figure: impl Fn(&Figures) -> Option<f64>) -> Option<Spread> {
        let numbers: Vec<f64> = self.rounds.iter().filter_map(figure).collect();
        (!numbers.is_empty()).then(|| Spread::of(numbers))
    }

    /// Operations a second.
    pub(crate) fn rate(&self) -> Option<Spread> {
        self.spread(|figures| Some(figures.per_second))
    }

    /// The median of a figure.
    pub(crate) fn median(&self, figure: impl Fn(&Figures) -> Option<f64>) -> Option<f64> {
        self.spread(figure).map(|spread| spread.median)
    }
}

/// One case and what every store made of it.
#[derive(Clone, Debug)]
pub struct Line {
    /// The case.
    pub title: String,
    /// Whether it writes.
    pub writes: bool,
    /// The stores, in the order in which they first ran.
    pub entries: Vec<Entry>,
}

impl Line {
    /// What a store made of it.
    pub(crate) fn of(&self, store: Engine) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.store == store)
    }

    /// The peer with the highest rate.
    pub(crate) fn best_peer(&self) -> Option<&Entry> {
        let rate = |entry: &&Entry| entry.rate().map_or(0.0, |rate| rate.median);
        let peers = self.entries.iter().filter(|entry| entry.store.is_peer() && !entry.rounds.is_empty());
        peers.max_by(|a, b| rate(a).total_cmp(&rate(b)))
    }

    /// Terrace's rate ÷ the best peer's.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let own = self.of(Engine::Terrace)?.rate()?.median;
        Some(own / self.best_peer()?.rate()?.median)
    }
}

/// All cases of a comparison.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// In the order in which they first ran.
    pub lines: Vec<Line>,
    /// The stores, Terrace first.
    pub stores: Vec<Engine>,
}

impl Summary {
    /// Puts records together.
    pub fn of(records: &[Record]) -> Self {
        let mut summary = Self::default();
        for record in records {
            summary.add(record);
        }
        summary.stores.sort();
        for line in &mut summary.lines {
            line.entries.sort_by_key(|entry| entry.store);
        }
        summary
    }

    fn add(&mut self, record: &Record) {
        if !self.stores.contains(&record.store) {
            self.stores.push(record.store);
        }
        let title = record.case.title();
        let at = self.lines.iter().position(|line| line.title == title).unwrap_or_else(|| {
            self.lines.push(Line { title, writes: record.case.task.writes(), entries: Vec::new() });
            self.lines.len() - 1
        });
        let entries = &mut self.lines[at].entries;
        let at = entries.iter().position(|entry| entry.store == record.store).unwrap_or_else(|| {
            entries.push(Entry { store: record.store, rounds: Vec::new(), error: None });
            entries.len() - 1
        });
        entries[at].rounds.extend(record.figures.clone());
        if record.error.is_some() {
            entries[at].error.clone_from(&record.error);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::compare::case::{Case, Task};

    pub(in crate::compare) fn record(store: Engine, task: Task, per_second: f64) -> Record {
        let figures = Figures { per_second, operations: 1, ..Figures::default() };
        Record { store, round: 1, case: Case::of(task), figures: Some(figures), error: None }
    }

    #[test]
    fn terrace_is_compared_with_the_best_peer_and_never_with_the_yardstick() {
        let task = Task::Fillrandom;
        let failed =
            Record { figures: None, error: Some("no disk".into()), ..record(Engine::Sled, task, 0.0) };
        let summary = Summary::of(&[
            record(Engine::Lmdb, task, 100.0),
            record(Engine::Terrace, task, 300.0),
            record(Engine::Terrace, task, 500.0),
            record(Engine::Raw, task, 9000.0),
            record(Engine::Fjall, task, 200.0),
            record(Engine::Fjall, Task::Scan10, 1.0),
            failed,
        ]);
        assert_eq!(summary.lines.len(), 2);
        assert_eq!(summary.stores[0], Engine::Terrace);
        let line = &summary.lines[0];
        assert_eq!(line.best_peer().unwrap().store, Engine::Fjall);
        assert!((line.ratio().unwrap() - 2.0).abs() < 1e-9);
        assert_eq!(line.of(Engine::Sled).unwrap().error.as_deref(), Some("no disk"));
        assert_eq!(summary.lines[1].ratio(), None);
    }
}
