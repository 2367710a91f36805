//! Tensors of the CPU backend as slices of numbers, and back.

use burn::tensor::{Bytes, DType};
use burn_flex::{FlexTensor, Layout};

/// Whether the storage holds the values of the tensor in order, and nothing else.
pub(super) fn whole(tensor: &FlexTensor) -> bool {
    tensor.is_contiguous()
        && tensor.layout().start_offset() == 0
        && tensor.bytes().len() == tensor.layout().num_elements() * size_of::<f32>()
}

/// A tensor whose storage holds its float32 values in order, and nothing else.
pub(super) fn in_order(tensor: FlexTensor) -> FlexTensor {
    if whole(&tensor) {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

/// Numbers as a tensor of this shape.
pub(super) fn tensor(values: Vec<f32>, shape: impl Into<burn::tensor::Shape>) -> FlexTensor {
    FlexTensor::new(
        Bytes::from_elems(values),
        Layout::contiguous(shape.into()),
        DType::F32,
    )
}
