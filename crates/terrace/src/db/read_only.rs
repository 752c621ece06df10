//! Opening a store to read it only, also while another process writes to it.
//!
//! Nothing in the directory is changed, and nothing in it is waited for. The manifest is read, the tables that it names
//! are opened, and the log is replayed into a memtable that is never flushed. A writer may meanwhile flush, compact and
//! remove files, so in the end the manifest is read again: if the log still begins where it began, nothing that was
//! needed had gone, and tables and blob files are held by their open files. Otherwise all of it is done again.
//!
//! While somebody writes, the log is cut at the first number that is missing, as after a power loss: a lane that was
//! read early may lack what one that was read late follows. So what is seen is a prefix of the writes, with
//! every one that was acknowledged before the opening began.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::clock::StoreClock;
use super::core::Core;
use super::open::{build, not_there};
use super::options::Options;
use super::recovery::replay_record;
use crate::base::error::IoContext;
use crate::base::{Error, FileId, Result};
use crate::io::{Env, LockGuard};
use crate::version::{Manifest, State, names};
use crate::wal::{ReplayReport, Writer, replay};

/// How often the store is read again because a writer was in the way.
const ATTEMPTS: u32 = 20;
/// The pause before the second attempt; each further one is as much longer.
const PAUSE: Duration = Duration::from_millis(2);

/// Stands where an opening for writing holds the lock.
#[derive(Debug)]
struct NoLock;

impl LockGuard for NoLock {}

/// Opens the store in `dir` as it is now.
pub(super) fn open_read_only(dir: &Path, options: &Options) -> Result<Arc<Core>> {
    options.validate()?;
    let env = &options.env;
    if !env.fs.exists(dir).at("look for", dir)? {
        return Err(not_there(dir));
    }
    for attempt in 1..=ATTEMPTS {
        match try_open(dir, options) {
            Ok(Some(core)) => return Ok(Arc::new(core)),
            Ok(None) => {}
            // A file that has gone, or a record half written, if there is a writer; otherwise it is what it looks like.
            Err(Error::Io { .. } | Error::Corruption { .. })
                if attempt < ATTEMPTS && find_writer(env, dir)? == Writer::Active => {}
            Err(error) => return Err(error),
        }
        env.clock.sleep(PAUSE * attempt);
    }
    let detail = format!("a writer has flushed during each of {ATTEMPTS} attempts; try again");
    Err(Error::io("read", dir, std::io::Error::other(detail)))
}

/// One attempt; `None` if a writer came in between.
fn try_open(dir: &Path, options: &Options) -> Result<Option<Core>> {
    let env = &options.env;
    let writer = find_writer(env, dir)?;
    let manifest = Manifest::frozen(Arc::clone(&env.fs), dir)?;
    let (id, log_start) = (manifest.id(), manifest.state().log_start);
    let mut core = build(env, dir, options.clone(), manifest, Box::new(NoLock))?;
    core.current().version.tables().try_for_each(|(_, table)| table.hold())?;
    core.current().version.blobs().files().try_for_each(|blob| blob.hold())?;
    let report = replay_into(&core, writer)?;
    core.clock = StoreClock::new(Arc::clone(&env.clock), report.clock_high_water_ms.max(core.clock.now_ms()));
    core.poison.set(Error::ReadOnly { path: dir.to_path_buf() });
    core.update_pressure();
    let unchanged = |now: FileId, state: &State| match writer {
        Writer::None => now == id,
        Writer::Active => state.log_start == log_start,
    };
    let (now, state) = Manifest::read(&*env.fs, dir)?;
    Ok(unchanged(now, &state).then_some(core))
}

/// Whether somebody has the store open. Whoever opens it later begins a new manifest before anything else.
fn find_writer(env: &Env, dir: &Path) -> Result<Writer> {
    let lock = dir.join(names::LOCK);
    let is_locked = env.fs.is_locked(&lock).at("look for a lock on", &lock)?;
    Ok(if is_locked { Writer::Active } else { Writer::None })
}

fn replay_into(core: &Core, writer: Writer) -> Result<ReplayReport> {
    let flushed = core.current().flushed_seqno;
    let log_start = core.manifest.lock().state().log_start;
    let mut visit = |first, count, body: &[u8]| replay_record(core, first, count, body);
    replay(&core.env, &core.dir, log_start, flushed, writer, &mut visit)
}
