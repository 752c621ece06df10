//! See `terrace_fuzz::footer_and_index`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| terrace_fuzz::footer_and_index(bytes));
