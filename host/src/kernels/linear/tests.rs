//! The kernel against burn's operation, differentiated by burn.

use burn::tensor::module::linear as composed;
use burn::tensor::{Device, TensorData};

use super::*;
use crate::kernels::draws;

fn tensor_of<const D: usize>(dims: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(
        TensorData::new(draws(dims.iter().product(), 1.0), dims),
        device,
    )
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

fn assert_close(left: &[f32], right: &[f32], tolerance: f32) {
    assert_eq!(left.len(), right.len());
    for (left, right) in left.iter().zip(right) {
        let allowed = tolerance * right.abs().max(1.0);
        assert!((left - right).abs() <= allowed, "{left} {right}");
    }
}

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
        let input = tensor_of([batch, tokens, inputs], &device).require_grad();
        let weight = tensor_of([inputs, outputs], &device).require_grad();
        let bias = tensor_of([outputs], &device).require_grad();
        let factors = tensor_of([batch, tokens, outputs], &device).cos();
        let results = |output: Tensor<3>| {
            let gradients = (output.clone() * factors.clone()).sum().backward();
            [
                values(output),
                values(input.grad(&gradients).unwrap()),
                values(weight.grad(&gradients).unwrap()),
                values(bias.grad(&gradients).unwrap()),
            ]
        };
        let found = results(linear(input.clone(), weight.clone(), bias.clone()));
        let expected = results(composed(input.clone(), weight.clone(), Some(bias.clone())));
        for (found, expected) in found.iter().zip(&expected) {
            // Gradients of weights are sums over a thousand rows, in another order.
            assert_close(found, expected, 1e-4);
        }
    }
}

#[test]
fn what_is_not_trained_gets_no_gradient_and_passes_others_on() {
    let device = Device::flex().autodiff();
    let input = tensor_of([2, 3, 5], &device).require_grad();
    let weight = tensor_of([5, 7], &device);
    let output = linear(input.clone(), weight.clone(), tensor_of([7], &device));
    let gradients = output.powf_scalar(2.0).sum().backward();
    assert!(input.grad(&gradients).is_some());
    assert!(weight.grad(&gradients).is_none());

    let input = tensor_of([2, 3, 5], &device);
    let weight = weight.require_grad();
    let output = linear(input.clone(), weight.clone(), tensor_of([7], &device));
    let gradients = output.powf_scalar(2.0).sum().backward();
    assert!(input.grad(&gradients).is_none());
    assert!(weight.grad(&gradients).is_some());
}

#[test]
fn threads_do_not_change_a_bit() {
    let device = Device::flex().autodiff();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap().install(|| {
            let input = tensor_of([64, 17, 96], &device).require_grad();
            let weight = tensor_of([96, 200], &device).require_grad();
            let bias = tensor_of([200], &device).require_grad();
            let output = linear(input.clone(), weight.clone(), bias.clone());
            let gradients = output.clone().powf_scalar(2.0).sum().backward();
            [
                values(output),
                values(input.grad(&gradients).unwrap()),
                values(weight.grad(&gradients).unwrap()),
                values(bias.grad(&gradients).unwrap()),
            ]
        })
    };
    assert_eq!(run(1), run(3));
}
