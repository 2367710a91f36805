//! What is left out at random in one forward pass: residual branches, and single values.
//!
//! Every draw depends on seed, phase, epoch and sample alone, so that a picture loses the same
//! wherever it stands in its batch, and a block that is run again loses the same again.

use std::sync::Arc;

use super::drop_path::{Masks, masks};
use super::dropout::Dropout;
use crate::phase::Phase;
use crate::random::{Key, Seed, Stream};

/// How much is left out. Each rate is in [0, 1).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NoiseRates {
    /// Residual branches of the last block; the first has 0, between them it grows linearly.
    pub drop_path: f64,
    /// Values after the embedding, after the attention's projection, and after either map of the
    /// perceptron.
    pub dropout: f64,
    /// Values of the attention matrices.
    pub attention_dropout: f64,
}

/// What to leave out in one forward pass.
#[derive(Clone, Debug)]
pub struct Noise {
    rates: NoiseRates,
    draws: Draws,
    in_frozen_stages: bool,
}

impl Noise {
    /// Nothing is left out.
    pub fn off() -> Self {
        Self::new(
            NoiseRates::default(),
            Seed(0),
            Phase::Baseline,
            0,
            Vec::new(),
        )
    }

    /// `samples` identifies the pictures of the batch in their order; pictures that occur more than
    /// once in an epoch need different numbers to be treated independently.
    pub fn new(rates: NoiseRates, seed: Seed, phase: Phase, epoch: u64, samples: Vec<u64>) -> Self {
        Self {
            rates,
            draws: Draws {
                seed,
                phase,
                epoch,
                samples: samples.into(),
            },
            in_frozen_stages: false,
        }
    }

    /// Leaves things out in the stages of a hybrid that are not trained, too.
    #[must_use]
    pub fn in_frozen_stages(self) -> Self {
        Self {
            in_frozen_stages: true,
            ..self
        }
    }

    /// Whether stages that are not trained are under it.
    pub(super) const fn reaches_frozen_stages(&self) -> bool {
        self.in_frozen_stages
    }

    /// What each stage of a network with these depths leaves out.
    pub(super) fn stages(&self, depths: &[usize]) -> Vec<StageNoise> {
        let depth = depths.iter().sum();
        let dropout = |place: &str, rate: f64| {
            (rate > 0.0).then(|| Dropout::new(rate, place.to_owned(), self.draws.clone()))
        };
        let masks = masks(self.rates.drop_path, depth, &self.draws);
        let mut blocks = masks.into_iter().enumerate().map(|(index, paths)| {
            let place = format!("blocks.{index}");
            BlockNoise {
                paths,
                values: dropout(&place, self.rates.dropout),
                attention: dropout(&place, self.rates.attention_dropout),
            }
        });
        depths
            .iter()
            .map(|&depth| StageNoise {
                embedding: dropout("embedding", self.rates.dropout),
                blocks: blocks.by_ref().take(depth).collect(),
            })
            .collect()
    }
}

/// What one stage leaves out.
#[derive(Clone, Debug, Default)]
pub(super) struct StageNoise {
    /// Of the tokens that leave the embedding.
    pub(super) embedding: Option<Dropout>,
    /// One entry for every block.
    pub(super) blocks: Vec<BlockNoise>,
}

impl StageNoise {
    /// Nothing, in a stage of `depth` blocks.
    pub(super) fn off(depth: usize) -> Self {
        Self {
            embedding: None,
            blocks: vec![BlockNoise::default(); depth],
        }
    }
}

/// What one block leaves out.
#[derive(Clone, Debug, Default)]
pub(super) struct BlockNoise {
    /// Residual branches.
    pub(super) paths: Option<Masks>,
    /// Values of the branches.
    pub(super) values: Option<Dropout>,
    /// Values of the attention matrices.
    pub(super) attention: Option<Dropout>,
}

/// What all draws of a pass depend on.
#[derive(Clone, Debug)]
pub(super) struct Draws {
    seed: Seed,
    phase: Phase,
    epoch: u64,
    samples: Arc<[u64]>,
}

impl Draws {
    /// The pictures of the batch.
    pub(super) fn samples(&self) -> &[u64] {
        &self.samples
    }

    /// The draws of one picture for one purpose.
    pub(super) fn stream(&self, sample: u64, purpose: &str) -> Stream {
        self.seed.stream(&Key {
            phase: self.phase,
            epoch: self.epoch,
            sample,
            purpose,
        })
    }
}

#[cfg(test)]
impl Draws {
    /// For tests of what is drawn.
    pub(super) fn of(epoch: u64, samples: Vec<u64>) -> Self {
        Self {
            seed: Seed(5),
            phase: Phase::Module(1),
            epoch,
            samples: samples.into(),
        }
    }
}
