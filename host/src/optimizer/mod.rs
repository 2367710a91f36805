//! AdamW with decay groups, rates by layer, clipping, and accumulation; the average of the weights.

mod adamw;
mod average;
mod groups;
mod layers;
mod state;

pub use adamw::{AdamWConfig, Optimizer, OptimizerError, Stepped};
pub use average::Average;
pub use groups::{Decay, Group};

#[cfg(test)]
mod tests;
