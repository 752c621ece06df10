//! Back-pressure when several threads change the store at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use terrace::{Clock, Durability, Env};
use terrace_sim::hooks::{Gate, small_options, watched_fs, within};

/// A clock at which one thread can be held.
#[derive(Debug)]
struct HeldClock {
    inner: Arc<dyn Clock>,
    held: Mutex<Option<ThreadId>>,
    gate: Arc<Gate>,
    met: AtomicBool,
}

impl Clock for HeldClock {
    fn now_ms(&self) -> u64 {
        self.inner.now_ms()
    }

    fn monotonic_ns(&self) -> u64 {
        let here = *self.held.lock().unwrap() == Some(thread::current().id());
        if here && !self.met.swap(true, Ordering::Relaxed) {
            self.gate.pass();
        }
        self.inner.monotonic_ns()
    }

    fn sleep(&self, duration: Duration) {
        self.inner.sleep(duration);
    }
}

/// A writer sealed a memtable, found the store full and was interrupted before it said so. The flush that
/// emptied the store said so first, and the writer's outdated word was the last: with nothing left to flush
/// nobody ever looked again, and every write waited for ever.
#[test]
fn the_latest_state_has_the_last_word() {
    let (dir, fs, gate) = (tempfile::tempdir().unwrap(), watched_fs(), Gate::closed());
    let clock = Arc::new(HeldClock {
        inner: Env::default().clock,
        held: Mutex::new(None),
        gate: Arc::clone(&gate),
        met: AtomicBool::new(false),
    });
    let mut env = Env::default();
    env.clock = Arc::clone(&clock) as Arc<dyn Clock>;
    // Without a log, because a write that needs a larger segment would seal twice.
    let db = small_options(&fs).env(env).durability(Durability::Memory).open(dir.path()).unwrap();
    thread::sleep(Duration::from_millis(300)); // The next memtable is ready.
    let (writer, told) = (db.clone(), Arc::clone(&clock));
    let sealing = thread::spawn(move || {
        *told.held.lock().unwrap() = Some(thread::current().id());
        writer.put("large", vec![1; 4 << 20]).unwrap();
    });
    gate.await_arrival();
    let flusher = db.clone();
    let flushing = thread::spawn(move || flusher.flush().unwrap());
    thread::sleep(Duration::from_millis(500));
    gate.open();
    sealing.join().unwrap();
    flushing.join().unwrap();
    within(10, "a write into an empty store", move || db.put("key", "value")).unwrap();
}
