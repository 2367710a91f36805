//! A stage of a Vision Transformer: consecutive blocks, and at either end what only that end has.
//!
//! Stage 0 owns the patch embedding, the class token and the position embedding; the last stage
//! owns the final norm and the classifier. A single stage owns all of it.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};

use super::block::Block;
use super::config::VitConfig;
use super::patch::PatchEmbedding;
use super::position::interpolate;
use crate::device::{read, upload};
use crate::model::initial::Initial;
use crate::model::layers::{LayerNorm, Linear};
use crate::model::network::Activation;
use crate::model::noise::StageNoise;
use crate::model::numerics::{Numerics, float32};

/// A stage of a Vision Transformer. The names of the fields are the names in weight files.
#[derive(Module, Debug)]
pub struct VitStage {
    /// `[1, tokens, width]`.
    pos_embed: Option<Param<Tensor<3>>>,
    /// `[1, 1, width]`.
    cls_token: Option<Param<Tensor<3>>>,
    patch_embed: Option<PatchEmbedding>,
    blocks: Vec<Block>,
    norm: Option<LayerNorm>,
    head: Option<Linear>,
}

impl VitStage {
    /// Stage `index` of a network with these depths.
    pub(in crate::model) fn new(
        config: &VitConfig,
        depths: &[usize],
        index: usize,
        initial: &Initial<'_>,
    ) -> Self {
        let width = config.width;
        let first = index == 0;
        let last = index + 1 == depths.len();
        Self {
            pos_embed: first
                .then(|| initial.truncated_normal("pos_embed", [1, config.tokens(), width])),
            cls_token: first.then(|| initial.truncated_normal("cls_token", [1, 1, width])),
            patch_embed: first.then(|| PatchEmbedding::new(config, initial)),
            blocks: (0..depths[index])
                .map(|block| Block::new(config, block, initial))
                .collect(),
            norm: last.then(|| LayerNorm::new(width, config.layer_norm_eps, initial)),
            head: last.then(|| Linear::new(width, config.classes, true, "head", initial)),
        }
    }

    /// Blocks in the stage.
    pub(in crate::model) const fn depth(&self) -> usize {
        self.blocks.len()
    }

    /// The stage for pictures of `size` pixels in each direction: the position embedding, if the
    /// stage has one, is interpolated.
    pub(in crate::model) fn for_pictures(mut self, size: usize) -> Self {
        if let (Some(pos_embed), Some(patch_embed)) = (&self.pos_embed, &self.patch_embed) {
            let [_, tokens, width] = pos_embed.dims();
            let (old_side, new_side) = ((tokens - 1).isqrt(), size / patch_embed.size());
            if old_side != new_side {
                let device = pos_embed.lazy_device();
                let values: Vec<f32> = read(pos_embed.val()).iter().collect();
                let values = interpolate(&values, width, old_side, new_side);
                let shape = [1, 1 + new_side * new_side, width];
                let values = TensorData::new(values, shape);
                self.pos_embed = Some(Param::from_tensor(upload(values, &device)));
            }
        }
        self
    }

    /// Whether the parameter with this name within a block belongs to the last linear map of a
    /// residual branch.
    pub(in crate::model) fn ends_branch(within: &str) -> bool {
        ["attn.proj.", "mlp.fc2."]
            .iter()
            .any(|map| within.starts_with(map))
    }

    /// Stage 0 takes pictures, the others tokens; the last gives logits, the others tokens: all of
    /// them in float32. `noise` has one entry for every block.
    pub(in crate::model) fn forward(
        &self,
        input: Activation,
        noise: &StageNoise,
        numerics: Numerics,
    ) -> Activation {
        let precision = numerics.precision;
        let mut tokens = match (input, &self.patch_embed, &self.cls_token, &self.pos_embed) {
            (Activation::Image(images), Some(patch_embed), Some(cls_token), Some(pos_embed)) => {
                let patches = patch_embed.forward(images, precision);
                let [batch, _, width] = patches.dims();
                let class = cls_token.val().expand([batch, 1, width]);
                let tokens = Tensor::cat(vec![class, patches], 1) + pos_embed.val();
                match &noise.embedding {
                    Some(dropout) => dropout.apply(tokens, "out"),
                    None => tokens,
                }
            }
            (Activation::Tokens(tokens), None, None, None) => tokens,
            (input, ..) => panic!("a stage got {}", input.name()),
        };
        for (block, noise) in self.blocks.iter().zip(&noise.blocks) {
            tokens = if numerics.checkpoint_activations {
                block.forward_keeping_input(tokens, noise, precision)
            } else {
                block.forward(tokens, noise, precision)
            };
        }
        match (&self.norm, &self.head) {
            (Some(norm), Some(head)) => {
                // Normalisation is per token, so the class token alone gives the same logits.
                let [batch, _, width] = tokens.dims();
                let class = tokens.narrow(1, 0, 1).reshape([batch, width]);
                Activation::Logits(float32(head.forward(norm.forward(class), precision)))
            }
            _ => Activation::Tokens(tokens),
        }
    }
}
