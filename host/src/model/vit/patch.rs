//! The patch embedding: a convolution whose stride is its size, computed as a matrix product.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::config::VitConfig;
use crate::kernels::linear::linear;
use crate::model::initial::Initial;
use crate::model::numerics::{Precision, float32};

/// Pictures to tokens.
#[derive(Module, Debug)]
pub(super) struct PatchEmbedding {
    proj: Projection,
}

/// The parameters of the convolution, as weight files have them.
#[derive(Module, Debug)]
struct Projection {
    /// `[width, channels, patch, patch]`.
    weight: Param<Tensor<4>>,
    /// `[width]`.
    bias: Param<Tensor<1>>,
}

impl PatchEmbedding {
    /// Weight and bias uniform in ±1/√(values in a patch): a Vision Transformer leaves its
    /// convolution at the framework's default.
    pub(super) fn new(config: &VitConfig, initial: &Initial<'_>) -> Self {
        let shape = [
            config.width,
            config.channels,
            config.patch_size,
            config.patch_size,
        ];
        let inputs = config.patch_values();
        Self {
            proj: Projection {
                weight: initial.uniform("patch_embed.proj.weight", shape, inputs),
                bias: initial.uniform("patch_embed.proj.bias", [config.width], inputs),
            },
        }
    }

    /// Height and width of a patch, in pixels.
    pub(super) fn size(&self) -> usize {
        let [_, _, size, _] = self.proj.weight.dims();
        size
    }

    /// `[batch, channels, height, width]` to `[batch, patches, token width]`, row by row.
    pub(super) fn forward(&self, images: Tensor<4>, precision: Precision) -> Tensor<3> {
        let weight = self.proj.weight.val();
        let [width, channels, patch, _] = weight.dims();
        let [batch, _, height, image_width] = images.dims();
        let (rows, columns) = (height / patch, image_width / patch);
        let patches = images
            .reshape([batch, channels, rows, patch, columns, patch])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([batch, rows * columns, channels * patch * patch]);
        let weight = weight
            .reshape([width, channels * patch * patch])
            .transpose();
        float32(linear(
            precision.operand(patches),
            precision.operand(weight),
            precision.operand(self.proj.bias.val()),
            precision.products(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::module::conv2d;
    use burn::tensor::ops::ConvOptions;
    use burn::tensor::{Device, Int};

    use super::*;
    use crate::model::Architecture;
    use crate::phase::Phase;
    use crate::random::Seed;

    #[test]
    fn it_is_the_convolution() {
        let Some(Architecture::Vit(preset)) = Architecture::preset("deit-tiny-32") else {
            panic!("there is such a preset");
        };
        let config = VitConfig {
            image_size: 12,
            width: 6,
            ..preset
        };
        let device = Device::flex();
        let initial = Initial::new(Seed(1), Phase::Meta, String::new(), &device);
        let embedding = PatchEmbedding::new(&config, &initial);
        let images = Tensor::<1, Int>::arange(0..2 * 3 * 12 * 12, &device)
            .float()
            .sin()
            .reshape([2, 3, 12, 12]);
        let convolution = conv2d(
            images.clone(),
            embedding.proj.weight.val(),
            Some(embedding.proj.bias.val()),
            ConvOptions::new([4, 4], [0, 0], [1, 1], 1),
        );
        let expected = convolution.reshape([2, 6, 9]).swap_dims(1, 2);
        let error = (embedding.forward(images, Precision::Float32) - expected)
            .abs()
            .max();
        assert!(error.into_scalar::<f32>() < 1e-5);
    }
}
