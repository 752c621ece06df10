//! Terrace: a sharded LSM key-value store.
#![warn(missing_docs)]
#![allow(dead_code, unused_imports)]
// Removed once the layers meet.
// Unit tests may use real files, clocks and threads; the build without tests checks all other code.
#![cfg_attr(test, allow(clippy::disallowed_methods, clippy::disallowed_types))]

mod base;
mod compaction;
mod db;
mod io;
mod memtable;
mod record;
mod table;
mod version;
mod wal;

pub use base::error::{Action, Error, Result};
pub use base::slice::{NotSlice, Slice};
pub use io::{Clock, Env, File, Fs, Join, LockGuard, RawRegion, Rng, Spawn};

#[cfg(any(test, feature = "testing"))]
pub use io::{
    fault::{Fault, FaultFs, FaultOp, FaultRule},
    manual::{ManualClock, SeededRng},
    os::os_fs,
    sim::{CrashPolicy, PowerLoss, SimFs},
};
