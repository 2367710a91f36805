//! Fuzzes `incubate_fuzz::idx`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| incubate_fuzz::idx(bytes));
