//! The kernel against burn's operation, differentiated by burn.

use burn::tensor::module::linear as composed;
use burn::tensor::{Device, FloatDType};

use super::*;
use crate::kernels::comparison::{assert_close, assert_same_on_threads, drawn, values};

/// (batch, tokens, inputs, outputs)
const SIZES: [[usize; 4]; 4] = [
    [1, 1, 1, 1],
    [2, 3, 5, 7],
    [64, 17, 64, 256],
    [8, 50, 192, 64],
];

#[test]
fn values_and_gradients_agree_with_the_composition() {
    let device = Device::flex().autodiff();
    for [batch, tokens, inputs, outputs] in SIZES {
        let input = drawn([batch, tokens, inputs], 1.0, &device).require_grad();
        let weight = drawn([inputs, outputs], 1.0, &device).require_grad();
        let bias = drawn([outputs], 1.0, &device).require_grad();
        let factors = drawn([batch, tokens, outputs], 1.0, &device).cos();
        let results = |output: Tensor<3>| {
            let gradients = (output.clone() * factors.clone()).sum().backward();
            [
                values(output),
                values(input.grad(&gradients).unwrap()),
                values(weight.grad(&gradients).unwrap()),
                values(bias.grad(&gradients).unwrap()),
            ]
        };
        let found = results(linear(
            input.clone(),
            weight.clone(),
            bias.clone(),
            Products::Float32,
        ));
        let expected = results(composed(input.clone(), weight.clone(), Some(bias.clone())));
        for (found, expected) in found.iter().zip(&expected) {
            // Gradients of weights are sums over a thousand rows, in another order.
            assert_close(found, expected, 1e-4);
        }
    }
}

#[test]
fn products_in_bfloat16_are_those_of_rounded_numbers() {
    let device = Device::flex().autodiff();
    let rounded = |tensor: Tensor<2>| -> Tensor<2> {
        let half = tensor.inner().cast(FloatDType::BF16);
        half.cast(FloatDType::F64)
    };
    let single = |tensor: Tensor<2>| values(tensor.cast(FloatDType::F32));
    for [batch, tokens, inputs, outputs] in SIZES {
        let rows = batch * tokens;
        let input = drawn([rows, inputs], 1.0, &device).require_grad();
        let weight = drawn([inputs, outputs], 1.0, &device).require_grad();
        let bias = drawn([outputs], 1.0, &device).require_grad();
        let factors = drawn([rows, outputs], 1.0, &device).cos();
        let output = linear(
            input.clone(),
            weight.clone(),
            bias.clone(),
            Products::BFloat16,
        );
        let gradients = (output.clone() * factors.clone()).sum().backward();
        let [x, w, g] = [&input, &weight, &factors].map(|tensor| rounded(tensor.clone()));
        let of_bias = bias.clone().inner().cast(FloatDType::F64).unsqueeze();
        for (found, expected) in [
            (
                values(output),
                single(x.clone().matmul(w.clone()) + of_bias),
            ),
            (
                values(input.grad(&gradients).unwrap()),
                single(g.clone().matmul(w.transpose())),
            ),
            (
                values(weight.grad(&gradients).unwrap()),
                single(x.transpose().matmul(g)),
            ),
            (
                values(bias.grad(&gradients).unwrap()),
                values(factors.inner().sum_dim(0)),
            ),
        ] {
            assert_close(&found, &expected, 1e-4);
        }
    }
}

#[test]
fn what_is_not_trained_gets_no_gradient_and_passes_others_on() {
    let device = Device::flex().autodiff();
    let input = drawn([2, 3, 5], 1.0, &device).require_grad();
    let weight = drawn([5, 7], 1.0, &device);
    let output = linear(
        input.clone(),
        weight.clone(),
        drawn([7], 1.0, &device),
        Products::Float32,
    );
    let gradients = output.powf_scalar(2.0).sum().backward();
    assert!(input.grad(&gradients).is_some());
    assert!(weight.grad(&gradients).is_none());

    let input = drawn([2, 3, 5], 1.0, &device);
    let weight = weight.require_grad();
    let output = linear(
        input.clone(),
        weight.clone(),
        drawn([7], 1.0, &device),
        Products::Float32,
    );
    let gradients = output.powf_scalar(2.0).sum().backward();
    assert!(input.grad(&gradients).is_none());
    assert!(weight.grad(&gradients).is_some());
}

#[test]
fn threads_do_not_change_a_bit() {
    let device = Device::flex().autodiff();
    for products in [Products::Float32, Products::BFloat16] {
        assert_same_on_threads(|| {
            let input = drawn([64, 17, 96], 1.0, &device).require_grad();
            let weight = drawn([96, 200], 1.0, &device).require_grad();
            let bias = drawn([200], 1.0, &device).require_grad();
            let output = linear(input.clone(), weight.clone(), bias.clone(), products);
            let gradients = output.clone().powf_scalar(2.0).sum().backward();
            [
                values(output),
                values(input.grad(&gradients).unwrap()),
                values(weight.grad(&gradients).unwrap()),
                values(bias.grad(&gradients).unwrap()),
            ]
        });
    }
}
