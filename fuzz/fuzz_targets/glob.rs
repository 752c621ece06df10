//! See `terrace_fuzz::glob`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| terrace_fuzz::glob(bytes));
