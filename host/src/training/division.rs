//! Asking the partition scheme.

use burn::tensor::Device;

use super::measurement::{self, Times};
use super::{Configured, Prepared, TrainError, fallback};
use crate::event::Replacement;
use crate::experiment::Experiment;
use crate::model;
use crate::plugin::{
    Cost, ModuleDepth, ModuleDevice, PartitionRequest, PartitionScheme, Recording,
};

/// Bytes per trained number: the weight, its gradient, and AdamW's two moments, in float32.
const BYTES_PER_PARAMETER: u32 = 16;

/// A division into modules, and how it came about.
#[derive(Debug)]
pub(super) struct Division {
    /// The depths of every module.
    pub(super) depths: Vec<ModuleDepth>,
    /// What happened when the scheme itself failed.
    pub(super) replaced: Option<Replacement>,
    /// The calls of the schemes, when they are to be recorded.
    pub(super) calls: Vec<Recording>,
}

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
    let request = request(experiment, times.as_ref());
    let mut calls = Vec::new();
    let mut ask = |scheme: &Configured| {
        let mut one = PartitionScheme::new(&scheme.plugin, &scheme.settings)?;
        if prepared.record_calls.is_some() {
            one.record_calls();
        }
        let depths = one.divide(&request);
        calls.extend(one.drain_recordings());
        depths
    };
    let fallback = prepared.partition.fallback.as_deref();
    let (depths, replaced) = match (ask(&prepared.partition), fallback) {
        (Ok(depths), _) => (depths, None),
        (Err(failed), None) => return Err(refused(failed)),
        (Err(failed), Some(scheme)) => {
            let depths = ask(scheme).map_err(refused)?;
            let role = "partition";
            let replacement = fallback::replacement(role, role, &failed, scheme, (0, 0));
            (depths, Some(replacement))
        }
    };
    Ok(Division {
        depths,
        replaced,
        calls,
    })
}

/// The question to a partition scheme.
pub(super) fn request(experiment: &Experiment, times: Option<&Times>) -> PartitionRequest {
    let config = &experiment.partition;
    let phase = &experiment.module;
    let costs = experiment.model.costs(phase.batch / phase.accumulation);
    let cost = |cost: &model::Cost, milliseconds: Option<f64>| Cost {
        name: cost.name.clone(),
        parameters: cost.parameters,
        forward_macs: cost.forward_macs,
        activation_bytes: cost.activation_bytes,
        milliseconds,
    };
    PartitionRequest {
        entry: cost(&costs.entry, times.map(|times| times.entry)),
        blocks: costs
            .blocks
            .iter()
            .enumerate()
            .map(|(index, block)| cost(block, times.map(|times| times.blocks[index])))
            .collect(),
        exit: cost(&costs.exit, times.map(|times| times.exit)),
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
    }
}
