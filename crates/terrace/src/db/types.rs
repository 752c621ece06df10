//! The small values that go in and out of a store: write options, entries, stamps.

use std::time::Duration;

use super::Durability;
use crate::base::{KeyspaceId, Seqno, Slice};

/// How one write is done.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct WriteOptions {
    pub(crate) ttl: Option<Duration>,
    pub(crate) expires_at_ms: Option<u64>,
    pub(crate) tag: u8,
    pub(crate) durability: Option<Durability>,
}

impl WriteOptions {
    /// The store's durability, no expiry, tag 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// The entry disappears after this time (whole milliseconds, at least 1).
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// The entry disappears at this time, in milliseconds since the Unix epoch (at least 1). A time in the
    /// past stores an entry that nobody sees. Takes precedence over `ttl`.
    pub fn expires_at_ms(mut self, at: u64) -> Self {
        self.expires_at_ms = Some(at);
        self
    }

    /// Four bits (0 to 15) stored with the entry, for the caller's own use; default 0.
    pub fn tag(mut self, tag: u8) -> Self {
        self.tag = tag;
        self
    }

    /// What this write survives, when that is more than the store's own level; a lower level is ignored.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }
}

/// What the store holds for a key.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// The value.
    pub value: Slice,
    /// The caller's tag, 0 to 15.
    pub tag: u8,
    /// When the entry disappears, in milliseconds since the Unix epoch; `None` if never.
    pub expires_at_ms: Option<u64>,
}

/// The state of a key at the time of a read, to be checked by a conditional commit.
///
/// A stamp is good for the short time between a read and the commit that depends on it; one kept for
/// longer, or across a clear of its keyspace, may cause a [`crate::Error::Conflict`] although nothing changed, never the reverse.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// No write to the key between the read and this sequence number is unknown to the reader.
    pub(crate) seqno: Seqno,
    /// The number that the keyspace had.
    pub(crate) keyspace: KeyspaceId,
}
