//! Merges by the append operator, alone, in batches and in transactions.

use terrace::{Batch, Transaction};

use super::{Step, Workload, show};
use crate::model::Model;

impl Workload {
    pub(super) fn merge(&mut self) -> Step {
        let (name, keyspace) = self.keyspace();
        let (key, operand) = (self.key(), self.operand());
        keyspace.merge(&key, &operand).map_err(show)?;
        self.model.append(&name, &key, &operand, self.now_ms);
        Ok(())
    }

    pub(super) fn merge_in_batch(&self, batch: &mut Batch, after: &mut Model) {
        let (name, keyspace) = self.keyspace();
        let (key, operand) = (self.key(), self.operand());
        batch.merge_in(&keyspace, &key, &operand);
        after.append(&name, &key, &operand, self.now_ms);
    }

    pub(super) fn merge_in_transaction(&self, tx: &mut Transaction, after: &mut Model) -> Step {
        let (name, keyspace) = self.keyspace();
        let (key, operand) = (self.key(), self.operand());
        tx.merge_in(&keyspace, &key, &operand).map_err(show)?;
        after.append(&name, &key, &operand, self.now_ms);
        Ok(())
    }

    /// Mostly a few bytes that name the step, so that a wrong order shows.
    fn operand(&self) -> Vec<u8> {
        match self.rng.below(20) {
            0 => Vec::new(),
            1 => vec![self.step as u8; 700],
            _ => format!("+{}", self.step).into_bytes(),
        }
    }
}
