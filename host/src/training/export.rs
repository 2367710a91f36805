//! Weights of a run in files for others: timm's names, or ours by stage.

use std::collections::BTreeMap;

use burn::tensor::Device;

use super::TrainError;
use super::assembly::Assembly;
use crate::experiment::Experiment;
use crate::model::{Architecture, network_to_safetensors, network_to_timm};
use crate::run::{RunFolder, RunRecord, Unit};

/// How the tensors of an exported file are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportLayout {
    /// timm's: `blocks.7.attn.qkv.weight`, the blocks numbered through all stages.
    Timm,
    /// By stage: `stages.2.blocks.1.attn.qkv.weight`.
    Stages,
}

/// The bytes of a file for others.
#[derive(Debug)]
pub struct Exported {
    /// The unit.
    pub unit: Unit,
    /// A safetensors file.
    pub bytes: Vec<u8>,
    /// The network that it holds, with all its blocks as depth.
    pub architecture: Architecture,
    /// Blocks of every stage.
    pub depths: Vec<usize>,
    /// Values in all tensors.
    pub parameters: u64,
}

/// The network of a finished unit as a file for others; of a module the whole hybrid. Neither the
/// pictures nor the plugins of the run are needed.
///
/// # Errors
/// When the run has no such unit, or it is not finished, or its files are damaged.
pub fn export(
    folder: &RunFolder,
    experiment: &Experiment,
    record: &RunRecord,
    unit: &str,
    layout: ExportLayout,
) -> Result<Exported, TrainError> {
    let division = record.division.as_slice();
    let unit = Unit::parse(unit, division.len()).ok_or_else(|| TrainError::UnknownUnit {
        name: unit.to_owned(),
        known: Unit::all(division.len())
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    })?;
    let device = Device::flex();
    let assembly = Assembly {
        experiment,
        division,
        folder,
        device: &device,
    };
    let network = assembly.finished(unit)?;
    let depths = network.depths();
    let mut architecture = experiment.model.clone();
    let Architecture::Vit(config) = &mut architecture;
    config.depth = depths.iter().sum();
    let digest = folder.result(unit)?.map(|result| result.weights_sha256);
    let json = |value: serde_json::Value| value.to_string();
    let metadata = BTreeMap::from(
        [
            // What loaders of the transformers library ask for.
            ("format", "pt".to_owned()),
            ("incubate.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("incubate.experiment", experiment.name.clone()),
            ("incubate.unit", unit.to_string()),
            ("incubate.model", json(serde_json::json!(architecture))),
            ("incubate.depths", json(serde_json::json!(depths))),
            ("incubate.weights_sha256", digest.unwrap_or_default()),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    );
    Ok(Exported {
        unit,
        parameters: network.parameter_count(),
        bytes: match layout {
            ExportLayout::Timm => network_to_timm(&network, &metadata),
            ExportLayout::Stages => network_to_safetensors(&network, &metadata),
        },
        architecture,
        depths,
    })
}
