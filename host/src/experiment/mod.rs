//! Experiments: what is trained and how, from defaults, a file, and the command line.

mod built_in;
mod check;
mod compatibility;
mod divergence;
mod error;
mod failure;
mod features;
mod identity;
mod layers;
mod loss;
mod name;
mod resolve;
mod schema;
mod start;
mod teacher;

pub use built_in::{BuiltInExperiment, built_in, find as find_built_in};
pub use compatibility::{Compatibility, Defect};
pub use divergence::{DivergenceConfig, OnDivergence};
pub use error::ExperimentError;
pub use failure::OnFailure;
pub use features::{FeatureCache, FeaturesConfig};
pub use layers::{Layers, Source};
pub use loss::{LossConfig, LossTerm};
pub(crate) use name::wrong_name;
pub use resolve::{Resolved, Setting, load, load_to_plan};
pub use schema::{
    AssemblyConfig, CheckpointConfig, DeviceConfig, Epochs, Experiment, PartitionConfig,
    PhaseConfig, PluginConfig, RateRule,
};
pub use start::Start;
pub use teacher::{Teacher, TeacherCheckpoint};
