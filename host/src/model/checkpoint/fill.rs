//! Networks from checkpoints: values by name into whatever stages the network has.

use std::collections::BTreeSet;

use burn::module::Module;
use burn::tensor::Device;

use super::error::Problem;
use super::layout::block_of;
use super::{Checkpoint, CheckpointError};
use crate::model::parameters::parameters;
use crate::model::weights::assign;
use crate::model::{Architecture, Network, Stage, VitConfig};
use crate::phase::Phase;
use crate::random::Seed;

/// What weights do not show: they are the same for any number of heads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unseen {
    /// Attention heads.
    pub heads: usize,
    /// What layer normalisation adds to the variance.
    pub layer_norm_eps: f64,
}

impl From<&Architecture> for Unseen {
    fn from(architecture: &Architecture) -> Self {
        let Architecture::Vit(config) = architecture;
        Self {
            heads: config.heads,
            layer_norm_eps: config.layer_norm_eps,
        }
    }
}

/// In what a checkpoint differs from a network, by timm's names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Differences {
    /// Blocks of the checkpoint and of the network, if they differ. Names of blocks are not
    /// compared then.
    pub depth: Option<(usize, usize)>,
    /// What the network has and the checkpoint has not.
    pub missing: Vec<String>,
    /// What the checkpoint has and the network has not.
    pub unexpected: Vec<String>,
    /// Tensors of other shapes.
    pub shapes: Vec<ShapeDifference>,
}

/// A tensor of another shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeDifference {
    /// Its name, as timm has it.
    pub name: String,
    /// In the checkpoint.
    pub found: Vec<usize>,
    /// In the network.
    pub wanted: Vec<usize>,
}

impl Differences {
    /// Whether the checkpoint is one of this very network.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether nothing differs but these tensors.
    pub fn only_in(&self, names: &[&str]) -> bool {
        let named = |name: &String| names.contains(&name.as_str());
        self.depth.is_none()
            && self.missing.iter().all(named)
            && self.unexpected.iter().all(named)
            && self.shapes.iter().all(|shape| named(&shape.name))
    }

    /// Classes of the checkpoint and of the network, if they differ.
    pub fn classes(&self) -> Option<(usize, usize)> {
        let head = self.shape("head.weight")?;
        Some((*head.found.first()?, *head.wanted.first()?))
    }

    /// Tokens, the class token counted, of the checkpoint and of the network, if they differ.
    pub fn tokens(&self) -> Option<(usize, usize)> {
        let positions = self.shape("pos_embed")?;
        Some((*positions.found.get(1)?, *positions.wanted.get(1)?))
    }

    fn shape(&self, name: &str) -> Option<&ShapeDifference> {
        self.shapes.iter().find(|shape| shape.name == name)
    }

    /// The first difference as an error.
    fn problem(self, stages: &[usize]) -> Option<Problem> {
        if let Some((found, wanted)) = self.depth {
            return Some(Problem::Depth {
                found,
                stages: stages.to_vec(),
                wanted,
            });
        }
        if !self.missing.is_empty() {
            return Some(Problem::Missing {
                names: self.missing,
            });
        }
        if !self.unexpected.is_empty() {
            return Some(Problem::Unexpected {
                names: self.unexpected,
            });
        }
        let shape = self.shapes.into_iter().next()?;
        let advice = match shape.name.as_str() {
            "pos_embed" => "its pictures have another size (set `model.image_size`)",
            "head.weight" | "head.bias" => "it tells other classes apart",
            "patch_embed.proj.weight" => "its patches or channels are others",
            _ => "it has another width or ratio of the perceptron",
        };
        Some(Problem::Shape {
            name: shape.name,
            found: shape.found,
            wanted: shape.wanted,
            advice,
        })
    }
}

/// The name that timm has for a parameter of a network with these depths.
pub(in crate::model) fn flat_name(name: &str, depths: &[usize]) -> String {
    let staged = name.strip_prefix("stages.").and_then(|rest| {
        let (stage, local) = rest.split_once('.')?;
        Some((stage.parse::<usize>().ok()?, local))
    });
    let Some((stage, local)) = staged else {
        return name.to_owned();
    };
    shifted(local, depths.iter().take(stage).sum())
}

/// A stage-local name, where the stage begins with block `first` of the network.
fn shifted(local: &str, first: usize) -> String {
    match block_of(local) {
        Some((block, rest)) => format!("blocks.{}.{rest}", first + block),
        None => local.to_owned(),
    }
}

impl Checkpoint {
    /// The network that these weights are of, with all blocks in its `depth`.
    ///
    /// What cannot be seen is taken from the metadata if the checkpoint has it, and else from
    /// `unseen`.
    ///
    /// # Errors
    ///
    /// The checkpoint is a part of a network, nothing says how many heads it has, or that number
    /// does not divide the width.
    pub fn architecture(&self, unseen: Option<Unseen>) -> Result<Architecture, CheckpointError> {
        self.named(self.architecture_of(unseen))
    }

    fn architecture_of(&self, unseen: Option<Unseen>) -> Result<Architecture, Problem> {
        let dimensions = self.dimensions();
        let lacking: Vec<String> = dimensions.names().filter(|name| !self.has(name)).collect();
        let (Some(entry), Some(classes), true) =
            (dimensions.entry, dimensions.classes, lacking.is_empty())
        else {
            return Err(Problem::Partial { lacking });
        };
        let unseen = self.unseen().or(unseen).ok_or(Problem::Heads {
            width: dimensions.width,
        })?;
        let architecture = Architecture::Vit(VitConfig {
            image_size: entry.image_size,
            patch_size: entry.patch_size,
            channels: entry.channels,
            classes,
            width: dimensions.width,
            depth: dimensions.depth(),
            heads: unseen.heads,
            mlp_ratio: dimensions.mlp_ratio,
            qkv_bias: dimensions.qkv_bias,
            layer_norm_eps: unseen.layer_norm_eps,
        });
        architecture.validate()?;
        Ok(architecture)
    }

    /// What the metadata say about what cannot be seen.
    pub fn unseen(&self) -> Option<Unseen> {
        let model = self.metadata().get("incubate.model")?;
        let architecture: Architecture = serde_json::from_str(model).ok()?;
        architecture.validate().ok()?;
        Some(Unseen::from(&architecture))
    }

    /// A network of this architecture, with `depths[i]` blocks in stage `i` whatever the stages of
    /// the checkpoint are, all of it trainable, with these weights.
    ///
    /// # Errors
    ///
    /// The network cannot be built, or a tensor is missing, unexpected, or of another shape.
    pub fn network(
        &self,
        architecture: &Architecture,
        depths: &[usize],
        device: &Device,
    ) -> Result<Network, CheckpointError> {
        // The random values are all replaced.
        let network = architecture
            .network(depths, Seed(0), Phase::Baseline, device)
            .map_err(Problem::from);
        self.fill(self.named(network)?, &[])
    }

    /// In what the checkpoint differs from `network`.
    pub fn differences(&self, network: &Network) -> Differences {
        let depths = network.depths();
        let (found, wanted) = (self.dimensions().depth(), depths.iter().sum());
        let mut differences = Differences {
            depth: (found != wanted).then_some((found, wanted)),
            ..Differences::default()
        };
        let compared = |name: &str| found == wanted || block_of(name).is_none();
        let mut known = BTreeSet::new();
        for parameter in parameters(network) {
            let (name, wanted) = (flat_name(&parameter.name, &depths), parameter.file_shape());
            known.insert(name.clone());
            match self.shape(&name) {
                None if compared(&name) => differences.missing.push(name),
                Some(found) if found != wanted => differences.shapes.push(ShapeDifference {
                    found: found.to_vec(),
                    name,
                    wanted,
                }),
                _ => {}
            }
        }
        differences.unexpected = self
            .names()
            .filter(|name| !known.contains(*name) && compared(name))
            .map(ToOwned::to_owned)
            .collect();
        differences
    }

    /// `network` with these weights. Parameters whose names (timm's: `head.weight`, `pos_embed`)
    /// are in `kept` stay as they are, and their namesakes in the checkpoint are not used.
    ///
    /// # Errors
    ///
    /// Another tensor is missing, unexpected, or of another shape, or its values cannot be read.
    pub fn fill(&self, network: Network, kept: &[&str]) -> Result<Network, CheckpointError> {
        let mut differences = self.differences(&network);
        let open = |name: &String| !kept.contains(&name.as_str());
        differences.missing.retain(open);
        differences.unexpected.retain(open);
        differences.shapes.retain(|shape| open(&shape.name));
        if let Some(problem) = differences.problem(&self.dimensions().stages) {
            return self.named(Err(problem));
        }
        let depths = network.depths();
        self.put(network, |name| {
            let name = flat_name(name, &depths);
            (!kept.contains(&name.as_str())).then_some(name)
        })
    }

    /// `stage` with these weights: its own blocks are those of the checkpoint from block `first`
    /// on. Other blocks of the checkpoint are not used.
    ///
    /// # Errors
    ///
    /// A tensor is missing or of another shape, or its values cannot be read.
    pub fn fill_stage(&self, stage: Stage, first: usize) -> Result<Stage, CheckpointError> {
        let mut differences = Differences::default();
        for parameter in parameters(&stage) {
            let (name, wanted) = (shifted(&parameter.name, first), parameter.file_shape());
            match self.shape(&name) {
                None => differences.missing.push(name),
                Some(found) if found != wanted => differences.shapes.push(ShapeDifference {
                    found: found.to_vec(),
                    name,
                    wanted,
                }),
                Some(_) => {}
            }
        }
        if let Some(problem) = differences.problem(&self.dimensions().stages) {
            return self.named(Err(problem));
        }
        self.put(stage, |name| Some(shifted(name, first)))
    }

    /// Replaces the parameters of a module by the tensors that `name_of` names, whose shapes are
    /// known to fit.
    fn put<M: Module>(
        &self,
        module: M,
        name_of: impl Fn(&str) -> Option<String>,
    ) -> Result<M, CheckpointError> {
        assign(module, |name, _| match name_of(name) {
            Some(name) => self.values(&name).map(|values| Some(values.values)),
            None => Ok(None),
        })
    }
}
