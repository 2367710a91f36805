//! Asking the partition scheme.

use burn::tensor::Device;

use super::{Configured, Prepared, TrainError, fallback, measurement};
use crate::event::Replacement;
use crate::model;
use crate::plugin::{Cost, ModuleDepth, ModuleDevice, PartitionRequest, PartitionScheme};

/// Bytes per trained number: the weight, its gradient, and AdamW's two moments, in float32.
const BYTES_PER_PARAMETER: u32 = 16;

/// A division into modules, and how it came about when the scheme itself failed.
pub(super) type Division = (Vec<ModuleDepth>, Option<Replacement>);

/// The depths of every module, as the experiment's partition scheme answers. When the experiment
/// asks for it, every block is timed on `device` first.
///
/// # Errors
/// When the scheme fails or its answer breaks a rule.
pub(super) fn divide(prepared: &Prepared, device: &Device) -> Result<Division, TrainError> {
    let refused = |source| TrainError::PluginRefused {
        role: "partition".to_owned(),
        source,
    };
    let experiment = prepared.experiment();
    let config = &experiment.partition;
    let phase = &experiment.module;
    let batch = phase.batch / phase.accumulation;
    let costs = experiment.model.costs(batch);
    let times = if config.measure {
        Some(measurement::measure(
            &experiment.model,
            batch,
            experiment.seed,
            device,
        )?)
    } else {
        None
    };
    let cost = |cost: &model::Cost, milliseconds: Option<f64>| Cost {
        name: cost.name.clone(),
        parameters: cost.parameters,
        forward_macs: cost.forward_macs,
        activation_bytes: cost.activation_bytes,
        milliseconds,
    };
    let request = PartitionRequest {
        entry: cost(&costs.entry, times.as_ref().map(|times| times.entry)),
        blocks: costs
            .blocks
            .iter()
            .enumerate()
            .map(|(index, block)| cost(block, times.as_ref().map(|times| times.blocks[index])))
            .collect(),
        exit: cost(&costs.exit, times.as_ref().map(|times| times.exit)),
        modules: config.modules as u32,
        devices: config
            .devices
            .iter()
            .map(|device| ModuleDevice {
                memory_bytes: device.memory_bytes,
                speed: device.speed,
            })
            .collect(),
        bytes_per_parameter: BYTES_PER_PARAMETER,
    };
    let ask = |scheme: &Configured| {
        PartitionScheme::new(&scheme.plugin, &scheme.settings)
            .and_then(|mut scheme| scheme.divide(&request))
    };
    match (
        ask(&prepared.partition),
        prepared.partition.fallback.as_deref(),
    ) {
        (Ok(division), _) => Ok((division, None)),
        (Err(failed), None) => Err(refused(failed)),
        (Err(failed), Some(scheme)) => {
            let division = ask(scheme).map_err(refused)?;
            let role = "partition";
            let replacement = fallback::replacement(role, role, &failed, scheme, (0, 0));
            Ok((division, Some(replacement)))
        }
    }
}
