//! `Overlay`: what a transaction has written so far, and how to take a part of it back.
//!
//! Invariant: a range delete empties its range of earlier writes, so a write that is here counts, whatever ranges
//! there are. Undo steps are kept only while there is a savepoint to go back to.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::base::{EntryMeta, EntryRef, Error, Result, Slice};
use crate::db::batch::{MAX_BATCH_BYTES, MAX_BATCH_ENTRIES};

/// What an entry costs in the log beside its key and value, at most.
const ENTRY_OVERHEAD_BYTES: usize = 32;

/// The writes of one key.
#[derive(Clone, Default, Debug)]
pub(super) struct Own {
    /// The last put or delete; `None` if there were merges only.
    pub(super) base: Option<(EntryMeta, Slice)>,
    /// What was merged since, oldest first.
    pub(super) operands: Vec<Slice>,
}

impl Own {
    fn entries(&self) -> usize {
        usize::from(self.base.is_some()) + self.operands.len()
    }

    fn bytes(&self, key: &[u8]) -> usize {
        let values = self.base.iter().map(|(_, value)| value).chain(&self.operands);
        values.map(|value| key.len() + value.len() + ENTRY_OVERHEAD_BYTES).sum()
    }
}

/// How to take one step back.
enum Undo {
    /// The key was written so before, or not at all.
    Write(Vec<u8>, Option<Own>),
    /// The last range delete was added.
    Range,
}

/// The writes of a transaction, by internal key.
#[derive(Default)]
pub(super) struct Overlay {
    writes: BTreeMap<Vec<u8>, Own>,
    ranges: Vec<(Vec<u8>, Vec<u8>)>,
    /// Entries and bytes of all these in the log.
    entries: usize,
    bytes: usize,
    undo: Vec<Undo>,
    /// The serial number of each savepoint, and the undo steps that there were.
    savepoints: Vec<(u64, usize)>,
}

impl Overlay {
    /// Whether nothing was written.
    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.ranges.is_empty()
    }

    /// How many entries there are.
    pub(super) fn count(&self) -> usize {
        self.entries
    }

    /// Whether a key or a range was deleted by a range delete.
    pub(super) fn has_ranges(&self) -> bool {
        !self.ranges.is_empty()
    }

    /// What was written to a key.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Own> {
        self.writes.get(key)
    }

    /// Whether what the store has for the key counts no more.
    pub(super) fn hides(&self, key: &[u8]) -> bool {
        self.writes.contains_key(key) || self.is_range_deleted(key)
    }

    /// Whether a range delete of the transaction's own is over the key.
    pub(super) fn is_range_deleted(&self, key: &[u8]) -> bool {
        self.ranges.iter().any(|(start, end)| &start[..] <= key && key < &end[..])
    }

    /// The writes from `low` up to `high`, exclusive.
    pub(super) fn range<'s>(
        &'s self,
        low: &[u8],
        high: Option<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = (&'s Vec<u8>, &'s Own)> + use<'s> {
        let empty = high.is_some_and(|high| high <= low);
        let high = high.map_or(Bound::Unbounded, Bound::Excluded);
        let (low, high) =
            if empty { (Bound::Excluded(low), Bound::Included(low)) } else { (Bound::Included(low), high) };
        let range = (!empty).then(|| self.writes.range::<[u8], _>((low, high)));
        range.into_iter().flatten()
    }

    fn check_room(&self, key: &[u8], value: &[u8]) -> Result<()> {
        if self.count() >= MAX_BATCH_ENTRIES as usize {
            return Err(Error::invalid(format!(
                "a transaction writes {MAX_BATCH_ENTRIES} entries at most; split it"
            )));
        }
        if self.bytes + key.len() + value.len() + ENTRY_OVERHEAD_BYTES > MAX_BATCH_BYTES {
            return Err(Error::invalid(format!(
                "a transaction writes {MAX_BATCH_BYTES} bytes at most; split it"
            )));
        }
        Ok(())
    }

    fn remember(&mut self, step: impl FnOnce() -> Undo) {
        if !self.savepoints.is_empty() {
            self.undo.push(step());
        }
    }

    fn replace(&mut self, key: &[u8], own: Option<Own>) -> Option<Own> {
        self.bytes += own.as_ref().map_or(0, |own| own.bytes(key));
        self.entries += own.as_ref().map_or(0, Own::entries);
        let old = match own {
            Some(own) => self.writes.insert(key.to_vec(), own),
            None => self.writes.remove(key),
        };
        self.bytes -= old.as_ref().map_or(0, |own| own.bytes(key));
        self.entries -= old.as_ref().map_or(0, Own::entries);
        old
    }

    /// Writes a key.
    pub(super) fn write(&mut self, key: &[u8], meta: EntryMeta, value: &[u8]) -> Result<()> {
        self.check_room(key, value)?;
        let base = Some((meta, Slice::copy_from(value)));
        let old = self.replace(key, Some(Own { base, operands: Vec::new() }));
        self.remember(|| Undo::Write(key.to_vec(), old));
        Ok(())
    }

    /// Merges an operand into a key; `combine` makes one of two, if it can.
    pub(super) fn merge(
        &mut self,
        key: &[u8],
        operand: &[u8],
        combine: impl FnOnce(&[&[u8]]) -> Option<Vec<u8>>,
    ) -> Result<()> {
        self.check_room(key, operand)?;
        let mut own = self.writes.get(key).cloned().unwrap_or_default();
        match own.operands.last_mut() {
            Some(last) => match combine(&[last, operand]) {
                Some(combined) => *last = Slice::from(combined),
                None => own.operands.push(Slice::copy_from(operand)),
            },
            None => own.operands.push(Slice::copy_from(operand)),
        }
        let old = self.replace(key, Some(own));
        self.remember(|| Undo::Write(key.to_vec(), old));
        Ok(())
    }

    /// Deletes the keys from `start` up to `end`, exclusive.
    pub(super) fn delete_range(&mut self, start: Vec<u8>, end: Vec<u8>) -> Result<()> {
        if start >= end {
            return Ok(());
        }
        self.check_room(&start, &end)?;
        let gone: Vec<Vec<u8>> = self.range(&start, Some(&end)).map(|(key, _)| key.clone()).collect();
        for key in gone {
            let old = self.replace(&key, None);
            self.remember(|| Undo::Write(key, old));
        }
        self.bytes += start.len() + end.len() + ENTRY_OVERHEAD_BYTES;
        self.entries += 1;
        self.ranges.push((start, end));
        self.remember(|| Undo::Range);
        Ok(())
    }

    /// Makes a savepoint under this number.
    pub(super) fn savepoint(&mut self, serial: u64) {
        self.savepoints.push((serial, self.undo.len()));
    }

    /// Goes back to a savepoint, which stays; `false` if there is none of this number.
    pub(super) fn rollback_to(&mut self, serial: u64) -> bool {
        let Some(at) = self.savepoints.iter().position(|(known, _)| *known == serial) else { return false };
        let steps = self.savepoints[at].1;
        self.savepoints.truncate(at + 1);
        while self.undo.len() > steps {
            match self.undo.pop() {
                Some(Undo::Write(key, old)) => {
                    self.replace(&key, old);
                }
                Some(Undo::Range) => {
                    if let Some((start, end)) = self.ranges.pop() {
                        self.bytes -= start.len() + end.len() + ENTRY_OVERHEAD_BYTES;
                        self.entries -= 1;
                    }
                }
                None => {}
            }
        }
        true
    }

    /// Everything as the body of a batch.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.bytes);
        for (start, end) in &self.ranges {
            EntryRef { key: start, meta: EntryMeta::RANGE_DELETE, value: end }.encode(&mut body);
        }
        for (key, own) in &self.writes {
            let base = own.base.iter().map(|(meta, value)| (*meta, value));
            for (meta, value) in base.chain(own.operands.iter().map(|operand| (EntryMeta::MERGE, operand))) {
                EntryRef { key, meta, value }.encode(&mut body);
            }
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(overlay: &mut Overlay, key: &str, value: &str) {
        overlay.write(key.as_bytes(), EntryMeta::PUT, value.as_bytes()).unwrap();
    }

    fn shown(overlay: &Overlay) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let shown = |(key, own): (&Vec<u8>, &Own)| {
            let base = own.base.as_ref().map_or(String::new(), |(_, value)| text(value));
            let operands: Vec<_> = own.operands.iter().map(|operand| format!("+{}", text(operand))).collect();
            format!("{}={base}{}", text(key), operands.concat())
        };
        let writes: Vec<_> = overlay.range(b"", None).map(shown).collect();
        format!("{} {}", writes.join(" "), overlay.ranges.len())
    }

    #[test]
    fn savepoints_nest_and_can_be_gone_back_to_again() {
        let mut overlay = Overlay::default();
        put(&mut overlay, "a", "1");
        overlay.savepoint(7);
        put(&mut overlay, "a", "2");
        overlay.savepoint(8);
        overlay.delete_range(b"a".to_vec(), b"b".to_vec()).unwrap();
        put(&mut overlay, "a", "3");
        assert_eq!(shown(&overlay), "a=3 1");
        assert!(overlay.rollback_to(8));
        assert_eq!(shown(&overlay), "a=2 0");
        put(&mut overlay, "b", "4");
        assert!(overlay.rollback_to(8) && overlay.rollback_to(7));
        assert_eq!(shown(&overlay), "a=1 0");
        assert!(!overlay.rollback_to(8), "it came after the one that was gone back to");
        let bytes = overlay.bytes;
        put(&mut overlay, "c", "5");
        assert!(overlay.rollback_to(7));
        assert_eq!((shown(&overlay).as_str(), overlay.bytes), ("a=1 0", bytes));
        assert_eq!(bytes, 1 + 1 + ENTRY_OVERHEAD_BYTES);
    }

    #[test]
    fn operands_stand_on_what_was_written_before() {
        let mut overlay = Overlay::default();
        overlay.merge(b"a", b"1", |_| None).unwrap();
        put(&mut overlay, "b", "1");
        overlay.savepoint(7);
        overlay.merge(b"b", b"2", |_| None).unwrap();
        overlay.merge(b"b", b"3", |_| None).unwrap();
        overlay.merge(b"a", b"2", |operands| Some(operands.concat())).unwrap();
        assert_eq!(shown(&overlay), "a=+12 b=1+2+3 0");
        assert_eq!(overlay.count(), 4);
        assert!(overlay.encode().len() <= overlay.bytes);
        assert!(overlay.rollback_to(7));
        assert_eq!((shown(&overlay).as_str(), overlay.count()), ("a=+1 b=1 0", 2));
    }

    #[test]
    fn a_write_after_a_range_delete_counts() {
        let mut overlay = Overlay::default();
        put(&mut overlay, "a", "1");
        overlay.delete_range(b"a".to_vec(), b"m".to_vec()).unwrap();
        put(&mut overlay, "b", "2");
        assert_eq!(shown(&overlay), "b=2 1");
        assert!(overlay.hides(b"a") && overlay.hides(b"b") && overlay.hides(b"l") && !overlay.hides(b"m"));
        assert!(overlay.get(b"a").is_none() && overlay.get(b"b").is_some());
        assert_eq!(overlay.range(b"c", Some(b"b")).count(), 0);
    }
}
