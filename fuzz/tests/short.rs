//! The committed corpus and a short random walk from it, through every target, on stable Rust.
//!
//! `TERRACE_FUZZ_MS=n` is the time for each target. A failure prints the input in hex; put it into the corpus.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use terrace::{Rng, SeededRng};
use terrace_fuzz::TARGETS;

const LEN_MAX: u64 = 400;

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let files = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    files.map(|file| file.unwrap().path()).map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn changed(rng: &SeededRng, inputs: &[(PathBuf, Vec<u8>)]) -> Vec<u8> {
    let pick = |rng: &SeededRng| inputs[rng.below(inputs.len() as u64) as usize].1.clone();
    let mut bytes = pick(rng);
    for _ in 0..=rng.below(6) {
        let at = rng.below(bytes.len() as u64 + 1) as usize;
        match rng.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, rng.next_u64() as u8),
            2 => bytes.extend(pick(rng)),
            3 if at < bytes.len() => drop(bytes.remove(at)),
            4 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
            _ if at < bytes.len() => bytes[at] = [0, 0xff, b'*', b'$', b'\r', b'\n', b'-', b'9'][rng.below(8) as usize],
            _ => {}
        }
    }
    bytes.truncate(LEN_MAX as usize);
    bytes
}

#[test]
fn no_target_panics() {
    let ms = std::env::var("TERRACE_FUZZ_MS").ok().and_then(|n| n.parse().ok()).unwrap_or(700);
    let seed = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
    for (name, target) in TARGETS {
        let inputs = corpus(name);
        assert!(inputs.len() >= 2, "{name} has a corpus");
        let run = |bytes: &[u8], from: &str| {
            let outcome = catch_unwind(AssertUnwindSafe(|| target(bytes)));
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(outcome.is_ok(), "{name}, {from}: {hex}");
        };
        for (path, bytes) in &inputs {
            run(bytes, &path.display().to_string());
        }
        let (rng, start, mut executions) = (SeededRng::new(seed), Instant::now(), 0u64);
        while start.elapsed() < Duration::from_millis(ms) {
            for _ in 0..16 {
                run(&changed(&rng, &inputs), "changed");
                executions += 1;
            }
        }
        println!("fuzz {name} executions={executions} seed={seed}");
    }
}
