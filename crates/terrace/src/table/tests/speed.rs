//! Timings, to be run by hand: `cargo test --release -p terrace --lib table::tests::speed -- --ignored --nocapture`.

use super::*;
use std::hint::black_box;

const ENTRIES: u64 = 1_000_000;

fn key(i: u64) -> Vec<u8> {
    format!("user:{i:011}").into_bytes()
}

/// What this thread has computed for, in nanoseconds: a busy machine disturbs it less than the wall clock.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

/// The best of three rounds, in nanoseconds for each of `n` steps.
fn time(what: &str, n: u64, mut round: impl FnMut()) {
    let once = |round: &mut dyn FnMut()| {
        let start = cpu_ns();
        round();
        (cpu_ns() - start) / n
    };
    let best = (0..3).map(|_| once(&mut round)).min().unwrap_or(0);
    println!("{what:<42} {best:>6} ns");
}

#[test]
#[ignore = "a measurement, not a check"]
fn of_gets_and_steps() {
    let dir = tempfile::tempdir().unwrap();
    let mut id = 0;
    let mut meta = None;
    for compression in [Compression::Lz4, Compression::None] {
        let options = TableOptions { compression, ..TableOptions::default() };
        let keys: Vec<_> = (0..ENTRIES).map(key).collect();
        time(&format!("write an entry, {compression:?}"), ENTRIES, || {
            id += 1;
            let mut writer = TableWriter::create(&os(), dir.path(), FileId(id), options).unwrap();
            for (i, key) in keys.iter().enumerate() {
                writer.add(key, i as u64 + 1, EntryMeta::PUT, &[i as u8; 100]).unwrap();
            }
            meta = Some(writer.finish().unwrap());
        });
    }
    let table = open(&dir, &meta.unwrap(), 1 << 30);
    time("step of a cold cursor", ENTRIES, || {
        let mut cursor = table.cursor(false);
        cursor.seek_to_first().unwrap();
        while cursor.valid() {
            black_box((cursor.key(), cursor.value()));
            cursor.next().unwrap();
        }
    });
    for fill in [true, true] {
        time("step of a cursor, filling then warm", ENTRIES, || {
            let mut cursor = table.cursor(fill);
            cursor.seek_to_first().unwrap();
            while cursor.valid() {
                black_box((cursor.key(), cursor.seqno(), cursor.meta(), cursor.value()));
                cursor.next().unwrap();
            }
        });
    }
    time("step back of a warm cursor", ENTRIES, || {
        let mut cursor = table.cursor(true);
        cursor.seek_to_last().unwrap();
        while cursor.valid() {
            black_box(cursor.key());
            cursor.prev().unwrap();
        }
    });
    for (what, range) in [("1 M keys", ENTRIES), ("20 k keys", 20_000), ("1 k keys", 1000)] {
        let picks: Vec<_> = (0..200_000u64)
            .map(|i| filter_hash(&i.to_le_bytes()) % range * (ENTRIES / range))
            .map(|i| (key(i), filter_hash(&key(i))))
            .collect();
        time(&format!("get among {what}"), picks.len() as u64, || {
            for (key, hash) in &picks {
                black_box(table.get(key, *hash, MAX_SEQNO).unwrap().unwrap());
            }
        });
        let absent: Vec<_> =
            picks.iter().map(|(key, _)| (key, filter_hash(&[key, &b"x"[..]].concat()))).collect();
        time(&format!("get of absent keys among {what}"), picks.len() as u64, || {
            for (key, hash) in &absent {
                black_box(table.get(key, *hash, MAX_SEQNO).unwrap());
            }
        });
    }
}
