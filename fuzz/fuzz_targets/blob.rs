//! See `terrace_fuzz::blob`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| terrace_fuzz::blob(bytes));
