//! Hashes: a header per key, and one entry of the store per field.
//!
//! The key's entry is the header: the hash's generation, its counts, its expiries. The fields are in the keyspace
//! beside the database's, under the generation's number. So deleting, overwriting, expiring and renaming a hash are
//! writes of its header, whatever its size; what a dead generation leaves behind is removed by `sweep`.
//!
//! Every change to a hash writes its header too, so `WATCH` on the key notices every change, and a commit that depends
//! on the header's stamp fails if the hash has changed since. Single fields are read with stamps of their own all the
//! same, because a batch does not reach the header and the fields in one instant; ranges of fields are read from
//! snapshots, in which every batch is whole.
//!
//! Fields expire by the store's own expiry, which hides them at once. How many have, the header cannot know, so an
//! index of the expiring fields by time lies behind the fields; who opens a hash for writing settles what has
//! passed, and `HLEN` counts it. When all fields expire, the header's entry expires with the last of them.

pub(crate) mod edit;
pub(crate) mod generation;
pub(crate) mod header;
pub(crate) mod layout;
pub(crate) mod view;
pub(crate) mod whole;

/// The latest time at which a field may expire, in milliseconds since the epoch; as in Redis.
pub(crate) const MAX_EXPIRY_MS: u64 = (1 << 46) - 1;
