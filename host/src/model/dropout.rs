//! Dropout (Srivastava et al., 2014): single values are left out, and the others raised so that the
//! mean stays.

use burn::tensor::{Tensor, TensorData};
use rand::Rng;
use rayon::prelude::*;

use super::noise::Draws;
use super::numerics::float32;
use crate::device::upload;

/// Dropout at one place of a network.
#[derive(Clone, Debug)]
pub(super) struct Dropout {
    /// The share of values that are left out, more than 0 and less than 1.
    rate: f64,
    place: String,
    draws: Draws,
}

impl Dropout {
    pub(super) const fn new(rate: f64, place: String, draws: Draws) -> Self {
        Self { rate, place, draws }
    }

    /// Leaves values of `[batch, ..]` out; `site` tells the places within one block apart.
    ///
    /// # Panics
    ///
    /// When the batch has another number of pictures than the pass.
    pub(super) fn apply<const D: usize>(&self, input: Tensor<D>, site: &str) -> Tensor<D> {
        let shape = input.dims();
        let samples = self.draws.samples();
        assert_eq!(shape[0], samples.len(), "pictures in the batch");
        let factors = self.factors(shape[1..].iter().product(), site);
        let mask: Tensor<D> = upload(TensorData::new(factors, shape), &input.device());
        let dtype = input.dtype();
        // The factor that keeps the mean is exact in float32 only.
        let output = float32(input) * mask;
        if output.dtype() == dtype {
            output
        } else {
            output.cast(burn::tensor::FloatDType::from(dtype))
        }
    }

    /// 0 or what keeps the mean, for `values` values of every picture.
    fn factors(&self, values: usize, site: &str) -> Vec<f32> {
        let samples = self.draws.samples();
        let purpose = format!("dropout.{}.{site}", self.place);
        let raised = (1.0 / (1.0 - self.rate)) as f32;
        // Draws below it are left out, of 2³².
        let bound = (self.rate * 2.0_f64.powi(32)) as u32;
        let mut factors = vec![0.0; samples.len() * values];
        factors
            .par_chunks_mut(values)
            .zip(samples)
            .for_each(|(factors, sample)| {
                let mut stream = self.draws.stream(*sample, &purpose);
                for factor in factors {
                    *factor = if stream.next_u32() < bound {
                        0.0
                    } else {
                        raised
                    };
                }
            });
        factors
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn dropout(rate: f64, samples: Vec<u64>) -> Dropout {
        Dropout::new(rate, "blocks.3".to_owned(), Draws::of(2, samples))
    }

    #[test]
    fn a_share_is_left_out_and_the_mean_stays() {
        for rate in [0.1, 0.5, 0.9] {
            let factors = dropout(rate, (0..50).collect()).factors(4000, "here");
            let raised = (1.0 / (1.0 - rate)) as f32;
            assert!(factors.iter().all(|factor| [0.0, raised].contains(factor)));
            let count = factors.len() as f64;
            let gone = factors.iter().filter(|factor| **factor == 0.0).count() as f64 / count;
            // Five standard deviations of a share of 200,000 draws.
            let spread = 5.0 * (rate * (1.0 - rate) / count).sqrt();
            assert!((gone - rate).abs() < spread, "{gone} of {rate}");
            let mean = factors.iter().map(|factor| f64::from(*factor)).sum::<f64>() / count;
            assert!(
                (mean - 1.0).abs() < spread / (1.0 - rate),
                "{mean} at {rate}"
            );
        }
    }

    #[test]
    fn a_sample_keeps_its_draws_wherever_it_stands() {
        let one = dropout(0.5, vec![4, 9]).factors(64, "here");
        let other = dropout(0.5, vec![9, 7, 4]).factors(64, "here");
        assert_eq!(one[..64], other[128..]);
        assert_eq!(one[64..], other[..64]);
        assert_ne!(one[..64], one[64..]);
        assert_ne!(one, dropout(0.5, vec![4, 9]).factors(64, "there"));
    }

    #[test]
    fn values_are_multiplied_in_their_own_precision() {
        let device = Device::flex();
        let dropout = dropout(0.1, vec![1, 2]);
        let ones = Tensor::<3>::ones([2, 3, 40], &device);
        let half = dropout.apply(ones.clone().cast(burn::tensor::FloatDType::BF16), "x");
        assert_eq!(half.dtype(), burn::tensor::DType::BF16);
        let whole: Vec<f32> = dropout.apply(ones, "x").into_data().try_into_vec().unwrap();
        let half: Vec<f32> = float32(half).into_data().try_into_vec().unwrap();
        for (half, whole) in half.iter().zip(whole) {
            assert!((half - whole).abs() < 0.005, "{half} {whole}");
        }
    }
}
