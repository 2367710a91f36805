//! Integration tests: the library's public surface and the command as a person uses it.
#![expect(clippy::unwrap_used, reason = "a test may fail by a panic")]

mod augmentation;
#[cfg(target_os = "linux")]
mod background;
mod bad_input;
mod bench_plugin;
mod builder;
mod cache;
#[cfg(target_os = "linux")]
mod changed;
mod check;
mod checkpoints;
#[cfg(target_os = "linux")]
mod clock;
mod command;
mod contracts;
mod corrupt_pictures;
mod data;
mod divergence;
mod doctor;
mod evaluation;
mod examples;
mod fallback;
#[cfg(target_os = "linux")]
mod faults;
mod features;
#[cfg(feature = "wgpu")]
mod gpu;
mod grants;
mod hostile;
#[cfg(target_os = "linux")]
mod interrupted;
#[cfg(target_os = "linux")]
mod jobs;
#[cfg(target_os = "linux")]
mod kills;
mod laws;
#[cfg(target_os = "linux")]
mod leases;
mod lock;
mod losses;
mod new_plugin;
mod operations;
mod parity;
mod parity_plugins;
mod phases;
mod planning;
mod plugin;
mod pytorch;
mod recipe;
mod recipe_runs;
mod registry;
mod replay;
mod resume;
mod run;
mod savings;
mod schedules;
mod scripting;
mod secrets;
#[cfg(target_os = "linux")]
mod signals;
#[cfg(target_os = "linux")]
mod slow_disk;
#[cfg(target_os = "linux")]
mod status;
mod teacher;
mod tidy;
mod units;
mod untrusted;
mod walk;
