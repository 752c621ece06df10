//! The operations of a workload that look at many entries: lists of keys, ranges, snapshots.

use std::collections::VecDeque;

use terrace::Iter;

use super::{Step, Workload, check, show, to_cell, wrong};
use crate::model::Cell;

impl Workload {
    pub(super) fn multi_get(&mut self) -> Step {
        let (name, keyspace) = self.keyspace();
        let keys: Vec<Vec<u8>> = (0..self.rng.below(70)).map(|_| self.key()).collect();
        let found = keyspace.multi_get(&keys).map_err(show)?;
        let found: Vec<Option<Vec<u8>>> = found.into_iter().map(|v| v.map(|v| v.to_vec())).collect();
        let model = |key: &Vec<u8>| self.model.get(&name, key, self.now_ms).map(|cell| cell.value.clone());
        check("multi_get", &found, &keys.iter().map(model).collect())
    }

    pub(super) fn scan(&mut self) -> Step {
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
    pub(super) fn compare_iter(&self, mut iter: Iter, expected: Vec<(Vec<u8>, Cell)>, what: &str) -> Step {
        let mut expected: VecDeque<_> = expected.into();
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

    pub(super) fn snapshot(&mut self) {
        if self.snapshots.len() >= 4 {
            let at = self.rng.below(self.snapshots.len() as u64) as usize;
            self.snapshots.swap_remove(at);
        }
        self.snapshots.push((self.db.snapshot(), self.model.clone()));
    }

    pub(super) fn read_snapshot(&mut self) -> Step {
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

    pub(super) fn compare_all(&mut self) -> Step {
        for (name, _) in self.model.keyspaces.clone() {
            let Some(keyspace) = self.db.find_keyspace(&name) else {
                return wrong(format!("keyspace {name} is missing"));
            };
            let expected = self.model.range(&name, b"", None, self.now_ms);
            self.compare_iter(keyspace.iter(), expected, "everything")?;
        }
        Ok(())
    }
}
