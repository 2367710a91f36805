//! Target stages that begin with the weights of a shallower stage, block by block.
//!
//! A deep stage of d blocks takes block ⌊j · m / d⌋ of a stage of m blocks as its block j, and
//! what else the stage owns as it is.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};

use super::network::Stage;
use super::parameters::Path;
use crate::device::{read, upload};

/// What further copies of a block compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// What the block computes.
    Copies,
    /// Nothing at first: their residual branches end in zero weights, so that the deep stage begins
    /// as the function that the shallow one is. The gradients of those weights are not zero.
    Identity,
}

/// Where the values of a parameter come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The parameter of the shallow stage with this name.
    Parameter(String),
    /// They are zero.
    Zero,
}

/// Where the values of parameter `name` of a stage of `deep` blocks come from, when the shallow
/// stage has `shallow` blocks. `ends_branch` says which parameters of a block, by their names
/// within it, are the last of a residual branch.
pub(super) fn origin(
    name: &str,
    shallow: usize,
    deep: usize,
    growth: Growth,
    ends_branch: impl Fn(&str) -> bool,
) -> Origin {
    let block = name.strip_prefix("blocks.").and_then(|rest| {
        let (index, within) = rest.split_once('.')?;
        Some((index.parse::<usize>().ok()?, within))
    });
    let Some((block, within)) = block else {
        return Origin::Parameter(name.to_owned());
    };
    let copied = block * shallow / deep;
    let first = block == 0 || (block - 1) * shallow / deep != copied;
    if growth == Growth::Identity && !first && ends_branch(within) {
        Origin::Zero
    } else {
        Origin::Parameter(format!("blocks.{copied}.{within}"))
    }
}

impl Stage {
    /// This stage with the values of `shallow`, the same stage of a shallower network. Identities
    /// of parameters, and which of them are trained, stay.
    ///
    /// # Panics
    ///
    /// When `shallow` is deeper, another stage, or of another width.
    #[must_use]
    pub fn grown_from(self, shallow: &Self, growth: Growth) -> Self {
        let mut values = Values::default();
        shallow.visit(&mut values);
        let (from, to) = (shallow.depth(), self.depth());
        assert!(from <= to, "a stage of {to} blocks cannot grow from {from}");
        let kind = self.clone();
        let origin = |name: &str| kind.origin(name, from, growth);
        let mut copier = Copier {
            path: Path::default(),
            values: &values.values,
            origin: &origin,
        };
        self.map(&mut copier)
    }
}

/// The values of a stage's parameters by name.
#[derive(Default)]
struct Values {
    path: Path,
    values: BTreeMap<String, TensorData>,
}

impl ModuleVisitor for Values {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.values
            .insert(self.path.name(), read(param.val().inner()));
    }
}

/// Gives every parameter the values of its origin.
struct Copier<'a> {
    path: Path,
    values: &'a BTreeMap<String, TensorData>,
    origin: &'a dyn Fn(&str) -> Origin,
}

impl ModuleMapper for Copier<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (device, shape) = (param.lazy_device(), param.dims());
        let tensor = match (self.origin)(&self.path.name()) {
            Origin::Zero => Tensor::zeros(shape, &device),
            Origin::Parameter(name) => {
                let values = self
                    .values
                    .get(&name)
                    .filter(|v| v.shape()[..] == shape[..]);
                let values = values.unwrap_or_else(|| {
                    panic!("the shallow stage has no parameter `{name}` of shape {shape:?}")
                });
                upload(values.clone(), &device)
            }
        };
        let id = param.id;
        param.transform_for_load(tensor, id)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use burn::tensor::{Device, Tensor, TensorData};

    use super::*;
    use crate::model::parameters::parameters;
    use crate::model::{Architecture, Network, Noise, VitConfig, network_to_safetensors};
    use crate::phase::Phase;
    use crate::random::Seed;

    fn network(depths: &[usize], phase: Phase) -> Network {
        let config = VitConfig {
            image_size: 8,
            patch_size: 4,
            channels: 2,
            classes: 5,
            width: 12,
            depth: depths.iter().sum(),
            heads: 3,
            mlp_ratio: 4,
            qkv_bias: true,
            layer_norm_eps: 1e-6,
        };
        Architecture::Vit(config)
            .network(depths, Seed(7), phase, &Device::flex())
            .unwrap()
    }

    /// The hybrid around module `index`, with `deep` blocks there, and its meta model.
    fn hybrid(index: usize, deep: usize, growth: Growth) -> (Network, Network) {
        let meta = [2, 1, 3];
        let mut depths = meta;
        depths[index] = deep;
        let meta = network(&meta, Phase::Meta);
        let target = network(&depths, Phase::Module(index)).into_stages()[index].clone();
        let target = target.grown_from(&meta.stages()[index], growth);
        let hybrid = meta.clone().replace_stage(index, target);
        (hybrid.freeze_all_but(index), meta)
    }

    fn images() -> Tensor<4> {
        let values = (0..3 * 128)
            .map(|value| (value as f32 * 0.7).sin())
            .collect();
        Tensor::from_data(TensorData::new(values, [3, 2, 8, 8]), &Device::flex())
    }

    /// The largest difference of the logits, and the largest logit.
    fn difference(left: &Network, right: &Network) -> (f32, f32) {
        let logits = |network: &Network| {
            let logits = network.forward(images().autodiff(), &Noise::off()).logits;
            logits.inner()
        };
        let (left, right) = (logits(left), logits(right));
        let largest = left.clone().abs().max().into_scalar();
        ((left - right).abs().max().into_scalar(), largest)
    }

    #[test]
    fn a_grown_hybrid_computes_what_the_meta_model_computes() {
        for (index, deep) in [(0, 2), (0, 5), (1, 4), (2, 7)] {
            let (grown, meta) = hybrid(index, deep, Growth::Identity);
            let (error, largest) = difference(&grown, &meta);
            assert!(largest > 1e-3, "{largest}");
            assert!(error <= 1e-6, "module {index} of {deep} blocks: {error}");
        }
        let (copies, meta) = hybrid(1, 4, Growth::Copies);
        assert!(difference(&copies, &meta).0 > 1e-3);
    }

    #[test]
    fn every_new_block_learns_and_is_itself() {
        let (grown, _) = hybrid(0, 5, Growth::Identity);
        let ids: BTreeSet<String> = parameters(&grown)
            .iter()
            .map(|parameter| parameter.id.to_string())
            .collect();
        assert_eq!(ids.len(), parameters(&grown).len());
        assert!(grown.trained_parameter_count() > 0);
        let loss = grown
            .forward_hybrid(images(), 0, &Noise::off())
            .logits
            .powi_scalar(2)
            .sum();
        let gradients = loss.backward();
        struct Ends<'a> {
            path: Path,
            gradients: &'a burn::tensor::Gradients,
            seen: usize,
        }
        impl ModuleVisitor for Ends<'_> {
            fn enter_module(&mut self, name: &str, container_type: &str) {
                self.path.enter(name, container_type);
            }
            fn exit_module(&mut self, _name: &str, _container_type: &str) {
                self.path.exit();
            }
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let name = self.path.name();
                if name.ends_with("mlp.fc2.weight") || name.ends_with("attn.proj.weight") {
                    let gradient = param.val().grad(self.gradients).unwrap();
                    assert!(gradient.abs().max().into_scalar::<f32>() > 0.0, "{name}");
                    self.seen += 1;
                }
            }
        }
        let mut ends = Ends {
            path: Path::default(),
            gradients: &gradients,
            seen: 0,
        };
        grown.stages()[0].visit(&mut ends);
        assert_eq!(ends.seen, 10);
    }

    #[test]
    fn blocks_are_copied_in_order_and_the_rest_of_the_stage_with_them() {
        let values = |network: &Network| -> BTreeMap<String, Vec<u8>> {
            let bytes = network_to_safetensors(network, &BTreeMap::new());
            let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            file.iter()
                .map(|(name, view)| (name.to_owned(), view.data().to_vec()))
                .collect()
        };
        for growth in [Growth::Copies, Growth::Identity] {
            let (grown, meta) = hybrid(2, 7, growth);
            let (grown, meta) = (values(&grown), values(&meta));
            // ⌊j · 3 / 7⌋, and whether it is the first copy.
            let blocks = [
                (0, true),
                (0, false),
                (0, false),
                (1, true),
                (1, false),
                (2, true),
                (2, false),
            ];
            for (block, (from, first)) in blocks.into_iter().enumerate() {
                for within in [
                    "norm1.weight",
                    "attn.qkv.weight",
                    "mlp.fc1.bias",
                    "mlp.fc2.weight",
                    "attn.proj.bias",
                ] {
                    let found = &grown[&format!("stages.2.blocks.{block}.{within}")];
                    let ends = within.starts_with("mlp.fc2") || within.starts_with("attn.proj");
                    if growth == Growth::Identity && ends && !first {
                        assert!(found.iter().all(|byte| *byte == 0), "{block} {within}");
                    } else {
                        let copied = &meta[&format!("stages.2.blocks.{from}.{within}")];
                        assert!(found == copied, "{block} {within}");
                    }
                }
            }
            for name in ["norm.weight", "head.weight", "head.bias"] {
                let name = format!("stages.2.{name}");
                assert!(grown[&name] == meta[&name], "{name}");
            }
        }
        let (grown, meta) = hybrid(0, 3, Growth::Copies);
        let (grown, meta) = (values(&grown), values(&meta));
        for name in ["pos_embed", "cls_token", "patch_embed.proj.weight"] {
            let name = format!("stages.0.{name}");
            assert!(grown[&name] == meta[&name], "{name}");
        }
    }
}
