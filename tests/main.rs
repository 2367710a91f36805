//! Integration tests: the library's public surface and the command as a person uses it.
#![expect(clippy::unwrap_used, reason = "a test may fail by a panic")]

mod bad_input;
mod bench_plugin;
mod builder;
mod cache;
mod check;
mod command;
mod contracts;
mod data;
mod doctor;
mod examples;
mod fallback;
#[cfg(feature = "wgpu")]
mod gpu;
mod grants;
mod hostile;
mod lock;
mod new_plugin;
mod operations;
mod parity;
mod parity_plugins;
mod phases;
mod plugin;
mod registry;
mod replay;
mod run;
mod scripting;
mod tidy;
mod units;
mod walk;
