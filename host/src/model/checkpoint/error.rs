//! Why a checkpoint cannot be used: every error names the file, what is wrong in it, and what to do.

use std::path::PathBuf;

use thiserror::Error;

use crate::model::ModelError;

/// Names that a message lists at most.
const LISTED: usize = 3;

/// A checkpoint that cannot be used.
#[derive(Debug, Error)]
#[error("`{}`: {problem}", path.display())]
pub struct CheckpointError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    #[source]
    pub problem: Box<Problem>,
}

/// What is wrong with a checkpoint.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot read it: {0}")]
    Read(#[from] std::io::Error),
    /// The file is none of the known formats.
    #[error(
        "neither a safetensors file nor one of PyTorch's: it begins with the bytes {begins} (convert it, for example with safetensors' `save_file`)"
    )]
    Format {
        /// The first bytes in hexadecimal.
        begins: String,
    },
    /// A safetensors file whose header does not describe it.
    #[error("damaged safetensors file: {reason} (write or fetch it again)")]
    Safetensors {
        /// What is wrong.
        reason: String,
    },
    /// A zip file that PyTorch has not written so, or that is cut off.
    #[error("damaged zip file: {reason} (write or fetch it again)")]
    Archive {
        /// What is wrong.
        reason: String,
    },
    /// A zip file that holds something else than a checkpoint.
    #[error("a zip file that `torch.save` has not written: {reason}")]
    NotTorch {
        /// What is missing or not as it should be.
        reason: String,
    },
    /// The pickle inside cannot be understood.
    #[error(
        "cannot understand its pickle at byte {at}: {reason} (save only a state dict, with `torch.save(model.state_dict(), …)` or safetensors)"
    )]
    Pickle {
        /// The byte of the pickle.
        at: usize,
        /// What is wrong.
        reason: String,
    },
    /// The pickle asks for something that reaches the system.
    #[error(
        "its pickle calls `{function}`, which no weights need; nothing was executed (the file attacks who loads it in Python: delete it)"
    )]
    Hostile {
        /// The function, with its module.
        function: String,
    },
    /// Something is larger than is believed.
    #[error("{what}: {found}, and at most {most} are read")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Its size.
        found: u64,
        /// The bound.
        most: u64,
    },
    /// A whole Python object instead of tensors by name.
    #[error(
        "holds {found} instead of tensors by name (save `model.state_dict()` instead of the model)"
    )]
    NoState {
        /// What there is.
        found: String,
    },
    /// Weights that were asked for by a key that is not there.
    #[error("has no weights under `{key}` (there are: {known})")]
    UnknownKey {
        /// The key.
        key: String,
        /// The keys that hold weights.
        known: String,
    },
    /// A tensor that does not lie inside its storage, or has no place at all.
    #[error("tensor `{name}` is damaged: {reason} (write or fetch the file again)")]
    Tensor {
        /// Its name in the file.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A tensor whose values are not floating-point numbers.
    #[error("tensor `{name}` has values of type {found} where floating-point numbers are needed")]
    Type {
        /// Its name in the file.
        name: String,
        /// The type, as the file names it.
        found: String,
    },
    /// A network that is no plain Vision Transformer.
    #[error(
        "{family}: {evidence} (supported are plain Vision Transformers with class token and learned positions: timm's `vit_…` and `deit_…` without distillation, the reference implementation of Deep Incubation, and what `incubate` writes)"
    )]
    Family {
        /// Which family it seems to be.
        family: &'static str,
        /// The tensors that say so.
        evidence: String,
    },
    /// Tensors that contradict each other.
    #[error("its tensors do not make a Vision Transformer: {reason}")]
    Inconsistent {
        /// What does not fit.
        reason: String,
    },
    /// The number of attention heads, which weights do not show.
    #[error(
        "does not say how many attention heads its network of width {width} has, and its weights do not show it (files of `incubate export` say it)"
    )]
    Heads {
        /// Values in a token.
        width: usize,
    },
    /// A part of a network where a whole one is needed.
    #[error(
        "holds only a part of a network: it lacks {} (a whole network is needed here)",
        list(lacking)
    )]
    Partial {
        /// Names of tensors that a whole network has.
        lacking: Vec<String>,
    },
    /// Another number of blocks than the network's.
    #[error(
        "has {found} blocks ({stages:?} by stage) where the network has {wanted} (change `model.depth` or the partition)"
    )]
    Depth {
        /// Blocks in the file.
        found: usize,
        /// The same by stage.
        stages: Vec<usize>,
        /// Blocks of the network.
        wanted: usize,
    },
    /// Tensors that the network needs and the file lacks.
    #[error(
        "{} lacking: {} (the file is of another network or of a part of one)",
        count(names),
        list(names)
    )]
    Missing {
        /// Their names, as timm has them.
        names: Vec<String>,
    },
    /// Tensors that the network has no place for.
    #[error(
        "{} unknown to this network: {} (the file is of another network)",
        count(names),
        list(names)
    )]
    Unexpected {
        /// Their names, as timm has them.
        names: Vec<String>,
    },
    /// A tensor of another shape than the network's.
    #[error("`{name}` has shape {found:?} where the network has {wanted:?}; {advice}")]
    Shape {
        /// Its name, as timm has it.
        name: String,
        /// In the file.
        found: Vec<usize>,
        /// In the network.
        wanted: Vec<usize>,
        /// What the difference means, and what to do.
        advice: &'static str,
    },
    /// Dimensions that no network can have.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// `1 tensor is`, `2 tensors are`.
fn count(names: &[String]) -> String {
    match names.len() {
        1 => "1 tensor is".to_owned(),
        more => format!("{more} tensors are"),
    }
}

/// The first names, and how many more there are.
pub(super) fn list(names: &[String]) -> String {
    let listed: Vec<String> = names
        .iter()
        .take(LISTED)
        .map(|name| format!("`{}`", plain(name)))
        .collect();
    let more = names.len().saturating_sub(LISTED);
    if more == 0 {
        listed.join(", ")
    } else {
        format!("{} and {more} more", listed.join(", "))
    }
}

/// A name from a file as a message can show it: short, and without control characters.
pub(super) fn plain(name: &str) -> String {
    const MOST: usize = 120;
    let mut shown: String = name
        .chars()
        .take(MOST)
        .map(|letter| {
            if letter.is_control() {
                '\u{fffd}'
            } else {
                letter
            }
        })
        .collect();
    if name.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}
