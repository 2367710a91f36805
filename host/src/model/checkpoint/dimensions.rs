//! The dimensions of a network, as the shapes of its tensors show them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::error::Problem;
use super::layout::{Arranged, BLOCK, ENTRY, EXIT, block_of};
use super::source::Stored;

/// What the shapes of a checkpoint's tensors show. Heads and the epsilon of layer normalisation
/// cannot be seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dimensions {
    /// Values in a token.
    pub width: usize,
    /// Width of the hidden layer of a block's perceptron, in widths.
    pub mlp_ratio: usize,
    /// Whether queries, keys and values have a bias.
    pub qkv_bias: bool,
    /// Blocks of every stage; one stage in timm's naming.
    pub stages: Vec<usize>,
    /// What pictures it takes; absent in a part of a network that takes tokens.
    pub entry: Option<Entry>,
    /// Classes to tell apart; absent without a classifier.
    pub classes: Option<usize>,
}

/// Which pictures a network takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Channels of a picture.
    pub channels: usize,
    /// Height and width of a patch.
    pub patch_size: usize,
    /// Height and width of a picture.
    pub image_size: usize,
}

impl Dimensions {
    /// Blocks of all stages.
    pub fn depth(&self) -> usize {
        self.stages.iter().sum()
    }

    /// Reads the dimensions off and checks that every tensor has the shape that follows from them.
    pub(super) fn of(arranged: &Arranged) -> Result<Self, Problem> {
        let tensors = &arranged.tensors;
        let mlp = matrix(tensors, "blocks.0.mlp.fc1.weight")?;
        let [hidden, width] = mlp;
        if width == 0 || hidden == 0 || hidden % width != 0 {
            return inconsistent(format!(
                "the hidden width {hidden} of its perceptrons is no multiple of the width {width}"
            ));
        }
        let dimensions = Self {
            width,
            mlp_ratio: hidden / width,
            qkv_bias: tensors.contains_key("blocks.0.attn.qkv.bias"),
            stages: arranged.stages.clone(),
            entry: entry(tensors)?,
            classes: match tensors.get("head.weight") {
                Some(_) => Some(matrix(tensors, "head.weight")?[0]),
                None => None,
            },
        };
        dimensions.check(tensors)?;
        Ok(dimensions)
    }

    /// The names of what a whole network with these dimensions has.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        let qkv_bias = self.qkv_bias;
        let blocks = (0..self.depth()).flat_map(move |block| {
            BLOCK
                .into_iter()
                .filter(move |name| qkv_bias || *name != "attn.qkv.bias")
                .map(move |name| format!("blocks.{block}.{name}"))
        });
        let ends = ENTRY.into_iter().chain(EXIT).map(ToOwned::to_owned);
        ends.chain(blocks)
    }

    /// The shape of a tensor, as far as it follows from what is known.
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let (width, hidden) = (self.width, self.width * self.mlp_ratio);
        let local = block_of(name).map_or(name, |(_, rest)| rest);
        Some(match local {
            "attn.qkv.weight" => vec![3 * width, width],
            "attn.qkv.bias" => vec![3 * width],
            "attn.proj.weight" => vec![width, width],
            "mlp.fc1.weight" => vec![hidden, width],
            "mlp.fc1.bias" => vec![hidden],
            "mlp.fc2.weight" => vec![width, hidden],
            "cls_token" => vec![1, 1, width],
            "head.weight" => vec![self.classes?, width],
            "head.bias" => vec![self.classes?],
            "pos_embed" => {
                let entry = self.entry?;
                let side = entry.image_size / entry.patch_size;
                vec![1, side * side + 1, width]
            }
            "patch_embed.proj.weight" => {
                let entry = self.entry?;
                vec![width, entry.channels, entry.patch_size, entry.patch_size]
            }
            _ => vec![width],
        })
    }

    fn check(&self, tensors: &BTreeMap<String, Stored>) -> Result<(), Problem> {
        for (name, stored) in tensors {
            if !stored.element().is_float() {
                return Err(Problem::Type {
                    name: name.clone(),
                    found: stored.element().name().to_owned(),
                });
            }
            if let Some(shape) = self.shape(name)
                && shape != stored.shape()
            {
                return inconsistent(format!(
                    "`{name}` has shape {:?}, and {shape:?} follows from the others",
                    stored.shape()
                ));
            }
        }
        let lacking: Vec<String> = self
            .names()
            .filter(|name| name.starts_with("blocks.") && !tensors.contains_key(name))
            .collect();
        if lacking.is_empty() {
            Ok(())
        } else {
            inconsistent(format!("the blocks lack {}", super::error::list(&lacking)))
        }
    }
}

fn inconsistent<T>(reason: String) -> Result<T, Problem> {
    Err(Problem::Inconsistent { reason })
}

/// The shape of a matrix.
fn matrix(tensors: &BTreeMap<String, Stored>, name: &str) -> Result<[usize; 2], Problem> {
    let Some(stored) = tensors.get(name) else {
        return inconsistent(format!("`{name}` is missing"));
    };
    <[usize; 2]>::try_from(stored.shape()).or_else(|_| {
        inconsistent(format!(
            "`{name}` has shape {:?} and should be a matrix",
            stored.shape()
        ))
    })
}

/// What the first stage of a network shows.
fn entry(tensors: &BTreeMap<String, Stored>) -> Result<Option<Entry>, Problem> {
    let names = ["patch_embed.proj.weight", "pos_embed"];
    let [Some(patches), Some(positions)] = names.map(|name| tensors.get(name)) else {
        return Ok(None);
    };
    let &[_, channels, patch_size, patch_width] = patches.shape() else {
        return inconsistent(format!(
            "`{}` has shape {:?} and should have four dimensions",
            names[0],
            patches.shape()
        ));
    };
    if patch_size != patch_width || patch_size == 0 || channels == 0 {
        return inconsistent(format!(
            "patches of {patch_size} × {patch_width} pixels with {channels} channels are not supported"
        ));
    }
    let &[_, tokens, _] = positions.shape() else {
        return inconsistent(format!(
            "`{}` has shape {:?} and should have three dimensions",
            names[1],
            positions.shape()
        ));
    };
    if !tensors.contains_key("cls_token") {
        return Err(Problem::Family {
            family: "a Vision Transformer without class token",
            evidence: "it has `pos_embed`, and no `cls_token`".to_owned(),
        });
    }
    let side = tokens.saturating_sub(1).isqrt();
    if side == 0 || side * side + 1 != tokens {
        return Err(Problem::Family {
            family: "a Vision Transformer with other tokens than one for the class and a square of patches",
            evidence: format!("`pos_embed` is for {tokens} tokens"),
        });
    }
    match side.checked_mul(patch_size) {
        Some(image_size) => Ok(Some(Entry {
            channels,
            patch_size,
            image_size,
        })),
        None => inconsistent("its pictures are too large".to_owned()),
    }
}
