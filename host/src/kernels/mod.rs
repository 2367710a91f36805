//! Fused operations of our own, each with a composition of burn's operations as its reference, and
//! operations that are computed again instead of kept.

pub mod attention;
mod bfloat16;
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
pub mod products;
pub(crate) mod recomputation;
mod rows;
mod storage;
#[cfg_attr(
    not(all(target_arch = "x86_64", target_os = "linux")),
    path = "no_tiles.rs"
)]
mod tiles;
pub(crate) mod update;
