//! Checkpoints from elsewhere as finished units: what must fit before they are believed.

use std::collections::BTreeMap;

use thiserror::Error;

use super::Runner;
use crate::digest::sha256;
use crate::event::{Event, Observer};
use crate::model::checkpoint::{Checkpoint, CheckpointError, Unseen};
use crate::model::{Network, Stage, Trained, network_to_safetensors, stage_to_safetensors};
use crate::phase::Phase;
use crate::run::{Imported, RunError, Unit, UnitResult};
use crate::training::cost::{depths, trained};
use crate::training::{Score, TrainError};

/// A checkpoint that cannot become a unit.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The run cannot be used.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The checkpoint cannot be used, or is of another network.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The unit is there already.
    #[error(
        "unit `{unit}` is finished in `{folder}` already (delete `{folder}/units/{unit}` to replace it)"
    )]
    Occupied {
        /// The unit.
        unit: String,
        /// The run folder.
        folder: String,
    },
    /// The file says something about what cannot be seen, and it is not what the experiment says.
    #[error(
        "the file's network has {name} {found}, and the experiment's {wanted} (set `model.{name}`)"
    )]
    Unseen {
        /// `heads` or `layer_norm_eps`.
        name: &'static str,
        /// In the file.
        found: f64,
        /// In the experiment.
        wanted: f64,
    },
    /// There is no such module in the checkpoint.
    #[error(
        "module {module} of this run has {wanted} blocks, and the file has {found} by stage: {reason} (import a file of that module alone, of the hybrid that it was incubated in, or of the whole target network)"
    )]
    NoModule {
        /// The module.
        module: usize,
        /// Its blocks.
        wanted: usize,
        /// Blocks of the file's stages.
        found: String,
        /// What does not fit.
        reason: &'static str,
    },
    /// The module belongs to another meta model.
    #[error(
        "{what}, and the meta model of this run has sha256 {expected}; a module fits only the meta model that it was incubated in (import that one into another folder)"
    )]
    OtherMeta {
        /// What says so.
        what: String,
        /// The digest of the run's meta model.
        expected: String,
    },
}

/// What importing found out.
#[derive(Debug)]
pub struct ImportOutcome {
    /// The result that the run folder has now.
    pub result: UnitResult,
    /// What had to be believed, since the file does not say it.
    pub believed: Vec<String>,
}

/// What a module is taken from.
enum Part {
    /// A hybrid, whose other stages are meta modules.
    Hybrid,
    /// A file that does not show the meta model.
    Alone,
}

impl Runner {
    /// Makes a finished unit of a checkpoint: `meta`, `assemble`, `fine-tune` or `baseline` of a whole
    /// network, whatever stages the file has, and `module.N` of that module, of its hybrid, or of a
    /// whole target network. The weights are scored on the validation pictures if `evaluated`.
    ///
    /// # Errors
    /// The unit is finished already, the weights are of another network, or the module of another
    /// meta model. Nothing is written then.
    pub fn import(
        &self,
        unit: Unit,
        checkpoint: &Checkpoint,
        evaluated: bool,
        observer: &mut dyn Observer,
    ) -> Result<ImportOutcome, ImportError> {
        let begun = std::time::Instant::now();
        let run = |error: RunError| ImportError::from(TrainError::from(error));
        let unfinished = || match self.folder.result(unit).map_err(run)? {
            None => Ok(()),
            Some(_) => Err(ImportError::Occupied {
                unit: unit.to_string(),
                folder: self.folder.path().display().to_string(),
            }),
        };
        unfinished()?;
        let mut believed = Vec::new();
        self.check_unseen(checkpoint, &mut believed)?;
        let (network, from) = match unit {
            Unit::Train(phase @ Phase::Module(index)) => {
                self.hybrid_of(phase, index, checkpoint, &mut believed)?
            }
            _ => (self.whole(unit, checkpoint)?, BTreeMap::new()),
        };
        let score = if evaluated {
            self.answers(&network, unit)?.score()
        } else {
            Score {
                loss: f64::NAN,
                accuracy: f64::NAN,
                top5: f64::NAN,
            }
        };
        let result = UnitResult {
            imported: Some(Imported {
                file: checkpoint.path().display().to_string(),
                sha256: checkpoint.sha256()?,
                key: checkpoint.key().to_owned(),
            }),
            trained_parameters: 0,
            ..self.result(unit, &network, score, from)
        };
        let metadata = self.metadata(unit, &network, &result);
        let weights = match (unit, trained(unit.phase())) {
            (Unit::Train(_), Trained::Module(index)) => {
                stage_to_safetensors(&network.stages()[index], &metadata)
            }
            _ => network_to_safetensors(&network, &metadata),
        };
        if unit == Unit::Train(Phase::Meta) {
            self.fits_modules(&sha256(&weights))?;
        }
        let stopped = || ImportError::from(Self::stopped_before(unit));
        let told = |text: &str| {
            observer.observe(&Event::UnitNote {
                unit: unit.to_string(),
                note: text.to_owned(),
            })
        };
        let _lease = self
            .folder
            .hold(unit, &self.stop, told)
            .map_err(run)?
            .ok_or_else(stopped)?;
        // Whoever held the unit until now may have finished it.
        unfinished()?;
        let mut log = self.folder.event_writer(unit).map_err(run)?;
        let result = UnitResult {
            seconds: begun.elapsed().as_secs_f64(),
            ..result
        };
        let result = self.folder.finish(unit, &weights, result).map_err(run)?;
        let event = Event::UnitFinished {
            unit: unit.to_string(),
            loss: result.loss,
            accuracy: result.accuracy,
            top5: result.top5,
            seconds: result.seconds,
        };
        log.observe(&event).map_err(TrainError::from)?;
        observer.observe(&event).map_err(TrainError::from)?;
        Ok(ImportOutcome { result, believed })
    }

    /// Compares what weights do not show with what the file says about it.
    fn check_unseen(
        &self,
        checkpoint: &Checkpoint,
        believed: &mut Vec<String>,
    ) -> Result<(), ImportError> {
        let wanted = Unseen::from(&self.prepared.experiment().model);
        let Some(found) = checkpoint.unseen() else {
            believed.push(format!(
                "the file does not say how many attention heads its network has; the experiment's {} are taken, and `layer_norm_eps` {:e}",
                wanted.heads, wanted.layer_norm_eps
            ));
            return Ok(());
        };
        let pairs = [
            ("heads", found.heads as f64, wanted.heads as f64),
            (
                "layer_norm_eps",
                found.layer_norm_eps,
                wanted.layer_norm_eps,
            ),
        ];
        match pairs.into_iter().find(|(_, found, wanted)| found != wanted) {
            Some((name, found, wanted)) => Err(ImportError::Unseen {
                name,
                found,
                wanted,
            }),
            None => Ok(()),
        }
    }

    /// The whole network that a unit writes.
    fn whole(&self, unit: Unit, checkpoint: &Checkpoint) -> Result<Network, ImportError> {
        let experiment = self.prepared.experiment();
        let depths = depths(unit.phase(), &self.division, experiment);
        let model = unit.architecture(experiment);
        Ok(checkpoint.network(&model, &depths, &self.device.device)?)
    }

    /// The hybrid around module `index`, with the digest of the meta model.
    fn hybrid_of(
        &self,
        phase: Phase,
        index: usize,
        checkpoint: &Checkpoint,
        believed: &mut Vec<String>,
    ) -> Result<(Network, BTreeMap<String, String>), ImportError> {
        let built = self.assembly().initial(phase)?;
        let expected = built.from.get("meta").cloned().unwrap_or_default();
        let (first, part) = self.part_of(index, checkpoint)?;
        let stage = built.network.stages()[index].clone();
        let stage = checkpoint.fill_stage(stage, first)?;
        let recorded = checkpoint
            .metadata()
            .get("incubate.built_from")
            .and_then(|from| serde_json::from_str::<BTreeMap<String, String>>(from).ok())
            .and_then(|from| from.get("meta").cloned());
        match (recorded, part) {
            (Some(found), _) if found != expected => {
                return Err(ImportError::OtherMeta {
                    what: format!(
                        "the file says that it was incubated in the meta model with sha256 {found}"
                    ),
                    expected,
                });
            }
            (Some(_), _) => {}
            (None, Part::Hybrid) => {
                Self::check_frozen(index, checkpoint, &built.network, &expected)?;
            }
            (None, Part::Alone) => believed.push(format!(
                "the file does not say in which meta model module {index} was incubated; it counts as incubated in the one of this run"
            )),
        }
        Ok((built.network.replace_stage(index, stage), built.from))
    }

    /// The block of the checkpoint that module `index` begins with.
    fn part_of(&self, index: usize, checkpoint: &Checkpoint) -> Result<(usize, Part), ImportError> {
        let targets = depths(Phase::Baseline, &self.division, self.prepared.experiment());
        let hybrid = depths(
            Phase::Module(index),
            &self.division,
            self.prepared.experiment(),
        );
        let found = &checkpoint.dimensions().stages;
        let refuse = |reason| {
            Err(ImportError::NoModule {
                module: index,
                wanted: targets[index],
                found: format!("{found:?}"),
                reason,
            })
        };
        let before = |depths: &[usize]| depths[..index].iter().sum();
        // timm's naming has one list of blocks for all stages.
        let whole = checkpoint.has("cls_token") && checkpoint.has("norm.weight");
        let is = |depths: &[usize]| {
            found == depths || (whole && *found == [depths.iter().sum::<usize>()])
        };
        if is(&hybrid) && hybrid != targets {
            return Ok((before(&hybrid), Part::Hybrid));
        }
        if is(&targets) {
            return Ok((before(&targets), Part::Alone));
        }
        if *found != [targets[index]] {
            return refuse("it has another depth");
        }
        let last = targets.len() - 1;
        let ends = [
            (checkpoint.has("cls_token"), index == 0),
            (checkpoint.has("norm.weight"), index == last),
        ];
        if ends.iter().any(|(has, needs)| has != needs) {
            return refuse("it stands in another place of its network");
        }
        Ok((0, Part::Alone))
    }

    /// Compares the frozen stages of a hybrid with the run's meta model.
    fn check_frozen(
        index: usize,
        checkpoint: &Checkpoint,
        hybrid: &Network,
        expected: &str,
    ) -> Result<(), ImportError> {
        let bytes = |stage: &Stage| stage_to_safetensors(stage, &BTreeMap::new());
        let mut first = 0;
        for (position, stage) in hybrid.stages().iter().enumerate() {
            if position != index {
                let theirs = checkpoint.fill_stage(stage.clone(), first)?;
                if bytes(&theirs) != bytes(stage) {
                    return Err(ImportError::OtherMeta {
                        what: format!(
                            "stage {position} of the file, which was frozen while module {index} was incubated, is of another meta model"
                        ),
                        expected: expected.to_owned(),
                    });
                }
            }
            first += stage.depth();
        }
        Ok(())
    }

    /// Refuses a meta model when a module that is there was incubated in another.
    fn fits_modules(&self, digest: &str) -> Result<(), ImportError> {
        for index in 0..self.division.len() {
            let module = Unit::Train(Phase::Module(index));
            let found = self.folder.result(module).map_err(TrainError::from)?;
            let found = found.and_then(|result| result.built_from.get("meta").cloned());
            if let Some(found) = found.filter(|found| found != digest) {
                return Err(ImportError::OtherMeta {
                    what: format!(
                        "unit `{module}` was incubated in the meta model with sha256 {found}"
                    ),
                    expected: format!("{digest} then"),
                });
            }
        }
        Ok(())
    }
}
