//! See `terrace_fuzz::block`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| terrace_fuzz::block(bytes));
