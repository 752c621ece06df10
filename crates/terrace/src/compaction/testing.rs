//! Test helpers: a cursor over a sorted vector, the simplest thing that keeps the contract.

use crate::base::{Cursor, EntryMeta, Error, Result, Seqno};

/// One entry of a model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    pub(crate) key: Vec<u8>,
    pub(crate) seqno: Seqno,
    pub(crate) meta: EntryMeta,
    pub(crate) value: Vec<u8>,
}

impl Row {
    /// A put whose value tells its seqno.
    pub(crate) fn put(key: &str, seqno: Seqno) -> Self {
        let value = format!("{key}@{seqno}").into_bytes();
        Self { key: key.as_bytes().to_vec(), seqno, meta: EntryMeta::PUT, value }
    }

    /// A tombstone.
    pub(crate) fn delete(key: &str, seqno: Seqno) -> Self {
        Self { key: key.as_bytes().to_vec(), seqno, meta: EntryMeta::DELETE, value: Vec::new() }
    }
}

/// Sorts as every cursor must.
pub(crate) fn sort(rows: &mut [Row]) {
    rows.sort_by(|a, b| a.key.cmp(&b.key).then(b.seqno.cmp(&a.seqno)));
}

/// A cursor over rows; `fail_at` makes reading that index an error.
pub(crate) struct VecCursor {
    rows: Vec<Row>,
    at: Option<usize>,
    pub(crate) fail_at: Option<usize>,
}

impl VecCursor {
    pub(crate) fn new(mut rows: Vec<Row>) -> Self {
        sort(&mut rows);
        Self { rows, at: None, fail_at: None }
    }

    fn go(&mut self, at: Option<usize>) -> Result<()> {
        self.at = at.filter(|i| *i < self.rows.len());
        if self.at.is_some() && self.at == self.fail_at {
            self.at = None;
            return Err(Error::corruption(std::path::Path::new("model"), 0, "planted"));
        }
        Ok(())
    }

    fn row(&self) -> &Row {
        &self.rows[self.at.expect("a valid cursor")]
    }
}

impl super::whole::Input for VecCursor {}

impl Cursor for VecCursor {
    fn valid(&self) -> bool {
        self.at.is_some()
    }
    fn key(&self) -> &[u8] {
        &self.row().key
    }
    fn seqno(&self) -> Seqno {
        self.row().seqno
    }
    fn meta(&self) -> EntryMeta {
        self.row().meta
    }
    fn value(&self) -> &[u8] {
        &self.row().value
    }
    fn seek_to_first(&mut self) -> Result<()> {
        self.go(Some(0))
    }
    fn seek_to_last(&mut self) -> Result<()> {
        self.go(self.rows.len().checked_sub(1))
    }
    fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.go(Some(self.rows.partition_point(|r| r.key.as_slice() < key)))
    }
    fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        self.go(self.rows.partition_point(|r| r.key.as_slice() < key).checked_sub(1))
    }
    fn next(&mut self) -> Result<()> {
        self.go(Some(self.at.expect("a valid cursor") + 1))
    }
    fn prev(&mut self) -> Result<()> {
        self.go(self.at.expect("a valid cursor").checked_sub(1))
    }
}
