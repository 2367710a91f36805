//! What an update does to one parameter on the CPU, each in one pass through memory, in threads: a step
//! of AdamW (Loshchilov and Hutter, 2019), the squares that clipping adds up, the moving average.
//!
//! The same bits on any number of threads.

#![expect(
    clippy::needless_range_loop,
    reason = "four slices are walked through at once: see `lanes`"
)]

use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::lanes;
use super::storage::{self, operand};

/// Values that one thread takes at a time; a parameter of fewer is not worth a second thread.
const CHUNK: usize = 1 << 15;

/// The numbers of a step of AdamW.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// What the gradient is multiplied by first: 1, or what clipping makes of it.
    pub(crate) gradient: f32,
    /// The share of the mean of gradients that is kept.
    pub(crate) beta_1: f32,
    /// The share of the mean of their squares that is kept.
    pub(crate) beta_2: f32,
    /// What the root of the mean of squares is divided by: √(1 − β₂ᵗ).
    pub(crate) correction: f32,
    /// What is added to that.
    pub(crate) epsilon: f32,
    /// The rate over 1 − β₁ᵗ.
    pub(crate) rate: f32,
    /// The share of the parameter that decay leaves.
    pub(crate) kept: f32,
}

/// Whether the functions here can work on a tensor: float32 on the CPU.
pub(crate) fn fits(tensor: &Tensor<1>) -> bool {
    operand(&tensor.clone().into_dispatch()).is_some()
}

/// The parameter, the mean of its gradients, and that of their squares after a step. The means are
/// changed in place where nobody else has them.
///
/// # Panics
///
/// When a tensor does not fit ([`fits`]), or is not as long as the others.
pub(crate) fn adamw(
    parameter: Tensor<1>,
    gradient: Tensor<1>,
    mean: Tensor<1>,
    square: Tensor<1>,
    step: Step,
) -> [Tensor<1>; 3] {
    let [mut parameter, gradient, mut mean, mut square] =
        [parameter, gradient, mean, square].map(storage::taken);
    let count = parameter.layout().num_elements();
    for other in [&gradient, &mean, &square] {
        assert_eq!(other.layout().num_elements(), count, "the lengths differ");
    }
    parameter
        .storage_mut::<f32>()
        .par_chunks_mut(CHUNK)
        .zip(mean.storage_mut::<f32>().par_chunks_mut(CHUNK))
        .zip(square.storage_mut::<f32>().par_chunks_mut(CHUNK))
        .zip(gradient.storage::<f32>().par_chunks(CHUNK))
        .for_each(|(((parameter, mean), square), gradient)| {
            Arch::new().dispatch(AdamW {
                parameter,
                mean,
                square,
                gradient,
                step,
            });
        });
    [parameter, mean, square].map(wrapped)
}

/// The sum of the squares of all values.
///
/// # Panics
///
/// When the tensor does not fit ([`fits`]).
pub(crate) fn sum_of_squares(values: &Tensor<1>) -> f64 {
    let values = storage::taken(values.clone());
    let parts: Vec<f32> = values
        .storage::<f32>()
        .par_chunks(CHUNK)
        .map(|values| Arch::new().dispatch(Squares { values }))
        .collect();
    parts.into_iter().map(f64::from).sum()
}

/// `share` of the average and the rest of the value, in place where nobody else has the average.
///
/// # Panics
///
/// When a tensor does not fit ([`fits`]), or they are not of the same length.
pub(crate) fn blend(average: Tensor<1>, value: Tensor<1>, share: f32) -> Tensor<1> {
    let [mut average, value] = [average, value].map(storage::taken);
    let (count, length) = (average.layout(), value.layout());
    assert_eq!(
        count.num_elements(),
        length.num_elements(),
        "the lengths differ"
    );
    average
        .storage_mut::<f32>()
        .par_chunks_mut(CHUNK)
        .zip(value.storage::<f32>().par_chunks(CHUNK))
        .for_each(|(average, value)| {
            Arch::new().dispatch(Blend {
                average,
                value,
                share,
            });
        });
    wrapped(average)
}

fn wrapped(values: FlexTensor) -> Tensor<1> {
    Tensor::from_dispatch(storage::dispatch(values))
}

struct AdamW<'a> {
    parameter: &'a mut [f32],
    mean: &'a mut [f32],
    square: &'a mut [f32],
    gradient: &'a [f32],
    step: Step,
}

impl WithSimd for AdamW<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let step = self.step;
        let count = self.parameter.len();
        let (mean, square) = (&mut self.mean[..count], &mut self.square[..count]);
        let gradient = &self.gradient[..count];
        for at in 0..count {
            let gradient = gradient[at] * step.gradient;
            mean[at] = mean[at] * step.beta_1 + gradient * (1.0 - step.beta_1);
            square[at] = square[at] * step.beta_2 + gradient * gradient * (1.0 - step.beta_2);
            let deviation = square[at].sqrt() / step.correction + step.epsilon;
            let change = mean[at] / deviation * step.rate;
            self.parameter[at] = self.parameter[at] * step.kept - change;
        }
    }
}

struct Squares<'a> {
    values: &'a [f32],
}

impl WithSimd for Squares<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> f32 {
        lanes::sum(self.values, self.values, |value, _| value * value)
    }
}

struct Blend<'a> {
    average: &'a mut [f32],
    value: &'a [f32],
    share: f32,
}

impl WithSimd for Blend<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let value = &self.value[..self.average.len()];
        for at in 0..self.average.len() {
            self.average[at] = self.average[at] * self.share + value[at] * (1.0 - self.share);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::kernels::comparison::{assert_same_on_threads, drawn, draws, values};

    /// More than two chunks, and not whole ones.
    const COUNT: usize = 2 * CHUNK + 77;

    const STEP: Step = Step {
        gradient: 0.5,
        beta_1: 0.9,
        beta_2: 0.99,
        correction: 0.3,
        epsilon: 1e-8,
        rate: 0.02,
        kept: 0.999,
    };

    fn tensors() -> [Tensor<1>; 4] {
        let device = Device::flex();
        let one = |spread| drawn([COUNT], spread, &device);
        [one(1.0), one(0.3), one(0.1), one(0.2).square()]
    }

    #[test]
    fn a_step_agrees_with_its_definition() {
        let [parameter, gradient, mean, square] = tensors();
        let old = [&parameter, &gradient, &mean, &square].map(|one| values(one.clone()));
        let new = adamw(parameter, gradient, mean, square, STEP).map(values);
        for at in 0..COUNT {
            let [parameter, gradient, mean, square] =
                [0, 1, 2, 3].map(|one| f64::from(old[one][at]));
            let gradient = gradient * 0.5;
            let mean = 0.9 * mean + 0.1 * gradient;
            let square = 0.99 * square + 0.01 * gradient * gradient;
            let parameter = 0.999 * parameter - 0.02 * mean / (square.sqrt() / 0.3 + 1e-8);
            for (one, expected) in [parameter, mean, square].into_iter().enumerate() {
                assert!(
                    (f64::from(new[one][at]) - expected).abs() < 1e-6,
                    "{one} {at}"
                );
            }
        }
    }

    #[test]
    fn what_others_have_stays() {
        let [parameter, gradient, mean, square] = tensors();
        let old = [&parameter, &mean].map(|one| values(one.clone()));
        let _ = adamw(
            parameter.clone(),
            gradient.clone(),
            mean.clone(),
            square,
            STEP,
        );
        let _ = blend(mean.clone(), gradient, 0.9);
        assert_eq!([parameter, mean].map(values), old);
    }

    #[test]
    fn squares_and_averages_agree_with_their_definitions() {
        let [parameter, gradient, ..] = tensors();
        let squares: f64 = draws(COUNT, 1.0)
            .iter()
            .map(|value| f64::from(*value).powi(2))
            .sum();
        assert!((sum_of_squares(&parameter) / squares - 1.0).abs() < 1e-6);
        let old = [&parameter, &gradient].map(|one| values(one.clone()));
        let new = values(blend(parameter, gradient, 0.9));
        for at in 0..COUNT {
            assert!((new[at] - (0.9 * old[0][at] + 0.1 * old[1][at])).abs() < 1e-6);
        }
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        assert_same_on_threads(|| {
            let [parameter, gradient, mean, square] = tensors();
            let sum = sum_of_squares(&parameter);
            (
                sum,
                adamw(parameter, gradient, mean, square, STEP).map(values),
            )
        });
    }
}
