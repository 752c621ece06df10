//! `Chain`: the merge operands of one key that look the same to every reader, on their way into one entry.
//!
//! A compaction meets them newest first and cannot know how many follow, so they wait here, up to a limit, for the
//! value below them or for the end of the key. They become the value (folded onto what is below, if the whole of
//! that is known), or else one operand, or else they stay what they were: a chain that cannot be folded is no error
//! here but a matter for whoever reads the key.

use super::RunWriter;
use crate::base::{EntryMeta, Kind, Merging, Result, Seqno};
use crate::compaction::visible::{Base, Retention};

/// When those that wait take so much, they are made one, if there is such a thing.
const COMBINE_BYTES: usize = 256 << 10;
/// If there is no such thing, they wait until they take so much, and then stay what they were.
const MAX_BYTES: usize = 16 << 20;
/// What each takes beside its bytes.
const OVERHEAD_BYTES: usize = 64;

/// The operands of one key in one stripe, as far as they have been met.
#[derive(Default)]
pub(super) struct Chain {
    key: Vec<u8>,
    /// Newest first; empty when there is no chain.
    operands: Vec<(Seqno, Vec<u8>)>,
    bytes: usize,
    /// At how many bytes something is to be done; grows with what they are made into.
    limit_bytes: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// There is no chain.
    #[default]
    None,
    /// Operands wait.
    Open,
    /// They were too many to wait: the rest of the chain stays what it is.
    Unfolded,
}

impl Chain {
    /// Begins a chain. Without an operator nothing waits.
    pub(super) fn open(&mut self, key: &[u8], merging: &Merging) {
        self.close();
        self.key.extend_from_slice(key);
        self.limit_bytes = COMBINE_BYTES;
        self.state = if merging.can_fold() { State::Open } else { State::Unfolded };
    }

    /// Forgets the chain.
    pub(super) fn close(&mut self) {
        self.key.clear();
        self.operands.clear();
        self.bytes = 0;
        self.state = State::None;
    }

    /// Whether operands wait that are not of `key`; without a key, whether any wait.
    #[inline]
    pub(super) fn is_left_by(&self, key: Option<&[u8]>) -> bool {
        self.state != State::None && key.is_none_or(|key| self.key != key)
    }

    /// Whether operands wait.
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Its key.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The number of the newest operand.
    pub(super) fn newest(&self) -> Seqno {
        self.operands.first().map_or(0, |(seqno, _)| *seqno)
    }

    /// How many operands wait.
    pub(super) fn len(&self) -> u64 {
        self.operands.len() as u64
    }

    /// Adds the next older operand.
    pub(super) fn push(&mut self, seqno: Seqno, operand: &[u8]) {
        self.bytes += operand.len() + OVERHEAD_BYTES;
        self.operands.push((seqno, operand.to_vec()));
    }

    /// Makes the operands one if they have become many; how many fewer there are. `None` if that cannot be and no more
    /// of them may wait.
    fn relieve(&mut self, merging: &Merging) -> Option<u64> {
        if self.bytes < self.limit_bytes {
            return Some(0);
        }
        let gone = self.combine(merging);
        if gone == 0 && self.limit_bytes >= MAX_BYTES {
            return None;
        }
        self.limit_bytes = if gone == 0 { MAX_BYTES } else { COMBINE_BYTES.max(2 * self.bytes) };
        Some(gone)
    }

    fn oldest_first(&self) -> Vec<&[u8]> {
        self.operands.iter().rev().map(|(_, operand)| &operand[..]).collect()
    }

    /// The value that the operands make of `base`, if there is one.
    pub(super) fn fold(&self, merging: &Merging, base: Option<&[u8]>) -> Option<Vec<u8>> {
        if self.operands.is_empty() {
            return None;
        }
        merging.fold(&self.key, base, &self.oldest_first()).ok()
    }

    /// Makes all operands one, if there is such a thing; how many fewer there are.
    pub(super) fn combine(&mut self, merging: &Merging) -> u64 {
        let gone = self.len().saturating_sub(1);
        if gone == 0 {
            return 0;
        }
        let Some(combined) = merging.combine(&self.key, &self.oldest_first()) else { return 0 };
        let newest = self.newest();
        self.operands.clear();
        self.bytes = 0;
        self.push(newest, &combined);
        gone
    }

    /// Takes the operands out, newest first. What of the chain is still to come stays what it is.
    pub(super) fn give_up(&mut self) -> Vec<(Seqno, Vec<u8>)> {
        self.state = State::Unfolded;
        self.bytes = 0;
        std::mem::take(&mut self.operands)
    }
}

impl RunWriter<'_> {
    /// Takes the next operand of a chain.
    pub(super) fn operand(
        &mut self,
        rule: &mut Retention,
        first: bool,
        key: &[u8],
        seqno: Seqno,
        operand: &[u8],
    ) -> Result<()> {
        if first {
            self.pass_chain(rule)?;
            self.chain.open(key, self.output.merging);
        }
        if !self.chain.is_open() {
            return self.add(key, seqno, EntryMeta::MERGE, operand);
        }
        self.chain.push(seqno, operand);
        match self.chain.relieve(self.output.merging) {
            Some(gone) => {
                rule.folded(gone);
                Ok(())
            }
            None => self.write_operands(),
        }
    }

    /// Ends the chain at the entry below it, which is written under `alone`, if at all, unless it is folded.
    pub(super) fn base(
        &mut self,
        rule: &mut Retention,
        base: Base,
        alone: Option<(Seqno, EntryMeta)>,
        key: &[u8],
        (read, value): (EntryMeta, &[u8]),
    ) -> Result<()> {
        let fetched = match read.kind {
            Kind::Pointer if base == Base::Value => Some(self.output.values.blobs.read(key, value)?),
            _ => None,
        };
        let below = (base == Base::Value).then(|| fetched.as_deref().unwrap_or(value));
        if base != Base::Expiring
            && let Some(folded) = self.chain.fold(self.output.merging, below)
        {
            let tag = alone.filter(|_| base == Base::Value).map_or(0, |(_, meta)| meta.tag);
            return self.folded(
                rule,
                u64::from(alone.is_some()),
                EntryMeta { tag, ..EntryMeta::PUT },
                &folded,
            );
        }
        self.pass_chain(rule)?;
        alone.map_or(Ok(()), |(seqno, meta)| self.add(key, seqno, meta, value))
    }

    /// Ends the chain where its key has no more entries.
    pub(super) fn end_chain(&mut self, rule: &mut Retention) -> Result<()> {
        if self.chain.is_open()
            && rule.nothing_below(self.chain.key())
            && let Some(folded) = self.chain.fold(self.output.merging, None)
        {
            return self.folded(rule, 0, EntryMeta::PUT, &folded);
        }
        self.pass_chain(rule)
    }

    /// Ends the chain where more of its key follows for other readers: its operands stay, as one if possible.
    pub(super) fn pass_chain(&mut self, rule: &mut Retention) -> Result<()> {
        rule.folded(self.chain.combine(self.output.merging));
        self.write_operands()?;
        self.chain.close();
        Ok(())
    }

    /// Writes what the operands, and so many kept entries below them, have become.
    fn folded(&mut self, rule: &mut Retention, below: u64, meta: EntryMeta, value: &[u8]) -> Result<()> {
        rule.folded(self.chain.len() + below - 1);
        let (key, seqno) = (self.chain.key().to_vec(), rule.number(self.chain.newest()));
        self.chain.close();
        self.add(&key, seqno, meta, value)
    }

    fn write_operands(&mut self) -> Result<()> {
        let key = self.chain.key().to_vec();
        for (seqno, operand) in self.chain.give_up() {
            self.add(&key, seqno, EntryMeta::MERGE, &operand)?;
        }
        Ok(())
    }
}
