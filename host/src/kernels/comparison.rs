//! What the tests of kernels compare with: tensors of draws, their values, and pools of threads.

use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;

use crate::phase::Phase;
use crate::random::{Key, Seed};

/// Draws from [-spread, spread), the same at every call.
pub(super) fn draws(count: usize, spread: f32) -> Vec<f32> {
    let mut stream = Seed(3).stream(&Key {
        phase: Phase::Meta,
        epoch: 0,
        sample: count as u64,
        purpose: "kernels",
    });
    (0..count)
        .map(|_| (stream.random::<f32>() - 0.5) * 2.0 * spread)
        .collect()
}

/// Draws in a shape.
pub(super) fn drawn<const D: usize>(dims: [usize; D], spread: f32, device: &Device) -> Tensor<D> {
    let values = draws(dims.iter().product(), spread);
    Tensor::from_data(TensorData::new(values, dims), device)
}

pub(super) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

/// Up to `tolerance`, or that share of values above 1.
pub(super) fn assert_close(left: &[f32], right: &[f32], tolerance: f32) {
    assert_eq!(left.len(), right.len());
    for (left, right) in left.iter().zip(right) {
        let allowed = tolerance * right.abs().max(1.0);
        assert!((left - right).abs() <= allowed, "{left} {right}");
    }
}

/// Does the same on one thread and on three.
pub(super) fn assert_same_on_threads<T: PartialEq + std::fmt::Debug + Send>(
    run: impl Fn() -> T + Send + Sync,
) {
    let [alone, shared] = [1, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(&run)
    });
    assert_eq!(alone, shared);
}
