//! The block against the composition of burn's operations, differentiated by burn.

use burn::tensor::activation::{gelu, softmax};
use burn::tensor::module::{layer_norm, linear};
use burn::tensor::{Device, FloatDType, Tensor, TensorData};

use super::*;
use crate::kernels::comparison::{assert_close, assert_same_on_threads, drawn, values};

const EPSILON: f64 = 1e-6;

/// (batch, tokens, width, hidden, heads)
const SIZES: [[usize; 5]; 6] = [
    [1, 1, 1, 1, 1],
    [3, 5, 6, 11, 3],
    [29, 17, 32, 128, 2],
    [9, 50, 48, 96, 3],
    [2, 197, 24, 48, 2],
    [300, 1, 8, 16, 1],
];

/// A block's parameters.
struct Parameters {
    vectors: Vec<Tensor<1>>,
    matrices: Vec<Tensor<2>>,
    biased: bool,
}

impl Parameters {
    fn new([_, _, width, hidden, _]: [usize; 5], biased: bool, device: &Device) -> Self {
        let vector = |length, middle: f64| drawn([length], 0.3, device).add_scalar(middle);
        let matrix =
            |inputs: usize, outputs| drawn([inputs, outputs], 1.7 / (inputs as f32).sqrt(), device);
        Self {
            vectors: vec![
                vector(width, 1.0),
                vector(width, 0.0),
                vector(3 * width, 0.0),
                vector(width, 0.0),
                vector(width, 1.0),
                vector(width, 0.0),
                vector(hidden, 0.0),
                vector(width, 0.0),
            ],
            matrices: vec![
                matrix(width, 3 * width),
                matrix(width, width),
                matrix(width, hidden),
                matrix(hidden, width),
            ],
            biased,
        }
    }

    fn trained(self) -> Self {
        Self {
            vectors: self.vectors.into_iter().map(Tensor::require_grad).collect(),
            matrices: self
                .matrices
                .into_iter()
                .map(Tensor::require_grad)
                .collect(),
            ..self
        }
    }

    /// Vectors (v) and matrices (m) in the order of the block.
    fn in_order(&self) -> Vec<DispatchTensor> {
        let vector = |at: usize| self.vectors[at].clone().into_dispatch();
        let matrix = |at: usize| self.matrices[at].clone().into_dispatch();
        let mut all = vec![vector(0), vector(1), matrix(0)];
        all.extend(self.biased.then(|| vector(2)));
        all.extend([matrix(1), vector(3), vector(4), vector(5)]);
        all.extend([matrix(2), vector(6), matrix(3), vector(7)]);
        all
    }

    /// In double precision, so that only the kernel rounds.
    fn composed(&self, input: Tensor<3>, heads: usize, factors: Option<&Factors>) -> Tensor<3> {
        let vector = |at: usize| self.vectors[at].clone().cast(FloatDType::F64);
        let matrix = |at: usize| self.matrices[at].clone().cast(FloatDType::F64);
        let [batch, tokens, width] = input.dims();
        let device = input.device();
        let input = input.cast(FloatDType::F64);
        let factor = |branch: usize| match factors {
            Some(factors) => {
                let data = TensorData::new(factors[branch].clone(), [batch, 1, 1]);
                Tensor::<3>::from_data(data, &device).cast(FloatDType::F64)
            }
            None => Tensor::<3>::ones([batch, 1, 1], &device).cast(FloatDType::F64),
        };
        let normal = layer_norm(input.clone(), vector(0), Some(vector(1)), EPSILON);
        let joint = linear(normal, matrix(0), self.biased.then(|| vector(2)));
        let parts = joint
            .reshape([batch, tokens, 3, heads, width / heads])
            .permute([2, 0, 3, 1, 4]);
        let part = |index: usize| -> Tensor<4> {
            let part = parts.clone().narrow(0, index, 1);
            part.reshape([batch, heads, tokens, width / heads])
        };
        let query = part(0).mul_scalar(((width / heads) as f64).powf(-0.5));
        let shares = softmax(query.matmul(part(1).swap_dims(2, 3)), 3);
        let gathered = shares.matmul(part(2)).swap_dims(1, 2);
        let gathered = gathered.reshape([batch, tokens, width]);
        let branch = linear(gathered, matrix(1), Some(vector(3)));
        let middle = input + branch * factor(0);
        let normal = layer_norm(middle.clone(), vector(4), Some(vector(5)), EPSILON);
        let active = gelu(linear(normal, matrix(2), Some(vector(6))));
        let output = middle + linear(active, matrix(3), Some(vector(7))) * factor(1);
        output.cast(FloatDType::F32)
    }

    /// The gradients that were recorded, in the order of vectors and matrices.
    fn gradients(&self, gradients: &burn::tensor::Gradients) -> Vec<Vec<f32>> {
        let vectors = self.vectors.iter().map(|one| one.grad(gradients));
        let matrices = self.matrices.iter().map(|one| one.grad(gradients));
        let vectors = vectors.map(|one| one.map_or_else(Vec::new, values));
        vectors
            .chain(matrices.map(|one| one.map_or_else(Vec::new, values)))
            .collect()
    }
}

fn factors(batch: usize) -> Factors {
    let branch = |every: usize| {
        let picture = |at: usize| if at.is_multiple_of(every) { 0.0 } else { 1.25 };
        (0..batch).map(picture).collect()
    };
    [branch(3), branch(2)]
}

fn fused(
    parameters: &Parameters,
    input: &Tensor<3>,
    heads: usize,
    factors: Option<Factors>,
) -> Tensor<3> {
    fused_in(Products::Float32, parameters, input, heads, factors)
}

fn fused_in(
    products: Products,
    parameters: &Parameters,
    input: &Tensor<3>,
    heads: usize,
    factors: Option<Factors>,
) -> Tensor<3> {
    let form = Form {
        heads,
        epsilon: EPSILON,
        products,
    };
    block(input, &parameters.in_order(), form, factors).expect("float32 on the CPU")
}

#[test]
fn values_and_gradients_agree_with_the_composition() {
    let device = Device::flex().autodiff();
    for size in SIZES {
        let [batch, tokens, width, _, heads] = size;
        for (biased, dropped) in [(true, false), (true, true), (false, true)] {
            let parameters = Parameters::new(size, biased, &device).trained();
            let input = drawn([batch, tokens, width], 1.0, &device).require_grad();
            let weights = drawn([batch, tokens, width], 1.0, &device).cos();
            let factors = dropped.then(|| factors(batch));
            let results = |output: Tensor<3>| {
                let gradients = (output.clone() * weights.clone()).sum().backward();
                let mut all = vec![values(output), values(input.grad(&gradients).unwrap())];
                all.extend(parameters.gradients(&gradients));
                all
            };
            let composed = parameters.composed(input.clone(), heads, factors.as_ref());
            let found = results(fused(&parameters, &input, heads, factors));
            for (index, (found, expected)) in found.iter().zip(results(composed)).enumerate() {
                assert_eq!(found.is_empty(), index == 4 && !biased, "{size:?} {index}");
                // Gradients of weights are sums over a thousand rows, in another order.
                let tolerance = if index < 2 { 1e-5 } else { 1e-4 };
                assert_close(found, &expected, tolerance);
            }
        }
    }
}

/// How far two lists are apart, as a share of the second one's size.
fn apart(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let size =
        |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
    let pairs = found.iter().zip(expected);
    let apart = size(&mut pairs.map(|(one, other)| f64::from(one - other)));
    (apart / size(&mut expected.iter().map(|value| f64::from(*value)))).sqrt()
}

#[test]
fn products_in_bfloat16_round_and_do_nothing_else() {
    let device = Device::flex().autodiff();
    for size in &SIZES[1..] {
        let [batch, tokens, width, _, heads] = *size;
        for (biased, dropped) in [(true, true), (false, false)] {
            let parameters = Parameters::new(*size, biased, &device).trained();
            let input = drawn([batch, tokens, width], 1.0, &device).require_grad();
            let weights = drawn([batch, tokens, width], 1.0, &device).cos();
            let results = |products| {
                let factors = dropped.then(|| factors(batch));
                let output = fused_in(products, &parameters, &input, heads, factors);
                let gradients = (output.clone() * weights.clone()).sum().backward();
                let mut all = vec![values(output), values(input.grad(&gradients).unwrap())];
                all.extend(parameters.gradients(&gradients));
                all
            };
            let found = results(Products::BFloat16);
            for (index, (found, expected)) in
                found.iter().zip(results(Products::Float32)).enumerate()
            {
                if expected.is_empty() {
                    assert!(found.is_empty());
                    continue;
                }
                // A bias of all keys changes nothing: its gradient is what rounding leaves. So is that of
                // queries where there is one token alone.
                let keys = index == 4;
                let apart = apart(found, &expected);
                assert!(apart < 0.02 || keys, "{size:?} {index}: {apart}");
                // What is added up in the end, the gradients of the last bias, was never multiplied.
                assert!(apart > 1e-5 || index == 9, "{size:?} {index}: {apart}");
            }
        }
    }
}

#[test]
fn a_pass_without_gradients_gives_the_same_bits() {
    let size = [29, 17, 32, 128, 2];
    let input = |device: &Device| drawn([29, 17, 32], 1.0, device);
    let plain = Device::flex();
    let recorded = plain.clone().autodiff();
    for products in [Products::Float32, Products::BFloat16] {
        let trained = Parameters::new(size, true, &recorded).trained();
        let with = fused_in(products, &trained, &input(&recorded), 2, None);
        let without = fused_in(
            products,
            &Parameters::new(size, true, &plain),
            &input(&plain),
            2,
            None,
        );
        assert!(with.is_tracked() && !without.is_autodiff());
        assert_eq!(values(with), values(without));
    }
}

#[test]
fn frozen_weights_get_no_gradient_and_pass_others_on() {
    let device = Device::flex().autodiff();
    let size = [29, 17, 32, 128, 2];
    let frozen = Parameters::new(size, true, &device);
    let input = drawn([29, 17, 32], 1.0, &device).require_grad();
    let gradients = fused(&frozen, &input, 2, None)
        .powf_scalar(2.0)
        .sum()
        .backward();
    let through_frozen = values(input.grad(&gradients).unwrap());
    assert!(frozen.gradients(&gradients).iter().all(Vec::is_empty));

    let trained = Parameters::new(size, true, &device).trained();
    let gradients = fused(&trained, &input, 2, None)
        .powf_scalar(2.0)
        .sum()
        .backward();
    assert_eq!(values(input.grad(&gradients).unwrap()), through_frozen);

    let constant = drawn([29, 17, 32], 1.0, &device);
    let gradients = fused(&trained, &constant, 2, None)
        .powf_scalar(2.0)
        .sum()
        .backward();
    assert!(constant.grad(&gradients).is_none());
    assert!(
        trained
            .gradients(&gradients)
            .iter()
            .all(|one| !one.is_empty())
    );
}

#[test]
fn only_the_weights_that_are_trained_get_gradients() {
    let device = Device::flex().autodiff();
    let size = [3, 5, 6, 11, 3];
    let mut parameters = Parameters::new(size, true, &device);
    parameters.matrices[2] = parameters.matrices[2].clone().require_grad();
    let input = drawn([3, 5, 6], 1.0, &device);
    let gradients = fused(&parameters, &input, 3, None)
        .powf_scalar(2.0)
        .sum()
        .backward();
    for (index, gradient) in parameters.gradients(&gradients).iter().enumerate() {
        assert_eq!(gradient.is_empty(), index != 8 + 2, "{index}");
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let device = Device::flex().autodiff();
    let size = [64, 17, 32, 128, 2];
    for products in [Products::Float32, Products::BFloat16] {
        assert_same_on_threads(|| {
            let parameters = Parameters::new(size, true, &device).trained();
            let input = drawn([64, 17, 32], 1.0, &device).require_grad();
            let output = fused_in(products, &parameters, &input, 2, Some(factors(64)));
            let gradients = output.clone().powf_scalar(2.0).sum().backward();
            let mut all = vec![values(output), values(input.grad(&gradients).unwrap())];
            all.extend(parameters.gradients(&gradients));
            all
        });
    }
}

#[test]
fn other_precisions_are_left_to_the_composition() {
    let device = Device::flex();
    let size = [3, 5, 6, 11, 3];
    let parameters = Parameters::new(size, true, &device);
    let form = Form {
        heads: 3,
        epsilon: EPSILON,
        products: Products::Float32,
    };
    let input = drawn([3, 5, 6], 1.0, &device).cast(FloatDType::F64);
    assert!(block(&input, &parameters.in_order(), form, None).is_none());
}
