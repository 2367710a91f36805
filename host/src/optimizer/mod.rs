//! AdamW with decay groups, clipping, and accumulation.

mod adamw;
mod groups;

pub use adamw::{AdamWConfig, Optimizer, OptimizerError, Stepped};
pub use groups::{Decay, Group};

#[cfg(test)]
mod tests;
