//! Failures of the log and the manifest at the moments that matter.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use terrace::{Db, Durability, Env, Error, Fault, FaultFs, FaultOp, FaultRule, Options, WriteOptions, os_fs};
use terrace_sim::hooks::{Gate, is_table, small_options, watched_fs};

fn tables(dir: &Path) -> usize {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    names.filter(|path| is_table(path)).count()
}

fn options(fs: &FaultFs) -> Options {
    let mut env = Env::default();
    env.fs = Arc::new(fs.clone());
    Options::new().memory_budget(4 << 20).background_compaction(false).env(env)
}

/// When the disk was too full for the manifest's edit, the tables that it would have named stayed behind. The
/// work was tried again and again, and each time left as much again on a disk that was full already.
#[test]
fn tables_of_an_edit_that_found_no_room_are_removed() {
    let (dir, fs) = (tempfile::tempdir().unwrap(), FaultFs::new(os_fs(false)));
    let db = options(&fs).open(dir.path()).unwrap();
    for round in 0..2 {
        db.put("key", format!("{round}")).unwrap();
        db.flush().unwrap();
    }
    assert_eq!(tables(dir.path()), 2);
    fs.add(FaultRule::new(FaultOp::Write, Fault::Enospc).on("MANIFEST").from_nth(1));
    fs.add(FaultRule::new(FaultOp::Create, Fault::Enospc).on("MANIFEST").from_nth(1));
    for _ in 0..3 {
        assert!(matches!(db.compact_all(), Err(Error::Full { .. })));
    }
    assert_eq!(tables(dir.path()), 2, "compactions leave nothing behind");
    db.put("key", "2").unwrap();
    assert!(matches!(db.flush(), Err(Error::Full { .. })));
    // The flush thread tries as well; give it the time to clean up.
    thread::sleep(Duration::from_millis(100));
    assert!(tables(dir.path()) <= 3, "at most the one that is being written now");
    fs.clear();
    db.compact_all().unwrap();
    assert_eq!(db.get("key").unwrap().as_deref(), Some(&b"2"[..]));
    db.close().unwrap();
    assert_eq!(tables(dir.path()), 1);
}

/// A sync of the manifest that fails for want of space leaves in doubt what is on disk, as any failed sync
/// does; it passed for a write that certainly had not happened, and writers went on.
#[test]
fn a_manifest_that_cannot_be_synced_for_want_of_space_poisons() {
    let (dir, fs) = (tempfile::tempdir().unwrap(), FaultFs::new(os_fs(false)));
    let db = options(&fs).open(dir.path()).unwrap();
    fs.add(FaultRule::new(FaultOp::Sync, Fault::Enospc).on("MANIFEST"));
    assert!(matches!(db.keyspace("new"), Err(Error::Full { .. })));
    let refused = db.put("key", "value").unwrap_err();
    assert!(matches!(refused, Error::Poisoned { .. }), "{refused}");
}

/// A writer took a number and failed to log it, while another one, with a later number, was about to sync. The
/// sync declared everything durable up to the later number, the missing one included, and the next opening
/// refused the store as damaged.
#[test]
fn no_sync_covers_a_number_that_was_never_logged() {
    let (dir, fs) = (tempfile::tempdir().unwrap(), watched_fs());
    let (gate, armed) = (Gate::closed(), Arc::new(AtomicBool::new(false)));
    let (held, strike) = (Arc::clone(&gate), Arc::clone(&armed));
    let headers = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&headers);
    fs.watch(move |op, _| {
        seen.fetch_add(u64::from(op == FaultOp::RegionSync), Ordering::Relaxed);
        if op == FaultOp::RegionWrite && strike.swap(false, Ordering::Relaxed) {
            held.pass();
            return Some(Fault::Eio);
        }
        None
    });
    let db = small_options(&fs).open(dir.path()).unwrap();
    // One key in each of the two shards. The first stores claim the chunks.
    for n in 0..64u8 {
        db.put([n], "before").unwrap();
    }
    // The next segment is prepared in the background; its header's write must not be the one that fails.
    while headers.load(Ordering::Relaxed) < 2 {
        thread::sleep(Duration::from_millis(1));
    }
    armed.store(true, Ordering::Relaxed);
    let writer = db.clone();
    let failing = thread::spawn(move || writer.put([0], "lost"));
    gate.await_arrival();
    // One of these is in the other shard: it gets its number and waits for the sync.
    let syncing: Vec<_> = (1..8u8)
        .map(|n| {
            let writer = db.clone();
            let durable = WriteOptions::new().durability(Durability::Sync);
            thread::spawn(move || writer.put_with([n], "after", durable))
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    gate.open();
    assert!(failing.join().unwrap().is_err());
    for thread in syncing {
        let outcome = thread.join().unwrap();
        assert!(outcome.is_err(), "acknowledged beyond a number that is missing");
    }
    assert!(db.close().is_err());
    drop(db);
    let db = Db::open(dir.path()).expect("the store opens again");
    assert_eq!(db.get([0]).unwrap().as_deref(), Some(&b"before"[..]));
    db.close().unwrap();
}
