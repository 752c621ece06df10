//! Opening: lock the directory, read the manifest, recover the log (`recovery`), start a new one, start the
//! background threads.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::clock::StoreClock;
use super::compact::Compactions;
use super::core::{Core, Shard};
use super::keyspaces::{DEFAULT_KEYSPACE, Keyspaces};
use super::options::{Durability, Options};
use super::recovery::recover_log;
use super::shards::Shards;
use super::super_version::SuperVersion;
use super::syncer::Syncer;
use crate::base::error::IoContext;
use crate::base::{Error, FileId, KeyspaceId, Merging, Result};
use crate::blob::BlobFile;
use crate::io::{Env, LockGuard};
use crate::memtable::{ChunkPool, Memtable, MemtableOptions};
use crate::table::{Cache, Table};
use crate::version::{Blobs, Edit, Manifest, Presence, State, names, probe};
use crate::wal::{Lane, ReplayReport, Wal, WalOptions, check_start};

/// Smallest and largest arena chunk of a memtable shard.
const CHUNK_BYTES: std::ops::RangeInclusive<usize> = 1 << 10..=256 << 10;
const LANE_CHUNK_BYTES: u64 = 64 << 10;
const PREFAULT_BYTES: u64 = 4 << 20;
const SPARE_SEGMENTS: usize = 4;

/// Opens or creates the store in `dir`.
pub(super) fn open(dir: &Path, options: Options) -> Result<Arc<Core>> {
    options.validate()?;
    let env = options.env.clone();
    let lock = lock_dir(&env, dir, options.create_if_missing)?;
    let manifest = open_manifest(&env, dir, options.create_if_missing)?;
    let mut core = build(&env, dir, options, manifest, lock)?;
    remove_orphans(&core)?;
    recover_log(&mut core)?;
    if let Some(name) = core.merging.new_name() {
        // Durable before the first operand can be.
        core.commit_edit(Edit { merge_operator: Some(name), ..Edit::default() }, None)?;
    }
    let core = Arc::new(core);
    core.update_pressure();
    if let Err(error) = core.start_threads() {
        // Those that did start hold the core, and with it the lock.
        let _ = core.shut_down();
        return Err(error);
    }
    core.work.flushed();
    Ok(core)
}

/// Takes the store's lock, making the directory if it may be made. A directory that holds something else is
/// left alone: not even a lock file is made in it.
fn lock_dir(env: &Env, dir: &Path, create: bool) -> Result<Box<dyn LockGuard>> {
    let exists = env.fs.exists(dir).at("look for", dir)?;
    if exists {
        find_store(env, dir, create)?;
    } else if create {
        env.fs.create_dir_all(dir).at("create", dir)?;
    } else {
        return Err(not_there(dir));
    }
    let path = dir.join(names::LOCK);
    let content = format!("{}\n", std::process::id());
    match env.fs.lock(&path, content.as_bytes()) {
        Ok(guard) => Ok(guard),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            Err(Error::Locked { pid: read_pid(env, &path), path })
        }
        Err(error) => Err(Error::io("lock", &path, error)),
    }
}

pub(super) fn not_there(dir: &Path) -> Error {
    Error::NotAStore { path: dir.to_path_buf(), detail: "the directory does not exist".to_string() }
}

/// Whether there is a store in `dir`; an error if there is none and none may be made.
fn find_store(env: &Env, dir: &Path, create: bool) -> Result<bool> {
    match probe(&*env.fs, dir)? {
        Presence::Store(_) => Ok(true),
        Presence::Nothing if create => Ok(false),
        Presence::Nothing => {
            Err(Error::NotAStore { path: dir.to_path_buf(), detail: "the directory is empty".to_string() })
        }
    }
}

fn read_pid(env: &Env, path: &Path) -> Option<u32> {
    let file = env.fs.open(path).ok()?;
    let mut bytes = vec![0; file.len().ok()?.min(16) as usize];
    file.read_exact_at(&mut bytes, 0).ok()?;
    std::str::from_utf8(&bytes).ok()?.trim().parse().ok()
}

fn open_manifest(env: &Env, dir: &Path, create: bool) -> Result<Manifest> {
    let fs = Arc::clone(&env.fs);
    if find_store(env, dir, create)? {
        // Before anything is changed: a manifest that has lost its last edits would take live files for orphans.
        let check = |state: &State| check_start(&*env.fs, dir, state.log_start);
        return Ok(Manifest::recover(fs, dir, &check)?.0);
    }
    settle_path(env, dir)?;
    let mut state = State { clock_ms: env.clock.now_ms(), next_keyspace_id: 1, ..State::default() };
    state.keyspaces.insert(KeyspaceId(0), DEFAULT_KEYSPACE.to_string());
    Manifest::create(fs, dir, state)
}

/// Makes the names on the way to a new store durable. Whoever made the directories may have died before doing
/// so; a store must not vanish with them in a power loss once it has acknowledged a write.
fn settle_path(env: &Env, dir: &Path) -> Result<()> {
    for above in dir.ancestors().skip(1) {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        match env.fs.sync_dir(above) {
            // Where we may not look, we did not make anything either.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
            outcome => outcome.at("sync", above)?,
        }
    }
    Ok(())
}

/// Everything in memory, as the manifest has it.
pub(super) fn build(
    env: &Env,
    dir: &Path,
    options: Options,
    manifest: Manifest,
    lock: Box<dyn LockGuard>,
) -> Result<Core> {
    let state = manifest.state();
    let merging = Merging::new(state.merge_operator.clone(), options.merge_operator.clone())?;
    let cache = Cache::new(options.memory_budget_bytes / 4);
    let open = |meta: &_| {
        let table = Table::open(Arc::clone(&env.fs), dir, Clone::clone(meta), Arc::clone(&cache));
        Arc::new(table.mapped(options.map_tables))
    };
    let manifest_path = dir.join(names::manifest(manifest.id()));
    let version = state.version(open).map_err(|detail| Error::corruption(&manifest_path, 0, detail))?;
    let open_blob = |meta| Arc::new(BlobFile::open(Arc::clone(&env.fs), dir, meta));
    let version = version.with_blobs(Blobs::default().next(&state.blobs, open_blob));
    let write_buffer = options.effective_write_buffer() as usize;
    let per_shard = write_buffer / options.shards / 8;
    let memtable_options = MemtableOptions {
        shards: options.shards,
        chunk_bytes: per_shard.next_power_of_two().clamp(*CHUNK_BYTES.start(), *CHUNK_BYTES.end()),
        expected_bytes: write_buffer,
    };
    let pool = ChunkPool::new(write_buffer / 2);
    let (active, writers) = Memtable::new(&pool, &memtable_options);
    // With many shards and a small buffer, first chunks and indexes alone would fill it.
    let write_buffer_bytes = options.effective_write_buffer().max(2 * active.bytes() as u64);
    let shards = writers.into_iter().map(|writer| Shard { writer, log: None });
    let current = SuperVersion {
        active,
        sealed: Vec::new(),
        version: Arc::new(version),
        flushed_seqno: state.flushed_seqno,
    };
    Ok(Core {
        clock: StoreClock::new(Arc::clone(&env.clock), state.clock_ms),
        hash_seed: env.rng.next_u64(),
        origin: env.rng.next_u64(),
        shards: Shards::new(shards, state.flushed_seqno, current),
        write_buffer_bytes,
        next_file_id: Arc::new(AtomicU64::new(state.next_file_id.max(1))),
        keyspaces: Keyspaces::new(state.keyspaces.iter().map(|(id, name)| (*id, name.clone()))),
        manifest: Mutex::new(manifest),
        ready: Mutex::default(),
        wal: None,
        pool,
        memtable_options,
        cache,
        stall: super::stall::Stall::default(),
        pressure: Mutex::default(),
        syncer: Syncer::default(),
        poison: super::poison::Poison::default(),
        compactions: Compactions::default(),
        work: super::work::Work::default(),
        counters: super::counters::Counters::default(),
        closed: AtomicBool::new(false),
        lock: Mutex::new(Some(lock)),
        env: env.clone(),
        dir: dir.to_path_buf(),
        merging,
        options,
    })
}

/// Removes files that no edit names: tables of an interrupted flush or compaction, old manifests.
fn remove_orphans(core: &Core) -> Result<()> {
    let listed = core.env.fs.list(&core.dir).at("list", &core.dir)?;
    let manifest = core.manifest.lock();
    for name in names::orphans(&listed, manifest.state(), manifest.id()) {
        let path = core.dir.join(name);
        core.env.fs.remove(&path).at("remove", &path)?;
    }
    // The number of an orphan was given out without being recorded; it must not come back.
    let used = names::largest_data_id(&listed).map_or(0, |id| id.0);
    core.next_file_id.fetch_max(used + 1, Ordering::Relaxed);
    Ok(())
}

/// Starts an empty log, and has the manifest say so: from here on, a log that is missing is missed.
pub(super) fn start_log(core: &mut Core, report: &ReplayReport) -> Result<()> {
    let write_buffer = core.write_buffer_bytes;
    let lanes = core.options.shards as u64;
    let ids = Arc::clone(&core.next_file_id);
    // Room for a whole write buffer as log records, and for the chunks that lanes leave half used.
    let chunk_bytes = LANE_CHUNK_BYTES.min((write_buffer / lanes / 4).next_power_of_two()).max(4096);
    let options = WalOptions {
        segment_bytes: write_buffer + lanes * chunk_bytes + chunk_bytes,
        chunk_bytes,
        recycle_limit: SPARE_SEGMENTS,
        prefault_bytes: PREFAULT_BYTES.min(write_buffer / 4),
        synced: core.options.durability == Durability::Sync,
    };
    let wal = Wal::new(&core.env, &core.dir, options, move || FileId(ids.fetch_add(1, Ordering::Relaxed)));
    wal.raise_clock(report.clock_high_water_ms);
    wal.prepare(0)?;
    let segment = wal.switch(core.last_seqno() + 1);
    let segment =
        segment.ok_or_else(|| Error::invalid("the log has no segment although one was prepared"))?;
    for number in 0..core.shards.count() {
        core.shards.lock(number).log = Some((Lane::new(number as u16), Arc::clone(&segment)));
    }
    core.wal = Some(wal);
    core.commit_edit(Edit { log_start: Some(segment.id()), ..Edit::default() }, None)
}
