//! The kernel against compositions of burn's operations, differentiated by burn.

use burn::tensor::Device;
use burn::tensor::activation::softmax;

use super::*;
use crate::kernels::comparison::{assert_same_on_threads, drawn, values};

/// As block of a Vision Transformer composes it.
fn reference(joint: Tensor<3>, heads: usize) -> Tensor<3> {
    let [batch, tokens, width] = joint.dims();
    let head = width / 3 / heads;
    let parts = joint
        .reshape([batch, tokens, 3, heads, head])
        .permute([2, 0, 3, 1, 4]);
    let part = |index: usize| -> Tensor<4> {
        parts
            .clone()
            .narrow(0, index, 1)
            .reshape([batch, heads, tokens, head])
    };
    let query = part(0).mul_scalar((head as f64).powf(-0.5));
    let scores = query.matmul(part(1).swap_dims(2, 3));
    let mixed = softmax(scores, 3).matmul(part(2));
    mixed.swap_dims(1, 2).reshape([batch, tokens, width / 3])
}

fn assert_close(left: &[f32], right: &[f32], tolerance: f32) {
    assert_eq!(left.len(), right.len());
    for (left, right) in left.iter().zip(right) {
        assert!((left - right).abs() <= tolerance, "{left} {right}");
    }
}

/// (batch, tokens, width, heads)
const SIZES: [[usize; 4]; 5] = [
    [1, 1, 1, 1],
    [2, 5, 6, 3],
    [3, 17, 32, 2],
    [2, 50, 48, 3],
    [1, 197, 128, 2],
];

#[test]
fn values_agree_with_the_composition() {
    let device = Device::flex();
    for [batch, tokens, width, heads] in SIZES {
        let joint: Tensor<3> = drawn([batch, tokens, 3 * width], 3.0, &device);
        let found = values(attention(joint.clone(), heads, Products::Float32));
        assert_close(&found, &values(reference(joint.clone(), heads)), 1e-5);
        let composed = composed::<Dispatch>(joint.into_dispatch(), heads);
        assert_close(&found, &values(Tensor::<3>::from_dispatch(composed)), 1e-5);
    }
}

#[test]
fn gradients_agree_with_the_composition() {
    let device = Device::flex().autodiff();
    for [batch, tokens, width, heads] in SIZES {
        let joint: Tensor<3> = drawn([batch, tokens, 3 * width], 2.0, &device).require_grad();
        let weights: Tensor<3> = drawn([batch, tokens, width], 1.0, &device.clone().inner());
        let gradient = |output: Tensor<3>| {
            let loss = (output * weights.clone().autodiff()).sum();
            values(joint.grad(&loss.backward()).unwrap())
        };
        let found = gradient(attention(joint.clone(), heads, Products::Float32));
        assert_close(&found, &gradient(reference(joint.clone(), heads)), 1e-5);
        let composed = composed_gradient::<Dispatch>(
            joint.clone().inner().into_dispatch(),
            weights.clone().into_dispatch(),
            heads,
        );
        assert_close(&found, &values(Tensor::<3>::from_dispatch(composed)), 1e-5);
    }
}

#[test]
fn large_scores_stay_finite_and_what_is_no_number_is_seen() {
    let device = Device::flex();
    let joint = drawn([1, 5, 12], 1e4, &device);
    assert!(
        values(attention(joint.clone(), 2, Products::Float32))
            .iter()
            .all(|value| value.is_finite())
    );
    let spoilt = joint.slice_fill([0..1, 2..3, 0..1], f32::NAN);
    assert!(
        values(attention(spoilt, 2, Products::Float32))
            .iter()
            .any(|value| value.is_nan())
    );
}

#[test]
fn products_in_bfloat16_are_near() {
    let device = Device::flex().autodiff();
    for [batch, tokens, width, heads] in SIZES {
        let joint: Tensor<3> = drawn([batch, tokens, 3 * width], 1.0, &device).require_grad();
        let weights: Tensor<3> = drawn([batch, tokens, width], 1.0, &device.clone().inner());
        let results = |products| {
            let output = attention(joint.clone(), heads, products);
            let loss = (output.clone() * weights.clone().autodiff()).sum();
            let gradient = joint.grad(&loss.backward()).unwrap();
            [values(output), values(gradient)]
        };
        let [exact, near] = [Products::Float32, Products::BFloat16].map(results);
        for (exact, near) in exact.iter().zip(&near) {
            // Eight bits of numbers up to 1.
            assert_close(near, exact, 1.0 / 64.0);
            assert!(exact != near, "nothing was rounded");
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let device = Device::flex().autodiff();
    for products in [Products::Float32, Products::BFloat16] {
        assert_same_on_threads(|| {
            let joint = drawn([7, 17, 96], 2.0, &device).require_grad();
            let output = attention(joint.clone(), 2, products);
            let gradients = output.clone().powf_scalar(2.0).sum().backward();
            (values(output), values(joint.grad(&gradients).unwrap()))
        });
    }
}
