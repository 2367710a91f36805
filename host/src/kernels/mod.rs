//! Fused operations that replace compositions of the tensor library.

pub mod gelu;
pub(crate) mod recomputation;
