//! Runs of level 0 that nothing but reads would ever merge.
//!
//! A load that ended with fewer runs than start a compaction left them there for good, and scans of the same data came
//! to 3.5 or to 9.5 million entries a second, depending on where the last flush had been.

use std::path::Path;
use std::sync::Arc;

use terrace::{BackgroundStep, Db, Env, ManualClock, Options, SeededRng, SimFs};

const KEYS: u32 = 2_000;

/// A store with a table in the base level and two runs above it.
fn loaded() -> Db {
    let (clock, rng) = (Arc::new(ManualClock::default()), Arc::new(SeededRng::new(1)));
    let env = Env::inline(Arc::new(SimFs::new()), clock, rng);
    let db = Options::new().env(env).open(Path::new("/store")).unwrap();
    db.hold_background_work();
    let put = |step: usize| (0..KEYS).step_by(step).for_each(|n| db.put(n.to_be_bytes(), [7; 40]).unwrap());
    put(1);
    db.compact_all().unwrap();
    for step in [2, 3] {
        put(step);
        db.flush().unwrap();
    }
    assert_eq!(runs(&db), [2, 0, 0, 0, 0, 0, 1]);
    db
}

fn runs(db: &Db) -> Vec<u64> {
    db.stats().levels.iter().map(|level| level.runs).collect()
}

fn table_bytes(db: &Db) -> u64 {
    db.stats().levels.iter().map(|level| level.bytes).sum()
}

fn compact(db: &Db) -> bool {
    db.background_step(BackgroundStep::Compact).unwrap()
}

#[test]
fn scans_that_have_paid_for_the_merge_get_it() {
    let db = loaded();
    // Each scan pays 1 KiB for each of the two runs.
    let scans = table_bytes(&db).div_ceil(2048);
    for _ in 0..scans - 1 {
        assert!(db.range(7u32.to_be_bytes()..).next().is_some());
    }
    assert!(!compact(&db), "one scan is missing");
    assert!(db.range(7u32.to_be_bytes()..).next().is_some());
    assert!(compact(&db));
    assert_eq!(runs(&db), [0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(db.iter().count(), KEYS as usize);
    assert!(!compact(&db), "what was paid is used up");
}

#[test]
fn gets_pay_for_runs_that_do_not_have_their_key() {
    let db = loaded();
    // Of the keys 1, 7, 13, … in the range of both runs neither has any: 128 bytes each.
    let gets = usize::try_from(table_bytes(&db).div_ceil(128)).unwrap();
    for n in (1..KEYS - 2).step_by(6).cycle().take(gets) {
        assert!(db.get(n.to_be_bytes()).unwrap().is_some());
    }
    assert!(compact(&db));
    assert_eq!(runs(&db)[0], 0);
}

#[test]
fn without_reads_the_runs_stay() {
    let db = loaded();
    assert!(!compact(&db));
    assert_eq!(runs(&db)[0], 2);
}
