//! How many bytes training needs.

use super::cost::trained;
use crate::model::{Costs, Trained};
use crate::phase::Phase;
use crate::plugin::ModuleDepth;

/// Bytes of a number in float32.
const FLOAT: u64 = 4;

/// How large the network of a phase is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkSize {
    /// Numbers of the network.
    pub parameters: u64,
    /// Numbers that are trained.
    pub trained: u64,
    activation_bytes: u64,
    /// Blocks whose activations the backward pass needs.
    blocks_kept: u64,
    /// The activations of the largest of them, in bytes.
    largest_block: u64,
    /// Those of the largest that is trained.
    largest_trained: u64,
    /// Activations and gradients while the last block that is trained is gone back through: all before
    /// it is still there, and its gradients are as large as its activations, for those of its weights are
    /// computed from them.
    activation_peak: u64,
}

impl NetworkSize {
    /// Adds up the blocks of every stage, of which there are `stages`, by the costs of one part of a
    /// batch. The frozen stages before the trained one keep no activations.
    ///
    /// # Panics
    ///
    /// When there are not as many stages as modules, none, or more blocks than costs.
    pub fn new(phase: Phase, stages: &[usize], division: &[ModuleDepth], costs: &Costs) -> Self {
        let mut size = Self::default();
        let trains = |stage: usize| match trained(phase) {
            Trained::All => true,
            Trained::Module(index) => index == stage,
        };
        let first_kept = phase.module().unwrap_or(0);
        let last = stages.len() - 1;
        let mut block = 0;
        for (stage, depth) in stages.iter().enumerate() {
            // All blocks of the target's slice cost the same or more than the meta blocks that
            // stand for them: a meta stage takes the first blocks of its slice.
            let blocks = costs.blocks[block..block + depth].iter();
            if stage >= first_kept {
                size.blocks_kept += *depth as u64;
                let largest = blocks.clone().map(|cost| cost.activation_bytes).max();
                let largest = largest.unwrap_or_default();
                size.largest_block = size.largest_block.max(largest);
                if trains(stage) {
                    size.largest_trained = size.largest_trained.max(largest);
                }
            }
            let ends = [
                (stage == 0).then_some(&costs.entry),
                (stage == last).then_some(&costs.exit),
            ];
            for cost in blocks.chain(ends.into_iter().flatten()) {
                size.parameters += cost.parameters;
                if trains(stage) {
                    size.trained += cost.parameters;
                }
                if stage >= first_kept {
                    size.activation_bytes += cost.activation_bytes;
                }
            }
            if trains(stage) {
                size.activation_peak = size.activation_bytes + size.largest_trained;
            }
            block += division[stage].target as usize;
        }
        size
    }

    /// Estimated bytes of a training step: weights, gradients, AdamW's moments and the moving average
    /// (`average`) of what is trained, and at the peak of the backward pass activations and gradients, in
    /// float32. `between` are the bytes that pass from one block to the next; with `checkpointed`, blocks
    /// keep nothing else and are computed again.
    pub fn training_bytes(&self, between: u64, checkpointed: bool, average: bool) -> u64 {
        let activations = if checkpointed {
            self.blocks_kept * between + self.largest_block + self.largest_trained
        } else {
            // A frozen block passes the gradient of its output on, and is done.
            self.activation_peak
                .max(self.activation_bytes + 2 * between)
        };
        let copies = if average { 4 } else { 3 };
        FLOAT * (self.parameters + copies * self.trained) + activations
    }
}
