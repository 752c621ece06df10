//! `ReadSet`: what a transaction has seen, to be found unchanged at its commit.

use std::collections::BTreeSet;

use crate::base::{Error, Result};

/// The most keys and scans that a transaction may read.
pub const MAX_TRANSACTION_READS: usize = 1 << 20;
/// The most bytes that their keys may take.
const MAX_READ_BYTES: usize = 256 << 20;

/// A range of internal keys that was looked at: from `low` up to `high`, exclusive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::db) struct Scan {
    pub(in crate::db) low: Vec<u8>,
    pub(in crate::db) high: Option<Vec<u8>>,
}

impl Scan {
    /// Whether no key lies in it.
    pub(super) fn is_empty(&self) -> bool {
        self.high.as_ref().is_some_and(|high| *high <= self.low)
    }

    /// Whether it looked at `key`.
    pub(in crate::db) fn holds(&self, key: &[u8]) -> bool {
        &self.low[..] <= key && self.high.as_ref().is_none_or(|high| key < &high[..])
    }
}

/// Keys and ranges that were read.
#[derive(Default)]
pub(super) struct ReadSet {
    pub(super) keys: BTreeSet<Vec<u8>>,
    pub(super) scans: Vec<Scan>,
    bytes: usize,
}

impl ReadSet {
    /// Adds a key.
    pub(super) fn key(&mut self, key: &[u8]) -> Result<()> {
        if !self.keys.contains(key) {
            self.check_room(key.len())?;
            self.keys.insert(key.to_vec());
        }
        Ok(())
    }

    /// Adds a scan; where it is in the list.
    pub(super) fn scan(&mut self, scan: Scan) -> Result<usize> {
        self.check_room(scan.low.len() + scan.high.as_ref().map_or(0, Vec::len))?;
        self.scans.push(scan);
        Ok(self.scans.len() - 1)
    }

    fn check_room(&mut self, bytes: usize) -> Result<()> {
        if self.keys.len() + self.scans.len() >= MAX_TRANSACTION_READS {
            return Err(Error::invalid(format!(
                "a transaction reads {MAX_TRANSACTION_READS} keys and ranges at most; split it, or read at a snapshot"
            )));
        }
        if self.bytes + bytes > MAX_READ_BYTES {
            return Err(Error::invalid(format!(
                "the keys that a transaction reads take {MAX_READ_BYTES} bytes at most; split it, or read at a snapshot"
            )));
        }
        self.bytes += bytes;
        Ok(())
    }
}
