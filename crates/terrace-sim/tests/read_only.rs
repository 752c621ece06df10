//! Stores that are opened to be read only: beside a writer, after its death, and when nobody has them open.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use terrace::{Db, Durability, Env, Error, Options};
use terrace_sim::hooks::watched_fs;

fn small() -> Options {
    Options::new()
        .memory_budget(4 << 20)
        .write_buffer(256 << 10)
        .table_bytes(64 << 10)
        .l0_runs(2)
        .blob_from(64)
}

fn number(db: &Db, key: &str) -> Option<u64> {
    let value = db.get(key).unwrap()?;
    Some(std::str::from_utf8(&value).unwrap().parse().unwrap())
}

#[test]
fn it_sees_what_the_writer_has_acknowledged_and_does_not_move() {
    let dir = tempfile::tempdir().unwrap();
    let db = small().open(dir.path()).unwrap();
    for n in 0..5000 {
        db.put(format!("key{n:05}"), format!("{n}")).unwrap();
    }
    db.flush().unwrap();
    db.put("key00007", "70").unwrap();
    db.delete_range("key01000".."key02000").unwrap();
    db.keyspace("other").unwrap().put("a", "1").unwrap();

    let view = Db::open_read_only(dir.path()).unwrap();
    let check = || {
        assert_eq!(number(&view, "key00007"), Some(70));
        assert_eq!(number(&view, "key01500"), None);
        assert_eq!(view.iter().count(), 4000);
        assert_eq!(view.iter().rev().count(), 4000);
        assert_eq!(view.multi_get(["key00001", "key01001", "key04999"]).unwrap().iter().flatten().count(), 2);
        assert_eq!(view.find_keyspace("other").unwrap().get("a").unwrap().as_deref(), Some(&b"1"[..]));
    };
    check();
    let unread = Db::open_read_only(dir.path()).unwrap();
    // The writer goes on, and the files that the views read go.
    for n in 0..5000 {
        db.put(format!("key{n:05}"), format!("{}", n + 1)).unwrap();
    }
    db.compact_all().unwrap();
    check();
    assert_eq!(number(&unread, "key00008"), Some(8), "its tables had not been read yet");
    assert_eq!(number(&Db::open_read_only(dir.path()).unwrap(), "key00007"), Some(8), "opened again");
    db.close().unwrap();
    check();
}

#[test]
fn every_write_is_refused_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    Db::open(dir.path()).unwrap().put("key", "value").unwrap();
    let view = Db::open_read_only(dir.path()).unwrap();
    let mut batch = view.batch();
    batch.put("key", "other");
    let refused = [
        view.put("key", "other"),
        view.delete("key"),
        view.delete_prefix("k"),
        view.increment("n", 1).map(|_| ()),
        batch.commit().map(|_| ()),
        view.flush(),
        view.sync(),
        view.compact_all(),
        view.keyspace("new").map(|_| ()),
        view.drop_keyspace("default"),
        view.checkpoint(dir.path().join("copy")),
    ];
    for (at, outcome) in refused.into_iter().enumerate() {
        match outcome {
            Err(error @ (Error::ReadOnly { .. } | Error::InvalidInput(_))) => {
                assert!(matches!(error, Error::ReadOnly { .. }) || at == 9, "{at}: {error}");
            }
            other => panic!("{at}: {other:?}"),
        }
    }
    let error = view.put("key", "other").unwrap_err().to_string();
    assert!(error.contains("open it for writing"), "{error}");
    assert_eq!(view.get("key").unwrap().as_deref(), Some(&b"value"[..]));
    view.verify().unwrap();
    view.close().unwrap();
}

/// Names and contents of all files.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn a_store_whose_writer_died_is_read_from_its_log_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (live, dead) = (dir.path().join("live"), dir.path().join("dead"));
    let db = small().open(&live).unwrap();
    for n in 0..3000 {
        db.put(format!("key{n:05}"), vec![b'1'; 300]).unwrap();
    }
    db.wait_idle().unwrap();
    fs::create_dir(&dead).unwrap();
    for (name, content) in files(&live) {
        fs::write(dead.join(name), content).unwrap();
    }
    let before = files(&dead);
    let view = Db::open_read_only(&dead).unwrap();
    assert_eq!(view.iter().count(), 3000);
    view.close().unwrap();
    drop(view);
    assert!(files(&dead) == before, "nothing has changed");
    assert_eq!(Db::open(&dead).unwrap().iter().count(), 3000, "and it opens for writing");
    assert!(matches!(Db::open_read_only(dir.path().join("none")), Err(Error::NotAStore { .. })));
    db.close().unwrap();
}

/// Writes in an order that a reader can check: 64 counters take turns, on all lanes, and fillers make memtables, tables
/// and segments change.
struct Turns {
    db: Db,
    written: AtomicU64,
}

impl Turns {
    fn write(&self, turns: u64) {
        for n in self.written.load(Ordering::Acquire) + 1.. {
            self.db.put(format!("turn{:02}", n % 64), format!("{n}")).unwrap();
            self.db.put(format!("fill{:04}", n % 5000), vec![7; 200]).unwrap();
            self.written.store(n, Ordering::Release);
            if n % turns == 0 {
                break;
            }
        }
    }

    /// Opens the store and checks that it shows a prefix of the turns with all that were written before.
    fn check(&self, dir: &Path, options: Options) {
        let least = self.written.load(Ordering::Acquire);
        let view = options.open_read_only(dir).unwrap();
        let turns: Vec<u64> = (0..64).filter_map(|at| number(&view, &format!("turn{at:02}"))).collect();
        let newest = turns.iter().copied().max().unwrap_or(0);
        assert!(newest >= least, "acknowledged before: {least}, seen: {newest}");
        assert_eq!(turns.len() as u64, newest.min(64));
        assert!(turns.iter().all(|turn| turn + 64 > newest), "{newest}: {turns:?}");
    }
}

/// A reader passes the lanes of the log one after the other, so it could show a later write without an earlier one; and
/// a writer may remove any file that it has not opened yet. So the writer has a turn before each of its calls.
#[test]
fn whenever_the_writer_goes_on_a_prefix_is_seen() {
    for compacts in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let db = small().durability(Durability::Process).open(dir.path()).unwrap();
        let turns = Arc::new(Turns { db, written: AtomicU64::new(0) });
        turns.write(700);
        let mut at = 0;
        loop {
            at += 1 + at / 8;
            let fs = watched_fs();
            let (calls, writer) = (Arc::new(AtomicU64::new(0)), Arc::clone(&turns));
            let counter = Arc::clone(&calls);
            fs.watch(move |_, _| {
                if counter.fetch_add(1, Ordering::Relaxed) + 1 == at {
                    writer.write(100);
                    if compacts {
                        writer.db.compact_all().unwrap();
                    }
                }
                None
            });
            let mut env = Env::default();
            env.fs = Arc::new(fs);
            turns.check(dir.path(), small().env(env));
            if calls.load(Ordering::Relaxed) < at {
                assert!(at > 50, "the writer came {at} times in between");
                break;
            }
        }
        turns.db.close().unwrap();
    }
}

/// The same with a writer that never rests.
#[test]
fn beside_a_busy_writer_it_sees_a_prefix() {
    for durability in [Durability::Process, Durability::Interval(std::time::Duration::from_millis(5))] {
        let dir = tempfile::tempdir().unwrap();
        let db = small().durability(durability).open(dir.path()).unwrap();
        let (turns, stop) = (Turns { db, written: AtomicU64::new(0) }, AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    turns.write(10);
                }
            });
            (0..30).for_each(|_| turns.check(dir.path(), small()));
            stop.store(true, Ordering::Relaxed);
        });
        turns.db.close().unwrap();
    }
}
