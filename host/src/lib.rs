//! Trains large neural networks by divide and conquer: Deep Incubation (Ni et al., ICCV 2023).
//!
//! Start at [`cli::main`] for the program, [`training`] for the method, [`plugin`] for the
//! contract with plugins, and [`model`] for the network. ARCHITECTURE.md tells how they fit.

pub mod allocator;
pub mod builder;
mod cache;
pub mod cli;
pub mod conformance;
pub mod data;
pub mod device;
mod digest;
pub mod drawing;
pub mod event;
pub mod experiment;
mod file;
pub mod kernels;
pub mod lock;
mod macs;
pub mod model;
pub mod optimizer;
pub mod output;
pub mod phase;
pub mod plugin;
pub mod random;
pub mod registry;
pub mod run;
mod spelling;
pub mod stop;
pub mod tensor;
pub mod training;
