//! What a run would do and cost, without training.

use serde::Serialize;

use super::cost::{EqualCompute, depths, trained};
use super::division::{Division, divide};
use super::features::{FrozenFeatures, KeptFeatures};
use super::ratio::Ratios;
use super::start::StartFile;
use super::{Prepared, TrainError, rates, weights};
use crate::device::Chosen;
use crate::event::Replacement;
use crate::experiment::Experiment;
use crate::model::{Costs, Trained};
use crate::phase::Phase;
use crate::plugin::ModuleDepth;
use crate::run::Unit;

/// Bytes of a number in float32.
const FLOAT: u64 = 4;

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
                let costs = architecture.costs(part);
                let stages = depths(phase, &division, experiment);
                let size = Size::new(phase, &stages, &division, &costs);
                let between = architecture.between_blocks(part);
                let activations = if config.checkpoint_activations {
                    size.blocks_kept * between + size.largest_block + size.largest_trained
                } else {
                    // A frozen block passes the gradient of its output on, and is done.
                    size.activation_peak
                        .max(size.activation_bytes + 2 * between)
                };
                let average = u64::from(config.ema > 0.0);
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
                    memory_bytes: FLOAT * (size.parameters + (3 + average) * size.trained)
                        + activations,
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
        parameters: Size::new(phase, &depths, division, &architecture.costs(1)).parameters,
        forward_macs,
        published_macs: forward_macs + architecture.normalisation_macs(&depths),
        depths,
    }
}

/// How large the network of a phase is.
struct Size {
    parameters: u64,
    trained: u64,
    activation_bytes: u64,
    /// Blocks whose activations the backward pass needs.
    blocks_kept: u64,
    /// The activations of the largest of them, in bytes.
    largest_block: u64,
    /// Those of the largest that is trained.
    largest_trained: u64,
    /// Activations and gradients while the last block that is trained is gone back through: all before
    /// it is still there, and its gradients are as large as its activations, for those of its weights are
    /// computed from them.
    activation_peak: u64,
}

impl Size {
    /// Adds up the blocks of every stage. The frozen stages before the trained one keep no
    /// activations.
    fn new(phase: Phase, stages: &[usize], division: &[ModuleDepth], costs: &Costs) -> Self {
        let mut size = Self {
            parameters: 0,
            trained: 0,
            activation_bytes: 0,
            blocks_kept: 0,
            largest_block: 0,
            largest_trained: 0,
            activation_peak: 0,
        };
        let trains = |stage: usize| match trained(phase) {
            Trained::All => true,
            Trained::Module(index) => index == stage,
        };
        let first_kept = phase.module().unwrap_or(0);
        let last = stages.len() - 1;
        let mut block = 0;
        for (stage, depth) in stages.iter().enumerate() {
            // All blocks of the target's slice cost the same or more than the meta blocks that
            // stand for them: a meta stage takes the first blocks of its slice.
            let blocks = costs.blocks[block..block + depth].iter();
            if stage >= first_kept {
                size.blocks_kept += *depth as u64;
                let largest = blocks.clone().map(|cost| cost.activation_bytes).max();
                let largest = largest.unwrap_or_default();
                size.largest_block = size.largest_block.max(largest);
                if trains(stage) {
                    size.largest_trained = size.largest_trained.max(largest);
                }
            }
            let ends = [
                (stage == 0).then_some(&costs.entry),
                (stage == last).then_some(&costs.exit),
            ];
            for cost in blocks.chain(ends.into_iter().flatten()) {
                size.parameters += cost.parameters;
                if trains(stage) {
                    size.trained += cost.parameters;
                }
                if stage >= first_kept {
                    size.activation_bytes += cost.activation_bytes;
                }
            }
            if trains(stage) {
                size.activation_peak = size.activation_bytes + size.largest_trained;
            }
            block += division[stage].target as usize;
        }
        size
    }
}
