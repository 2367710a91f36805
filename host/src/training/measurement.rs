//! Timing every block of the target model on the device, for partition schemes that balance time.

use burn::tensor::{Device, Tensor};

use super::TrainError;
use crate::model::Architecture;
use crate::phase::Phase;
use crate::random::Seed;

/// Passes whose median counts.
const PASSES: usize = 5;

/// Milliseconds of forward and backward, at the batch that was asked for.
#[derive(Debug)]
pub(super) struct Times {
    /// What stands before the first block.
    pub(super) entry: f64,
    /// The blocks.
    pub(super) blocks: Vec<f64>,
    /// What stands after the last block.
    pub(super) exit: f64,
}

/// Times training of every block alone: a network with one block a stage, of which one stage
/// after the other is trained while the rest is left out.
///
/// The first and the last stage hold the embedding and the head besides their block: what they take
/// beyond the median block is counted as entry and exit.
pub(super) fn measure(
    architecture: &Architecture,
    batch: usize,
    seed: u64,
    device: &Device,
) -> Result<Times, TrainError> {
    let depth = architecture.depth();
    let network = architecture.network(&vec![1; depth], Seed(seed), Phase::Baseline, device)?;
    let [channels, height, width] = architecture.input();
    let plain = device.clone().inner();
    // What the pictures show does not change how long they take.
    let images = Tensor::<4>::ones([batch, channels, height, width], &plain);
    let mut blocks = Vec::with_capacity(depth);
    for index in 0..depth {
        let mut passes: Vec<f64> = (0..=PASSES)
            .map(|_| network.stage_milliseconds(index, images.clone()))
            .skip(1)
            .collect();
        passes.sort_by(f64::total_cmp);
        blocks.push(passes[PASSES / 2]);
    }
    let mut sorted = blocks.clone();
    sorted.sort_by(f64::total_cmp);
    let median = sorted[depth / 2];
    let beyond = |block: &mut f64| {
        let beyond = (*block - median).max(0.0);
        *block -= beyond;
        beyond
    };
    let entry = blocks.first_mut().map_or(0.0, beyond);
    let exit = blocks.last_mut().map_or(0.0, beyond);
    Ok(Times {
        entry,
        blocks,
        exit,
    })
}
