//! The exact Gaussian error linear unit, x·Φ(x), fused, vectorised and threaded on the CPU.
//!
//! Values and gradients agree with the composition of burn's operations (values to 1e-6, gradients
//! to 1e-5), and are the same bits whatever the number of threads and the instruction set: only
//! additions, multiplications, sums of products that are rounded once, one division, and comparisons
//! are used.

use std::marker::PhantomData;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward as BackwardStep, Ops, OpsKind, unary};
use burn::backend::ops::ActivationOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Bytes, DType, FloatDType, Tensor};
use burn_flex::{FlexTensor, Layout};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::exponential::{exponential, polynomial};
use super::storage::whole;

/// Values that one thread takes at a time; a tensor of fewer is not worth a second thread.
const CHUNK: usize = 1 << 14;

/// 1/√(2π), the height of the normal density.
const DENSITY: f64 = 0.398_942_280_401_432_7;

/// The exact Gaussian error linear unit of every value: x·(1 + erf(x/√2))/2.
pub fn gelu<const D: usize>(input: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as GeluOps>::exact_gelu(input.into_dispatch()))
}

/// The unit and its gradient as operations of a backend; without a kernel, compositions.
#[backend_extension(Flex, Cube: cfg(feature = "wgpu"), Fusion: cfg(feature = "wgpu"), Autodiff)]
pub trait GeluOps: Backend {
    /// x·Φ(x).
    #[fusion(default)]
    fn exact_gelu(input: FloatTensor<Self>) -> FloatTensor<Self> {
        let dtype = input.dtype();
        let input = widened::<Self>(input);
        let output = Self::float_mul(input.clone(), distribution::<Self>(input));
        narrowed::<Self>(output, dtype)
    }

    /// (Φ(x) + x·φ(x))·gradient.
    #[fusion(default)]
    fn exact_gelu_backward(
        input: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let dtype = gradient.dtype();
        let (input, gradient) = (widened::<Self>(input), widened::<Self>(gradient));
        let square = Self::float_mul(input.clone(), input.clone());
        let exponential = Self::float_exp(Self::float_mul_scalar(square, (-0.5).into()));
        let density = Self::float_mul_scalar(exponential, DENSITY.into());
        let slope = Self::float_add(
            distribution::<Self>(input.clone()),
            Self::float_mul(input, density),
        );
        narrowed::<Self>(Self::float_mul(slope, gradient), dtype)
    }
}

/// Half a width in full: what is computed in between is rounded once, at the end.
fn widened<B: Backend>(tensor: FloatTensor<B>) -> FloatTensor<B> {
    match tensor.dtype() {
        DType::BF16 | DType::F16 => B::float_cast(tensor, FloatDType::F32),
        _ => tensor,
    }
}

/// Back to the type from before [`widened`].
fn narrowed<B: Backend>(tensor: FloatTensor<B>, dtype: DType) -> FloatTensor<B> {
    if tensor.dtype() == dtype {
        tensor
    } else {
        B::float_cast(tensor, dtype.into())
    }
}

/// Φ(x) as a composition.
fn distribution<B: Backend>(input: FloatTensor<B>) -> FloatTensor<B> {
    let scaled = B::float_mul_scalar(input, std::f64::consts::FRAC_1_SQRT_2.into());
    let doubled = B::float_add_scalar(B::float_erf(scaled), 1.0.into());
    B::float_mul_scalar(doubled, 0.5.into())
}

#[cfg(feature = "wgpu")]
impl GeluOps for burn::backend::Cube {}

impl GeluOps for Flex {
    fn exact_gelu(input: FloatTensor<Self>) -> FloatTensor<Self> {
        let dtype = input.dtype();
        if matches!(dtype, DType::BF16 | DType::F16) {
            let output = Self::exact_gelu(widened::<Self>(input));
            return narrowed::<Self>(output, dtype);
        }
        if dtype != DType::F32 {
            return Self::gelu(input);
        }
        let input = input.to_contiguous();
        let values = input.storage::<f32>();
        let mut output = vec![0.0; values.len()];
        in_chunks::<Forward>(&mut output, values);
        FlexTensor::new(
            Bytes::from_elems(output),
            Layout::contiguous(input.shape()),
            DType::F32,
        )
    }

    fn exact_gelu_backward(
        input: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let dtype = input.dtype();
        if matches!(dtype, DType::BF16 | DType::F16) {
            let (input, gradient) = (widened::<Self>(input), widened::<Self>(gradient));
            return narrowed::<Self>(Self::exact_gelu_backward(input, gradient), dtype);
        }
        if dtype != DType::F32 {
            return Self::gelu_backward(input, gradient);
        }
        let input = input.to_contiguous();
        let mut output = if whole(&gradient) {
            gradient
        } else {
            gradient.to_contiguous()
        };
        // The gradient is used up, so it is overwritten; a copy is made only if it is shared.
        in_chunks::<Backward>(output.storage_mut::<f32>(), input.storage::<f32>());
        output
    }
}

impl<B: GeluOps, C: CheckpointStrategy> GeluOps for Autodiff<B, C> {
    fn exact_gelu(input: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Gelu;

        impl<B: GeluOps> BackwardStep<B, 1> for Gelu {
            type State = FloatTensor<B>;

            fn backward(
                self,
                ops: Ops<Self::State, 1>,
                gradients: &mut Gradients,
                _checkpointer: &mut Checkpointer,
            ) {
                let input = ops.state;
                unary::<B, _>(ops.parents, ops.node, gradients, |gradient| {
                    B::exact_gelu_backward(input, gradient)
                });
            }
        }

        let (input, node) = input.into_parts();
        match Gelu.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let output = B::exact_gelu(input.clone());
                prepared.finish(input, output)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::exact_gelu(input)),
        }
    }
}

/// Changes every value of a slice by the value of another at its place.
trait Kernel {
    fn apply(output: &mut f32, input: f32);
}

/// x·Φ(x), whatever was there.
struct Forward;

impl Kernel for Forward {
    #[inline(always)]
    fn apply(output: &mut f32, input: f32) {
        *output = input * normal(input).0;
    }
}

/// What is there, a gradient, times Φ(x) + x·φ(x).
struct Backward;

impl Kernel for Backward {
    #[inline(always)]
    fn apply(gradient: &mut f32, input: f32) {
        let (distribution, exponential) = normal(input);
        *gradient *= input.mul_add(DENSITY as f32 * exponential, distribution);
    }
}

/// A loop that is compiled for each instruction set. All of it must be inlined to be: a function
/// that is called from it would be compiled for the oldest one.
struct Loop<'a, K> {
    output: &'a mut [f32],
    input: &'a [f32],
    kernel: PhantomData<K>,
}

impl<K: Kernel> WithSimd for Loop<'_, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        for (output, input) in self.output.iter_mut().zip(self.input) {
            K::apply(output, *input);
        }
    }
}

/// Applies a kernel to all pairs, in threads if there are enough.
fn in_chunks<K: Kernel>(output: &mut [f32], input: &[f32]) {
    let arch = Arch::new();
    let chunk = |output: &mut [f32], input: &[f32]| {
        arch.dispatch(Loop::<K> {
            output,
            input,
            kernel: PhantomData,
        });
    };
    if output.len() <= CHUNK {
        chunk(output, input);
    } else {
        output
            .par_chunks_mut(CHUNK)
            .zip(input.par_chunks(CHUNK))
            .for_each(|(output, input)| chunk(output, input));
    }
}

/// x·Φ(x) times `factor`, on this thread.
pub(super) fn activate(output: &mut [f32], input: &[f32], factor: f32) {
    Arch::new().dispatch(Activation {
        output,
        input,
        factor,
    });
}

/// Turns x into x·Φ(x) times `factor`, and the gradient of that into the one of x, on this thread.
pub(super) fn activate_again(values: &mut [f32], gradient: &mut [f32], factor: f32) {
    Arch::new().dispatch(Again {
        values,
        gradient,
        factor,
    });
}

struct Activation<'a> {
    output: &'a mut [f32],
    input: &'a [f32],
    factor: f32,
}

impl WithSimd for Activation<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        for (output, input) in self.output.iter_mut().zip(self.input) {
            *output = input * normal(*input).0 * self.factor;
        }
    }
}

struct Again<'a> {
    values: &'a mut [f32],
    gradient: &'a mut [f32],
    factor: f32,
}

impl WithSimd for Again<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        for (value, gradient) in self.values.iter_mut().zip(self.gradient) {
            let input = *value;
            let (distribution, exponential) = normal(input);
            *value = input * distribution * self.factor;
            let slope = input.mul_add(DENSITY as f32 * exponential, distribution);
            *gradient *= slope * self.factor;
        }
    }
}

/// Φ(x) and exp(-x²/2).
///
/// For a = |x| and t = 1/(1 + p·a), Φ(-a) = exp(-x²/2)·t·P(t), where P interpolates
/// erfcx(a/√2)/(2t) in Chebyshev nodes for a ≤ 13.5 (relative error 3e-8); beyond, both are 0 in
/// float32.
#[inline(always)]
fn normal(x: f32) -> (f32, f32) {
    const SCALE: f32 = 0.265;
    /// P, from the highest power.
    const TAIL: [f32; 9] = [
        0.031_342_816,
        -0.146_781_84,
        0.223_123_9,
        -0.122_474_73,
        0.142_202_32,
        0.058_491_67,
        0.103_169_86,
        0.105_180_54,
        0.105_745_47,
    ];
    let exponential = exponential(x * x * -0.5);
    let t = 1.0 / SCALE.mul_add(x.abs(), 1.0);
    let tail = exponential * (t * polynomial(&TAIL, t));
    let distribution = if x < 0.0 { tail } else { 1.0 - tail };
    (distribution, exponential)
}

#[cfg(test)]
mod tests;
