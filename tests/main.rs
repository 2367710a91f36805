//! Integration tests.

#[cfg(feature = "wgpu")]
mod gpu;
mod tidy;
