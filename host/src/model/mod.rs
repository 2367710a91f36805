//! The network: stages, hybrids, costs, and weights.
//!
//! What trains a network sees [`Architecture`], [`Network`] and [`Forward`] alone; which family of
//! networks it is stays behind them.

pub mod architecture;
pub mod cost;
pub mod drop_path;
pub mod growth;
mod initial;
mod layers;
pub mod network;
pub mod parameters;
mod trained;
pub mod vit;
pub mod weights;

pub use architecture::{Architecture, ModelError};
pub use cost::{Cost, Costs, Trained, TrainingMacs};
pub use drop_path::DropPath;
pub use growth::Growth;
pub use network::{Activation, Forward, Network, Stage};
pub use trained::trained_weights;
pub use vit::{VitConfig, VitStage};
pub use weights::{
    WeightsError, load_network, load_stage, metadata_of, network_to_safetensors,
    stage_to_safetensors,
};

#[cfg(test)]
mod tests;
