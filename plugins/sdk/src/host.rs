//! The host's side of the contract: the imports of the component, or natively their stand-in.

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::bindings::imports::incubate::plugin::{
    log, metrics, random, readback, teacher, tensors, weights,
};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::native::{log, metrics, random, readback, teacher, tensors, weights};

pub(crate) use tensors::Tensor as Handle;
