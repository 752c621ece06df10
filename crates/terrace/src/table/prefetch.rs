//! Cache-line prefetch: a hint to the processor, nothing on machines where we have no such hint.
//!
//! A prefetch never faults and changes no state that a program can see, so the functions here are safe.

const LINE_BYTES: usize = 64;

/// Asks for the cache line of `place` ahead of its use.
#[inline]
pub(super) fn prefetch<T>(place: &T) {
    prefetch_address(std::ptr::from_ref(place).cast());
}

/// Asks for all cache lines of `place`.
#[inline]
pub(super) fn prefetch_lines<T: ?Sized>(place: &T) {
    let start = std::ptr::from_ref(place).cast::<u8>();
    for offset in (0..size_of_val(place)).step_by(LINE_BYTES) {
        prefetch_address(start.wrapping_add(offset));
    }
}

/// Any address is allowed.
#[inline]
#[allow(unsafe_code)]
fn prefetch_address(address: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch reads nothing architecturally; SSE is part of every x86-64.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = address;
}
