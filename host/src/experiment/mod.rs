//! Experiments: what is trained and how, from defaults, a file, and the command line.

mod check;
mod error;
mod failure;
mod identity;
mod layers;
mod resolve;
mod schema;
mod start;

pub use error::ExperimentError;
pub use failure::OnFailure;
pub use layers::{Layers, Source};
pub use resolve::{BuiltInExperiment, Resolved, Setting, built_in, load};
pub use schema::{DeviceConfig, Epochs, Experiment, PartitionConfig, PhaseConfig, PluginConfig};
pub use start::Start;
