//! What the parts of a Vision Transformer cost.

use super::config::VitConfig;
use crate::model::cost::{
    Cost, Costs, Products, Trained, TrainingMacs, backward_macs, prefix_macs, reference_macs,
    training_macs,
};

/// Bytes of a value.
const VALUE: u64 = size_of::<f32>() as u64;

impl VitConfig {
    /// What every part of the target network costs for a batch of `batch` pictures.
    pub(in crate::model) fn costs(&self, batch: usize) -> Costs {
        let batch = batch as u64;
        let part = |name: String, parameters, products: Products, values: u64| Cost {
            name,
            parameters,
            forward_macs: products.forward() * batch,
            activation_bytes: values * VALUE * batch,
        };
        let (tokens, width) = (self.tokens() as u64, self.width as u64);
        let classes = self.classes as u64;
        let patch_values = self.patch_values() as u64;
        let entry_parameters = (tokens + 1) * width + (patch_values + 1) * width;
        let exit_parameters = 2 * width + (width + 1) * classes;
        // The patches are kept for the gradient of their matrix; the class token for norm and head.
        let entry_values = self.patches() as u64 * patch_values;
        let exit_values = 2 * width + classes;
        Costs {
            entry: part(
                "entry".to_owned(),
                entry_parameters,
                self.entry_products(),
                entry_values,
            ),
            blocks: (0..self.depth)
                .map(|block| {
                    part(
                        format!("blocks.{block}"),
                        self.block_parameters(),
                        self.block_products(),
                        self.block_values(),
                    )
                })
                .collect(),
            exit: part(
                "exit".to_owned(),
                exit_parameters,
                self.exit_products(),
                exit_values,
            ),
        }
    }

    /// Multiplications per picture of one training step of a network with these depths.
    pub(in crate::model) fn training_macs(
        &self,
        depths: &[usize],
        trained: Trained,
    ) -> TrainingMacs {
        training_macs(&self.stage_products(depths), trained)
    }

    /// The same as the reference implementation of the method computes it.
    pub(in crate::model) fn reference_macs(
        &self,
        depths: &[usize],
        trained: Trained,
    ) -> TrainingMacs {
        reference_macs(&self.stage_products(depths), trained)
    }

    /// Multiplications per picture of a backward pass that begins behind stage `last`.
    pub(in crate::model) fn backward_macs(
        &self,
        depths: &[usize],
        trained: Trained,
        last: usize,
    ) -> u64 {
        backward_macs(&self.stage_products(depths), trained, last)
    }

    /// Multiplications per picture of a forward pass through the stages before `trained`.
    pub(in crate::model) fn prefix_macs(&self, depths: &[usize], trained: usize) -> u64 {
        prefix_macs(&self.stage_products(depths), trained)
    }

    /// The tokens of a batch, in bytes.
    pub(in crate::model) fn between_blocks(&self, batch: usize) -> u64 {
        (self.tokens() * self.width * batch) as u64 * VALUE
    }

    /// Five for every normalised value of a picture: two norms in a block, one behind the last.
    pub(in crate::model) fn normalisation_macs(&self, depths: &[usize]) -> u64 {
        let norms = 2 * depths.iter().sum::<usize>() + 1;
        5 * (norms * self.tokens() * self.width) as u64
    }

    /// Multiplications of every stage of a network with these depths.
    fn stage_products(&self, depths: &[usize]) -> Vec<Products> {
        let mut stages: Vec<Products> = depths
            .iter()
            .map(|&depth| self.block_products().times(depth as u64))
            .collect();
        if let Some(first) = stages.first_mut() {
            *first = first.and(self.entry_products());
        }
        if let Some(last) = stages.last_mut() {
            *last = last.and(self.exit_products());
        }
        stages
    }

    fn entry_products(&self) -> Products {
        Products {
            first: (self.patches() * self.patch_values() * self.width) as u64,
            linear: 0,
            activations: 0,
        }
    }

    fn block_products(&self) -> Products {
        let (tokens, width) = (self.tokens() as u64, self.width as u64);
        let ratio = self.mlp_ratio as u64;
        Products {
            first: 0,
            // Queries, keys and values 3, projection 1, perceptron twice its ratio.
            linear: tokens * width * width * (4 + 2 * ratio),
            // Scores and mixture.
            activations: 2 * tokens * tokens * width,
        }
    }

    fn exit_products(&self) -> Products {
        Products {
            first: 0,
            linear: (self.width * self.classes) as u64,
            activations: 0,
        }
    }

    fn block_parameters(&self) -> u64 {
        let (width, ratio) = (self.width as u64, self.mlp_ratio as u64);
        let norms = 4 * width;
        let qkv = 3 * width * (width + u64::from(self.qkv_bias));
        let proj = width * (width + 1);
        let perceptron = 2 * ratio * width * width + (ratio + 1) * width;
        norms + qkv + proj + perceptron
    }

    /// Per picture: inputs of norms, linear maps and products, and the scores before and after
    /// softmax; input and normalised input 2, queries, keys and values 3, mixture 1, middle and
    /// normalised middle 2 widths, and the hidden layer before and after its activation.
    fn block_values(&self) -> u64 {
        let (tokens, width) = (self.tokens() as u64, self.width as u64);
        let scores = 2 * self.heads as u64 * tokens * tokens;
        tokens * width * (8 + 2 * self.mlp_ratio as u64) + scores
    }
}
