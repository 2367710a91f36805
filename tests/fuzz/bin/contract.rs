//! Fuzzes `incubate_fuzz::contract`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| incubate_fuzz::contract::contract(bytes));
