//! `ChunkPool`: the memory that the memtables of a store take turns in using.
//!
//! A chunk that comes back has been written before, so its pages are mapped: writing to it again
//! costs no page fault, which is half of the cost of an insert into fresh memory. The pool is bounded; what
//! comes back beyond the bound is freed. It does not limit how much is taken out.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::base::sync::{AtomicUsize, Ordering};

/// Chunks start on a cache line.
const CHUNK_ALIGN_BYTES: usize = 64;
/// The stride at which fresh memory is touched; no page is smaller.
const PAGE_BYTES: usize = 4096;
/// Memory per entry assumed until a memtable has come and gone: a short key, about 100 bytes of value.
const FIRST_ENTRY_BYTES: usize = 144;

/// Uninitialised memory that never moves.
pub(super) struct Chunk {
    start: NonNull<u64>,
    bytes: usize,
}

// SAFETY: a chunk is plain memory, owned through a unique pointer.
#[allow(unsafe_code)]
unsafe impl Send for Chunk {}
// SAFETY: `&Chunk` gives out the address only; whoever uses it answers for the access.
#[allow(unsafe_code)]
unsafe impl Sync for Chunk {}

#[allow(unsafe_code)]
impl Chunk {
    /// Allocates `bytes` (at least one) without touching them.
    pub(super) fn allocate(bytes: usize) -> Self {
        let layout = Self::layout(bytes);
        // SAFETY: the layout's size is not zero, `layout` asserts it.
        let start = unsafe { alloc(layout) };
        #[allow(clippy::cast_ptr_alignment)] // The layout asks for more.
        let Some(start) = NonNull::new(start.cast()) else { handle_alloc_error(layout) };
        Self { start, bytes }
    }

    /// The address of its first word.
    pub(super) fn start(&self) -> NonNull<u64> {
        self.start
    }

    /// Its length.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Maps all its pages now, off the write path.
    fn prefault(&mut self) {
        for at in (0..self.bytes).step_by(PAGE_BYTES) {
            // SAFETY: inside the allocation, which `&mut self` makes ours alone.
            unsafe { self.start.cast::<u8>().add(at).write_volatile(0) };
        }
    }

    fn layout(bytes: usize) -> Layout {
        assert!(bytes > 0, "a chunk has bytes");
        match Layout::from_size_align(bytes, CHUNK_ALIGN_BYTES) {
            Ok(layout) => layout,
            Err(_) => unreachable!("a chunk is far below the largest allocation"),
        }
    }
}

#[allow(unsafe_code)]
impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: allocated by `allocate` with the same layout, and freed only here.
        unsafe { dealloc(self.start.as_ptr().cast(), Self::layout(self.bytes)) };
    }
}

/// Chunks at rest, shared by all memtables of a store.
pub(crate) struct ChunkPool {
    max_pooled_bytes: usize,
    free: Mutex<Free>,
    entry_bytes: AtomicUsize,
}

#[derive(Default)]
struct Free {
    chunks: Vec<Chunk>,
    bytes: usize,
}

impl ChunkPool {
    /// An empty pool that keeps at most `max_pooled_bytes`.
    pub(crate) fn new(max_pooled_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            max_pooled_bytes,
            free: Mutex::default(),
            entry_bytes: AtomicUsize::new(FIRST_ENTRY_BYTES),
        })
    }

    /// The bytes at rest in the pool now.
    pub(crate) fn pooled_bytes(&self) -> usize {
        self.free.lock().bytes
    }

    /// Puts up to `count` fresh, mapped chunks into the pool, as far as its bound allows. For a background
    /// thread.
    pub(crate) fn prefill(&self, chunk_bytes: usize, count: usize) {
        let chunk_bytes = super::arena::round_chunk_bytes(chunk_bytes);
        for _ in 0..count {
            if self.pooled_bytes() + chunk_bytes > self.max_pooled_bytes {
                return;
            }
            let mut chunk = Chunk::allocate(chunk_bytes);
            chunk.prefault();
            self.give(chunk);
        }
    }

    /// A chunk of `bytes`: a pooled one, or fresh memory not yet mapped.
    pub(super) fn take(&self, bytes: usize) -> Chunk {
        self.take_pooled(bytes).unwrap_or_else(|| Chunk::allocate(bytes))
    }

    /// A chunk of `bytes` whose pages are mapped.
    pub(super) fn take_mapped(&self, bytes: usize) -> Chunk {
        self.take_pooled(bytes).unwrap_or_else(|| {
            let mut chunk = Chunk::allocate(bytes);
            chunk.prefault();
            chunk
        })
    }

    /// Takes a chunk back, or frees it when the pool is full.
    pub(super) fn give(&self, chunk: Chunk) {
        let mut free = self.free.lock();
        if free.bytes + chunk.bytes <= self.max_pooled_bytes {
            free.bytes += chunk.bytes;
            free.chunks.push(chunk);
        }
    }

    fn take_pooled(&self, bytes: usize) -> Option<Chunk> {
        let mut free = self.free.lock();
        let at = free.chunks.iter().rposition(|chunk| chunk.bytes == bytes)?;
        free.bytes -= bytes;
        Some(free.chunks.swap_remove(at))
    }

    /// Memory per entry seen in earlier memtables; sizes the indexes of new ones.
    pub(super) fn entry_bytes(&self) -> usize {
        self.entry_bytes.load(Ordering::Relaxed)
    }

    /// Remembers what a memtable turned out to hold.
    pub(super) fn note_entry_bytes(&self, mean_bytes: usize) {
        self.entry_bytes.store(mean_bytes.clamp(32, 1 << 20), Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_returned_chunk_is_taken_again() {
        let pool = ChunkPool::new(8192);
        let chunk = pool.take(4096);
        let start = chunk.start();
        pool.give(chunk);
        assert_eq!(pool.pooled_bytes(), 4096);
        assert_eq!(pool.take(4096).start(), start);
        assert_eq!(pool.pooled_bytes(), 0);
    }

    #[test]
    fn the_pool_stays_within_its_bound_and_matches_sizes() {
        let pool = ChunkPool::new(8192);
        let chunks: Vec<Chunk> = (0..3).map(|_| pool.take(4096)).collect();
        for chunk in chunks {
            pool.give(chunk);
        }
        assert_eq!(pool.pooled_bytes(), 8192);
        assert_eq!(pool.take_mapped(2048).bytes(), 2048);
        assert_eq!(pool.pooled_bytes(), 8192);
        pool.prefill(4096, 10);
        assert_eq!(pool.pooled_bytes(), 8192);
    }
}
