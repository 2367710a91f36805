//! Fuzzes `incubate_fuzz::artefact`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| incubate_fuzz::artefact(bytes));
