//! The kernel against burn's composed operation and against double precision.

use burn::tensor::activation::gelu as composed;
use burn::tensor::{Device, Tensor, TensorData};

use super::*;
use crate::kernels::comparison::{assert_same_on_threads, drawn, values};

fn tensor(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}

fn assert_close(left: &[f32], right: &[f32], tolerance: f32) {
    assert_eq!(left.len(), right.len());
    for (left, right) in left.iter().zip(right) {
        assert!((left - right).abs() <= tolerance, "{left} {right}");
    }
}

/// erf by its series and, far out, its continued fraction.
fn erf(x: f64) -> f64 {
    if x.abs() < 3.0 {
        let mut term = x;
        let mut sum = x;
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return sum * 2.0 / std::f64::consts::PI.sqrt();
    }
    let a = x.abs();
    let fraction = (1..200)
        .rev()
        .fold(a, |fraction, n| a + f64::from(n) / 2.0 / fraction);
    x.signum() * (1.0 - (-a * a).exp() / (std::f64::consts::PI.sqrt() * fraction))
}

#[test]
fn distribution_agrees_with_double_precision() {
    for step in -200_000..=200_000 {
        let x = step as f32 * 1e-4;
        let exact = erf(f64::from(x) * std::f64::consts::FRAC_1_SQRT_2);
        // Twice the distribution minus one is the error function.
        let found = 2.0 * f64::from(normal(x).0) - 1.0;
        assert!((found - exact).abs() < 5e-7, "{x}: {found} {exact}");
    }
}

#[test]
fn values_agree_with_the_composed_operation() {
    let device = Device::flex();
    for count in [
        1,
        2,
        7,
        15,
        16,
        17,
        1000,
        CHUNK - 1,
        CHUNK,
        CHUNK + 1,
        3 * CHUNK + 5,
    ] {
        let input = drawn([count], 6.0, &device);
        assert_close(&values(gelu(input.clone())), &values(composed(input)), 1e-6);
    }
}

#[test]
fn gradients_agree_with_the_composed_operation() {
    let device = Device::flex().autodiff();
    for count in [1, 7, 33, 1000, 2 * CHUNK + 3] {
        let gradient = |function: fn(Tensor<1>) -> Tensor<1>| {
            let input = drawn([count], 6.0, &device).require_grad();
            let weight = drawn([count], 1.0, &device);
            let gradients = (function(input.clone()) * weight).sum().backward();
            values(input.grad(&gradients).unwrap())
        };
        let by_hand = |input: Tensor<1>| {
            let scaled = input.clone() * std::f64::consts::FRAC_1_SQRT_2;
            input * (scaled.erf() + 1.0) * 0.5
        };
        let found = gradient(gelu);
        assert_close(&found, &gradient(by_hand), 1e-5);
        assert_close(&found, &gradient(composed), 1e-5);
    }
}

#[test]
fn tensors_need_not_lie_in_order() {
    let device = Device::flex().autodiff();
    let pass = |function: fn(Tensor<3>) -> Tensor<3>| {
        let input = drawn([24], 3.0, &device).reshape([2, 3, 4]).require_grad();
        let output = function(input.clone().swap_dims(0, 2).narrow(1, 1, 2));
        let gradients = output.clone().sum().backward();
        [output, input.grad(&gradients).unwrap()].map(values)
    };
    let [output, gradient] = pass(gelu);
    let [expected_output, expected_gradient] = pass(composed);
    assert_close(&output, &expected_output, 1e-6);
    assert_close(&gradient, &expected_gradient, 1e-5);
}

#[test]
fn a_shared_gradient_is_not_overwritten() {
    let device = Device::flex().autodiff();
    let input = drawn([100], 3.0, &device).require_grad();
    let other = drawn([100], 3.0, &device).require_grad();
    // Both summands get the same gradient.
    let gradients = (gelu(input) + other.clone()).sum().backward();
    assert_eq!(values(other.grad(&gradients).unwrap()), vec![1.0; 100]);
}

#[test]
fn what_is_no_number_stays_visible() {
    let device = Device::flex();
    let special = vec![
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        1e30,
        -1e30,
        0.0,
        -0.0,
    ];
    let found = values(gelu(tensor(special.clone(), &device)));
    let expected = values(composed(tensor(special, &device)));
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            *found == expected || (found.is_nan() && expected.is_nan()),
            "{found} {expected}"
        );
    }
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let device = Device::flex().autodiff();
    assert_same_on_threads(|| {
        let input = drawn([3 * CHUNK + 11], 5.0, &device).require_grad();
        let output = gelu(input.clone());
        let gradient = input.grad(&output.clone().sum().backward()).unwrap();
        [output, gradient].map(|tensor| {
            let values = values(tensor).into_iter();
            values.map(f32::to_bits).collect::<Vec<_>>()
        })
    });
}
