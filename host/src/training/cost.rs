//! Compute, in multiply-accumulate operations (MACs): what a phase spends, and how long a baseline
//! of equal compute lasts.

use crate::experiment::{Epochs, Experiment};
use crate::model::{Trained, TrainingMacs};
use crate::phase::Phase;
use crate::plugin::ModuleDepth;
use crate::run::Unit;

/// What training one picture in a phase costs, and how many pictures there are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PhaseCost {
    /// Forward and backward of one picture.
    pub macs: TrainingMacs,
    /// The part of the forward pass of one picture that lies before what is trained.
    pub frozen_macs: u64,
    /// Pictures that go through that part, when what it makes of them is computed once; otherwise all
    /// do.
    pub kept: Option<u64>,
    /// Updates of an epoch.
    pub updates_per_epoch: u64,
    /// Pictures of an update.
    pub batch: u64,
    /// Epochs.
    pub epochs: u32,
}

impl PhaseCost {
    /// Updates of the phase.
    pub fn updates(&self) -> u64 {
        self.updates_per_epoch * u64::from(self.epochs)
    }

    /// Pictures of the phase, repetitions counted.
    pub fn pictures(&self) -> u64 {
        self.updates() * self.batch
    }

    /// MACs of the phase.
    pub fn total(&self) -> u128 {
        u128::from(self.pictures()) * u128::from(self.macs.total()) - self.saved()
    }

    /// MACs that the phase does not spend since features are kept.
    pub fn saved(&self) -> u128 {
        let all = self.pictures();
        let saved = all - self.kept.map_or(all, |kept| kept.min(all));
        u128::from(saved) * u128::from(self.frozen_macs)
    }
}

/// The depths of the network that a phase trains.
pub(super) fn depths(
    phase: Phase,
    division: &[ModuleDepth],
    experiment: &Experiment,
) -> Vec<usize> {
    division
        .iter()
        .enumerate()
        .map(|(index, depth)| {
            let deep = match phase {
                Phase::Meta => false,
                Phase::Module(trained) => trained == index,
                Phase::FineTune => !experiment.assembly.meta.contains(&index),
                Phase::Baseline => true,
            };
            (if deep { depth.target } else { depth.meta }) as usize
        })
        .collect()
}

/// What a phase trains.
pub(super) fn trained(phase: Phase) -> Trained {
    phase.module().map_or(Trained::All, Trained::Module)
}

/// How long the baseline lasts when it may cost what the method costs.
#[derive(Clone, Copy, Debug)]
pub struct EqualCompute<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// The division into modules.
    pub division: &'a [ModuleDepth],
    /// Training pictures.
    pub pictures: usize,
}

impl EqualCompute<'_> {
    /// What a phase costs, with the frozen stages at every update: how long the baseline lasts depends on
    /// no disk.
    pub fn phase(&self, phase: Phase) -> PhaseCost {
        let epochs = match self.experiment.phase(phase).epochs {
            Epochs::Count(epochs) => epochs,
            Epochs::EqualCompute => self.baseline_epochs(),
        };
        self.with_epochs(phase, epochs)
    }

    /// The cost of all phases that the fine-tuned network comes from: of the whole method meta, every
    /// module, and fine-tuning.
    pub fn incubation(&self) -> u128 {
        Unit::of_run(self.division.len(), self.experiment)
            .into_iter()
            .filter_map(|unit| match unit {
                Unit::Train(Phase::Baseline) | Unit::Assemble => None,
                Unit::Train(phase) => Some(self.phase(phase).total()),
            })
            .sum()
    }

    /// Whole epochs of end-to-end training that cost nearest to what the method costs.
    fn baseline_epochs(&self) -> u32 {
        let epoch = self.with_epochs(Phase::Baseline, 1).total();
        let epochs = (self.incubation() as f64 / epoch.max(1) as f64).round();
        (epochs as u32).max(1)
    }

    /// MACs of one picture in the blocks from the first trained stage on, which are run again in the
    /// backward pass when their activations are not kept.
    fn run_again(&self, phase: Phase, depths: &[usize]) -> u64 {
        let first = phase.module().unwrap_or(0);
        let costs = self.experiment.architecture(phase).costs(1);
        let mut slice = 0;
        let mut macs = 0;
        for (stage, (depth, module)) in depths.iter().zip(self.division).enumerate() {
            if stage >= first {
                let blocks = &costs.blocks[slice..slice + depth];
                macs += blocks.iter().map(|block| block.forward_macs).sum::<u64>();
            }
            slice += module.target as usize;
        }
        macs
    }

    /// A phase with a given number of epochs.
    fn with_epochs(&self, phase: Phase, epochs: u32) -> PhaseCost {
        let config = self.experiment.phase(phase);
        let batch = config.batch;
        let depths = depths(phase, self.division, self.experiment);
        let architecture = self.experiment.architecture(phase);
        let mut macs = architecture.training_macs(&depths, trained(phase));
        if config.checkpoint_activations {
            macs.backward += self.run_again(phase, &depths);
        }
        PhaseCost {
            macs,
            frozen_macs: phase
                .module()
                .map_or(0, |module| architecture.prefix_macs(&depths, module)),
            kept: None,
            updates_per_epoch: (self.pictures / batch) as u64,
            batch: batch as u64,
            epochs,
        }
    }
}
