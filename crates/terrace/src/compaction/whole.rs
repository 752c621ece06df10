//! Whole blocks in a compaction: which inputs can hand them out, and when one goes to the output as it is.
//!
//! A block may go as it is if no other input has a key within its range and the rule of retention would keep every
//! entry just as it stands. It should, if that does not fill the output with stumps: blocks that are closed early
//! because a whole one follows. Deciding does no I/O.

use super::merge::MergeCursor;
use super::visible::Retention;
use crate::base::{Cursor, Result};
use crate::memtable::MemCursor;
use crate::table::WholeBlock;
use crate::version::RunCursor;

/// An input of `write_run`.
pub(crate) trait Input: Cursor {
    /// The block that begins with the current entry, and the first key of another source behind this entry if
    /// there is one; `None` where no block begins.
    fn block_here(&self) -> Option<(WholeBlock, Option<&[u8]>)> {
        None
    }

    /// Moves behind the block that begins here.
    fn skip_block(&mut self) -> Result<()> {
        unreachable!("only an input that hands out blocks is asked to skip one")
    }
}

impl Input for MemCursor {}

/// Of sources of any kind, such as what a repair puts together; every entry is judged.
impl Input for MergeCursor<Box<dyn Cursor>> {}

impl Input for MergeCursor<RunCursor> {
    #[inline]
    fn block_here(&self) -> Option<(WholeBlock, Option<&[u8]>)> {
        if !self.current().at_block_start() {
            return None;
        }
        Some((self.current().whole_block()?, self.runner_up()))
    }

    fn skip_block(&mut self) -> Result<()> {
        self.advance(RunCursor::skip_block)
    }
}

/// What the policy looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation {
    /// How many blocks of the input follow each other before anything else, this one included.
    pub(super) lone_blocks: usize,
    /// The length of the block, before compression.
    pub(super) block_bytes: usize,
    /// The length so far of the output's open block; 0 when there is none.
    pub(super) open_bytes: usize,
    /// At what length the output closes its blocks.
    pub(super) target_bytes: usize,
}

/// A stretch of so many whole blocks makes up for one that is closed early.
const LONG_STRETCH_BLOCKS: usize = 4;

/// Whether it pays to move a block as it is. A small one is merged instead, and grows; an open block is closed early
/// only when it is at least half full or the stretch is long.
pub(super) fn pays(at: Situation) -> bool {
    let stump = at.open_bytes > 0 && at.open_bytes < at.target_bytes / 2;
    at.lone_blocks > 0
        && at.block_bytes >= at.target_bytes / 2
        && (!stump || at.lone_blocks >= LONG_STRETCH_BLOCKS)
}

/// Whether `rule` would keep every entry of `block` as it is, given that all versions of its keys are in it.
pub(super) fn is_kept_whole(block: &WholeBlock, fence: &[u8], rule: &Retention) -> bool {
    rule.keeps_span(&block.first_key(), fence)
        && block.is_plain()
        && (!rule.clears_seqnos() || block.is_without_seqnos())
}

#[cfg(test)]
mod tests;
