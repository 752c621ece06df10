//! Frames: a few fixed bytes that carry their own checksum in the first four.
//!
//! The checksum covers everything after itself and is bound to a context (which file) and a place (where in
//! it). It is never zero, so a zeroed frame is never valid.

use crate::base::checksum;

/// Writes the checksum of `frame[4..]`, bound to `place` in `context`, into the first four bytes.
#[inline]
pub(crate) fn seal(context: u64, place: u64, frame: &mut [u8]) {
    let sum = checksum::bound(context, place, &frame[4..]);
    frame[..4].copy_from_slice(&sum.to_le_bytes());
}

/// Whether `frame` was sealed for this place and has not changed since.
#[inline]
pub(crate) fn is_sealed(context: u64, place: u64, frame: &[u8]) -> bool {
    frame.len() > 4 && u32_at(frame, 0) == checksum::bound(context, place, &frame[4..])
}

/// The little-endian number in bytes `at..at + 2`.
#[inline]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

/// The little-endian number in bytes `at..at + 4`.
#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

/// The little-endian number in bytes `at..at + 8`.
#[inline]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

/// The little-endian number in bytes `at..at + 16`.
#[inline]
pub(crate) fn u128_at(bytes: &[u8], at: usize) -> u128 {
    u128::from_le_bytes(array_at(bytes, at))
}

/// A copy of `N` bytes at a fixed position of a fixed layout; the layout, not the input, decides `at`.
#[inline]
fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}
