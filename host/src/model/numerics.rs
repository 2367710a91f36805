//! How a network computes: the precision of its products, and what it keeps for the backward pass.
//!
//! Weights, norms, softmax, the residual stream, and what leaves the network are float32 in every
//! precision, as with PyTorch's autocast.

use std::fmt;

use burn::tensor::{DType, Device, FloatDType, Tensor};
use serde::{Deserialize, Serialize};

use crate::kernels::products::{Products, computed_here};

/// The type in which matrix products are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Everything in float32.
    #[default]
    Float32,
    /// Linear maps and attention's two products in bfloat16, there and back. Weights are rounded anew for
    /// each pass, and gradients arrive at them in float32.
    ///
    /// On the CPU what is multiplied is rounded, and nothing else: sums, results, and the activation between
    /// the perceptron's maps are float32. (In the attention of a block with attention dropout, operands of
    /// the forward pass and their gradients are rounded.) On a GPU results and that activation are rounded,
    /// too.
    BFloat16,
}

impl Precision {
    /// Whether the device computes in it.
    pub fn supported_by(self, device: &Device) -> bool {
        match self {
            Self::Float32 => true,
            Self::BFloat16 => device.supports_dtype(FloatDType::BF16),
        }
    }

    /// How kernels of the CPU multiply.
    pub(super) const fn products(self) -> Products {
        match self {
            Self::Float32 => Products::Float32,
            Self::BFloat16 => Products::BFloat16,
        }
    }

    /// A tensor as an operand of a kernel that multiplies matrices; those of the CPU round by themselves.
    /// The gradient comes back in the type of `tensor`.
    pub(super) fn operand<const D: usize>(self, tensor: Tensor<D>) -> Tensor<D> {
        if computed_here(&tensor) {
            tensor
        } else {
            self.cast(tensor)
        }
    }

    /// A tensor as an operand of a product that no kernel computes. The gradient comes back in the type of
    /// `tensor`.
    pub(super) fn cast<const D: usize>(self, tensor: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Float32 => tensor,
            Self::BFloat16 => cast(tensor, DType::BF16, FloatDType::BF16),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Float32 => "float32",
            Self::BFloat16 => "bfloat16",
        })
    }
}

/// A tensor in float32.
pub(super) fn float32<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    cast(tensor, DType::F32, FloatDType::F32)
}

fn cast<const D: usize>(tensor: Tensor<D>, wanted: DType, float: FloatDType) -> Tensor<D> {
    if tensor.dtype() == wanted {
        tensor
    } else {
        tensor.cast(float)
    }
}

/// How a network computes. It changes no weight, and is not part of weight files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numerics {
    /// The type of matrix products.
    pub precision: Precision,
    /// Whether blocks keep nothing but their input for the backward pass, which runs them again: a
    /// third forward pass bought for most of the memory. Gradients are the same bits.
    pub checkpoint_activations: bool,
}
