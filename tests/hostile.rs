//! Hostile plugins: the host survives each, and says what happened in the words that are kept in
//! `tests/snapshots`.
//!
//! After every attack there is no live tensor, and a plugin that behaves still works in the same
//! process.

mod bytes;
mod guests;
mod hooks;
mod memory;
mod modules;
mod tensors;
mod terminal;
