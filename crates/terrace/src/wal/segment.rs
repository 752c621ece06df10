//! One open segment: its region, its header and its horizon slots.
//!
//! The region hands out chunks to lanes; the header page belongs to the segment itself. A segment that has
//! been given up never writes its header page again, because the file may already serve under another id.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::format::{CHUNKS_START, HORIZON_OFFSETS, HorizonSlot, SegmentHeader};
use crate::base::error::IoContext;
use crate::base::sync::{AtomicU64, Ordering};
use crate::base::{Error, FileId, Result, Seqno};
use crate::io::{Claim, RawRegion, Region};

/// A segment of the write-ahead log.
#[derive(Debug)]
pub(crate) struct Segment {
    header: SegmentHeader,
    context: u64,
    path: PathBuf,
    region: Region,
    /// The first sequence number that may be here; set by the switch, before any lane sees the segment.
    base: AtomicU64,
    page: Mutex<HeaderPage>,
    prefaulted_to: AtomicU64,
    /// Once the claims have come this far, it is time to populate further pages.
    prefault_mark: AtomicU64,
}

#[derive(Debug)]
struct HeaderPage {
    claim: Claim,
    next_slot: usize,
    given_up: bool,
}

impl Segment {
    /// Writes a header (and a first horizon slot) into a region of unknown content, and makes it durable.
    /// `path` is the name that the file will have; it is only used in errors.
    pub(super) fn create(
        raw: Arc<dyn RawRegion>,
        path: &Path,
        mut header: SegmentHeader,
        horizon: Seqno,
    ) -> Result<Self> {
        let region = Region::new(raw);
        let Some(mut claim) = region.claim(CHUNKS_START) else {
            return Err(Error::invalid(format!("a segment of {} bytes has no room", region.len())));
        };
        header.file_bytes = region.len();
        let context = header.context();
        let slot = HorizonSlot { horizon, clock_ms: header.clock_ms };
        let mut page = vec![0; CHUNKS_START as usize];
        let frame = header.encode();
        page[..frame.len()].copy_from_slice(&frame);
        let frame = slot.encode(context, HORIZON_OFFSETS[0]);
        page[HORIZON_OFFSETS[0] as usize..][..frame.len()].copy_from_slice(&frame);
        claim.write(0, &page).at("write the header of", path)?;
        // Only this page: what a recycled file holds behind it is still dirty, and about to be overwritten.
        region.sync_range(0..CHUNKS_START).at("sync", path)?;
        let page = Mutex::new(HeaderPage { claim, next_slot: 1, given_up: false });
        let path = path.to_path_buf();
        let [base, prefaulted_to, prefault_mark] = [0; 3].map(AtomicU64::new);
        Ok(Self { header, context, path, region, base, page, prefaulted_to, prefault_mark })
    }

    /// The segment's number.
    pub(crate) fn id(&self) -> FileId {
        self.header.id
    }

    /// The file's name.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What the frames of this segment are bound to.
    #[inline]
    pub(super) fn context(&self) -> u64 {
        self.context
    }

    /// The length of a slot; chunks are multiples of it.
    pub(super) fn chunk_bytes(&self) -> u64 {
        u64::from(self.header.chunk_bytes)
    }

    /// The length of the file.
    pub(super) fn len(&self) -> u64 {
        self.region.len()
    }

    /// The bytes claimed so far, the header page included.
    pub(super) fn claimed(&self) -> u64 {
        self.region.claimed()
    }

    /// The first sequence number that may be here.
    pub(super) fn base(&self) -> Seqno {
        // The switch stores it while all shards are locked, and lanes load it under a shard's lock.
        self.base.load(Ordering::Relaxed)
    }

    /// Says which sequence number comes first, while no lane can see the segment yet.
    pub(super) fn set_base(&self, base: Seqno) {
        self.base.store(base, Ordering::Relaxed);
    }

    /// Claims a chunk of `len` bytes, a multiple of `chunk_bytes`.
    pub(super) fn claim(&self, len: u64) -> Option<Claim> {
        self.region.claim(len)
    }

    /// Makes everything appended so far durable.
    pub(super) fn sync(&self) -> Result<()> {
        self.region.sync_claimed().at("sync", &self.path)
    }

    /// Stores a horizon; it becomes durable with the next sync. The slot written before it is durable by
    /// then, because there was a sync between the two.
    pub(super) fn store_horizon(&self, slot: HorizonSlot) -> Result<()> {
        let mut page = self.page.lock();
        if page.given_up {
            return Ok(());
        }
        let place = HORIZON_OFFSETS[page.next_slot];
        page.claim.write(place, &slot.encode(self.context, place)).at("write the horizon of", &self.path)?;
        page.next_slot = 1 - page.next_slot;
        Ok(())
    }

    /// From here on nothing of this segment is written, so that its file may be used again.
    pub(super) fn give_up(&self) {
        self.page.lock().given_up = true;
    }

    /// The range to prefault so that `ahead_bytes` in front of the claims are populated, if there is enough
    /// of it to be worth a system call.
    pub(super) fn prefault_due(&self, ahead_bytes: u64) -> Option<Range<u64>> {
        let front = self.region.claimed();
        let done = self.prefaulted_to.load(Ordering::Relaxed).max(front);
        let goal = (front + ahead_bytes).min(self.region.len());
        (goal > done && (goal - done >= ahead_bytes / 2 || goal == self.region.len())).then_some(done..goal)
    }

    /// Lets go of the memory behind the mapping, once nothing is appended any more.
    pub(super) fn release(&self) {
        self.region.release();
    }

    /// Whether the claims have used up half of what was populated last.
    pub(crate) fn wants_prefault(&self) -> bool {
        let mark = self.prefault_mark.load(Ordering::Relaxed);
        mark < self.region.len() && self.region.claimed() >= mark
    }

    /// Touches the pages of `range`.
    pub(super) fn prefault(&self, range: Range<u64>) {
        let end = range.end;
        let mark = if end == self.region.len() { end } else { range.start.midpoint(end) };
        self.prefault_mark.store(mark, Ordering::Relaxed);
        self.region.prefault(range);
        self.prefaulted_to.fetch_max(end, Ordering::Relaxed);
    }
}
