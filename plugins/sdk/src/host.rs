//! The host's side of the contract: the imports of the component, or natively their stand-in.

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::bindings::imports::incubate::plugin::{
    log, metrics, random, readback, tensors, weights,
};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::native::{log, metrics, random, readback, tensors, weights};

pub(crate) use tensors::Tensor as Handle;
