//! Fuzzes `incubate_fuzz::reference`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| incubate_fuzz::reference(bytes));
