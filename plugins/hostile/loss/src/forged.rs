//! Handles that the host never gave out, or gave out once.

use crate::bindings::incubate::plugin::tensors::Tensor;

/// A handle with any number.
pub(crate) fn made_up(number: u32) -> Tensor {
    // SAFETY: nothing in this memory depends on the number; that the host refuses it is the test.
    unsafe { Tensor::from_handle(number) }
}

/// A second owner of the same handle.
pub(crate) fn again(handle: &Tensor) -> Tensor {
    made_up(handle.handle())
}
