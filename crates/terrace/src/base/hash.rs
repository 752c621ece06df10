//! XXH3-64: seeded for shard choice (in memory only), unseeded for filters (on disk).

/// The hash that table filters store; part of the file format.
#[inline]
pub(crate) fn filter_hash(key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key)
}

/// The hash that picks a shard and a slot in its index. The seed is drawn at each open, so nobody can
/// choose keys that all meet in one shard, and nothing on disk depends on it.
#[inline]
pub(crate) fn shard_hash(seed: u64, key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(key, seed)
}
