//! A pre-norm transformer block: x += attention(norm(x)), then x += perceptron(norm(x)).

use burn::module::Module;
use burn::tensor::Tensor;

use super::config::VitConfig;
use crate::kernels::attention::attention;
use crate::kernels::gelu::gelu;
use crate::model::drop_path::Masks;
use crate::model::initial::Initial;
use crate::model::layers::{LayerNorm, Linear};

/// One block.
#[derive(Module, Debug)]
pub(super) struct Block {
    norm1: LayerNorm,
    attn: Attention,
    norm2: LayerNorm,
    mlp: Perceptron,
}

impl Block {
    /// Block `index` of its stage.
    pub(super) fn new(config: &VitConfig, index: usize, initial: &Initial<'_>) -> Self {
        let name = format!("blocks.{index}");
        Self {
            norm1: LayerNorm::new(config.width, config.layer_norm_eps, initial),
            attn: Attention::new(config, &name, initial),
            norm2: LayerNorm::new(config.width, config.layer_norm_eps, initial),
            mlp: Perceptron::new(config, &name, initial),
        }
    }

    /// `[batch, tokens, width]`; the masks drop a branch for some samples.
    pub(super) fn forward(&self, input: Tensor<3>, masks: Option<&Masks>) -> Tensor<3> {
        let [attention_mask, perceptron_mask] = match masks {
            Some(masks) => masks
                .tensors(&input.device())
                .map(|mask| Some(mask.reshape([-1, 1, 1]))),
            None => [None, None],
        };
        let branch = self.attn.forward(self.norm1.forward(input.clone()));
        let middle = input + masked(branch, attention_mask);
        let branch = self.mlp.forward(self.norm2.forward(middle.clone()));
        middle + masked(branch, perceptron_mask)
    }
}

fn masked(branch: Tensor<3>, mask: Option<Tensor<3>>) -> Tensor<3> {
    match mask {
        Some(mask) => branch * mask,
        None => branch,
    }
}

/// Multi-head self-attention with one matrix for queries, keys and values.
#[derive(Module, Debug)]
struct Attention {
    qkv: Linear,
    proj: Linear,
    #[module(skip)]
    heads: usize,
}

impl Attention {
    fn new(config: &VitConfig, block: &str, initial: &Initial<'_>) -> Self {
        let width = config.width;
        Self {
            qkv: Linear::new(
                width,
                3 * width,
                config.qkv_bias,
                &format!("{block}.attn.qkv"),
                initial,
            ),
            proj: Linear::new(width, width, true, &format!("{block}.attn.proj"), initial),
            heads: config.heads,
        }
    }

    fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        self.proj
            .forward(attention(self.qkv.forward(input), self.heads))
    }
}

/// Two linear maps with the exact Gaussian error linear unit between them.
#[derive(Module, Debug)]
struct Perceptron {
    fc1: Linear,
    fc2: Linear,
}

impl Perceptron {
    fn new(config: &VitConfig, block: &str, initial: &Initial<'_>) -> Self {
        let (width, hidden) = (config.width, config.width * config.mlp_ratio);
        Self {
            fc1: Linear::new(width, hidden, true, &format!("{block}.mlp.fc1"), initial),
            fc2: Linear::new(hidden, width, true, &format!("{block}.mlp.fc2"), initial),
        }
    }

    fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        self.fc2.forward(gelu(self.fc1.forward(input)))
    }
}
