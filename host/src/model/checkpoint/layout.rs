//! From tensors as a file names them to one naming: timm's, with the blocks numbered through all
//! stages. What is no plain Vision Transformer is refused with the names that say so.

use std::collections::BTreeMap;

use super::error::{Problem, list};
use super::source::Stored;
use super::torch::Group;

/// How a file names its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// timm's: all blocks in one list.
    Flat,
    /// By stage, with names local to the stage.
    Stages,
}

impl Layout {
    /// Its name, for people and programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Stages => "stages",
        }
    }
}

/// The tensors of a network or of a part of one.
#[derive(Debug)]
pub(super) struct Arranged {
    /// By timm's names, the blocks numbered through all stages.
    pub(super) tensors: BTreeMap<String, Stored>,
    /// Blocks of every stage.
    pub(super) stages: Vec<usize>,
    /// How the file names them.
    pub(super) layout: Layout,
}

/// What wrappers put before every name.
const PREFIXES: [&str; 3] = ["module.", "_orig_mod.", "model."];

/// What the first stage has beside its blocks.
pub(super) const ENTRY: [&str; 4] = [
    "cls_token",
    "pos_embed",
    "patch_embed.proj.weight",
    "patch_embed.proj.bias",
];

/// What the last stage has beside its blocks.
pub(super) const EXIT: [&str; 4] = ["norm.weight", "norm.bias", "head.weight", "head.bias"];

/// What a block has.
pub(super) const BLOCK: [&str; 12] = [
    "norm1.weight",
    "norm1.bias",
    "attn.qkv.weight",
    "attn.qkv.bias",
    "attn.proj.weight",
    "attn.proj.bias",
    "norm2.weight",
    "norm2.bias",
    "mlp.fc1.weight",
    "mlp.fc1.bias",
    "mlp.fc2.weight",
    "mlp.fc2.bias",
];

/// Brings tensors into timm's naming.
pub(super) fn arrange(group: Group) -> Result<Arranged, Problem> {
    let (stages, layout) = match group {
        Group::Stages(stages) => (stages, Layout::Stages),
        Group::State(mut state) => {
            unwrap(&mut state);
            match split(state)? {
                (flat, None) => (vec![flat], Layout::Flat),
                (_, Some(stages)) => (stages, Layout::Stages),
            }
        }
    };
    let mut arranged = Arranged {
        tensors: BTreeMap::new(),
        stages: Vec::new(),
        layout,
    };
    let last = stages.len() - 1;
    for (index, stage) in stages.into_iter().enumerate() {
        arranged.add(stage, index, last)?;
    }
    Ok(arranged)
}

/// Takes off what stands before every name.
fn unwrap(state: &mut [(String, Stored)]) {
    while let Some(prefix) = PREFIXES
        .iter()
        .find(|prefix| state.iter().all(|(name, _)| name.starts_with(**prefix)))
    {
        for (name, _) in state.iter_mut() {
            name.drain(..prefix.len());
        }
    }
}

/// Tensors by stage-local name.
type State = Vec<(String, Stored)>;

/// Tensors whose names begin with `stages.S.`, by stage, and the others.
fn split(state: State) -> Result<(State, Option<Vec<State>>), Problem> {
    let mut stages: BTreeMap<usize, State> = BTreeMap::new();
    let mut rest = Vec::new();
    for (name, stored) in state {
        let local = name.strip_prefix("stages.").and_then(|name| {
            let (stage, local) = name.split_once('.')?;
            Some((stage.parse().ok()?, local.to_owned()))
        });
        match local {
            Some((stage, local)) => stages.entry(stage).or_default().push((local, stored)),
            None => rest.push((name, stored)),
        }
    }
    if stages.is_empty() {
        return Ok((rest, None));
    }
    if stages.keys().copied().ne(0..stages.len()) {
        return Err(Problem::Inconsistent {
            reason: format!(
                "the stages are not numbered 0 to {}: {:?}",
                stages.len() - 1,
                stages.keys().collect::<Vec<_>>()
            ),
        });
    }
    // The reference implementation names every tensor twice, by stage and flat.
    let strange: Vec<String> = rest
        .iter()
        .map(|(name, _)| name)
        .filter(|name| !is_known(name))
        .cloned()
        .collect();
    if strange.is_empty() {
        Ok((Vec::new(), Some(stages.into_values().collect())))
    } else {
        Err(family(&strange))
    }
}

/// The block that a name belongs to, and the name inside it.
pub(super) fn block_of(name: &str) -> Option<(usize, &str)> {
    let (block, rest) = name.strip_prefix("blocks.")?.split_once('.')?;
    // `+1` and `01` are no numbers of blocks.
    let number: usize = block.parse().ok()?;
    (number.to_string() == block).then_some((number, rest))
}

/// Whether a Vision Transformer has a tensor of this name.
fn is_known(name: &str) -> bool {
    match block_of(name) {
        Some((_, rest)) => BLOCK.contains(&rest),
        None => ENTRY.contains(&name) || EXIT.contains(&name),
    }
}

impl Arranged {
    /// Adds the next stage.
    fn add(&mut self, stage: State, index: usize, last: usize) -> Result<(), Problem> {
        let strange: Vec<String> = stage
            .iter()
            .map(|(name, _)| name)
            .filter(|name| !is_known(name))
            .cloned()
            .collect();
        if !strange.is_empty() {
            return Err(family(&strange));
        }
        let first: usize = self.stages.iter().sum();
        let mut blocks = std::collections::BTreeSet::new();
        for (name, stored) in stage {
            let flat = match block_of(&name) {
                Some((block, rest)) => {
                    blocks.insert(block);
                    format!("blocks.{}.{rest}", first.saturating_add(block))
                }
                None => {
                    let misplaced = (ENTRY.contains(&name.as_str()) && index != 0)
                        || (EXIT.contains(&name.as_str()) && index != last);
                    if misplaced {
                        return Err(Problem::Inconsistent {
                            reason: format!("stage {index} of {} has `{name}`", last + 1),
                        });
                    }
                    name
                }
            };
            self.tensors.insert(flat, stored);
        }
        if blocks.is_empty() {
            return Err(Problem::Family {
                family: "a network without transformer blocks",
                evidence: format!("stage {index} has no `blocks.0.…`"),
            });
        }
        if blocks.iter().copied().ne(0..blocks.len()) {
            return Err(Problem::Inconsistent {
                reason: format!(
                    "stage {index} has {} blocks that are not numbered 0 to {}",
                    blocks.len(),
                    blocks.len() - 1
                ),
            });
        }
        self.stages.push(blocks.len());
        Ok(())
    }
}

/// Parts of names, and the families that have them; the first that fits is named.
const FAMILIES: [(&str, &[&str]); 9] = [
    (
        "a distilled DeiT, which has a second class token and a second head",
        &["dist_token", "head_dist"],
    ),
    (
        "a model of CLIP's kind",
        &["visual.", "class_embedding", "logit_scale", "text_model."],
    ),
    (
        "a Vision Transformer in the naming of the transformers library",
        &["encoder.layer.", "embeddings.", "layernorm_before"],
    ),
    (
        "a masked autoencoder with its decoder",
        &["decoder_", "mask_token"],
    ),
    (
        "a hierarchical transformer, such as Swin",
        &["downsample", "relative_position_bias_table", "layers."],
    ),
    (
        "a convolutional network",
        &["running_mean", "bn1.", "conv1.", "conv_dw"],
    ),
    (
        "a Vision Transformer with other parts (layer scale, relative positions, register tokens, normalised queries, another pooling)",
        &[
            ".ls1.",
            ".gamma",
            "gamma_1",
            "rel_pos",
            "reg_token",
            "q_norm",
            "norm_pre",
            "fc_norm",
            "attn_pool",
            "pre_logits",
            "q_bias",
        ],
    ),
    (
        "a Vision Transformer with a convolutional stem",
        &[
            "patch_embed.backbone",
            "patch_embed.conv",
            "patch_embed.norm",
        ],
    ),
    ("no Vision Transformer of timm's naming", &[""]),
];

/// The error for tensors that a Vision Transformer does not have.
fn family(strange: &[String]) -> Problem {
    let (family, signs) = FAMILIES
        .iter()
        .find(|(_, signs)| {
            strange
                .iter()
                .any(|name| signs.iter().any(|sign| name.contains(sign)))
        })
        .unwrap_or(&FAMILIES[FAMILIES.len() - 1]);
    let evidence: Vec<String> = strange
        .iter()
        .filter(|name| signs.iter().any(|sign| name.contains(sign)))
        .cloned()
        .collect();
    Problem::Family {
        family,
        evidence: format!("it has {}", list(&evidence)),
    }
}
