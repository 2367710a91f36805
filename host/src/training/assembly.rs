//! Networks from weights in the run folder: hybrids and the assembled model.

use std::collections::BTreeMap;

use burn::tensor::Device;

use super::TrainError;
use super::cost::depths;
use super::start::{StartFile, resized};
use crate::experiment::{Experiment, Start};
use crate::model::{Architecture, Growth, Network, Stage, load_network, load_stage};
use crate::phase::Phase;
use crate::plugin::ModuleDepth;
use crate::random::Seed;
use crate::run::{RunFolder, Unit};

/// A network and the digests of the weights that it was built from, by unit.
#[derive(Debug)]
pub(super) struct Built {
    /// The network.
    pub(super) network: Network,
    /// Digests by unit.
    pub(super) from: BTreeMap<String, String>,
    /// What a person should know about how it came to be, one sentence each.
    pub(super) notes: Vec<String>,
}

/// Builds the networks that the phases begin with.
#[derive(Debug)]
pub(super) struct Assembly<'a> {
    /// The experiment.
    pub(super) experiment: &'a Experiment,
    /// The division into modules.
    pub(super) division: &'a [ModuleDepth],
    /// The run folder.
    pub(super) folder: &'a RunFolder,
    /// The device that trains.
    pub(super) device: &'a Device,
}

impl Assembly<'_> {
    /// The network that `phase` begins with (method, section "pseudo-code"): random weights, but
    /// for a hybrid the meta model around a target module that is random unless the experiment
    /// wants copies of meta blocks, and for fine-tuning the assembled modules. The weights of a file
    /// come before all of that.
    pub(super) fn initial(&self, phase: Phase) -> Result<Built, TrainError> {
        let unit = Unit::Train(phase);
        if let Some(file) = StartFile::of(self.experiment, self.division, phase)? {
            return Ok(Built {
                network: file.fill(self.drawn(phase, &file.architecture())?)?,
                from: BTreeMap::from([("start".to_owned(), file.sha256()?)]),
                notes: file.notes(),
            });
        }
        match phase {
            Phase::Meta | Phase::Baseline => Ok(Built {
                network: self.random(unit)?,
                from: BTreeMap::new(),
                notes: Vec::new(),
            }),
            Phase::Module(target) => {
                let meta = self.trained(Unit::Train(Phase::Meta), &phase.to_string())?;
                let mut stages = self.random(unit)?.into_stages();
                for (index, stage) in meta.network.into_stages().into_iter().enumerate() {
                    let deep = std::mem::replace(&mut stages[index], stage);
                    if index == target {
                        stages[index] = self.target(deep, &stages[index]);
                    }
                }
                Ok(Built {
                    network: Network::from_stages(stages).freeze_all_but(target),
                    ..meta
                })
            }
            Phase::FineTune => {
                let mut built = self.trained(Unit::Assemble, &phase.to_string())?;
                let before = Unit::Assemble.architecture(self.experiment).input()[1];
                let size = unit.architecture(self.experiment).input()[1];
                if before != size {
                    built.network = built.network.for_pictures(size);
                    built.notes.push(resized(before, size));
                }
                Ok(built)
            }
        }
    }

    /// The target module that takes the place of `meta`, which has random weights at first.
    fn target(&self, random: Stage, meta: &Stage) -> Stage {
        match self.experiment.module.start {
            Start::Copies => random.grown_from(meta, Growth::Copies),
            Start::Grown => random.grown_from(meta, Growth::Identity),
            _ => random,
        }
    }

    /// The target modules, put together in the order of their indices.
    pub(super) fn assemble(&self) -> Result<Built, TrainError> {
        let unit = Unit::Assemble.to_string();
        let meta = Unit::Train(Phase::Meta);
        let (meta_bytes, meta_result) = self.folder.weights(meta, &unit)?;
        let mut stages = self.random(Unit::Assemble)?.into_stages();
        let kept = &self.experiment.assembly.meta;
        let mut from = BTreeMap::new();
        let mut strangers = Vec::new();
        for index in (0..stages.len()).filter(|index| !kept.contains(index)) {
            let module = Unit::Train(Phase::Module(index));
            let found = self
                .folder
                .result(module)?
                .map(|result| result.built_from.get("meta").cloned().unwrap_or_default());
            if let Some(found) = found.filter(|found| *found != meta_result.weights_sha256) {
                strangers.push((index, found));
            }
        }
        if !strangers.is_empty() {
            return Err(TrainError::OtherMeta {
                modules: strangers,
                expected: meta_result.weights_sha256,
            });
        }
        for (index, stage) in stages.iter_mut().enumerate() {
            let load = |unit: Unit, bytes: &[u8], prefix: &str| {
                load_stage(stage.clone(), bytes, prefix).map_err(|source| TrainError::Weights {
                    file: self.folder.weights_path(unit).display().to_string(),
                    source,
                })
            };
            if kept.contains(&index) {
                *stage = load(meta, &meta_bytes, &format!("stages.{index}."))?;
                from.insert(meta.to_string(), meta_result.weights_sha256.clone());
            } else {
                let module = Unit::Train(Phase::Module(index));
                let (bytes, result) = self.folder.weights(module, &unit)?;
                *stage = load(module, &bytes, "")?;
                from.insert(module.to_string(), result.weights_sha256);
            }
        }
        Ok(Built {
            network: Network::from_stages(stages),
            from,
            notes: Vec::new(),
        })
    }

    /// The network of a finished unit, with its trained weights. For a module that is the whole
    /// hybrid.
    pub(super) fn finished(&self, unit: Unit) -> Result<Network, TrainError> {
        match unit {
            Unit::Train(phase @ Phase::Module(target)) => {
                let hybrid = self.initial(phase)?.network;
                let (bytes, _) = self.folder.weights(unit, &unit.to_string())?;
                let trained = hybrid.stages()[target].clone();
                let trained =
                    load_stage(trained, &bytes, "").map_err(|source| TrainError::Weights {
                        file: self.folder.weights_path(unit).display().to_string(),
                        source,
                    })?;
                Ok(hybrid.replace_stage(target, trained))
            }
            _ => Ok(self.trained(unit, &unit.to_string())?.network),
        }
    }

    /// A whole network as a unit wrote it.
    fn trained(&self, unit: Unit, wanted_by: &str) -> Result<Built, TrainError> {
        let (bytes, result) = self.folder.weights(unit, wanted_by)?;
        let network =
            load_network(self.random(unit)?, &bytes).map_err(|source| TrainError::Weights {
                file: self.folder.weights_path(unit).display().to_string(),
                source,
            })?;
        Ok(Built {
            network,
            from: BTreeMap::from([(unit.to_string(), result.weights_sha256)]),
            notes: Vec::new(),
        })
    }

    /// The network that a unit writes, with random weights.
    fn random(&self, unit: Unit) -> Result<Network, TrainError> {
        self.drawn(unit.phase(), &unit.architecture(self.experiment))
    }

    /// A network with the depths and the random weights of a phase.
    fn drawn(&self, phase: Phase, architecture: &Architecture) -> Result<Network, TrainError> {
        let depths = depths(phase, self.division, self.experiment);
        let seed = Seed(self.experiment.seed);
        Ok(architecture.network(&depths, seed, phase, self.device)?)
    }
}
