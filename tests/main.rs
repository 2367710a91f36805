//! Integration tests: the library's public surface and the command as a person uses it.
#![expect(clippy::unwrap_used, reason = "a test may fail by a panic")]

mod bad_input;
mod builder;
mod command;
mod data;
mod doctor;
mod examples;
#[cfg(feature = "wgpu")]
mod gpu;
mod new_plugin;
mod operations;
mod parity;
mod parity_plugins;
mod plugin;
mod run;
mod scripting;
mod tidy;
