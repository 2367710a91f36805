//! Fuzzes `incubate_fuzz::picture`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| incubate_fuzz::picture(bytes));
