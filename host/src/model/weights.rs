//! Weights in safetensors files, with the names and layouts of timm and PyTorch.
//!
//! A file of one stage has stage-local names (`blocks.0.attn.qkv.weight`), a file of a network the
//! same under `stages.I.`. Matrices of linear maps are `[outputs, inputs]`. Equal weights and
//! metadata give equal bytes.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use safetensors::{Dtype, SafeTensors};
use serde_json::json;
use thiserror::Error;

use super::checkpoint::flat_name;
use super::network::{Network, Stage};
use super::parameters::Path;
use crate::device::{read, upload};

/// Names that a message lists at most.
const LISTED: usize = 3;

/// Why weights cannot be read or written. Who knows the file adds its name.
#[derive(Debug, Error)]
pub enum WeightsError {
    /// The bytes are no safetensors file.
    #[error("not a safetensors file: {0} (it may be cut off; write or fetch it again)")]
    Malformed(#[from] safetensors::SafeTensorError),
    /// Parameters of the network that the file lacks.
    #[error(
        "{} lacking, such as {} (the weights are of another network, stage, or depth)",
        count(names),
        list(names)
    )]
    Missing {
        /// Their names in the file.
        names: Vec<String>,
    },
    /// Tensors in the file that the network lacks.
    #[error(
        "{} unknown to this network, such as {} (the weights are of another network, stage, or depth)",
        count(names),
        list(names)
    )]
    Unexpected {
        /// Their names in the file.
        names: Vec<String>,
    },
    /// A tensor of another shape.
    #[error(
        "`{name}` has shape {found:?} where the network has {expected:?} (the weights are of another width, picture size, or number of classes)"
    )]
    Shape {
        /// The name in the file.
        name: String,
        /// What the network needs.
        expected: Vec<usize>,
        /// What the file has.
        found: Vec<usize>,
    },
    /// A tensor of another type.
    #[error("`{name}` has values of type {found} where F32 is needed (convert the file)")]
    Type {
        /// The name in the file.
        name: String,
        /// What the file has.
        found: String,
    },
}

/// `1 tensor is`, `2 tensors are`.
fn count(names: &[String]) -> String {
    match names.len() {
        1 => "1 tensor is".to_owned(),
        more => format!("{more} tensors are"),
    }
}

fn list(names: &[String]) -> String {
    let listed: Vec<String> = names
        .iter()
        .take(LISTED)
        .map(|name| format!("`{name}`"))
        .collect();
    listed.join(", ")
}

/// The bytes of a file with the weights of one stage, under stage-local names.
pub fn stage_to_safetensors(stage: &Stage, metadata: &BTreeMap<String, String>) -> Vec<u8> {
    serialize(stage, metadata, str::to_owned)
}

/// The bytes of a file with the weights of a network, under `stages.I.`.
pub fn network_to_safetensors(network: &Network, metadata: &BTreeMap<String, String>) -> Vec<u8> {
    serialize(network, metadata, str::to_owned)
}

/// The bytes of a file with the weights of a network under timm's names: no stages, the blocks
/// numbered through (`blocks.7.attn.qkv.weight`).
pub fn network_to_timm(network: &Network, metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let depths = network.depths();
    serialize(network, metadata, |name| flat_name(name, &depths))
}

/// The stage with the weights in `bytes` whose names start with `prefix`: `""` for the file of a
/// stage, `stages.I.` for one of a network.
///
/// # Errors
///
/// When the bytes are no safetensors file, or lack a tensor, or have another under the prefix, or
/// one of another shape or type.
pub fn load_stage(stage: Stage, bytes: &[u8], prefix: &str) -> Result<Stage, WeightsError> {
    load(stage, bytes, prefix)
}

/// The network with the weights in `bytes`.
///
/// # Errors
///
/// As [`load_stage`].
pub fn load_network(network: Network, bytes: &[u8]) -> Result<Network, WeightsError> {
    load(network, bytes, "")
}

/// The metadata of a safetensors file; empty if it has none.
///
/// # Errors
///
/// When the bytes are no safetensors file.
pub fn metadata_of(bytes: &[u8]) -> Result<BTreeMap<String, String>, WeightsError> {
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    Ok(header
        .metadata()
        .iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect())
}

/// A tensor as it stands in a file.
struct Entry {
    name: String,
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// Collects the parameters of a module as they stand in a file.
#[derive(Default)]
struct Writer {
    path: Path,
    entries: Vec<Entry>,
}

impl ModuleVisitor for Writer {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let mut tensor = param.val().inner();
        if D == 2 && self.path.is_linear() {
            tensor = tensor.swap_dims(0, 1);
        }
        let data = read(tensor).convert::<f32>();
        self.entries.push(Entry {
            name: self.path.name(),
            shape: data.shape().to_vec(),
            values: data
                .try_into_vec()
                .expect("the values were converted to f32"),
        });
    }
}

/// Writes the format by hand, since the crate's writer gives the metadata in random order.
fn serialize<M: Module>(
    module: &M,
    metadata: &BTreeMap<String, String>,
    name_of: impl Fn(&str) -> String,
) -> Vec<u8> {
    let mut writer = Writer::default();
    module.visit(&mut writer);
    let mut header = serde_json::Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".to_owned(), json!(metadata));
    }
    let mut end = 0;
    for entry in &writer.entries {
        let start = end;
        end += entry.values.len() * size_of::<f32>();
        let description = json!({
            "dtype": "F32",
            "shape": entry.shape,
            "data_offsets": [start, end],
        });
        header.insert(name_of(&entry.name), description);
    }
    let mut header = serde_json::Value::Object(header).to_string();
    // Spaces until the tensors are aligned.
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    let mut bytes = Vec::with_capacity(8 + header.len() + end);
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header.as_bytes());
    for entry in &writer.entries {
        bytes.extend(entry.values.iter().flat_map(|value| value.to_le_bytes()));
    }
    bytes
}

/// Replaces the parameters of a module. `values` is asked for each by its name inside the module,
/// with the shape that a file has it in, and answers as many values, row by row, or `None` to leave
/// the parameter as it is.
///
/// # Errors
///
/// The first error of `values`.
pub(super) fn assign<M: Module, E>(
    module: M,
    values: impl FnMut(&str, &[usize]) -> Result<Option<Vec<f32>>, E>,
) -> Result<M, E> {
    let mut assigner = Assigner {
        path: Path::default(),
        values,
        error: None,
    };
    let module = module.map(&mut assigner);
    assigner.error.map_or(Ok(module), Err)
}

/// Replaces the parameters of a module, one by one.
struct Assigner<F, E> {
    path: Path,
    values: F,
    error: Option<E>,
}

impl<F, E> ModuleMapper for Assigner<F, E>
where
    F: FnMut(&str, &[usize]) -> Result<Option<Vec<f32>>, E>,
{
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.error.is_some() {
            return param;
        }
        let transposed = D == 2 && self.path.is_linear();
        let mut shape = param.dims();
        if transposed {
            shape.reverse();
        }
        let values = match (self.values)(&self.path.name(), &shape) {
            Ok(Some(values)) => values,
            Ok(None) => return param,
            Err(error) => {
                self.error = Some(error);
                return param;
            }
        };
        let device = param.lazy_device();
        let mut tensor: Tensor<D> = upload(TensorData::new(values, shape), &device);
        if transposed {
            // A copy, so that the matrix lies as the kernels read it.
            tensor = upload(read(tensor.swap_dims(0, 1)), &device);
        }
        let id = param.id;
        param.transform_for_load(tensor, id)
    }
}

fn load<M: Module>(module: M, bytes: &[u8], prefix: &str) -> Result<M, WeightsError> {
    let file = SafeTensors::deserialize(bytes)?;
    let mut tensors: BTreeMap<String, _> = file
        .iter()
        .filter(|(name, _)| name.starts_with(prefix))
        .map(|(name, view)| (name.to_owned(), view))
        .collect();
    let mut missing = Vec::new();
    let mut error = None;
    let module = assign(module, |name, expected| {
        let name = format!("{prefix}{name}");
        let Some(view) = tensors.remove(&name) else {
            missing.push(name);
            return Ok(None);
        };
        let wrong = if view.shape() != expected {
            WeightsError::Shape {
                name,
                expected: expected.to_vec(),
                found: view.shape().to_vec(),
            }
        } else if view.dtype() != Dtype::F32 {
            WeightsError::Type {
                name,
                found: format!("{:?}", view.dtype()),
            }
        } else {
            let (values, _) = view.data().as_chunks::<4>();
            let values = values.iter().copied().map(f32::from_le_bytes);
            return Ok(Some(values.collect()));
        };
        // What is missing or unknown says more, so it is looked for to the end.
        error.get_or_insert(wrong);
        Ok::<_, WeightsError>(None)
    })?;
    if !missing.is_empty() {
        return Err(WeightsError::Missing { names: missing });
    }
    if !tensors.is_empty() {
        return Err(WeightsError::Unexpected {
            names: tensors.into_keys().collect(),
        });
    }
    match error {
        Some(error) => Err(error),
        None => Ok(module),
    }
}
