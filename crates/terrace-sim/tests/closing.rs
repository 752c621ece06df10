//! Closing, and ending otherwise: beside operations in other threads, from inside callbacks, after failures.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use terrace::{Db, Durability, Env, Error, FaultOp, Join, Options, Spawn, WriteOptions};
use terrace_sim::hooks::{Gate, is_table, small_options, watched_fs, within};

/// `close` let go of the directory while a compaction by hand was still running in another thread. Whoever
/// opened the store next shared it with that thread, which went on to write tables, to append to the manifest
/// and to delete the tables that it had compacted.
#[test]
fn closing_waits_for_a_compaction_by_hand() {
    let (dir, fs) = (tempfile::tempdir().unwrap(), watched_fs());
    let db = small_options(&fs).open(dir.path()).unwrap();
    for round in 0..2 {
        for n in 0..100 {
            db.put(format!("key{n:03}"), format!("{round}")).unwrap();
        }
        db.flush().unwrap();
    }
    let (gate, first) = (Gate::closed(), AtomicBool::new(true));
    let held = Arc::clone(&gate);
    fs.watch(move |op, path| {
        if op == FaultOp::Create && is_table(path) && first.swap(false, Ordering::Relaxed) {
            held.pass();
        }
        None
    });
    let compactor = db.clone();
    let compaction = thread::spawn(move || compactor.compact_all());
    gate.await_arrival();
    let closer = db.clone();
    let close = thread::spawn(move || closer.close());
    thread::sleep(Duration::from_millis(300));
    let too_early = close.is_finished();
    gate.open();
    close.join().unwrap().unwrap();
    let outcome = compaction.join().unwrap();
    assert!(!too_early, "the directory is let go while a thread still writes into it");
    assert!(matches!(outcome, Ok(()) | Err(Error::Closed)), "{outcome:?}");
    let db = Db::open(dir.path()).unwrap();
    assert_eq!(db.iter().filter(|entry| entry.as_ref().unwrap().1 == *b"1").count(), 100);
    db.close().unwrap();
}

/// The flush thread died of a panic and nobody noticed: memory filled, and from then on every write waited
/// for a flush that could not come.
#[test]
fn writers_hear_of_a_background_thread_that_died() {
    let (dir, fs) = (tempfile::tempdir().unwrap(), watched_fs());
    let db = small_options(&fs).open(dir.path()).unwrap();
    fs.watch(|op, path| {
        assert!(op != FaultOp::Create || !is_table(path), "planted");
        None
    });
    let error = within(30, "a write", move || {
        (0u32..).find_map(|n| db.put(n.to_be_bytes(), vec![1; 1000]).err()).unwrap()
    });
    assert!(matches!(error, Error::Poisoned { .. }), "{error}");
    assert!(error.to_string().contains("terrace-flush"), "{error}");
}

/// Threads that can be started only so often.
struct FewThreads {
    inner: Arc<dyn Spawn>,
    left: AtomicI64,
}

impl fmt::Debug for FewThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FewThreads").finish_non_exhaustive()
    }
}

impl Spawn for FewThreads {
    fn spawn(&self, name: &str, body: Box<dyn FnOnce() + Send>) -> io::Result<Box<dyn Join>> {
        if self.left.fetch_sub(1, Ordering::Relaxed) <= 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.inner.spawn(name, body)
    }

    fn run_all<'a>(&self, tasks: Vec<Box<dyn FnOnce() + Send + 'a>>) {
        self.inner.run_all(tasks);
    }

    fn cores(&self) -> usize {
        self.inner.cores()
    }
}

/// An opening that could not start its third thread failed, but the first two went on for ever and kept the
/// store locked.
#[test]
fn an_opening_that_fails_late_lets_go_of_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let mut env = Env::default();
    let inner = env.spawn.take().unwrap();
    env.spawn = Some(Arc::new(FewThreads { inner, left: AtomicI64::new(2) }));
    let refused = Options::new().env(env).open(dir.path()).unwrap_err();
    assert!(matches!(refused, Error::Io { .. }), "{refused}");
    Db::open(dir.path()).unwrap().close().unwrap();
}

/// A callback wrote to another store while the thread that ran it, a writer with `Sync`, still had its buffer
/// for the encoded record in use: a panic.
#[test]
fn a_callback_may_write_to_another_store() {
    let (dir, fs) = (tempfile::tempdir().unwrap(), watched_fs());
    let other = Db::open(dir.path().join("other")).unwrap();
    let db = small_options(&fs).open(dir.path().join("store")).unwrap();
    let gate = Gate::closed();
    let held = Arc::clone(&gate);
    let first = AtomicBool::new(true);
    fs.watch(move |op, path| {
        let log = path.extension().is_some_and(|extension| extension == "wal" || extension == "spare");
        if op == FaultOp::RegionSync && log && first.swap(false, Ordering::Relaxed) {
            held.pass();
        }
        None
    });
    let writer = db.clone();
    let write = thread::spawn(move || {
        writer.put_with("key", "value", WriteOptions::new().durability(Durability::Sync))
    });
    gate.await_arrival();
    let (sender, receiver) = mpsc::channel();
    let target = other.clone();
    db.when_durable(1, move |outcome| sender.send(outcome.and_then(|()| target.put("told", "yes"))).unwrap());
    gate.open();
    write.join().expect("the writer lives").unwrap();
    receiver.recv_timeout(Duration::from_secs(20)).expect("the callback is called").unwrap();
    assert!(other.contains("told").unwrap());
    db.close().unwrap();
}

static SHARED: Mutex<Option<Db>> = Mutex::new(None);

/// In a store without a log, callbacks ran inside the flush, under the lock that lets one flush run at a time:
/// a callback that wrote and flushed waited for itself.
#[test]
fn a_callback_may_flush() {
    let dir = tempfile::tempdir().unwrap();
    let db = Options::new().durability(Durability::Memory).open(dir.path()).unwrap();
    *SHARED.lock().unwrap() = Some(db.clone());
    let mut batch = db.batch();
    batch.put("key", "value");
    let seqno = batch.commit().unwrap();
    let (sender, receiver) = mpsc::channel();
    db.when_durable(seqno, move |_| {
        let db = SHARED.lock().unwrap().take().unwrap();
        sender.send(db.put("more", "value").and_then(|()| db.flush())).unwrap();
    });
    receiver.recv_timeout(Duration::from_secs(20)).expect("the callback ends").unwrap();
    within(20, "the close", move || db.close()).unwrap();
}

/// A callback that held the last handle closed the store from one of the store's own threads, which then
/// waited for itself to end.
#[test]
fn the_last_handle_may_go_in_a_callback() {
    let dir = tempfile::tempdir().unwrap();
    let (sender, receiver) = mpsc::channel();
    let path = dir.path().to_path_buf();
    within(20, "letting go of the last handle", move || {
        let db = Db::open(path).unwrap();
        let mut batch = db.batch();
        batch.put("key", "value");
        let seqno = batch.commit().unwrap();
        let last = db.clone();
        db.when_durable(seqno, move |outcome| {
            // Long enough for the other handle to go first.
            thread::sleep(Duration::from_millis(200));
            drop(last);
            sender.send(outcome).unwrap();
        });
    });
    receiver.recv_timeout(Duration::from_secs(20)).expect("the callback ends").unwrap();
    let reopened = within(20, "reopening", {
        let path = dir.path().to_path_buf();
        move || reopen(&path)
    });
    assert!(reopened.contains("key").unwrap());
}

fn reopen(path: &Path) -> Db {
    loop {
        match Db::open(path) {
            Err(Error::Locked { .. }) => thread::sleep(Duration::from_millis(10)),
            outcome => return outcome.unwrap(),
        }
    }
}
