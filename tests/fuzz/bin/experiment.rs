//! Fuzzes `incubate_fuzz::experiment`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| incubate_fuzz::experiment(bytes));
