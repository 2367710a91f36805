//! Fused operations that replace compositions of the tensor library.

pub mod gelu;
