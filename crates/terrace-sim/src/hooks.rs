//! What a test needs to force an interleaving that would otherwise happen once a year: a store whose file system
//! can hold a thread at a call, and the gate where it waits.

use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use terrace::{Env, FaultFs, Options, os_fs};

/// Longer than anything here takes; a test that fails ends all the same.
const PATIENCE: Duration = Duration::from_secs(20);

/// The real file system, to be watched.
pub fn watched_fs() -> FaultFs {
    FaultFs::new(os_fs(false))
}

/// Options of a small store on this file system, which compacts only by hand.
pub fn small_options(fs: &FaultFs) -> Options {
    let mut env = Env::default();
    env.fs = Arc::new(fs.clone());
    let options = Options::new().memory_budget(4 << 20).write_buffer(512 << 10).shards(2);
    options.background_compaction(false).env(env)
}

type Channel = (mpsc::SyncSender<()>, Mutex<mpsc::Receiver<()>>);

/// A place where one thread waits until the test lets it pass.
#[derive(Debug)]
pub struct Gate {
    arrived: Channel,
    opened: Channel,
}

impl Gate {
    /// A closed gate.
    pub fn closed() -> Arc<Self> {
        let channel = || {
            let (sender, receiver) = mpsc::sync_channel(1);
            (sender, Mutex::new(receiver))
        };
        Arc::new(Self { arrived: channel(), opened: channel() })
    }

    /// Waits for `open`, for some seconds at most.
    pub fn pass(&self) {
        let _ = self.arrived.0.try_send(());
        let opened = self.opened.1.lock().expect("nobody panics at the gate");
        let _ = opened.recv_timeout(PATIENCE);
    }

    /// Returns once a thread waits at the gate.
    pub fn await_arrival(&self) {
        let arrived = self.arrived.1.lock().expect("nobody panics at the gate");
        arrived.recv_timeout(PATIENCE).expect("a thread comes to the gate");
    }

    /// Lets it pass.
    pub fn open(&self) {
        let _ = self.opened.0.try_send(());
    }
}

/// Runs `body` in a thread of its own; panics if it does not end in time.
pub fn within<T: Send + 'static>(seconds: u64, what: &str, body: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(body()));
    receiver.recv_timeout(Duration::from_secs(seconds)).unwrap_or_else(|_| panic!("{what} never ended"))
}

/// Whether a path is a table's.
pub fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "tbl")
}
