//! Stochastic depth (Huang et al., 2016): a residual branch is left out for some samples.
//!
//! Which samples lose which branch depends on seed, phase, epoch and sample alone.

use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;

use crate::phase::Phase;
use crate::random::{Key, Seed};

/// Residual branches of a block.
const BRANCHES: usize = 2;

/// What to leave out in one forward pass.
#[derive(Clone, Debug)]
pub struct DropPath {
    /// The rate of the last block; the first has 0, between them it grows linearly.
    rate: f64,
    seed: Seed,
    phase: Phase,
    epoch: u64,
    samples: Vec<u64>,
}

impl DropPath {
    /// Nothing is left out.
    pub const fn off() -> Self {
        Self {
            rate: 0.0,
            seed: Seed(0),
            phase: Phase::Baseline,
            epoch: 0,
            samples: Vec::new(),
        }
    }

    /// Branches are left out at `rate` (in [0, 1)) in the last block.
    ///
    /// `samples` identifies the pictures of the batch in their order; pictures that occur more than
    /// once in an epoch need different numbers to be treated independently.
    pub const fn new(rate: f64, seed: Seed, phase: Phase, epoch: u64, samples: Vec<u64>) -> Self {
        Self {
            rate,
            seed,
            phase,
            epoch,
            samples,
        }
    }

    /// The rate of every block of a network with `depth` blocks: `linspace(0, rate, depth)`.
    pub fn rates(rate: f64, depth: usize) -> Vec<f64> {
        let steps = depth.saturating_sub(1).max(1) as f64;
        (0..depth)
            .map(|block| rate * block as f64 / steps)
            .collect()
    }

    /// The masks of the blocks of a network with `depth` blocks; `None` where nothing is left out.
    pub(super) fn masks(&self, depth: usize) -> Vec<Option<Masks>> {
        let rates = Self::rates(self.rate, depth);
        let mut masks: Vec<Option<Masks>> = rates
            .iter()
            .map(|&rate| (rate > 0.0).then(|| Masks::with_capacity(self.samples.len())))
            .collect();
        if masks.iter().all(Option::is_none) {
            return masks;
        }
        for &sample in &self.samples {
            let mut stream = self.seed.stream(&Key {
                phase: self.phase,
                epoch: self.epoch,
                sample,
                purpose: "drop-path",
            });
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

    /// The factors on the device, `[batch]` each.
    pub(super) fn tensors(&self, device: &Device) -> [Tensor<1>; BRANCHES] {
        [0, 1].map(|branch| {
            let factors = self.branches[branch].clone();
            let length = factors.len();
            Tensor::from_data(TensorData::new(factors, [length]), device)
        })
    }
}
