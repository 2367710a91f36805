//! Fuzzes `incubate_fuzz::registry`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| incubate_fuzz::registry::registry(bytes));
