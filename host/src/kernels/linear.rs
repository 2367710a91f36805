//! A linear map of the last dimension with its bias, as one matrix product on the CPU.
//!
//! The output begins as copies of the bias, to which the product is added, and whatever stands before
//! the last dimension is rows of one matrix. Values and gradients agree with the composition of
//! burn's operations to 1e-5, and are the same bits whatever the number of threads.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::ModuleOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{DType, Shape, Tensor};
use rayon::prelude::*;

use super::matrix::{Place, Threads};
use super::products::{self, Products};
use super::storage::{in_order, tensor};

/// Rows whose part of the bias's gradient is summed up before it is added to that of others.
const ROWS: usize = 256;

/// `input` (`[.., inputs]`) times `weight` (`[inputs, outputs]`) plus `bias` (`[outputs]`). Kernels multiply
/// as `products` says; without a kernel, in the type of the tensors.
pub fn linear<const D: usize>(
    input: Tensor<D>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    products: Products,
) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as LinearOps>::fused_linear(
        input.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        products,
    ))
}

/// The map and its gradients as operations of a backend; without a kernel, those of burn.
#[backend_extension(Flex, Cube: cfg(feature = "wgpu"), Fusion: cfg(feature = "wgpu"), Autodiff)]
pub trait LinearOps: Backend {
    /// The mapped values.
    #[fusion(default)]
    fn fused_linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        _products: Products,
    ) -> FloatTensor<Self> {
        Self::linear(input, weight, Some(bias))
    }

    /// The gradient of the input.
    #[fusion(default)]
    fn fused_linear_input_gradient(
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        _products: Products,
    ) -> FloatTensor<Self> {
        Self::linear_x_backward(weight, gradient)
    }

    /// The gradient of the weight.
    #[fusion(default)]
    fn fused_linear_weight_gradient(
        input: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        _products: Products,
    ) -> FloatTensor<Self> {
        Self::linear_weight_backward(input, gradient)
    }

    /// The gradient of the bias.
    #[fusion(default)]
    fn fused_linear_bias_gradient(gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::linear_bias_backward(gradient)
    }
}

#[cfg(feature = "wgpu")]
impl LinearOps for burn::backend::Cube {}

/// Rows and the size of the last dimension.
fn rows(shape: &Shape) -> (usize, usize) {
    let width = shape[shape.num_dims() - 1];
    (shape.num_elements() / width, width)
}

/// The same shape with another last dimension.
fn with_last(shape: &Shape, width: usize) -> Shape {
    let mut dims: Vec<usize> = shape.iter().copied().collect();
    if let Some(last) = dims.last_mut() {
        *last = width;
    }
    Shape::from(dims)
}

impl LinearOps for Flex {
    fn fused_linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        products: Products,
    ) -> FloatTensor<Self> {
        if input.dtype() != DType::F32 {
            return Self::linear(input, weight, Some(bias));
        }
        let shape = input.shape();
        let (rows, inputs) = rows(&shape);
        let (input, weight, bias) = (in_order(input), in_order(weight), in_order(bias));
        let bias = bias.storage::<f32>();
        let left = Place::new(0, rows, inputs, inputs);
        let right = Place::new(0, inputs, bias.len(), bias.len());
        let output = products::new(
            Some(bias),
            &products.left(input.storage::<f32>(), left, Threads::Pool),
            &products.right(weight.storage::<f32>(), right, Threads::Pool),
            Threads::Pool,
        );
        tensor(output, with_last(&shape, bias.len()))
    }

    fn fused_linear_input_gradient(
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        products: Products,
    ) -> FloatTensor<Self> {
        if gradient.dtype() != DType::F32 {
            return Self::linear_x_backward(weight, gradient);
        }
        let shape = gradient.shape();
        let (rows, outputs) = rows(&shape);
        let inputs = weight.shape()[0];
        let (weight, gradient) = (in_order(weight), in_order(gradient));
        let left = Place::new(0, rows, outputs, outputs);
        let right = Place::new(0, inputs, outputs, outputs).transposed();
        let product = products::new(
            None,
            &products.left(gradient.storage::<f32>(), left, Threads::Pool),
            &products.right(weight.storage::<f32>(), right, Threads::Pool),
            Threads::Pool,
        );
        tensor(product, with_last(&shape, inputs))
    }

    fn fused_linear_weight_gradient(
        input: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        products: Products,
    ) -> FloatTensor<Self> {
        if gradient.dtype() != DType::F32 {
            return Self::linear_weight_backward(input, gradient);
        }
        let (rows_in, inputs) = rows(&input.shape());
        let (rows_out, outputs) = rows(&gradient.shape());
        let (input, gradient) = (in_order(input), in_order(gradient));
        let left = Place::new(0, rows_in, inputs, inputs).transposed();
        let right = Place::new(0, rows_out, outputs, outputs);
        let product = products::new(
            None,
            &products.left(input.storage::<f32>(), left, Threads::Pool),
            &products.right(gradient.storage::<f32>(), right, Threads::Pool),
            Threads::Pool,
        );
        tensor(product, [inputs, outputs])
    }

    fn fused_linear_bias_gradient(gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        if gradient.dtype() != DType::F32 {
            return Self::linear_bias_backward(gradient);
        }
        let (_, outputs) = rows(&gradient.shape());
        let gradient = in_order(gradient);
        // Fixed groups of rows, added up in their order: the same bits on any number of threads.
        let parts: Vec<Vec<f32>> = gradient
            .storage::<f32>()
            .par_chunks(ROWS * outputs)
            .map(|rows| column_sums(rows, outputs))
            .collect();
        tensor(column_sums(&parts.concat(), outputs), [outputs])
    }
}

/// The sum of every column.
fn column_sums(values: &[f32], columns: usize) -> Vec<f32> {
    let mut sums = vec![0.0; columns];
    for row in values.chunks_exact(columns) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += value;
        }
    }
    sums
}

impl<B: LinearOps, C: CheckpointStrategy> LinearOps for Autodiff<B, C> {
    fn fused_linear(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        products: Products,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Linear(Products);

        impl<B: LinearOps> Backward<B, 3> for Linear {
            /// The input where the weight is trained, and the weight where the input has a gradient.
            type State = (Option<FloatTensor<B>>, Option<FloatTensor<B>>);

            fn backward(
                self,
                ops: Ops<Self::State, 3>,
                gradients: &mut Gradients,
                _checkpointer: &mut Checkpointer,
            ) {
                let (input, weight) = ops.state;
                let [of_input, of_weight, of_bias] = ops.parents;
                let gradient = gradients.consume::<B>(&ops.node);
                if let Some(node) = of_bias {
                    let one = B::fused_linear_bias_gradient(gradient.clone());
                    gradients.register::<B>(node.id, one);
                }
                if let (Some(node), Some(input)) = (of_weight, input) {
                    let one = B::fused_linear_weight_gradient(input, gradient.clone(), self.0);
                    gradients.register::<B>(node.id, one);
                }
                if let (Some(node), Some(weight)) = (of_input, weight) {
                    let one = B::fused_linear_input_gradient(weight, gradient, self.0);
                    gradients.register::<B>(node.id, one);
                }
            }
        }

        let tracked = [input.is_tracked(), weight.is_tracked()];
        let (input, of_input) = input.into_parts();
        let (weight, of_weight) = weight.into_parts();
        let (bias, of_bias) = bias.into_parts();
        let nodes = [of_input, of_weight, of_bias];
        match Linear(products)
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => {
                let state = (
                    tracked[1].then(|| input.clone()),
                    tracked[0].then(|| weight.clone()),
                );
                prepared.finish(state, B::fused_linear(input, weight, bias, products))
            }
            OpsKind::UnTracked(prepared) => {
                prepared.finish(B::fused_linear(input, weight, bias, products))
            }
        }
    }
}

#[cfg(test)]
mod tests;
