//! Fuzzes `incubate_fuzz::checkpoint_file`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| incubate_fuzz::checkpoint_file(bytes));
