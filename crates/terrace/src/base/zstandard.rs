//! Zstandard, behind the feature `zstd`: one block in, one frame out, and back.
//!
//! Nothing here allocates because of what a frame claims: both ways write into the room that the caller grants, and
//! fail where it is too small.

use std::cell::Cell;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::compress_bound;

/// The lowest of the ordinary levels: blocks are small, and compactions compress whole tables.
const LEVEL: i32 = 1;

thread_local! {
    // To set up a state takes longer than to decompress a block of 8 KiB (16 µs together, 6 µs with a kept
    // state), so each reading thread keeps one.
    static DECOMPRESSOR: Cell<Option<Decompressor<'static>>> = const { Cell::new(None) };
}

/// The room that compression of so many bytes may need.
pub(super) fn room(plain_bytes: usize) -> usize {
    compress_bound(plain_bytes)
}

/// Compresses into `room` and gives back the length, or `None` if it cannot.
pub(super) fn compress_into(plain: &[u8], room: &mut [u8]) -> Option<usize> {
    Compressor::new(LEVEL).and_then(|mut state| state.compress_to_buffer(plain, room)).ok()
}

/// The plain bytes of a frame, at most `plain_bytes`; the error says what is wrong with it.
pub(super) fn decompress(frame: &[u8], plain_bytes: usize) -> Result<Vec<u8>, String> {
    let mut plain = vec![0; plain_bytes];
    // Without the kept state, as in a thread that is ending, a new one does.
    let kept = DECOMPRESSOR.try_with(Cell::take).ok().flatten();
    let mut state = kept.map_or_else(Decompressor::new, Ok).map_err(|error| error.to_string())?;
    let result = state.decompress_to_buffer(frame, &mut plain).map_err(|error| error.to_string());
    let _ = DECOMPRESSOR.try_with(|slot| slot.set(Some(state)));
    plain.truncate(result?);
    Ok(plain)
}
