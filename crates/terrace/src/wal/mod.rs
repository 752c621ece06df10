//! The write-ahead log: segments, the lanes that shards append to, sync, and replay.
//!
//! A segment is a fixed-length, recycled region. Each shard owns a *lane*: chunks claimed from the active
//! segment, one after the other, into which it appends under its own lock. So an append is a copy into
//! memory that the kernel keeps when the process dies, without a system call and without a shared lock.
//!
//! Invariants:
//! 1. A segment holds a contiguous range of sequence numbers, because it is switched while all shards are
//!    locked; within a lane the sequence numbers rise.
//! 2. A file named `<id>.wal` has a durable, valid header of that id: it gets its name only after that.
//! 3. Every frame is bound to the segment (id and a random nonce) and to its offset, so the stale bytes of a
//!    recycled file never look valid.
//! 4. The horizon in a segment never exceeds what was durable when it was stored.
//!
//! This layer does not decide when to sync, when to switch, or what to do after an error: a failed append or
//! sync leaves the state on disk unknown, and the caller must refuse further writes.

mod files;
mod format;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod lane;
mod log;
mod replay;
mod segment;

#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(all(test, not(loom)))]
mod tests;

pub(crate) use format::record_bytes;
pub(crate) use lane::{Lane, Reserve};
pub(crate) use log::{Wal, WalOptions};
pub(crate) use replay::salvage;
pub(crate) use replay::{ReplayReport, Writer, check_start, replay};
pub(crate) use segment::Segment;
#[cfg(test)]
pub(crate) use {
    log::WalStats,
    replay::{Cut, Rule},
};
