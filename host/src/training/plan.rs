//! What a run would do and cost, without training.

use serde::Serialize;

use super::cost::{EqualCompute, depths, trained};
use super::division::{Division, divide};
use super::features::{FrozenFeatures, KeptFeatures};
use super::memory::NetworkSize;
use super::ratio::Ratios;
use super::start::StartFile;
use super::{Prepared, TrainError, rates, weights};
use crate::device::Chosen;
use crate::event::Replacement;
use crate::experiment::Experiment;
use crate::phase::Phase;
use crate::plugin::ModuleDepth;
use crate::run::Unit;

/// A network and what one picture costs in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedNetwork {
    /// What it is.
    pub name: String,
    /// Blocks of every stage.
    pub depths: Vec<usize>,
    /// Numbers of the network.
    pub parameters: u64,
    /// MACs of the forward pass of one picture: the products of matrices.
    pub forward_macs: u64,
    /// The same with layer normalisation counted, as in the tables of papers.
    pub published_macs: u64,
}

/// One unit as it would run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedUnit {
    /// The unit.
    pub unit: String,
    /// Blocks of every stage.
    pub depths: Vec<usize>,
    /// Numbers of the network.
    pub parameters: u64,
    /// Numbers that are trained.
    pub trained_parameters: u64,
    /// MACs of the forward pass of one picture.
    pub forward_macs: u64,
    /// The part of them that lies before the trained module.
    pub frozen_macs: u64,
    /// What that part makes of the pictures, when it is computed once; otherwise it is computed at every
    /// update.
    pub features: Option<KeptFeatures>,
    /// Why it is computed at every update, where there is such a part.
    pub features_not_kept: Option<String>,
    /// MACs of the backward pass of one picture, frozen parts counted for what they cost.
    pub backward_macs: u64,
    /// Epochs.
    pub epochs: u32,
    /// Updates.
    pub updates: u64,
    /// MACs of the whole unit.
    #[serde(with = "crate::macs")]
    pub total_macs: u128,
    /// Estimated bytes: weights, gradients, AdamW's moments and the moving average of what is
    /// trained, and the activations that the backward pass needs of one part of a batch, in float32.
    pub memory_bytes: u64,
}

/// A run as it would go.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The modules.
    pub division: Vec<ModuleDepth>,
    /// The target network and the meta model.
    pub networks: Vec<PlannedNetwork>,
    /// What the units cost beside end-to-end training.
    pub ratios: Ratios,
    /// The units that cost something, in order.
    pub units: Vec<PlannedUnit>,
    /// The partition scheme that failed and was replaced, if it was.
    pub replaced: Option<Replacement>,
}

impl Plan {
    /// Asks the partition scheme and counts.
    ///
    /// # Errors
    /// When the scheme fails.
    pub fn new(prepared: &Prepared, device: &Chosen) -> Result<Self, TrainError> {
        let experiment = prepared.experiment();
        let Division {
            depths: division,
            replaced,
            ..
        } = divide(prepared, &device.device)?;
        weights::check_grants(prepared, &division)?;
        StartFile::check_all(experiment, &division)?;
        rates::check_schedules(prepared, &division)?;
        let compute = EqualCompute {
            experiment,
            division: &division,
            pictures: prepared.resolved.dataset.train.len(),
        };
        let phases = Unit::of_run(division.len(), experiment)
            .into_iter()
            .filter_map(|unit| match unit {
                Unit::Train(phase) => Some(phase),
                Unit::Assemble => None,
            })
            .map(|phase| {
                let mut cost = compute.phase(phase);
                let features = FrozenFeatures::plan(prepared, phase, &cost)?;
                cost.kept = features.kept().map(|kept| kept.pictures);
                Ok((phase, cost, features))
            })
            .collect::<Result<Vec<_>, TrainError>>()?;
        let units = phases
            .iter()
            .map(|(phase, cost, features)| {
                let phase = *phase;
                let config = experiment.phase(phase);
                let part = config.batch / config.accumulation;
                let architecture = experiment.architecture(phase);
                let stages = depths(phase, &division, experiment);
                let size = NetworkSize::new(phase, &stages, &division, &architecture.costs(part));
                PlannedUnit {
                    unit: phase.to_string(),
                    depths: stages,
                    parameters: size.parameters,
                    trained_parameters: size.trained,
                    forward_macs: cost.macs.forward,
                    frozen_macs: cost.frozen_macs,
                    features: features.kept(),
                    features_not_kept: features.reason().map(str::to_owned),
                    backward_macs: cost.macs.backward,
                    epochs: cost.epochs,
                    updates: cost.updates(),
                    total_macs: cost.total(),
                    memory_bytes: size.training_bytes(
                        architecture.between_blocks(part),
                        config.checkpoint_activations,
                        config.ema > 0.0,
                    ),
                }
            })
            .collect();
        let networks = [
            ("target network", Phase::Baseline),
            ("meta model", Phase::Meta),
        ]
        .map(|(name, phase)| network(name, phase, experiment, &division));
        Ok(Self {
            networks: networks.into(),
            ratios: Ratios::new(&compute, |phase| {
                let planned = phases.iter().find(|(one, ..)| *one == phase);
                planned.map_or_else(|| compute.phase(phase), |(_, cost, _)| *cost)
            }),
            division,
            units,
            replaced,
        })
    }

    /// MACs of meta, modules, and fine-tuning, and of the baseline.
    pub fn totals(&self) -> (u128, u128) {
        let baseline = Phase::Baseline.to_string();
        self.units
            .iter()
            .fold((0, 0), |(method, end_to_end), unit| {
                if unit.unit == baseline {
                    (method, end_to_end + unit.total_macs)
                } else {
                    (method + unit.total_macs, end_to_end)
                }
            })
    }
}

/// What one picture costs in the network of a phase.
fn network(
    name: &str,
    phase: Phase,
    experiment: &Experiment,
    division: &[ModuleDepth],
) -> PlannedNetwork {
    let depths = depths(phase, division, experiment);
    let architecture = experiment.architecture(phase);
    let forward_macs = architecture.training_macs(&depths, trained(phase)).forward;
    PlannedNetwork {
        name: name.to_owned(),
        parameters: NetworkSize::new(phase, &depths, division, &architecture.costs(1)).parameters,
        forward_macs,
        published_macs: forward_macs + architecture.normalisation_macs(&depths),
        depths,
    }
}
