//! Log regions: fixed-length files into which disjoint ranges are written concurrently.
//!
//! A `Region` hands out *claims*: ranges that never overlap, each owned by one writer. That ownership is
//! what makes plain stores into a shared mapping sound without a lock.

use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::base::sync::{AtomicU64, Ordering};

/// What a file system provides for a log region: a mapping, or positioned writes where mapping is not
/// possible.
#[allow(unsafe_code)] // The one trait whose contract the compiler cannot check; see `write_at`.
pub trait RawRegion: Send + Sync + Debug {
    /// The length in bytes.
    fn len(&self) -> u64;

    /// Whether the region has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Stores `bytes` at `offset`. Survives the death of the process from the moment it returns, and a
    /// power loss from the next [`RawRegion::sync`] on.
    ///
    /// # Safety
    ///
    /// No other thread may write to a range that overlaps `offset..offset + bytes.len()` at the same time,
    /// and the range must lie inside the region.
    unsafe fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Touches the pages of `range` so that later stores do not fault. A hint.
    fn prefault(&self, range: Range<u64>);

    /// Lets go of the memory that the region takes, because it will not be written for a while. Changes no
    /// content. A hint.
    fn release(&self) {}

    /// Makes everything stored so far durable.
    fn sync(&self) -> io::Result<()>;

    /// Makes the length and what is stored in `range` durable. May do more, by default everything.
    fn sync_range(&self, range: Range<u64>) -> io::Result<()> {
        let _ = range;
        self.sync()
    }
}

/// A log region and the front up to which it has been claimed.
#[derive(Debug)]
pub(crate) struct Region {
    raw: Arc<dyn RawRegion>,
    claimed: AtomicU64,
}

impl Region {
    /// Takes ownership of all of `raw`: there must be no other `Region` over the same file.
    pub(crate) fn new(raw: Arc<dyn RawRegion>) -> Self {
        Self { raw, claimed: AtomicU64::new(0) }
    }

    /// The length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.raw.len()
    }

    /// The bytes claimed so far.
    pub(crate) fn claimed(&self) -> u64 {
        self.claimed.load(Ordering::Relaxed).min(self.raw.len())
    }

    /// Claims the next `len` bytes for one writer; `None` when the region has no room for them.
    pub(crate) fn claim(&self, len: u64) -> Option<Claim> {
        let fits = |front: u64| front.checked_add(len).filter(|end| *end <= self.raw.len());
        let start = self.claimed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Claim { raw: Arc::clone(&self.raw), start, len })
    }

    /// Touches pages ahead of the claims.
    pub(crate) fn prefault(&self, range: Range<u64>) {
        self.raw.prefault(range.start..range.end.min(self.raw.len()));
    }

    /// Lets go of the memory that the region takes.
    pub(crate) fn release(&self) {
        self.raw.release();
    }

    /// Makes the length and what is stored in `range` durable; cheap where the rest is dirty and large.
    pub(crate) fn sync_range(&self, range: Range<u64>) -> io::Result<()> {
        self.raw.sync_range(range)
    }

    /// Makes everything that was stored in the claims so far durable. What lies ahead of them is left alone: its
    /// pages may be populated, and so dirty, and writing them out would cost the disk as much again, and the next
    /// stores their faults.
    pub(crate) fn sync_claimed(&self) -> io::Result<()> {
        self.raw.sync_range(0..self.claimed())
    }
}

/// A range of a region that belongs to one writer.
#[derive(Debug)]
pub(crate) struct Claim {
    raw: Arc<dyn RawRegion>,
    start: u64,
    len: u64,
}

impl Claim {
    /// Where the range starts in the region.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Stores `bytes` at `offset` within the range.
    #[inline]
    #[allow(unsafe_code)]
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64);
        assert!(end.is_some_and(|end| end <= self.len), "a write stays inside its claim");
        // SAFETY: claims are disjoint (the front only grows) and lie inside the region; `&mut self` makes
        // this the only writer of this claim.
        unsafe { self.raw.write_at(self.start + offset, bytes) }
    }
}
