//! Fused operations of our own, each with a composition of burn's operations as its reference, and
//! operations that are computed again instead of kept.

pub mod attention;
pub(crate) mod block;
#[cfg(test)]
mod comparison;
pub mod count;
mod exponential;
pub mod gelu;
mod lanes;
pub mod layer_norm;
pub mod linear;
mod matrix;
pub(crate) mod recomputation;
mod rows;
mod storage;
pub(crate) mod update;
