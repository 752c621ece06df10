//! Transactions with reads, writes, scans and savepoints, committed, given up, or disturbed.

use terrace::{Error, Transaction};

use super::{Step, Workload, check, show, to_cell};
use crate::model::{Cell, Model};

impl Workload {
    pub(super) fn transaction(&mut self) -> Step {
        let mut tx = self.db.begin();
        let mut after = self.model.clone();
        let mut savepoint = None;
        // Something that was read, to be disturbed.
        let mut read = None;
        for _ in 0..self.rng.below(12) {
            match self.rng.below(10) {
                0..=3 => self.write_in(&mut tx, &mut after)?,
                4..=5 => {
                    let (name, keyspace) = self.keyspace();
                    let key = self.key();
                    let found = tx.get_in(&keyspace, &key).map_err(show)?.map(|entry| to_cell(&entry));
                    check("get in transaction", &found, &after.get(&name, &key, self.now_ms).cloned())?;
                    // Later on it may read what it has written itself.
                    if tx.is_empty() {
                        read = Some((name, keyspace, key));
                    }
                }
                6..=7 => self.scan_in(&tx, &after)?,
                8 => savepoint = Some((tx.savepoint(), after.clone())),
                _ => {
                    if let Some((savepoint, then)) = &savepoint {
                        tx.rollback_to(savepoint).map_err(show)?;
                        after = then.clone();
                    }
                }
            }
        }
        if self.rng.chance(20) {
            return Ok(()); // Given up.
        }
        if self.rng.chance(20) {
            self.db.flush().map_err(show)?;
        }
        let disturbed = read.filter(|_| self.rng.chance(20));
        if let Some((name, keyspace, key)) = &disturbed {
            keyspace.put(key, "disturbed").map_err(show)?;
            let cell = Cell { value: b"disturbed".to_vec(), tag: 0, expires_at_ms: 0 };
            self.model.set(name, key, Some(cell));
        }
        let wrote = !tx.is_empty();
        match (tx.commit(), disturbed.is_some()) {
            (Ok(_), false) => self.model = after,
            (Ok(_), true) if !wrote => {}
            (Ok(_), true) => {
                return Err("a transaction committed although a key it had read was written".into());
            }
            (Err(Error::Conflict), true) => {}
            (found, disturbed) => return Err(format!("commit: found {found:?}, disturbed: {disturbed}")),
        }
        Ok(())
    }

    fn write_in(&self, tx: &mut Transaction, after: &mut Model) -> Step {
        let (name, keyspace) = self.keyspace();
        let key = self.key();
        match self.rng.below(10) {
            0..=1 => {
                tx.delete_in(&keyspace, &key).map_err(show)?;
                after.set(&name, &key, None);
            }
            3..=4 => self.merge_in_transaction(tx, after)?,
            2 => {
                tx.delete_range_in(&keyspace, key.clone()..).map_err(show)?;
                after.delete_range(&name, &key, None);
            }
            _ => {
                let value = self.value();
                let (options, tag, expires_at_ms) = self.write_options();
                tx.put_in(&keyspace, &key, &value, options).map_err(show)?;
                after.set(&name, &key, Some(Cell { value, tag, expires_at_ms }));
            }
        }
        Ok(())
    }

    fn scan_in(&self, tx: &Transaction, after: &Model) -> Step {
        let (name, keyspace) = self.keyspace();
        let key = self.key();
        let mut iter = tx.range_in(&keyspace, &key[..]..);
        let mut expected: std::collections::VecDeque<_> = after.range(&name, &key, None, self.now_ms).into();
        for _ in 0..self.rng.below(60) {
            let (found, wanted) = if self.rng.chance(60) {
                (iter.next_entry(), expected.pop_front())
            } else {
                (iter.next_back_entry(), expected.pop_back())
            };
            let found = found.transpose().map_err(show)?;
            check("scan in transaction", &found.map(|(k, e)| (k.to_vec(), to_cell(&e))), &wanted)?;
        }
        Ok(())
    }
}
