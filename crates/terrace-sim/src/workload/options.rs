//! Options drawn from a seed: every seed another store.

use std::time::Duration;

use terrace::{Append, Compression, Durability, Options, SeededRng};

/// Options of small stores, any mix of them.
pub(crate) fn random_options(rng: &SeededRng) -> (Options, Durability) {
    let pick = |choices: &[u64]| choices[rng.below(choices.len() as u64) as usize];
    let durability = match rng.below(4) {
        0 => Durability::Memory,
        1 => Durability::Interval(Duration::from_millis(50)),
        2 => Durability::Sync,
        _ => Durability::Process,
    };
    let l0_runs = pick(&[1, 2, 4]) as usize;
    let options = Options::new()
        .memory_budget(pick(&[4 << 20, 64 << 20]))
        .write_buffer(pick(&[256 << 10, 512 << 10, 1 << 20]))
        .shards(pick(&[1, 2, 16, 64]) as usize)
        .durability(durability)
        .block_bytes(pick(&[512, 4096, 8192]) as usize)
        .table_bytes(pick(&[64 << 10, 1 << 20, 32 << 20]))
        .filter_bits_per_key(pick(&[0, 4, 10]) as u8)
        .compression(if rng.chance(50) { Compression::Lz4 } else { Compression::None })
        .compression_from_level(rng.below(4) as usize)
        .bottom_compression(if rng.chance(50) { Compression::Lz4 } else { Compression::None })
        .level_ratio(pick(&[2, 4, 10]) as u32)
        .l0_runs(l0_runs)
        .l0_limit(l0_runs + 1 + rng.below(20) as usize)
        .background_compaction(rng.chance(80))
        .map_tables(rng.chance(30))
        .merge_operator(Append)
        .blob_from(pick(&[0, 32, 32, 200, 1000]) as usize);
    (options, durability)
}
