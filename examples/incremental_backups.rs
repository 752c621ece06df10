//! Twenty incremental backups of a store that changes: each must restore to what it was taken of, and cost what is new.
//!
//! ```sh
//! cargo run --release -p terrace-cli --example incremental_backups -- 500 /some/directory
//! ```
//!
//! The first argument is the size of the store in MiB, the second a directory to work in, which must be empty. Between
//! two backups, a fortieth of the entries is overwritten, in a range of keys that moves, and as many are added or
//! removed. It prints what each backup cost, restores every generation, and compares it entry by entry.

use std::path::Path;
use std::time::Instant;

use terrace::{Backups, Db, Options};

const GENERATIONS: u64 = 20;
const VALUE_BYTES: usize = 1000;

/// A value that no other key and no other round has, and that does not compress well.
fn value(key: u64, round: u64) -> Vec<u8> {
    let mut state = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ round.wrapping_mul(0xd1b5_4a32_d192_ed03) | 1;
    let mut bytes = Vec::with_capacity(VALUE_BYTES);
    while bytes.len() < VALUE_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

/// The number of entries, and a sum over all keys and values in their order.
fn fingerprint(db: &Db) -> terrace::Result<(u64, u64)> {
    let (mut count, mut sum) = (0, 0u64);
    for entry in db.iter() {
        let (key, value) = entry?;
        for byte in key.iter().chain(value.iter()) {
            sum = (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        count += 1;
    }
    Ok((count, sum))
}

fn change(db: &Db, entries: u64, round: u64) -> terrace::Result<()> {
    let part = entries / 40;
    let start = part * (round * 7 % 40);
    for key in start..start + part {
        db.put(format!("key{key:012}"), value(key, round))?;
    }
    for key in 0..part / 4 {
        db.put(format!("new{round:04}-{key:010}"), value(key, round))?;
        db.delete(format!("new{:04}-{key:010}", round / 2))?;
    }
    Ok(())
}

fn open(dir: &Path) -> terrace::Result<Db> {
    Options::new().memory_budget(64 << 20).open(dir)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "give the size of the store in MiB and an empty directory";
    let mib: u64 = arguments.next().ok_or(usage)?.parse()?;
    let dir = std::path::PathBuf::from(arguments.next().ok_or(usage)?);
    let entries = mib * (1 << 20) / VALUE_BYTES as u64;
    let db = open(&dir.join("store"))?;
    for key in 0..entries {
        db.put(format!("key{key:012}"), value(key, 0))?;
    }
    let backups = Backups::new(dir.join("backups"));
    let mut expected = Vec::new();
    println!("generation     MiB  new MiB  share  seconds  MiB/s");
    for round in 1..=GENERATIONS {
        if round > 1 {
            change(&db, entries, round)?;
            db.wait_idle()?;
        }
        let start = Instant::now();
        let made = backups.create(&db, |_| ())?;
        let seconds = start.elapsed().as_secs_f64();
        let (all, new) = (made.bytes as f64 / 1048576.0, made.new_bytes as f64 / 1048576.0);
        let share = 100.0 * new / all;
        println!("{:10} {all:7.0} {new:8.0} {share:5.0}% {seconds:8.2} {:6.0}", made.number, new / seconds);
        expected.push((made.number, fingerprint(&db)?));
    }
    db.close()?;
    let wrong = backups.verify(None, |_| ())?;
    println!("verify: {} damaged files", wrong.len());
    for (number, expected) in expected {
        let restored = dir.join(format!("restored-{number}"));
        backups.restore(Some(number), &restored, |_| ())?;
        let copy = open(&restored)?;
        let found = fingerprint(&copy)?;
        copy.close()?;
        std::fs::remove_dir_all(&restored)?;
        if found != expected {
            return Err(format!("generation {number} restores to {found:?}, not {expected:?}").into());
        }
    }
    println!("all {GENERATIONS} generations restore to what they were taken of");
    Ok(())
}
