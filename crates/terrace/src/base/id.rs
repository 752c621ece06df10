//! Numbers that name things on disk: files, keyspaces, sequence numbers.

use std::fmt;

/// The order of writes: dense, global, starting at 1. Zero means "older than every snapshot".
pub(crate) type Seqno = u64;

/// The largest sequence number; reading "at `MAX_SEQNO`" means reading the newest state.
pub(crate) const MAX_SEQNO: Seqno = (1 << 56) - 1;

/// The number of a file (table, WAL segment or manifest). Never reused within a store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(crate) struct FileId(pub(crate) u64);

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}", self.0)
    }
}

/// The number of a keyspace. Never reused within a store, so a dropped keyspace cannot come back to life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct KeyspaceId(pub(crate) u32);
