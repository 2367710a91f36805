//! The network: stages, hybrids, costs, and weights.
//!
//! What trains a network sees [`Architecture`], [`Network`] and [`Forward`] alone; which family of
//! networks it is stays behind them.

pub mod architecture;
pub mod checkpoint;
pub mod cost;
mod drop_path;
mod dropout;
pub mod growth;
mod initial;
mod layers;
pub mod network;
pub mod noise;
pub mod numerics;
pub mod parameters;
pub mod tensors;
mod trained;
pub mod vit;
pub mod weights;

pub use architecture::{Architecture, ModelError};
pub use checkpoint::{Checkpoint, CheckpointError};
pub use cost::{Cost, Costs, Trained, TrainingMacs};
pub use growth::Growth;
pub use network::{Activation, Forward, Network, Stage};
pub use noise::{Noise, NoiseRates};
pub use numerics::{Numerics, Precision};
pub use tensors::{Tensors, trained_tensors, with_trained};
pub use trained::trained_weights;
pub use vit::{VitConfig, VitStage};
pub use weights::{
    WeightsError, load_network, load_stage, metadata_of, network_to_safetensors, network_to_timm,
    stage_to_safetensors,
};

#[cfg(test)]
mod tests;
