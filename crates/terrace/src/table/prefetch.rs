//! Cache-line prefetch: a hint to the processor, nothing on machines where we have no such hint.
//!
//! A prefetch never faults and changes no state that a program can see, so the functions here are safe.

/// Asks for the cache line of `place` ahead of its use.
#[inline(always)]
#[allow(unsafe_code)]
pub(super) fn prefetch<T>(place: &T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch reads nothing architecturally; SSE is part of every x86-64.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = place;
}
