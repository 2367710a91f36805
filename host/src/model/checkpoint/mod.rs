//! Weights from elsewhere: checkpoints of timm, DeiT, the reference implementation, and our own, in
//! safetensors files and in PyTorch's.
//!
//! A file of PyTorch is a pickle, which is a program; here it is read by a machine that knows data
//! and describes tensors, and executes nothing. Whatever a file says about sizes is compared with
//! the bytes that it has before any memory is taken.

mod archive;
mod dimensions;
mod error;
mod fill;
mod layout;
mod pickle;
mod safetensors;
mod source;
mod torch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use self::dimensions::{Dimensions, Entry};
pub use self::error::{CheckpointError, Problem};
pub use self::fill::{Differences, ShapeDifference, Unseen};
pub use self::layout::Layout;
pub use self::source::{Element, Values};

use self::layout::arrange;
use self::source::{Source, Stored};
use self::torch::Group;

/// How a file stores its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// safetensors.
    Safetensors,
    /// `torch.save` since PyTorch 1.6: a zip file.
    Torch,
    /// `torch.save` before that.
    TorchLegacy,
}

impl Format {
    /// Its name, for people and programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Torch => "torch (zip)",
            Self::TorchLegacy => "torch (before 1.6)",
        }
    }
}

/// Keys of weights, the first that is there is taken. The averaged weights of a training that keeps
/// both come last: they are taken only where nothing else is, or by their key.
const KEYS: [&str; 9] = [
    "",
    "model_stages",
    "model",
    "state_dict",
    "model_state_dict",
    "module",
    "model_ema",
    "state_dict_ema",
    "ema",
];

/// The weights of a Vision Transformer or of a part of one, in a file that stays open: values are
/// read when they are asked for. Names are timm's (`blocks.7.attn.qkv.weight`), with the blocks
/// numbered through all stages.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    source: Source,
    format: Format,
    layout: Layout,
    key: String,
    keys: Vec<String>,
    others: Vec<(String, String)>,
    skipped: Vec<String>,
    metadata: BTreeMap<String, String>,
    dimensions: Dimensions,
    tensors: BTreeMap<String, Held>,
}

/// A tensor of a checkpoint.
#[derive(Debug)]
enum Held {
    /// In the file.
    Stored(Stored),
    /// Put in its place.
    Replaced(Values),
}

/// Reads the checkpoint at `path`: the weights that were trained, where averaged ones lie beside
/// them.
///
/// # Errors
///
/// The file cannot be read, is damaged or hostile, or holds another family of networks.
pub fn read(path: &Path) -> Result<Checkpoint, CheckpointError> {
    read_key(path, None)
}

/// Reads the weights that the checkpoint at `path` has under `key`, such as `model_ema`; without a
/// key as [`read`].
///
/// # Errors
///
/// As [`read`]; there are no weights under that key.
pub fn read_key(path: &Path, key: Option<&str>) -> Result<Checkpoint, CheckpointError> {
    open(path, key).map_err(|problem| CheckpointError {
        path: path.to_path_buf(),
        problem: Box::new(problem),
    })
}

fn open(path: &Path, key: Option<&str>) -> Result<Checkpoint, Problem> {
    let source = Source::open(path)?;
    let begins = source.bytes(0, 16)?;
    let mut metadata = BTreeMap::new();
    let (content, format) = if torch::is_one(&begins) {
        let format = if torch::is_zip(&begins) {
            Format::Torch
        } else {
            Format::TorchLegacy
        };
        (torch::read(&source, &begins)?, format)
    } else if safetensors::is_one(&begins) {
        let content = safetensors::read(&source)?;
        metadata = content.metadata;
        let content = torch::Content {
            groups: vec![(String::new(), Group::State(content.tensors))],
            ..torch::Content::default()
        };
        (content, Format::Safetensors)
    } else {
        let begins: Vec<String> = begins.iter().map(|byte| format!("{byte:02x}")).collect();
        return Err(Problem::Format {
            begins: begins.join(" "),
        });
    };
    let mut groups = content.groups;
    let position = position(&groups, key)?;
    let (key, group) = groups.swap_remove(position);
    let mut keys: Vec<String> = groups.into_iter().map(|(key, _)| key).collect();
    keys.sort();
    let arranged = arrange(group)?;
    let dimensions = Dimensions::of(&arranged)?;
    Ok(Checkpoint {
        path: path.to_path_buf(),
        source,
        format,
        layout: arranged.layout,
        key,
        keys,
        others: content.others,
        skipped: content.skipped.into_iter().collect(),
        metadata,
        dimensions,
        tensors: arranged
            .tensors
            .into_iter()
            .map(|(name, stored)| (name, Held::Stored(stored)))
            .collect(),
    })
}

/// Which weights are meant.
fn position(groups: &[(String, Group)], key: Option<&str>) -> Result<usize, Problem> {
    let at = |key: &str| groups.iter().position(|(name, _)| name == key);
    let found = match key {
        Some(key) => at(key),
        None => KEYS
            .iter()
            .find_map(|key| at(key))
            .or((groups.len() == 1).then_some(0)),
    };
    found.ok_or_else(|| Problem::UnknownKey {
        key: key.unwrap_or("model").to_owned(),
        known: groups
            .iter()
            .map(|(name, _)| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", "),
    })
}

impl Checkpoint {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How the file stores its tensors.
    pub const fn format(&self) -> Format {
        self.format
    }

    /// How the file names them.
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// The key of the weights in the file; empty when the file is the weights.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Keys of other weights in the file.
    pub fn other_weights(&self) -> &[String] {
        &self.keys
    }

    /// Keys of what is not read, with what it is.
    pub fn not_read(&self) -> &[(String, String)] {
        &self.others
    }

    /// Classes and functions of Python that the file names and that were skipped.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// What the header of a safetensors file says beside its tensors.
    pub const fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// What the shapes show.
    pub const fn dimensions(&self) -> &Dimensions {
        &self.dimensions
    }

    /// The names of the tensors, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The dimensions of a tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|held| match held {
            Held::Stored(stored) => stored.shape(),
            Held::Replaced(values) => &values.shape,
        })
    }

    /// Values in all tensors.
    pub fn parameter_count(&self) -> u64 {
        self.names()
            .filter_map(|name| self.shape(name))
            .map(|shape| shape.iter().product::<usize>() as u64)
            .sum()
    }

    /// The types that values have in the file, each once.
    pub fn elements(&self) -> Vec<Element> {
        let mut elements = Vec::new();
        for held in self.tensors.values() {
            if let Held::Stored(stored) = held
                && !elements.contains(&stored.element())
            {
                elements.push(stored.element());
            }
        }
        elements
    }

    /// Reads the values of a tensor, rounded to 32 bits.
    ///
    /// # Errors
    ///
    /// There is no such tensor, or the file cannot be read any more.
    pub fn values(&self, name: &str) -> Result<Values, CheckpointError> {
        self.named(match self.tensors.get(name) {
            Some(Held::Stored(stored)) => stored.values(name, &self.source),
            Some(Held::Replaced(values)) => Ok(values.clone()),
            None => Err(Problem::Missing {
                names: vec![name.to_owned()],
            }),
        })
    }

    /// Puts other values in the place of a tensor, such as a position embedding for pictures of
    /// another size. What [`Self::dimensions`] says stays what the file has.
    ///
    /// # Panics
    ///
    /// When there are not as many values as the shape says.
    pub fn replace(&mut self, name: &str, values: Values) {
        let count: usize = values.shape.iter().product();
        assert_eq!(count, values.values.len(), "the values of `{name}`");
        self.tensors.insert(name.to_owned(), Held::Replaced(values));
    }

    /// The error with the file's name.
    fn named<T>(&self, result: Result<T, Problem>) -> Result<T, CheckpointError> {
        result.map_err(|problem| CheckpointError {
            path: self.path.clone(),
            problem: Box::new(problem),
        })
    }
}

#[cfg(test)]
mod tests;
