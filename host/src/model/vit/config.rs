//! The dimensions of a Vision Transformer, and what makes them fit each other.

use serde::{Deserialize, Serialize};

use crate::model::architecture::ModelError;

/// The dimensions of a Vision Transformer.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct VitConfig {
    /// Height and width of a picture, in pixels.
    pub image_size: usize,
    /// Height and width of a patch, in pixels; it divides the picture's.
    pub patch_size: usize,
    /// Channels of a picture.
    pub channels: usize,
    /// Classes to tell apart.
    pub classes: usize,
    /// Values in a token.
    pub width: usize,
    /// Blocks of the whole target network.
    pub depth: usize,
    /// Attention heads; their number divides the width.
    pub heads: usize,
    /// Width of the hidden layer of a block's perceptron, in widths.
    pub mlp_ratio: usize,
    /// Whether queries, keys and values have a bias.
    pub qkv_bias: bool,
    /// What layer normalisation adds to the variance.
    pub layer_norm_eps: f64,
}

impl VitConfig {
    /// Checks that the dimensions fit each other.
    ///
    /// # Errors
    ///
    /// The first dimension that does not fit.
    pub fn validate(&self) -> Result<(), ModelError> {
        let sizes = [
            ("image_size", self.image_size),
            ("patch_size", self.patch_size),
            ("channels", self.channels),
            ("classes", self.classes),
            ("width", self.width),
            ("depth", self.depth),
            ("heads", self.heads),
            ("mlp_ratio", self.mlp_ratio),
        ];
        if let Some((name, _)) = sizes.into_iter().find(|(_, size)| *size == 0) {
            return Err(ModelError::Zero { name });
        }
        let multiples = [
            ("image_size", self.image_size, "patch_size", self.patch_size),
            ("width", self.width, "heads", self.heads),
        ];
        for (larger_name, larger, smaller_name, smaller) in multiples {
            if larger % smaller != 0 {
                return Err(ModelError::NotDivisible {
                    larger_name,
                    larger,
                    smaller_name,
                    smaller,
                });
            }
        }
        self.check_size()?;
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps.is_finite()) {
            return Err(ModelError::Epsilon {
                value: self.layer_norm_eps,
            });
        }
        Ok(())
    }

    /// Refuses networks whose cost does not fit the numbers that it is counted in.
    fn check_size(&self) -> Result<(), ModelError> {
        const BLOCKS_MAX: usize = 10_000;
        const PARAMETERS_MAX: f64 = (1_u64 << 38) as f64;
        const MACS_MAX: f64 = (1_u64 << 50) as f64;
        let number = |size: usize| size as f64;
        let (width, depth) = (number(self.width), number(self.depth));
        let tokens = (number(self.image_size) / number(self.patch_size)).powi(2) + 1.0;
        let matrices = width * width * (4.0 + 2.0 * number(self.mlp_ratio));
        let patch = number(self.channels) * number(self.patch_size).powi(2);
        let ends = width * (tokens + patch + number(self.classes));
        let parameters = depth * matrices + ends;
        let macs = depth * tokens * (matrices + 2.0 * tokens * width) + tokens * ends;
        if self.depth <= BLOCKS_MAX && parameters <= PARAMETERS_MAX && macs <= MACS_MAX {
            return Ok(());
        }
        Err(ModelError::TooLarge {
            blocks: self.depth,
            parameters,
            macs,
        })
    }

    /// Patches in a picture.
    pub(super) const fn patches(&self) -> usize {
        let side = self.image_size / self.patch_size;
        side * side
    }

    /// Tokens in a picture: the patches and the class token.
    pub(in crate::model) const fn tokens(&self) -> usize {
        self.patches() + 1
    }

    /// Values in a patch.
    pub(super) const fn patch_values(&self) -> usize {
        self.channels * self.patch_size * self.patch_size
    }
}
