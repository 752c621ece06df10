//! `Table::survey`: reads a whole table, past the cache, and checks it against what the manifest says.

use super::block::Block;
use super::loaded::Loaded;
use super::properties::Properties;
use super::reader::Table;
use crate::base::hash::filter_hash;
use crate::base::{Error, Result, Seqno};

/// Something wrong with a table, and the internal keys that it concerns.
#[derive(Clone, Debug)]
pub(crate) struct Damage {
    /// Where in which file, and what was expected and found.
    pub(crate) error: Error,
    /// From this key on, or right behind it.
    pub(crate) first: Vec<u8>,
    /// Up to this key.
    pub(crate) last: Vec<u8>,
}

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
    smallest: Option<Vec<u8>>,
    previous: Option<Previous>,
}

impl Table {
    /// Checks every block, the order and number of the entries, the fences, the filter, and the summary; the
    /// first thing that is wrong is the error.
    pub(crate) fn verify(&self) -> Result<()> {
        let mut first = None;
        self.survey(&mut |_| (), &mut |damage| {
            first.get_or_insert(damage.error);
        });
        first.map_or(Ok(()), Err)
    }

    /// As `verify`, but goes on behind what is wrong and tells all of it to `found`. Tells `read` of the bytes of
    /// each block as it has read it.
    pub(crate) fn survey(&self, read: &mut dyn FnMut(u64), found: &mut dyn FnMut(Damage)) {
        let meta = self.meta();
        let whole = |error| Damage { error, first: meta.smallest.clone(), last: meta.largest.clone() };
        let loaded = match self.loaded() {
            Ok(loaded) => loaded,
            Err(error) => return found(whole(error)),
        };
        let counted = Properties::new(meta.id);
        let mut pass = Pass { table: self, loaded, counted, smallest: None, previous: None };
        let mut sound = true;
        for i in 0..loaded.index.blocks() {
            let checked = loaded.read_block(i).and_then(|block| pass.check_block(i, &block));
            if let Err(error) = checked {
                sound = false;
                // Order is judged by neighbours, and this one says nothing.
                pass.previous = None;
                let first = if i == 0 { meta.smallest.clone() } else { loaded.index.fence(i - 1) };
                found(Damage { error, first, last: loaded.index.fence(i) });
            }
            read(loaded.index.handle(i).len);
        }
        // With a part missing the sums cannot be right, but the block they are in can be read.
        let summary = if sound { pass.check_summary() } else { loaded.properties().map(|_| ()) };
        if let Err(error) = summary {
            found(whole(error));
        }
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
        }
        if self.smallest.is_none() {
            self.smallest = Some(key.clone());
        }
        if new_key && !self.loaded.filter.may_contain(filter_hash(&key)) {
            let detail = format!("expected key \"{}\" in the filter, found it missing", key.escape_ascii());
            return Err(self.corrupt(i, detail));
        }
        if entry == 0 && i > 0 && self.loaded.index.fence(i - 1) >= key {
            let detail = format!("expected a key beyond fence {}, found \"{}\"", i - 1, key.escape_ascii());
            return Err(self.corrupt(i, detail));
        }
        self.counted.count(&key, seqno, block.meta(entry), block.value(entry));
        self.previous = Some(Previous { key, seqno });
        Ok(())
    }

    fn check_summary(mut self) -> Result<()> {
        let largest = self.last_key().to_vec();
        self.counted.close(self.smallest.take().unwrap_or_default(), largest);
        let mut stored = self.loaded.properties()?;
        // What a reader cannot count.
        (self.counted.created_at_ms, self.counted.origin) = (stored.created_at_ms, stored.origin);
        self.counted.meta.cleared_seqno = stored.meta.cleared_seqno;
        // How they were cut is the writer's business, and who wrote before there were shares has none.
        let shares = stored.meta.shares.clone();
        if shares.is_empty() || shares.sums() == self.counted.meta.shares.sums() {
            self.counted.meta.shares = shares;
        }
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
