//! Trains large neural networks by divide and conquer: Deep Incubation (Ni et al., ICCV 2023).

pub mod allocator;
pub mod builder;
pub mod data;
pub mod device;
pub mod kernels;
pub mod model;
pub mod optimizer;
pub mod phase;
pub mod plugin;
pub mod random;
pub mod tensor;
