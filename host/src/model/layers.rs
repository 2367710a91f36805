//! Linear maps and layer normalisation, with the names that weight files use.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::initial::Initial;
use super::numerics::Precision;
use crate::kernels::layer_norm::layer_norm;
use crate::kernels::linear::linear;

/// A linear map of the last dimension.
///
/// The weight lies as `[inputs, outputs]`; weight files have it transposed, as PyTorch does.
#[derive(Module, Debug)]
pub(super) struct Linear {
    weight: Param<Tensor<2>>,
    bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// Truncated normal weight, zero bias.
    pub(super) fn new(
        inputs: usize,
        outputs: usize,
        bias: bool,
        name: &str,
        initial: &Initial<'_>,
    ) -> Self {
        Self {
            weight: initial.truncated_normal(&format!("{name}.weight"), [inputs, outputs]),
            bias: bias.then(|| initial.zeros([outputs])),
        }
    }

    /// `[.., inputs]` to `[.., outputs]`, which is of the precision, or in float32 on the CPU.
    pub(super) fn forward<const D: usize>(
        &self,
        input: Tensor<D>,
        precision: Precision,
    ) -> Tensor<D> {
        let weight = self.weight.val();
        let bias = match &self.bias {
            Some(bias) => bias.val(),
            None => Tensor::zeros([weight.dims()[1]], &input.device().inner()),
        };
        linear(
            precision.operand(input),
            precision.operand(weight),
            precision.operand(bias),
            precision.products(),
        )
    }
}

/// Layer normalisation of the last dimension (Ba et al., 2016).
#[derive(Module, Debug)]
pub(super) struct LayerNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    #[module(skip)]
    epsilon: f64,
}

impl LayerNorm {
    /// Weight 1, bias 0.
    pub(super) fn new(width: usize, epsilon: f64, initial: &Initial<'_>) -> Self {
        Self {
            weight: initial.ones([width]),
            bias: initial.zeros([width]),
            epsilon,
        }
    }

    /// What is added to the variance.
    pub(super) const fn epsilon(&self) -> f64 {
        self.epsilon
    }

    /// Any shape whose last dimension is the width.
    pub(super) fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        layer_norm(input, self.weight.val(), self.bias.val(), self.epsilon)
    }
}
