//! The log as a whole: which segments live, how far they are synced, when their files come back.
//!
//! Locks, in this order: `files` (held across slow file work), `sync` (held across an fdatasync), `live`
//! (never held across I/O, because `switch` takes it while all shards are locked).

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::files::SegmentFiles;
use super::format::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, CHUNKS_START, HorizonSlot};
use super::segment::Segment;
use crate::base::sync::{AtomicU64, Ordering};
use crate::base::{Error, FileId, Result, Seqno};
use crate::io::Env;

/// Sizes of the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WalOptions {
    /// The length of an ordinary segment.
    pub(crate) segment_bytes: u64,
    /// The length of the chunks that lanes claim, usually 64 KiB; a multiple of 8 from 256 on.
    pub(crate) chunk_bytes: u64,
    /// How many files are kept for reuse.
    pub(crate) recycle_limit: usize,
    /// How far ahead of the claims pages are populated.
    pub(crate) prefault_bytes: u64,
    /// Whether every append is synced before it is acknowledged; see `Fs::open_synced_region`.
    pub(crate) synced: bool,
}

/// Counters of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct WalStats {
    /// Bytes claimed by lanes since the start: what was appended, rounded up to chunks.
    pub(crate) appended_bytes: u64,
    /// Segments that hold records not flushed yet, the active one included.
    pub(crate) segments_live: usize,
    /// Calls of `sync` that reached the disk.
    pub(crate) syncs: u64,
    /// How often a file was used again.
    pub(crate) recycled: u64,
}

/// The write-ahead log.
pub(crate) struct Wal {
    env: Env,
    options: WalOptions,
    files: Mutex<SegmentFiles>,
    /// Held during a sync; the first failure. A later sync could succeed without the pages that the failed
    /// one has lost, so there is none.
    sync: Mutex<Option<Error>>,
    live: Mutex<Live>,
    /// Every record up to here is durable.
    durable: AtomicU64,
    /// The latest time handed out or found on disk.
    clock_ms: AtomicU64,
    syncs: AtomicU64,
    recycled: AtomicU64,
}

#[derive(Default)]
struct Live {
    /// Oldest first; the last one is active.
    segments: VecDeque<LiveSegment>,
    ready: Option<Arc<Segment>>,
    /// Bytes claimed in segments that are gone.
    retired_bytes: u64,
}

struct LiveSegment {
    segment: Arc<Segment>,
    /// The last sequence number in it, once it is sealed.
    last: Option<Seqno>,
    /// Records up to here are durable.
    synced: Seqno,
    /// It is sealed and its memory was let go of.
    released: bool,
}

impl LiveSegment {
    /// Whether a sync up to `hi` has work to do here.
    fn is_due(&self, hi: Seqno) -> bool {
        let last = self.last.map_or(hi, |last| last.min(hi));
        self.segment.base() <= last && self.synced < last
    }
}

impl Wal {
    /// A log in `dir`, without any I/O yet. The ids must be above all that replay saw, and never come back.
    pub(crate) fn new(
        env: &Env,
        dir: &Path,
        options: WalOptions,
        next_id: impl Fn() -> FileId + Send + Sync + 'static,
    ) -> Self {
        let WalOptions { segment_bytes, chunk_bytes, .. } = options;
        assert!(
            (CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&chunk_bytes) && chunk_bytes % 8 == 0,
            "a chunk has {CHUNK_BYTES_MIN} to {CHUNK_BYTES_MAX} bytes, a multiple of 8"
        );
        assert!(segment_bytes >= CHUNKS_START + chunk_bytes, "a segment holds at least one chunk");
        Self {
            env: env.clone(),
            options,
            files: Mutex::new(SegmentFiles::new(env, dir, options, Box::new(next_id))),
            sync: Mutex::default(),
            live: Mutex::default(),
            durable: AtomicU64::new(0),
            clock_ms: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            recycled: AtomicU64::new(0),
        }
    }

    /// Makes the next segment ready, large enough for a record of `min_bytes` (see `record_bytes`; 0 for an
    /// ordinary segment). The slow part of a switch: takes no lock of the write path. Does nothing if a
    /// ready segment is large enough.
    pub(crate) fn prepare(&self, min_bytes: u64) -> Result<()> {
        let mut files = self.files.lock();
        let len = files.segment_bytes(min_bytes);
        let (too_small, previous) = {
            let mut live = self.live.lock();
            if live.ready.as_ref().is_some_and(|ready| ready.len() >= len) {
                return Ok(());
            }
            // Room for the push in `switch`.
            live.segments.reserve(1);
            let previous = live.segments.back().map_or(FileId(0), |active| active.segment.id());
            (live.ready.take(), previous)
        };
        if let Some(segment) = too_small {
            files.give_back(&segment)?;
        }
        let (horizon, clock_ms) = (self.durable_horizon(), self.clock_high_water_ms());
        let (segment, recycled) = files.make(len, previous, horizon, clock_ms)?;
        self.recycled.fetch_add(u64::from(recycled), Ordering::Relaxed);
        self.live.lock().ready = Some(Arc::new(segment));
        Ok(())
    }

    /// Whether a segment is ready for the next switch.
    pub(crate) fn is_prepared(&self) -> bool {
        self.live.lock().ready.is_some()
    }

    /// Seals the active segment and makes the prepared one active; `None` if none is prepared. A pointer
    /// swap. The caller holds all shard locks, and `base_seqno` is the next sequence number to be taken.
    pub(crate) fn switch(&self, base_seqno: Seqno) -> Option<Arc<Segment>> {
        let mut live = self.live.lock();
        let segment = live.ready.take()?;
        segment.set_base(base_seqno);
        let before = base_seqno.saturating_sub(1);
        if let Some(active) = live.segments.back_mut() {
            active.last = Some(before);
        }
        let (copy, synced) = (Arc::clone(&segment), before);
        live.segments.push_back(LiveSegment { segment: copy, last: None, synced, released: false });
        Some(segment)
    }

    /// Lets go of the memory of segments that were sealed since the last call, and populates pages ahead of
    /// the claims of the active one. For a background thread; cheap when there is nothing to do.
    pub(crate) fn prefault_ahead(&self) {
        let mut sealed = Vec::new();
        for live in self.live.lock().segments.iter_mut().filter(|s| s.last.is_some() && !s.released) {
            live.released = true;
            sealed.push(Arc::clone(&live.segment));
        }
        for segment in sealed {
            segment.release();
        }
        let active = self.live.lock().segments.back().map(|active| Arc::clone(&active.segment));
        let Some(active) = active else { return };
        if let Some(range) = active.prefault_due(self.options.prefault_bytes) {
            active.prefault(range);
        }
    }

    /// Makes every record up to `hi` durable. The caller guarantees that they are complete: it has read the
    /// counter as `hi` and then passed through all shard locks. Once this has failed it fails for good.
    pub(crate) fn sync(&self, hi: Seqno) -> Result<()> {
        let mut failed = self.sync.lock();
        if let Some(error) = &*failed {
            return Err(error.clone());
        }
        if hi <= self.durable_horizon() {
            return Ok(());
        }
        let synced = self.sync_segments(hi);
        *failed = synced.as_ref().err().cloned();
        synced
    }

    fn sync_segments(&self, hi: Seqno) -> Result<()> {
        let due: Vec<Arc<Segment>> = {
            let live = self.live.lock();
            live.segments.iter().filter(|s| s.is_due(hi)).map(|s| Arc::clone(&s.segment)).collect()
        };
        for segment in &due {
            segment.sync()?;
        }
        self.syncs.fetch_add(u64::from(!due.is_empty()), Ordering::Relaxed);
        let active = {
            let mut live = self.live.lock();
            for segment in &mut live.segments {
                // One that became live meanwhile has its base above `hi`, and so nothing up to `hi`.
                segment.synced = segment.synced.max(hi);
            }
            live.segments.back().map(|active| Arc::clone(&active.segment))
        };
        self.durable.fetch_max(hi, Ordering::AcqRel);
        // Stored now, durable with the next sync: recovery may know less than was durable, never more.
        let slot = HorizonSlot { horizon: hi, clock_ms: self.clock_high_water_ms() };
        active.map_or(Ok(()), |active| active.store_horizon(slot))
    }

    /// Every record up to here is durable.
    pub(crate) fn durable_horizon(&self) -> Seqno {
        self.durable.load(Ordering::Acquire)
    }

    /// Raises the clock's high-water mark, for example to what replay has found.
    pub(crate) fn raise_clock(&self, ms: u64) {
        self.clock_ms.fetch_max(ms, Ordering::Relaxed);
    }

    /// The latest time seen: the wall clock, or an earlier reading if the clock has jumped back.
    fn clock_high_water_ms(&self) -> u64 {
        let now = self.env.clock.now_ms();
        self.clock_ms.fetch_max(now, Ordering::Relaxed).max(now)
    }

    /// The first segment that is needed once everything up to `flushed` is durable elsewhere.
    pub(crate) fn first_needed(&self, flushed: Seqno) -> Option<FileId> {
        let live = self.live.lock();
        let needed = |s: &&LiveSegment| s.last.is_none_or(|last| last > flushed);
        live.segments.iter().find(needed).map(|s| s.segment.id())
    }

    /// Gives back the sealed segments whose records are all `<= flushed`, which must be durable elsewhere.
    pub(crate) fn retire(&self, flushed: Seqno) -> Result<()> {
        let mut files = self.files.lock();
        loop {
            let oldest = {
                let live = self.live.lock();
                let oldest = live.segments.front().filter(|s| s.last.is_some_and(|last| last <= flushed));
                oldest.map(|s| Arc::clone(&s.segment))
            };
            let Some(oldest) = oldest else { return Ok(()) };
            files.give_back(&oldest)?;
            self.forget_oldest();
        }
    }

    fn forget_oldest(&self) {
        let mut live = self.live.lock();
        if let Some(gone) = live.segments.pop_front() {
            live.retired_bytes += gone.segment.claimed() - CHUNKS_START;
        }
    }

    /// Removes every file of the log, after a clean close with everything flushed.
    pub(crate) fn remove_all(&self) -> Result<()> {
        let mut files = self.files.lock();
        files.remove_spares()?;
        let ready = self.live.lock().ready.take();
        if let Some(ready) = ready {
            files.remove(&ready)?;
        }
        loop {
            let oldest = self.live.lock().segments.front().map(|s| Arc::clone(&s.segment));
            let Some(oldest) = oldest else { break };
            files.remove(&oldest)?;
            self.forget_oldest();
        }
        files.sync_dir()
    }

    /// The counters.
    pub(crate) fn stats(&self) -> WalStats {
        let (syncs, recycled) = (self.syncs.load(Ordering::Relaxed), self.recycled.load(Ordering::Relaxed));
        let live = self.live.lock();
        let claimed: u64 = live.segments.iter().map(|s| s.segment.claimed() - CHUNKS_START).sum();
        let (appended_bytes, segments_live) = (live.retired_bytes + claimed, live.segments.len());
        WalStats { appended_bytes, segments_live, syncs, recycled }
    }
}
