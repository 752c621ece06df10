//! See `terrace_fuzz::manifest_edit`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| terrace_fuzz::manifest_edit(bytes));
