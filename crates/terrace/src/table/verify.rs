//! `Table::verify`: reads a whole table, past the cache, and checks it against what the manifest says.

use super::block::Block;
use super::loaded::Loaded;
use super::properties::Properties;
use super::reader::Table;
use crate::base::hash::filter_hash;
use crate::base::{Error, Result, Seqno};

/// The entry before the one being checked.
struct Previous {
    key: Vec<u8>,
    seqno: Seqno,
}

/// One pass over a table.
struct Pass<'t> {
    table: &'t Table,
    loaded: &'t Loaded,
    counted: Properties,
    smallest: Vec<u8>,
    previous: Option<Previous>,
}

impl Table {
    /// Checks every block, the order and number of the entries, the fences, the filter, and the summary.
    pub(crate) fn verify(&self) -> Result<()> {
        let loaded = self.loaded()?;
        let counted = Properties::new(self.meta().id);
        let mut pass = Pass { table: self, loaded, counted, smallest: Vec::new(), previous: None };
        for i in 0..loaded.index.blocks() {
            let block = loaded.read_block(i)?;
            pass.check_block(i, &block)?;
        }
        pass.check_summary()
    }
}

impl Pass<'_> {
    fn corrupt(&self, block: usize, detail: String) -> Error {
        Error::corruption(self.table.path(), self.loaded.index.handle(block).offset, detail)
    }

    fn check_block(&mut self, i: usize, block: &Block) -> Result<()> {
        self.counted.data_blocks += 1;
        for entry in 0..block.entries() {
            self.check_entry(i, block, entry)?;
        }
        let (fence, last) = (self.loaded.index.fence(i), self.last_key());
        if &fence[..] < last {
            let (fence, last) = (fence.escape_ascii(), last.escape_ascii());
            return Err(
                self.corrupt(i, format!("expected a fence at or after \"{last}\", found \"{fence}\""))
            );
        }
        Ok(())
    }

    fn last_key(&self) -> &[u8] {
        self.previous.as_ref().map_or(&[], |previous| &previous.key)
    }

    fn check_entry(&mut self, i: usize, block: &Block, entry: usize) -> Result<()> {
        let (key, seqno) = (block.key(entry), block.seqno(entry));
        let mut new_key = true;
        if let Some(previous) = &self.previous {
            new_key = previous.key != key;
            let in_order = if new_key { previous.key < key } else { seqno < previous.seqno };
            if !in_order || (entry == 0 && !new_key) {
                let (key, before) = (key.escape_ascii(), previous.key.escape_ascii());
                let detail = format!("expected keys in order, found \"{key}\" at {seqno} after \"{before}\"");
                return Err(self.corrupt(i, detail));
            }
        } else {
            self.smallest.clone_from(&key);
        }
        if new_key && !self.loaded.filter.may_contain(filter_hash(&key)) {
            let detail = format!("expected key \"{}\" in the filter, found it missing", key.escape_ascii());
            return Err(self.corrupt(i, detail));
        }
        if entry == 0 && i > 0 && self.loaded.index.fence(i - 1) >= key {
            let detail = format!("expected a key beyond fence {}, found \"{}\"", i - 1, key.escape_ascii());
            return Err(self.corrupt(i, detail));
        }
        self.counted.count(key.len(), seqno, block.meta(entry), block.value(entry).len());
        self.previous = Some(Previous { key, seqno });
        Ok(())
    }

    fn check_summary(mut self) -> Result<()> {
        let largest = self.last_key().to_vec();
        self.counted.close(std::mem::take(&mut self.smallest), largest);
        let mut stored = self.loaded.properties()?;
        // What a reader cannot count.
        (self.counted.created_at_ms, self.counted.origin) = (stored.created_at_ms, stored.origin);
        let file_bytes = self.table.meta().file_bytes;
        (self.counted.meta.file_bytes, stored.meta.file_bytes) = (file_bytes, file_bytes);
        let corrupt = |detail| Err(Error::corruption(self.table.path(), 0, detail));
        if self.counted != stored {
            return corrupt(format!("expected properties {stored:?}, found {:?}", self.counted));
        }
        if self.counted.meta != *self.table.meta() {
            return corrupt(format!("expected {:?}, found {:?}", self.table.meta(), self.counted.meta));
        }
        Ok(())
    }
}
