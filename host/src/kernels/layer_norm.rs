//! Layer normalisation of the last dimension (Ba et al., 2016), fused, vectorised and threaded on
//! the CPU.
//!
//! Values and gradients agree with the composition of burn's operations to 1e-5, and are the same
//! bits whatever the number of threads and the instruction set: sums run in a fixed order.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients as Graph;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::ModuleOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{DType, Shape, Slice, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::lanes;
use super::storage::{in_order, tensor};

/// Values that one thread takes at a time.
const CHUNK: usize = 1 << 14;

/// Rows whose part of a weight's gradient is summed up before it is added to that of others.
const ROWS: usize = 256;

/// (x − mean)/√(variance + epsilon)·weight + bias over the last dimension, which has the size of
/// `weight` and `bias`.
pub fn layer_norm<const D: usize>(
    input: Tensor<D>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f64,
) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as LayerNormOps>::fused_layer_norm(
        input.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        epsilon,
    ))
}

/// The normalisation and its gradients as operations of a backend; without a kernel, compositions.
#[backend_extension(Flex, Cube: cfg(feature = "wgpu"), Fusion: cfg(feature = "wgpu"), Autodiff)]
pub trait LayerNormOps: Backend {
    /// The normalised values.
    #[fusion(default)]
    fn fused_layer_norm(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        Self::layer_norm(input, weight, Some(bias), epsilon)
    }

    /// The gradient of the input.
    #[fusion(default)]
    fn fused_layer_norm_input_gradient(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        composed_input_gradient::<Self>(input, weight, gradient, epsilon)
    }

    /// The gradients of weight and bias, `[2, width]`.
    #[fusion(default)]
    fn fused_layer_norm_weight_gradients(
        input: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        composed_weight_gradients::<Self>(input, gradient, epsilon)
    }
}

/// The normalised input and the reciprocal of its deviation.
fn normalised<B: Backend>(input: FloatTensor<B>, epsilon: f64) -> (FloatTensor<B>, FloatTensor<B>) {
    let last = input.shape().num_dims() - 1;
    let centred = B::float_sub(input.clone(), B::float_mean_dim(input, last));
    let variance = B::float_mean_dim(B::float_mul(centred.clone(), centred.clone()), last);
    let deviation = B::float_sqrt(B::float_add_scalar(variance, epsilon.into()));
    let reciprocal = B::float_recip(deviation);
    (B::float_mul(centred, reciprocal.clone()), reciprocal)
}

/// One dimension as the last of as many as another tensor has.
fn stretched<B: Backend>(weight: FloatTensor<B>, like: &FloatTensor<B>) -> FloatTensor<B> {
    let mut dims = vec![1; like.shape().num_dims()];
    if let Some(last) = dims.last_mut() {
        *last = weight.shape().num_elements();
    }
    B::float_reshape(weight, Shape::from(dims))
}

fn composed_input_gradient<B: Backend>(
    input: FloatTensor<B>,
    weight: FloatTensor<B>,
    gradient: FloatTensor<B>,
    epsilon: f64,
) -> FloatTensor<B> {
    let last = input.shape().num_dims() - 1;
    let weight = stretched::<B>(weight, &input);
    let (normal, reciprocal) = normalised::<B>(input, epsilon);
    let gradient = B::float_mul(gradient, weight);
    let along = B::float_mean_dim(B::float_mul(gradient.clone(), normal.clone()), last);
    let mean = B::float_mean_dim(gradient.clone(), last);
    let rest = B::float_sub(B::float_sub(gradient, mean), B::float_mul(normal, along));
    B::float_mul(rest, reciprocal)
}

fn composed_weight_gradients<B: Backend>(
    input: FloatTensor<B>,
    gradient: FloatTensor<B>,
    epsilon: f64,
) -> FloatTensor<B> {
    let shape = input.shape();
    let width = shape[shape.num_dims() - 1];
    let rows = Shape::from([shape.num_elements() / width, width]);
    let (normal, _) = normalised::<B>(input, epsilon);
    let of_weight = B::float_mul(gradient.clone(), normal);
    let parts = [of_weight, gradient]
        .map(|part| B::float_sum_dim(B::float_reshape(part, rows.clone()), 0))
        .to_vec();
    B::float_cat(parts, 0)
}

#[cfg(feature = "wgpu")]
impl LayerNormOps for burn::backend::Cube {}

impl LayerNormOps for Flex {
    fn fused_layer_norm(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        if input.dtype() != DType::F32 {
            return Self::layer_norm(input, weight, Some(bias), epsilon);
        }
        let input = in_order(input);
        let (weight, bias) = (in_order(weight), in_order(bias));
        let (weight, bias) = (weight.storage::<f32>(), bias.storage::<f32>());
        let values = input.storage::<f32>();
        let mut output = vec![0.0; values.len()];
        let rows = rows_of(weight.len());
        output
            .par_chunks_mut(rows)
            .zip(values.par_chunks(rows))
            .for_each(|(output, input)| normalise(output, input, (weight, bias), epsilon as f32));
        tensor(output, input.shape())
    }

    fn fused_layer_norm_input_gradient(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        if input.dtype() != DType::F32 {
            return composed_input_gradient::<Self>(input, weight, gradient, epsilon);
        }
        let input = in_order(input);
        let weight = in_order(weight);
        let weight = weight.storage::<f32>();
        // The gradient may be used up, so it is overwritten; a copy is made only if it is shared.
        let mut output = in_order(gradient);
        let rows = rows_of(weight.len());
        output
            .storage_mut::<f32>()
            .par_chunks_mut(rows)
            .zip(input.storage::<f32>().par_chunks(rows))
            .for_each(|(gradient, input)| {
                Arch::new().dispatch(InputGradient {
                    gradient,
                    input,
                    weight,
                    epsilon: epsilon as f32,
                });
            });
        output
    }

    fn fused_layer_norm_weight_gradients(
        input: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        if input.dtype() != DType::F32 {
            return composed_weight_gradients::<Self>(input, gradient, epsilon);
        }
        let shape = input.shape();
        let width = shape[shape.num_dims() - 1];
        let (input, gradient) = (in_order(input), in_order(gradient));
        // Fixed groups of rows, added up in their order: the same bits on any number of threads.
        let parts: Vec<Vec<f32>> = input
            .storage::<f32>()
            .par_chunks(ROWS * width)
            .zip(gradient.storage::<f32>().par_chunks(ROWS * width))
            .map(|(input, gradient)| {
                let mut sums = vec![0.0; 2 * width];
                Arch::new().dispatch(WeightGradients {
                    sums: &mut sums,
                    input,
                    gradient,
                    epsilon: epsilon as f32,
                });
                sums
            })
            .collect();
        let mut sums = vec![0.0; 2 * width];
        for part in parts {
            for (sum, part) in sums.iter_mut().zip(part) {
                *sum += part;
            }
        }
        tensor(sums, [2, width])
    }
}

/// Values of the rows that one thread takes at a time.
fn rows_of(width: usize) -> usize {
    width * (CHUNK / width).max(1)
}

impl<B: LayerNormOps, C: CheckpointStrategy> LayerNormOps for Autodiff<B, C> {
    fn fused_layer_norm(
        input: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct LayerNorm;

        impl<B: LayerNormOps> Backward<B, 3> for LayerNorm {
            type State = (FloatTensor<B>, FloatTensor<B>, f64);

            fn backward(
                self,
                ops: Ops<Self::State, 3>,
                gradients: &mut Graph,
                _checkpointer: &mut Checkpointer,
            ) {
                let (input, weight, epsilon) = ops.state;
                let [of_input, of_weight, of_bias] = ops.parents;
                let gradient = gradients.consume::<B>(&ops.node);
                if of_weight.is_some() || of_bias.is_some() {
                    let both = B::fused_layer_norm_weight_gradients(
                        input.clone(),
                        gradient.clone(),
                        epsilon,
                    );
                    let shape = weight.shape();
                    for (index, node) in [of_weight, of_bias].into_iter().enumerate() {
                        if let Some(node) = node {
                            let row = Slice::from(index..index + 1);
                            let one = B::float_slice(both.clone(), &[row]);
                            let one = B::float_reshape(one, shape.clone());
                            gradients.register::<B>(node.id, one);
                        }
                    }
                }
                if let Some(node) = of_input {
                    let of_input =
                        B::fused_layer_norm_input_gradient(input, weight, gradient, epsilon);
                    gradients.register::<B>(node.id, of_input);
                }
            }
        }

        let (input, of_input) = input.into_parts();
        let (weight, of_weight) = weight.into_parts();
        let (bias, of_bias) = bias.into_parts();
        let nodes = [of_input, of_weight, of_bias];
        match LayerNorm.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let output = B::fused_layer_norm(input.clone(), weight.clone(), bias, epsilon);
                prepared.finish((input, weight, epsilon), output)
            }
            OpsKind::UnTracked(prepared) => {
                prepared.finish(B::fused_layer_norm(input, weight, bias, epsilon))
            }
        }
    }
}

/// Normalises rows, on this thread.
pub(super) fn normalise(
    output: &mut [f32],
    input: &[f32],
    parameters: (&[f32], &[f32]),
    epsilon: f32,
) {
    output.copy_from_slice(input);
    normalise_in_place(output, parameters, epsilon);
}

/// Normalises rows in place, on this thread.
pub(super) fn normalise_in_place(
    values: &mut [f32],
    (weight, bias): (&[f32], &[f32]),
    epsilon: f32,
) {
    Arch::new().dispatch(Normalise {
        values,
        weight,
        bias,
        epsilon,
    });
}

/// Adds to `output` the gradient of the input, and to `sums`, `[2, width]`, those of weight and bias, if
/// they are wanted; on this thread.
pub(super) fn add_gradients(
    output: &mut [f32],
    sums: Option<&mut Vec<f32>>,
    gradient: &[f32],
    input: &[f32],
    weight: &[f32],
    epsilon: f32,
) {
    Arch::new().dispatch(Gradients {
        output,
        sums,
        gradient,
        input,
        weight,
        epsilon,
    });
}

/// Mean and reciprocal deviation of a row.
#[inline(always)]
fn moments(row: &[f32], epsilon: f32) -> (f32, f32) {
    let count = row.len() as f32;
    let mean = lanes::sum(row, row, |value, _| value) / count;
    let variance = lanes::sum(row, row, |value, _| (value - mean) * (value - mean)) / count;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

/// Normalises rows where they are.
struct Normalise<'a> {
    values: &'a mut [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    epsilon: f32,
}

impl WithSimd for Normalise<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let width = self.weight.len();
        let bias = &self.bias[..width];
        for row in self.values.chunks_exact_mut(width) {
            let (mean, reciprocal) = moments(row, self.epsilon);
            for at in 0..width {
                let normal = (row[at] - mean) * reciprocal;
                row[at] = normal.mul_add(self.weight[at], bias[at]);
            }
        }
    }
}

/// Turns gradients of the output into those of the input.
struct InputGradient<'a> {
    gradient: &'a mut [f32],
    input: &'a [f32],
    weight: &'a [f32],
    epsilon: f32,
}

impl WithSimd for InputGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let width = self.weight.len();
        let rows = self.gradient.chunks_exact_mut(width);
        for (gradient, input) in rows.zip(self.input.chunks_exact(width)) {
            let (mean, reciprocal) = moments(input, self.epsilon);
            for (gradient, weight) in gradient.iter_mut().zip(self.weight) {
                *gradient *= weight;
            }
            let level = lanes::sum(gradient, gradient, |gradient, _| gradient) / width as f32;
            let along = lanes::sum(gradient, input, |gradient, input| {
                gradient * ((input - mean) * reciprocal)
            }) / width as f32;
            for (gradient, input) in gradient.iter_mut().zip(input) {
                let normal = (input - mean) * reciprocal;
                *gradient = (*gradient - level - normal * along) * reciprocal;
            }
        }
    }
}

/// Adds the gradients of weight and bias of every row to `sums`, `[2, width]`.
struct WeightGradients<'a> {
    sums: &'a mut [f32],
    input: &'a [f32],
    gradient: &'a [f32],
    epsilon: f32,
}

impl WithSimd for WeightGradients<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let width = self.sums.len() / 2;
        let (of_weight, of_bias) = self.sums.split_at_mut(width);
        let rows = self.gradient.chunks_exact(width);
        for (gradient, input) in rows.zip(self.input.chunks_exact(width)) {
            let (mean, reciprocal) = moments(input, self.epsilon);
            for (((of_weight, of_bias), gradient), input) in of_weight
                .iter_mut()
                .zip(of_bias.iter_mut())
                .zip(gradient)
                .zip(input)
            {
                *of_weight += gradient * ((input - mean) * reciprocal);
                *of_bias += gradient;
            }
        }
    }
}

/// All gradients of every row at once.
struct Gradients<'a> {
    output: &'a mut [f32],
    sums: Option<&'a mut Vec<f32>>,
    gradient: &'a [f32],
    input: &'a [f32],
    weight: &'a [f32],
    epsilon: f32,
}

impl WithSimd for Gradients<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let width = self.weight.len();
        let mut sums = self.sums.map(|sums| sums.split_at_mut(width));
        let weight = self.weight;
        for row in 0..self.output.len() / width {
            let input = &self.input[row * width..][..width];
            let gradient = &self.gradient[row * width..][..width];
            let output = &mut self.output[row * width..][..width];
            let (mean, reciprocal) = moments(input, self.epsilon);
            if let Some((of_weight, of_bias)) = &mut sums {
                let (of_weight, of_bias) = (&mut of_weight[..width], &mut of_bias[..width]);
                for at in 0..width {
                    let normal = (input[at] - mean) * reciprocal;
                    of_weight[at] = gradient[at].mul_add(normal, of_weight[at]);
                    of_bias[at] += gradient[at];
                }
            }
            let level = lanes::sum(gradient, weight, |gradient, weight| gradient * weight);
            let along = lanes::sum3(gradient, weight, input, |gradient, weight, input| {
                gradient * weight * ((input - mean) * reciprocal)
            });
            let (level, along) = (level / width as f32, along / width as f32);
            for at in 0..width {
                let normal = (input[at] - mean) * reciprocal;
                let rest = gradient[at].mul_add(weight[at], -level);
                output[at] = normal.mul_add(-along, rest).mul_add(reciprocal, output[at]);
            }
        }
    }
}

#[cfg(test)]
mod tests;
