//! Stochastic depth (Huang et al., 2016): a residual branch is left out for some samples.
//!
//! Which samples lose which branch depends on seed, phase, epoch and sample alone.

use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;

use super::noise::Draws;
use crate::device::upload;

/// Residual branches of a block.
const BRANCHES: usize = 2;

/// The rate of every block of a network with `depth` blocks: `linspace(0, rate, depth)`.
fn rates(rate: f64, depth: usize) -> Vec<f64> {
    let steps = depth.saturating_sub(1).max(1) as f64;
    (0..depth)
        .map(|block| rate * block as f64 / steps)
        .collect()
}

/// The masks of the blocks of a network with `depth` blocks, the last of which has `rate`; `None`
/// where nothing is left out.
pub(super) fn masks(rate: f64, depth: usize, draws: &Draws) -> Vec<Option<Masks>> {
    let rates = rates(rate, depth);
    let samples = draws.samples();
    let mut masks: Vec<Option<Masks>> = rates
        .iter()
        .map(|&rate| (rate > 0.0).then(|| Masks::with_capacity(samples.len())))
        .collect();
    if masks.iter().all(Option::is_none) {
        return masks;
    }
    for &sample in samples {
        let mut stream = draws.stream(sample, "drop-path");
        for (mask, rate) in masks.iter_mut().zip(&rates) {
            let keep = 1.0 - rate;
            for branch in 0..BRANCHES {
                // Drawn for every block, so that a block's masks do not depend on the rate.
                let draw: f64 = stream.random();
                if let Some(mask) = mask {
                    let factor = if draw < keep { 1.0 / keep } else { 0.0 };
                    mask.branches[branch].push(factor as f32);
                }
            }
        }
    }
    masks
}

/// The factors of one block's two branches, one for every sample: 0, or what keeps the mean.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Masks {
    branches: [Vec<f32>; BRANCHES],
}

impl Masks {
    fn with_capacity(samples: usize) -> Self {
        Self {
            branches: [(); BRANCHES].map(|()| Vec::with_capacity(samples)),
        }
    }

    /// The factors of every branch, in the order of the samples.
    pub(super) fn factors(&self) -> [Vec<f32>; BRANCHES] {
        self.branches.clone()
    }

    /// The factors on the device, `[batch]` each.
    pub(super) fn tensors(&self, device: &Device) -> [Tensor<1>; BRANCHES] {
        [0, 1].map(|branch| {
            let factors = self.branches[branch].clone();
            let length = factors.len();
            upload(TensorData::new(factors, [length]), device)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The factors of the branches by block; empty where nothing is left out.
    fn factors(rate: f64, epoch: u64, samples: Vec<u64>, depth: usize) -> Vec<Vec<Vec<f32>>> {
        masks(rate, depth, &Draws::of(epoch, samples))
            .into_iter()
            .map(|masks| masks.map_or_else(Vec::new, |masks| masks.branches.to_vec()))
            .collect()
    }

    #[test]
    fn rates_grow_linearly_over_the_network() {
        // The target module of a hybrid [1, 3, 1, 1] has 0.02, 0.04, 0.06.
        let expected = [0.0, 0.02, 0.04, 0.06, 0.08, 0.1];
        for (found, expected) in rates(0.1, 6).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12);
        }
        assert_eq!(rates(0.1, 1), [0.0]);
    }

    #[test]
    fn nothing_is_left_out_at_rate_zero() {
        assert_eq!(masks(0.0, 3, &Draws::of(0, vec![1])), [None, None, None]);
        let masks = masks(0.5, 3, &Draws::of(0, vec![1, 2]));
        assert_eq!(masks[0], None);
        assert!(masks[1].is_some());
    }

    #[test]
    fn a_sample_keeps_its_masks_wherever_it_stands() {
        let one = factors(0.5, 3, vec![4, 9, 2], 4);
        let other = factors(0.5, 3, vec![2, 4], 4);
        for (one, other) in one.iter().zip(&other).skip(1) {
            for (one, other) in one.iter().zip(other) {
                assert_eq!([one[2], one[0]], other[..]);
            }
        }
        assert_ne!(
            factors(0.5, 3, (0..64).collect(), 4),
            factors(0.5, 4, (0..64).collect(), 4)
        );
    }

    #[test]
    fn branches_are_independent_and_keep_their_mean() {
        let factors = factors(0.4, 0, (0..4000).collect(), 3);
        // Block 1 has rate 0.2, block 2 has 0.4.
        for (block, rate) in [(1, 0.2_f64), (2, 0.4)] {
            let [first, second] = [0, 1].map(|branch| &factors[block][branch]);
            for branch in [first, second] {
                let mean = branch.iter().sum::<f32>() / 4000.0;
                assert!((mean - 1.0).abs() < 0.06, "{mean}");
                let keep = (1.0 / (1.0 - rate)) as f32;
                assert!(branch.iter().all(|factor| [0.0, keep].contains(factor)));
            }
            let pairs = first.iter().zip(second);
            let both = pairs.filter(|pair| *pair == (&0.0, &0.0)).count();
            assert!((both as f64 / 4000.0 - rate * rate).abs() < 0.03, "{both}");
        }
    }
}
