//! The kernel against compositions of burn's operations, differentiated by burn.

use burn::tensor::Device;
use burn::tensor::module::layer_norm as composed;

use super::*;
use crate::kernels::comparison::{assert_close, assert_same_on_threads, drawn, values};

fn tensor2(rows: usize, width: usize, device: &Device) -> Tensor<2> {
    drawn([rows, width], 2.0, device).add_scalar(0.5)
}

fn row(width: usize, device: &Device) -> Tensor<1> {
    drawn([width], 1.5, device)
}

const SIZES: [(usize, usize); 6] = [(1, 2), (3, 7), (64, 16), (700, 33), (530, 192), (2, 20_000)];

#[test]
fn values_agree_with_the_composition() {
    let device = Device::flex();
    for (rows, width) in SIZES {
        let input = tensor2(rows, width, &device);
        let (weight, bias) = (row(width, &device), row(width, &device).neg());
        let found = layer_norm(input.clone(), weight.clone(), bias.clone(), 1e-6);
        let expected = composed(input, weight, Some(bias), 1e-6);
        assert_close(&values(found), &values(expected), 1e-5);
    }
}

#[test]
fn gradients_agree_with_the_composition() {
    let device = Device::flex().autodiff();
    for (rows, width) in SIZES {
        let input = tensor2(rows, width, &device).require_grad();
        let weight = row(width, &device).require_grad();
        let bias = row(width, &device).neg().require_grad();
        let factors = tensor2(rows, width, &device).cos();
        let gradients = |output: Tensor<2>| {
            let gradients = (output * factors.clone()).sum().backward();
            [
                values(input.grad(&gradients).unwrap()),
                values(weight.grad(&gradients).unwrap()),
                values(bias.grad(&gradients).unwrap()),
            ]
        };
        let found = gradients(layer_norm(
            input.clone(),
            weight.clone(),
            bias.clone(),
            1e-6,
        ));
        let by_burn = gradients(composed(
            input.clone(),
            weight.clone(),
            Some(bias.clone()),
            1e-6,
        ));
        let plain = |tensor: &Tensor<2>| tensor.clone().inner().into_dispatch();
        let of_input = composed_input_gradient::<Dispatch>(
            plain(&input),
            weight.clone().inner().into_dispatch(),
            plain(&factors),
            1e-6,
        );
        let of_weights =
            composed_weight_gradients::<Dispatch>(plain(&input), plain(&factors), 1e-6);
        let of_weights = values(Tensor::<2>::from_dispatch(of_weights));
        for ((found, by_burn), ours) in found.iter().zip(&by_burn).zip([
            &values(Tensor::<2>::from_dispatch(of_input))[..],
            &of_weights[..width],
            &of_weights[width..],
        ]) {
            // Sums over hundreds of rows, in another order.
            assert_close(found, by_burn, 1e-4);
            assert_close(found, ours, 1e-4);
        }
    }
}

#[test]
fn weights_that_are_not_trained_get_no_gradient() {
    let device = Device::flex().autodiff();
    let input = tensor2(3, 7, &device).require_grad();
    let weight = row(7, &device);
    let output = layer_norm(input.clone(), weight.clone(), row(7, &device), 1e-6);
    let gradients = output.powf_scalar(2.0).sum().backward();
    assert!(input.grad(&gradients).is_some());
    assert!(weight.grad(&gradients).is_none());
}

#[test]
fn threads_do_not_change_a_bit() {
    let device = Device::flex().autodiff();
    assert_same_on_threads(|| {
        let input = tensor2(1000, 96, &device).require_grad();
        let weight = row(96, &device).require_grad();
        let output = layer_norm(input.clone(), weight.clone(), row(96, &device), 1e-6);
        let gradients = output.clone().powf_scalar(3.0).sum().backward();
        (
            values(output),
            values(input.grad(&gradients).unwrap()),
            values(weight.grad(&gradients).unwrap()),
        )
    });
}
