//! The Vision Transformer (Dosovitskiy et al., 2021) in stages.

mod block;
mod config;
mod cost;
mod names;
mod patch;
pub(super) mod position;
mod stage;

pub use config::VitConfig;
pub use stage::VitStage;
