//! `large-values`: what large values cost in writes and in space.
//!
//! `large-values DIR [KEYS] [VALUE_BYTES] [FROM]` loads KEYS values in random order into a new store in DIR, which
//! must not exist, and waits until the store rests; then it overwrites as many keys, drawn uniformly, and waits again,
//! twice, and reads up to 50,000 at random. It prints for each of the three phases the bytes written per byte of keys and values, by tables and blob files
//! alone and with the log, and the bytes on disk per byte that the same data took freshly loaded. Half of each value is
//! random and repeated, so that half of it is compressible. FROM is `Options::blob_from`.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use terrace::{Db, Options, Stats};

/// The next number of a sequence (xorshift*).
fn next(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_F491_4F6C_DD1D)
}

fn fill(value: &mut [u8], state: &mut u64) {
    let half = value.len().div_ceil(2);
    for chunk in value[..half].chunks_mut(8) {
        let bytes = next(state).to_le_bytes();
        chunk.copy_from_slice(&bytes[..chunk.len()]);
    }
    let (first, second) = value.split_at_mut(half);
    second.copy_from_slice(&first[..second.len()]);
}

/// Bytes of the files in the store, what is reserved for the log not counted.
#[allow(clippy::disallowed_methods, reason = "looks at a store from outside")]
fn disk_bytes(dir: &Path) -> Result<u64, Box<dyn Error>> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let is_log = entry.path().extension().is_some_and(|end| end == "wal" || end == "spare");
        bytes += if is_log { 0 } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

/// Bytes written to tables and blob files, to the log, and taken from the user.
fn totals(stats: &Stats) -> [f64; 3] {
    let written: u64 = stats.levels.iter().map(|level| level.written_bytes).sum();
    [written as f64, stats.log.appended_bytes as f64, stats.flushed_bytes as f64]
}

fn settle(db: &Db, dir: &Path) -> Result<([f64; 3], u64), Box<dyn Error>> {
    db.flush()?;
    db.wait_idle()?;
    Ok((totals(&db.stats()), disk_bytes(dir)?))
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some(dir) = words.first().map(Path::new) else {
        return Err("usage: large-values DIR [KEYS] [VALUE_BYTES] [FROM]".into());
    };
    let number = |at: usize, default: u64| words.get(at).map_or(Ok(default), |word| word.parse::<u64>());
    let (keys, value_bytes) = (number(1, 100_000)?, number(2, 16 << 10)? as usize);
    let mut options = Options::new();
    if words.len() > 3 {
        options = options.blob_from(number(3, 0)? as usize);
    }
    let db = options.open(dir)?;
    if db.stats().last_seqno != 0 {
        return Err(format!("{} holds a store already", dir.display()).into());
    }
    let mut order: Vec<u64> = (0..keys).collect();
    let mut state = 88_172_645_463_325_252;
    for i in (1..order.len()).rev() {
        order.swap(i, (next(&mut state) % (i as u64 + 1)) as usize);
    }
    let mut value = vec![0; value_bytes];
    let (mut before, mut fresh) = (totals(&db.stats()), 0);
    for phase in ["load", "overwrite 1", "overwrite 2"] {
        let start = Instant::now();
        for position in &order {
            let key = if phase == "load" { *position } else { next(&mut state) % keys };
            fill(&mut value, &mut state);
            db.put(format!("key{key:013}"), &value)?;
        }
        let written = start.elapsed().as_secs_f64();
        let peak = disk_bytes(dir)?;
        let (after, disk) = settle(&db, dir)?;
        let [tables, log, user] = [0, 1, 2].map(|i| after[i] - before[i]);
        before = after;
        if fresh == 0 {
            fresh = disk;
        }
        println!(
            "{phase}: written in {written:.1} s, at rest after {:.1} s; write amplification {:.3}, with the log {:.3}; \
             on disk {disk} bytes at rest, {:.3} of freshly loaded, {:.3} of keys and values; {peak} before it settled",
            start.elapsed().as_secs_f64(),
            tables / user,
            (tables + log) / user,
            disk as f64 / fresh as f64,
            disk as f64 / (keys * (value_bytes as u64 + 16)) as f64,
        );
        println!("  {:?}", db.stats().blobs);
    }
    let (start, gets) = (Instant::now(), keys.min(50_000));
    let mut bytes = 0;
    for _ in 0..gets {
        let key = format!("key{:013}", next(&mut state) % keys);
        bytes += db.get(key)?.map_or(0, |value| value.len());
    }
    let each = start.elapsed().as_nanos() as f64 / gets as f64 / 1000.0;
    println!("{gets} random gets: {each:.1} µs each, {bytes} bytes");
    db.close()?;
    Ok(())
}
