//! See `terrace_fuzz::import_csv`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| terrace_fuzz::import_csv(bytes));
