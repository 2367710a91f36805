//! Tensors of the CPU backend as slices of numbers, and back.

use burn::backend::{BackendTensor, DispatchAutodiffContext, DispatchTensor, DispatchTensorKind};
use burn::tensor::{Bytes, DType, Tensor};
use burn_flex::{FlexTensor, Layout};

/// What a tensor of any backend is for a kernel of the CPU.
#[derive(Clone, Debug)]
pub(super) struct Operand {
    /// In order.
    pub(super) values: FlexTensor,
    /// Whether its gradient is wanted.
    pub(super) tracked: bool,
}

/// The values of a float32 tensor of the CPU backend, whether it records gradients or not; nothing of
/// any other tensor.
pub(super) fn operand(tensor: &DispatchTensor) -> Option<Operand> {
    let (values, tracked) = match &tensor.kind {
        DispatchTensorKind::Flex(BackendTensor::Float(values)) => (values, false),
        DispatchTensorKind::Autodiff(kind) => match &**kind {
            DispatchTensorKind::Flex(BackendTensor::Autodiff(recorded)) => {
                (recorded.primitive(), recorded.is_tracked())
            }
            _ => return None,
        },
        _ => return None,
    };
    (values.dtype() == DType::F32).then(|| Operand {
        values: in_order(values.clone()),
        tracked,
    })
}

/// The values of a float32 tensor of the CPU backend that records nothing, in order. Nobody else holds
/// them if nobody else held the tensor.
///
/// # Panics
///
/// With any other tensor.
pub(super) fn taken<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    match tensor.into_dispatch().kind {
        DispatchTensorKind::Flex(BackendTensor::Float(values)) if values.dtype() == DType::F32 => {
            in_order(values)
        }
        _ => panic!("a tensor of another kind"),
    }
}

/// A tensor that records nothing.
pub(super) fn dispatch(values: FlexTensor) -> DispatchTensor {
    DispatchTensor {
        kind: DispatchTensorKind::Flex(BackendTensor::Float(values)),
        autodiff: DispatchAutodiffContext::Disabled,
    }
}

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
