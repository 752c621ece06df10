//! Recovery tells how far it has come, and says nothing when there was nothing to recover.

use std::path::Path;
use std::sync::{Arc, Mutex};

use terrace::{CrashPolicy, Env, Options, RecoveryProgress, SimFs};

fn env(fs: &SimFs) -> Env {
    let mut env = Env::default();
    env.fs = Arc::new(fs.clone());
    env.spawn = None;
    env
}

fn open(fs: &SimFs) -> Vec<RecoveryProgress> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let observer = Arc::clone(&told);
    let options = Options::new().env(env(fs)).on_recovery(move |p| observer.lock().unwrap().push(p));
    options.open(Path::new("/store")).unwrap().close().unwrap();
    let told = told.lock().unwrap();
    told.clone()
}

#[test]
fn progress_rises_to_the_number_of_replayed_writes() {
    let fs = SimFs::new();
    let db = Options::new().env(env(&fs)).open(Path::new("/store")).unwrap();
    for n in 0..150_000u32 {
        db.put(n.to_be_bytes(), "value").unwrap();
    }
    let crashed = fs.crash(CrashPolicy::ProcessDeath, 0);
    let told: Vec<u64> = open(&crashed).iter().map(|p| p.entries).collect();
    assert_eq!(told, [65_536, 131_072, 150_000]);
    assert!(open(&crashed).is_empty(), "after a clean close there is nothing to replay");
}
