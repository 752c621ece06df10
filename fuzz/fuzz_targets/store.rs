//! See `terrace_fuzz::store`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| terrace_fuzz::store(bytes));
