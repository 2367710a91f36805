//! Which networks there are: families, presets, and how one is built from depths.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::cost::{Costs, Trained, TrainingMacs};
use super::initial::Initial;
use super::network::{Network, Stage};
use super::vit::{VitConfig, VitStage};
use crate::phase::Phase;
use crate::random::Seed;

/// Why a network cannot be built.
#[derive(Debug, Error, Clone, PartialEq)]
pub enum ModelError {
    /// A dimension is zero.
    #[error("{name} of the network is 0 (it must be at least 1)")]
    Zero {
        /// The field of the configuration.
        name: &'static str,
    },
    /// One dimension must divide the other.
    #[error(
        "{larger_name} {larger} of the network is not a multiple of {smaller_name} {smaller} (change either)"
    )]
    NotDivisible {
        /// The field that must be a multiple.
        larger_name: &'static str,
        /// Its value.
        larger: usize,
        /// The field that must divide it.
        smaller_name: &'static str,
        /// Its value.
        smaller: usize,
    },
    /// More than any machine computes; the numbers of its cost must fit 64 bits.
    #[error(
        "the network would have {blocks} blocks, {parameters:.1e} parameters, and {macs:.1e} multiplications a picture, and at most 10000, 2.7e11, and 1.1e15 are taken (lower `depth`, `width`, `image_size`, `mlp_ratio`, or `classes`)"
    )]
    TooLarge {
        /// Blocks.
        blocks: usize,
        /// Values in all parameters.
        parameters: f64,
        /// Multiplications of a forward pass.
        macs: f64,
    },
    /// The epsilon of layer normalisation.
    #[error("layer_norm_eps of the network is {value} (it must be a positive number)")]
    Epsilon {
        /// The value given.
        value: f64,
    },
    /// No stage at all.
    #[error("the network has no stages (give the depth of at least one)")]
    NoStages,
    /// A stage without blocks.
    #[error("stage {stage} has no blocks (every depth in {depths:?} must be at least 1)")]
    EmptyStage {
        /// The index of the stage, from 0.
        stage: usize,
        /// The depths of all stages.
        depths: Vec<usize>,
    },
}

/// A family of networks and its dimensions.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "family", rename_all = "kebab-case")]
pub enum Architecture {
    /// A Vision Transformer.
    Vit(VitConfig),
}

impl Architecture {
    /// The names that [`Architecture::preset`] knows.
    pub const PRESETS: [&'static str; 8] = [
        "deit-tiny",
        "deit-small",
        "deit-base",
        "vit-base",
        "vit-large",
        "vit-huge",
        "deit-tiny-32",
        "deit-tiny-128",
    ];

    /// The dimensions that the literature gives a name: DeiT (Touvron et al., 2021), ViT
    /// (Dosovitskiy et al., 2021) for ImageNet at 224 pixels, and the two deep networks for
    /// 32-pixel pictures of Deep Incubation, where the number in the name is the depth.
    pub fn preset(name: &str) -> Option<Self> {
        let imagenet = |patch_size, width, depth, heads| VitConfig {
            image_size: 224,
            patch_size,
            channels: 3,
            classes: 1000,
            width,
            depth,
            heads,
            mlp_ratio: 4,
            qkv_bias: true,
            layer_norm_eps: 1e-6,
        };
        let cifar = |depth| VitConfig {
            image_size: 32,
            classes: 100,
            ..imagenet(4, 192, depth, 3)
        };
        let config = match name {
            "deit-tiny" => imagenet(16, 192, 12, 3),
            "deit-small" => imagenet(16, 384, 12, 6),
            "deit-base" | "vit-base" => imagenet(16, 768, 12, 12),
            "vit-large" => imagenet(16, 1024, 24, 16),
            "vit-huge" => VitConfig {
                qkv_bias: false,
                layer_norm_eps: 1e-5,
                ..imagenet(14, 1280, 32, 16)
            },
            "deit-tiny-32" => cifar(32),
            "deit-tiny-128" => cifar(128),
            _ => return None,
        };
        Some(Self::Vit(config))
    }

    /// Blocks in the whole target network.
    pub const fn depth(&self) -> usize {
        match self {
            Self::Vit(config) => config.depth,
        }
    }

    /// Classes that the logits have.
    pub const fn classes(&self) -> usize {
        match self {
            Self::Vit(config) => config.classes,
        }
    }

    /// Channels, height and width of a picture.
    pub const fn input(&self) -> [usize; 3] {
        match self {
            Self::Vit(config) => [config.channels, config.image_size, config.image_size],
        }
    }

    /// The same network for pictures of `size` pixels in each direction.
    #[must_use]
    pub fn for_pictures(&self, size: usize) -> Self {
        match self {
            Self::Vit(config) => Self::Vit(VitConfig {
                image_size: size,
                ..config.clone()
            }),
        }
    }

    /// Checks that the dimensions fit each other.
    ///
    /// # Errors
    ///
    /// The first dimension that does not fit.
    pub fn validate(&self) -> Result<(), ModelError> {
        match self {
            Self::Vit(config) => config.validate(),
        }
    }

    /// What every part of the target network costs for a batch of `batch` pictures.
    pub fn costs(&self, batch: usize) -> Costs {
        match self {
            Self::Vit(config) => config.costs(batch),
        }
    }

    /// Bytes of what passes from one block to the next for a batch of `batch` pictures, in float32.
    pub fn between_blocks(&self, batch: usize) -> u64 {
        match self {
            Self::Vit(config) => config.between_blocks(batch),
        }
    }

    /// Tokens of a picture and the width of each, between two blocks.
    pub const fn tokens(&self) -> [usize; 2] {
        match self {
            Self::Vit(config) => [config.tokens(), config.width],
        }
    }

    /// Multiplications per picture of a forward pass through the stages before `trained`, of a
    /// network with these depths.
    pub fn prefix_macs(&self, depths: &[usize], trained: usize) -> u64 {
        match self {
            Self::Vit(config) => config.prefix_macs(depths, trained),
        }
    }

    /// Multiplications per picture of one training step of a network with these depths.
    pub fn training_macs(&self, depths: &[usize], trained: Trained) -> TrainingMacs {
        match self {
            Self::Vit(config) => config.training_macs(depths, trained),
        }
    }

    /// The same as the reference implementation of the method computes it, with gradients of frozen
    /// weights behind the trained module that nothing uses.
    pub fn reference_macs(&self, depths: &[usize], trained: Trained) -> TrainingMacs {
        match self {
            Self::Vit(config) => config.reference_macs(depths, trained),
        }
    }

    /// What papers count for layer normalisation in a forward pass of one picture beside the products
    /// of matrices: 5 for every normalised value, as the profiler fvcore does.
    pub fn normalisation_macs(&self, depths: &[usize]) -> u64 {
        match self {
            Self::Vit(config) => config.normalisation_macs(depths),
        }
    }

    /// Multiplications per picture of a backward pass that begins behind stage `last`, because the loss
    /// depends on nothing that comes later.
    pub fn backward_macs(&self, depths: &[usize], trained: Trained, last: usize) -> u64 {
        match self {
            Self::Vit(config) => config.backward_macs(depths, trained, last),
        }
    }

    /// The stage-local names of the parameters of each stage of a network with these depths, in the
    /// order of the weight file.
    pub fn parameter_names(&self, depths: &[usize]) -> Vec<Vec<String>> {
        (0..depths.len())
            .map(|index| match self {
                Self::Vit(config) => config.parameter_names(depths, index),
            })
            .collect()
    }

    /// One stage of such a network as [`Self::network`] gives it, without the others.
    ///
    /// # Errors
    ///
    /// As [`Self::network`].
    ///
    /// # Panics
    ///
    /// When there is no stage `index`.
    pub fn stage(
        &self,
        depths: &[usize],
        index: usize,
        initial: Seed,
        phase: Phase,
        device: &Device,
    ) -> Result<Stage, ModelError> {
        self.validate()?;
        check_depths(depths)?;
        let device = device.clone().autodiff();
        let initial = Initial::new(initial, phase, format!("stages.{index}."), &device);
        Ok(match self {
            Self::Vit(config) => Stage::Vit(VitStage::new(config, depths, index, &initial)),
        })
    }

    /// A network with `depths[i]` blocks in stage `i`, all of it trainable, with random weights.
    ///
    /// Every parameter's draw depends on the seed, the phase and the parameter's name alone. The
    /// network records gradients: use burn's `valid()` for evaluation.
    ///
    /// # Errors
    ///
    /// When the dimensions do not fit, or when a stage has no blocks.
    pub fn network(
        &self,
        depths: &[usize],
        initial: Seed,
        phase: Phase,
        device: &Device,
    ) -> Result<Network, ModelError> {
        self.validate()?;
        check_depths(depths)?;
        let stages = (0..depths.len())
            .map(|index| self.stage(depths, index, initial, phase, device))
            .collect::<Result<_, _>>()?;
        Ok(Network::from_stages(stages))
    }
}

/// Checks that there are stages, and blocks in each.
fn check_depths(depths: &[usize]) -> Result<(), ModelError> {
    if depths.is_empty() {
        return Err(ModelError::NoStages);
    }
    match depths.iter().position(|&depth| depth == 0) {
        Some(stage) => Err(ModelError::EmptyStage {
            stage,
            depths: depths.to_vec(),
        }),
        None => Ok(()),
    }
}
