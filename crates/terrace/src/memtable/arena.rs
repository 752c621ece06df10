//! `Arena`: the append-only memory of one shard, and the layout of an entry in it.
//!
//! An entry is addressed by a 32-bit `Offset` in units of 8 bytes: chunk number, then place in the chunk.
//! Chunks never move and are given back to the pool only when the arena is dropped. One writer appends
//! through its `Front`; readers follow offsets that reached them through an acquire load of a word the
//! writer stored with release. How an entry is laid out is said in `layout`. A zero word where one would
//! start means that the rest of the chunk is unused.

use std::sync::Arc;

use parking_lot::Mutex;

use super::layout::{Shape, WORD_BYTES};
use super::pool::{Chunk, ChunkPool};
use super::prefetch::prefetch_read;
use super::published::Published;
use super::witness::Witnesses;
use crate::base::sync::{AtomicPtr, Ordering};
use crate::base::{EntryMeta, Seqno};

const MIN_CHUNK_BYTES: usize = 1 << 10;
const MAX_CHUNK_BYTES: usize = 1 << 30;

/// The chunk size that is used when `bytes` is asked for: a power of two within limits.
pub(super) fn round_chunk_bytes(bytes: usize) -> usize {
    bytes.clamp(MIN_CHUNK_BYTES, MAX_CHUNK_BYTES).next_power_of_two()
}

/// Where an entry starts in its arena. Zero is no entry. Later entries have larger offsets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Offset(pub(super) u32);

impl Offset {
    /// No entry.
    pub(super) const NONE: Self = Self(0);
}

/// An entry as the arena holds it.
pub(super) struct Entry<'a> {
    pub(super) seqno: Seqno,
    pub(super) meta: EntryMeta,
    /// The next older version of the same key, or `Offset::NONE`.
    pub(super) older: Offset,
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
}

/// Memory of one shard. See the module's description.
pub(super) struct Arena {
    /// log2 of the units in a chunk.
    chunk_shift: u32,
    directory: Published<Box<[AtomicPtr<u64>]>>,
    /// What `directory` and the entries laid apart point into; touched once per chunk.
    owned: Mutex<Vec<Chunk>>,
    pool: Arc<ChunkPool>,
    witnesses: Witnesses,
}

/// The place where the one writer of an arena continues.
pub(super) struct Front {
    chunk: *mut u64,
    chunk_number: u32,
    used_units: u32,
    /// Memory taken since the caller last set this to zero.
    pub(super) grown_bytes: usize,
}

// SAFETY: the pointer is into a chunk of the arena that the front belongs to; it is used only by
// `Arena::append`, whose contract makes its caller the only writer.
#[allow(unsafe_code)]
unsafe impl Send for Front {}

/// The words before an entry's key, decoded.
struct Parts {
    first: u64,
    shape: Shape,
    older: Offset,
    expires_at_ms: u64,
    /// The key, followed by the value.
    body: *const u8,
    value_len: usize,
}

#[allow(unsafe_code)]
impl Arena {
    /// An arena with its first chunk mapped, and the front to write it with.
    pub(super) fn new(pool: &Arc<ChunkPool>, chunk_bytes: usize, expected_bytes: usize) -> (Self, Front) {
        let chunk_bytes = round_chunk_bytes(chunk_bytes);
        let first = pool.take_mapped(chunk_bytes);
        let slots = (expected_bytes / chunk_bytes + 2).next_power_of_two();
        let directory = new_directory(&[first.start().as_ptr()], slots);
        let front = Front {
            chunk: first.start().as_ptr(),
            chunk_number: 0,
            used_units: 1, // So that no entry is at `Offset::NONE`.
            grown_bytes: chunk_bytes,
        };
        let arena = Self {
            chunk_shift: (chunk_bytes / WORD_BYTES).ilog2(),
            directory: Published::new(directory),
            owned: Mutex::new(vec![first]),
            pool: Arc::clone(pool),
            witnesses: Witnesses::new(),
        };
        (arena, front)
    }

    /// The place at which the first entry is.
    pub(super) const START: u32 = 1;

    /// The place after the last entry.
    #[inline]
    pub(super) fn end(&self, front: &Front) -> u32 {
        (front.chunk_number << self.chunk_shift) + front.used_units
    }

    /// Whether an entry with `bytes` of key and value would need another chunk.
    #[cfg(all(test, loom))]
    pub(super) fn needs_chunk(&self, front: &Front, bytes: usize) -> bool {
        let units = (5 + bytes.div_ceil(WORD_BYTES)) as u64;
        units <= self.apart_from_units() && u64::from(front.used_units) + units > 1 << self.chunk_shift
    }

    /// Entries above this many units are laid apart, so that a chunk's unused end stays below a quarter.
    fn apart_from_units(&self) -> u64 {
        (1 << self.chunk_shift) / 4
    }

    /// Appends an entry. It is not visible to readers until the caller publishes the offset with a
    /// release store.
    ///
    /// # Safety
    ///
    /// `front` must be the one that `new` made together with this arena.
    #[inline]
    pub(super) unsafe fn append(&self, front: &mut Front, entry: &Entry<'_>) -> Offset {
        let (key, value) = (entry.key, entry.value);
        let has_expiry = entry.meta.expires_at_ms != 0;
        let shape = Shape::new(key.len(), value.len(), has_expiry, self.apart_from_units());
        let units = shape.units(value.len());
        if front.used_units + units > 1 << self.chunk_shift {
            self.next_chunk(front);
        }
        let offset = Offset(self.end(front));
        // SAFETY: `units` words from the front are inside its chunk, were never handed out, and belong to
        // this writer alone by the contract; key and value have room behind the header or apart.
        unsafe {
            let words = front.chunk.add(front.used_units as usize);
            words.write(entry.seqno << 8 | u64::from(entry.meta.to_byte()));
            words.add(1).write(shape.to_word(entry.older));
            let mut body = words.add(shape.header_words()).cast::<u8>();
            if has_expiry {
                words.add(shape.header_words() - 1).write(entry.meta.expires_at_ms);
            }
            if shape.short_value_len().is_none() {
                words.add(2).write(value.len() as u64);
            }
            if shape.is_apart() {
                body = self.lay_apart(front, key.len() + value.len());
                words.add(3).cast::<*const u8>().write(body);
            }
            body.copy_from_nonoverlapping(key.as_ptr(), key.len());
            body.add(key.len()).copy_from_nonoverlapping(value.as_ptr(), value.len());
        }
        self.witnesses.at(offset.0).wrote();
        front.used_units += units;
        offset
    }

    /// The entry at `at`.
    ///
    /// # Safety
    ///
    /// `at` must come from this arena's `append` and have reached this thread through a release store and
    /// an acquire load (or never have left it).
    #[inline]
    pub(super) unsafe fn entry(&self, at: Offset) -> Entry<'_> {
        // SAFETY: the caller's promise, passed on; `body` is followed by key and value.
        unsafe {
            let parts = self.parts(at);
            let Some((meta, _)) = EntryMeta::from_byte(parts.first as u8) else {
                unreachable!("`append` wrote the byte with `to_byte`")
            };
            let key_len = parts.shape.key_len;
            Entry {
                seqno: parts.first >> 8,
                meta: EntryMeta { expires_at_ms: parts.expires_at_ms, ..meta },
                older: parts.older,
                key: std::slice::from_raw_parts(parts.body, key_len),
                value: std::slice::from_raw_parts(parts.body.add(key_len), parts.value_len),
            }
        }
    }

    /// The key of the entry at `at`.
    ///
    /// # Safety
    ///
    /// As for `entry`.
    #[inline]
    pub(super) unsafe fn key(&self, at: Offset) -> &[u8] {
        // SAFETY: the caller's promise, passed on.
        unsafe {
            let parts = self.parts(at);
            std::slice::from_raw_parts(parts.body, parts.shape.key_len)
        }
    }

    /// The first entry at or after `place`, which must be before the published end, and the place after it.
    ///
    /// # Safety
    ///
    /// `place` must be `START` or a place that this function or `end` returned, and an end beyond it must
    /// have reached this thread as in `entry`.
    pub(super) unsafe fn entry_after(&self, mut place: u32) -> (Offset, u32) {
        // SAFETY: before the published end there is an entry or, at most once, the mark that ends a
        // chunk, after which the next chunk starts with an entry.
        unsafe {
            if self.address(Offset(place)).read() == 0 {
                place = ((place >> self.chunk_shift) + 1) << self.chunk_shift;
            }
            let parts = self.parts(Offset(place));
            (Offset(place), place + parts.shape.units(parts.value_len))
        }
    }

    /// Asks the processor to load the start of the entry at `at`.
    #[inline]
    pub(super) fn prefetch(&self, at: Offset) {
        let address = self.address(at).cast::<u8>();
        prefetch_read(address);
        prefetch_read(address.wrapping_add(64));
    }

    /// The address of `at`, which must be an offset of this arena (anything else panics or is not to be
    /// read from).
    #[inline]
    fn address(&self, at: Offset) -> *const u64 {
        let chunk = &self.directory.get()[(at.0 >> self.chunk_shift) as usize];
        let place = at.0 & ((1 << self.chunk_shift) - 1);
        // Relaxed: the store to this slot happens before the release store that published `at`.
        chunk.load(Ordering::Relaxed).cast_const().wrapping_add(place as usize)
    }

    /// # Safety
    ///
    /// As for `entry`.
    #[inline]
    unsafe fn parts(&self, at: Offset) -> Parts {
        self.witnesses.at(at.0).read();
        // SAFETY: an entry written by `append` starts here and happens before this; see the layout.
        unsafe {
            let words = self.address(at);
            let first = words.read();
            let (shape, older) = Shape::from_word(words.add(1).read());
            let header_words = shape.header_words();
            let value_len = shape.short_value_len().unwrap_or_else(|| words.add(2).read() as usize);
            let expires_at_ms = if shape.has_expiry { words.add(header_words - 1).read() } else { 0 };
            let body = if shape.is_apart() {
                words.add(3).cast::<*const u8>().read()
            } else {
                words.add(header_words).cast::<u8>()
            };
            Parts { first, shape, older, expires_at_ms, body, value_len }
        }
    }

    /// Ends the front's chunk and starts another.
    #[cold]
    fn next_chunk(&self, front: &mut Front) {
        let units = 1u32 << self.chunk_shift;
        if front.used_units < units {
            // SAFETY: a whole word is left in the chunk, and it belongs to the one writer.
            unsafe { front.chunk.add(front.used_units as usize).write(0) };
        }
        let chunk = self.pool.take(units as usize * WORD_BYTES);
        let start = chunk.start().as_ptr();
        front.grown_bytes += chunk.bytes();
        self.owned.lock().push(chunk);
        let number = front.chunk_number + 1;
        assert!(number < u32::MAX >> self.chunk_shift, "a shard stays below 32 GiB");
        if let Some(slot) = self.directory.get().get(number as usize) {
            slot.store(start, Ordering::Relaxed);
        } else {
            let old = self.directory.get();
            let mut chunks: Vec<*mut u64> = old.iter().map(|slot| slot.load(Ordering::Relaxed)).collect();
            chunks.push(start);
            front.grown_bytes += 2 * size_of_val(&**old);
            self.directory.publish(new_directory(&chunks, 2 * old.len()));
        }
        front.chunk = start;
        front.chunk_number = number;
        front.used_units = 0;
    }

    /// Memory for one large entry.
    #[cold]
    fn lay_apart(&self, front: &mut Front, bytes: usize) -> *mut u8 {
        let chunk = Chunk::allocate(bytes);
        let start = chunk.start().as_ptr().cast();
        front.grown_bytes += bytes;
        self.owned.lock().push(chunk);
        start
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let chunk_bytes = WORD_BYTES << self.chunk_shift;
        for chunk in self.owned.get_mut().drain(..) {
            if chunk.bytes() == chunk_bytes {
                self.pool.give(chunk);
            }
        }
    }
}

/// A directory with `slots` places, the first ones filled.
fn new_directory(chunks: &[*mut u64], slots: usize) -> Box<[AtomicPtr<u64>]> {
    let empty = std::iter::repeat(std::ptr::null_mut());
    chunks.iter().copied().chain(empty).take(slots).map(AtomicPtr::new).collect()
}
