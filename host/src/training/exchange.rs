//! Taking over units that somebody else trained: what must agree before they are believed.
//!
//! A module fits a network only when it was incubated against the same meta model, with the same
//! settings, on the same pictures. Everything else about the sender does not matter.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use thiserror::Error;

use super::cost::depths;
use super::difference::{differences, lines};
use crate::experiment::Experiment;
use crate::model::{Architecture, ModelError, WeightsError, load_network, load_stage};
use crate::phase::Phase;
use crate::plugin::ModuleDepth;
use crate::random::Seed;
use crate::run::{Parcel, RunError, RunFolder, RunRecord, Unit};
use crate::stop::Stop;

/// Blocks of a network that is built to check weights.
const DEPTH_MAX: usize = 10_000;

/// What taking over a unit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// The run folder was made for it.
    NewRun,
    /// The unit is in the run folder now.
    Added,
    /// The same unit was there already.
    AlreadyThere,
}

/// A unit that cannot be taken over.
#[derive(Debug, Error)]
pub enum ExchangeError {
    /// The run folder cannot be used.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The unit comes from another experiment.
    #[error("unit `{unit}` was trained with other settings than the run in `{}`; pull it into another folder, or undo these differences:{differences}", path.display())]
    OtherExperiment {
        /// The unit.
        unit: String,
        /// The run folder.
        path: PathBuf,
        /// One line a difference.
        differences: String,
    },
    /// The unit comes from a run that differs in what the experiment does not say.
    #[error("unit `{unit}` was trained with another {what} than the run in `{}`: {theirs} there, {ours} here (pull it into another folder)", path.display())]
    OtherRun {
        /// The unit.
        unit: String,
        /// What differs.
        what: String,
        /// In the unit.
        theirs: String,
        /// In the run folder.
        ours: String,
        /// The run folder.
        path: PathBuf,
    },
    /// The module belongs to another meta model.
    #[error("unit `{unit}` was incubated against the meta model with sha256 {found}, and `{}` has the one with sha256 {expected} ({holder}); modules fit together only when they were incubated against one meta model (pull that meta model into another folder, or incubate the module again)", path.display())]
    OtherMeta {
        /// The unit.
        unit: String,
        /// The meta model that the unit was incubated against.
        found: String,
        /// The meta model of the run.
        expected: String,
        /// What says so: the unit `meta`, or another module.
        holder: String,
        /// The run folder.
        path: PathBuf,
    },
    /// The unit is there with other weights.
    #[error("`{}` has unit `{unit}` already, with other weights (sha256 {ours}, and {theirs} would come); delete `{}` to replace it", path.display(), path.join("units").join(unit).display())]
    Occupied {
        /// The unit.
        unit: String,
        /// The run folder.
        path: PathBuf,
        /// The digest here.
        ours: String,
        /// The digest that would come.
        theirs: String,
    },
    /// The weights are not those of the experiment's network.
    #[error(
        "the weights of unit `{unit}` do not fit the experiment's network: {source} (ask who pushed it)"
    )]
    Weights {
        /// The unit.
        unit: String,
        /// The reason.
        source: WeightsError,
    },
    /// The experiment's network cannot be built.
    #[error("the network of unit `{unit}` cannot be built: {source}")]
    Model {
        /// The unit.
        unit: String,
        /// The reason.
        source: ModelError,
    },
    /// The experiment's network has more parameters than the file of its weights has values.
    #[error(
        "the weights of unit `{unit}` do not fit the experiment's network: it has {parameters} parameters, and the file {bytes} bytes (ask who pushed it)"
    )]
    TooLarge {
        /// The unit.
        unit: String,
        /// Values in its parameters.
        parameters: u64,
        /// Bytes of the weights.
        bytes: u64,
    },
    /// The experiment's network has more blocks than are believed.
    #[error(
        "the network of unit `{unit}` has {depth} blocks, more than the {DEPTH_MAX} that are believed of somebody else"
    )]
    TooDeep {
        /// The unit.
        unit: String,
        /// Its blocks.
        depth: usize,
    },
}

/// Checks that the weights of a parcel are those of its experiment's network.
///
/// # Errors
/// Names, shapes, or element types differ.
pub fn check_weights(parcel: &Parcel) -> Result<(), ExchangeError> {
    let unit = parcel.unit.to_string();
    let depth = parcel.experiment.model.depth();
    if depth > DEPTH_MAX {
        return Err(ExchangeError::TooDeep { unit, depth });
    }
    let phase = parcel.unit.phase();
    let model = parcel.unit.architecture(&parcel.experiment);
    let depths = depths(phase, &parcel.record.division, &parcel.experiment);
    let seed = Seed(parcel.experiment.seed);
    let device = Device::flex();
    let failed = |source| ExchangeError::Model {
        unit: unit.clone(),
        source,
    };
    // Settings of a few bytes can ask for any amount of memory; weights have to be there.
    model.validate().map_err(failed)?;
    let parameters = parameters(&model, &depths, phase);
    let bytes = parcel.weights().len() as u64;
    if parameters.saturating_mul(4) > bytes {
        return Err(ExchangeError::TooLarge {
            unit,
            parameters,
            bytes,
        });
    }
    let loaded = match phase {
        Phase::Module(index) => model
            .stage(&depths, index, seed, phase, &device)
            .map_err(failed)
            .map(|stage| load_stage(stage, parcel.weights(), "").map(|_| ()))?,
        _ => model
            .network(&depths, seed, phase, &device)
            .map_err(failed)
            .map(|network| load_network(network, parcel.weights()).map(|_| ()))?,
    };
    loaded.map_err(|source| ExchangeError::Weights { unit, source })
}

/// Values in the parameters of a unit.
fn parameters(model: &Architecture, depths: &[usize], phase: Phase) -> u64 {
    let costs = model.costs(1);
    let block = costs.blocks.first().map_or(0, |block| block.parameters);
    let of = |blocks: usize| (blocks as u64).saturating_mul(block);
    let (entry, exit) = (costs.entry.parameters, costs.exit.parameters);
    match phase {
        Phase::Module(index) => {
            let first = if index == 0 { entry } else { 0 };
            let last = if index + 1 == depths.len() { exit } else { 0 };
            of(depths[index]) + first + last
        }
        _ => of(depths.iter().sum()) + entry + exit,
    }
}

/// Takes a unit over into the run folder `path`, which is made if it is not there.
///
/// # Errors
/// The unit was trained with other settings, pictures, or plugins than the run, against another
/// meta model, or is there already with other weights; its weights do not fit. Nothing is
/// written then.
pub fn receive(parcel: &Parcel, path: &Path) -> Result<Received, ExchangeError> {
    check_weights(parcel)?;
    let Some((folder, experiment, record)) = RunFolder::open(path)? else {
        RunFolder::found(path, parcel)?.adopt(parcel)?;
        return Ok(Received::NewRun);
    };
    same_run(parcel, path, &experiment, &record)?;
    let _lease = folder.hold(parcel.unit, &Stop::default(), |_| Ok(()))?;
    if let Some(ours) = folder.result(parcel.unit)? {
        if ours.weights_sha256 == parcel.result.weights_sha256 {
            return Ok(Received::AlreadyThere);
        }
        return Err(ExchangeError::Occupied {
            unit: parcel.unit.to_string(),
            path: path.to_path_buf(),
            ours: ours.weights_sha256,
            theirs: parcel.result.weights_sha256.clone(),
        });
    }
    same_meta(parcel, path, &folder, record.division.len())?;
    folder.adopt(parcel)?;
    Ok(Received::Added)
}

/// Refuses a unit of another experiment, other pictures, another division, or other plugins.
fn same_run(
    parcel: &Parcel,
    path: &Path,
    experiment: &Experiment,
    record: &RunRecord,
) -> Result<(), ExchangeError> {
    let unit = parcel.unit.to_string();
    let (ours, theirs) = (experiment.identity(), parcel.experiment.identity());
    if ours != theirs {
        return Err(ExchangeError::OtherExperiment {
            unit,
            path: path.to_path_buf(),
            differences: lines(&differences(&ours, &theirs)),
        });
    }
    let differs = |what: &str, theirs: String, ours: String| ExchangeError::OtherRun {
        unit: unit.clone(),
        what: what.to_owned(),
        theirs,
        ours,
        path: path.to_path_buf(),
    };
    if record.basis.data_sha256 != parcel.record.basis.data_sha256 {
        return Err(differs(
            "set of pictures",
            parcel.record.basis.data_sha256.clone(),
            record.basis.data_sha256.clone(),
        ));
    }
    if record.division != parcel.record.division {
        return Err(differs(
            "division",
            depths_of(&parcel.record.division),
            depths_of(&record.division),
        ));
    }
    // Only the plugins of the unit's own phase took part in it.
    let phase = match parcel.unit {
        Unit::Train(phase) => phase.kind(),
        Unit::Assemble => return Ok(()),
    };
    let teacher = |record: &RunRecord| {
        record
            .basis
            .teachers
            .get(phase)
            .cloned()
            .unwrap_or_default()
    };
    if teacher(record) != teacher(&parcel.record) {
        return Err(differs("teacher", teacher(&parcel.record), teacher(record)));
    }
    let plugins = record
        .basis
        .plugins
        .keys()
        .chain(parcel.record.basis.plugins.keys());
    let own = plugins.filter(|role| {
        let rest = role
            .strip_prefix(phase)
            .and_then(|rest| rest.strip_prefix('.'));
        rest.is_some_and(|rest| !rest.ends_with(".fallback"))
    });
    for role in own.collect::<BTreeSet<_>>() {
        let digest = |record: &RunRecord| {
            record
                .basis
                .plugins
                .get(role)
                .map_or_else(|| "none".to_owned(), |plugin| plugin.sha256.clone())
        };
        if digest(record) != digest(&parcel.record) {
            return Err(differs(
                &format!("plugin for `{role}`"),
                digest(&parcel.record),
                digest(record),
            ));
        }
    }
    Ok(())
}

/// Refuses a meta model or a module that does not belong to what the run has.
fn same_meta(
    parcel: &Parcel,
    path: &Path,
    folder: &RunFolder,
    modules: usize,
) -> Result<(), ExchangeError> {
    let meta = Unit::Train(Phase::Meta);
    let refuse = |unit: String, found: String, expected: String, holder: &str| {
        Err(ExchangeError::OtherMeta {
            unit,
            found,
            expected,
            holder: holder.to_owned(),
            path: path.to_path_buf(),
        })
    };
    let of_module = |result: &crate::run::UnitResult| {
        result.built_from.get("meta").cloned().unwrap_or_default()
    };
    let (unit, theirs) = match parcel.unit {
        Unit::Train(Phase::Meta) => (meta, parcel.result.weights_sha256.clone()),
        unit @ Unit::Train(Phase::Module(_)) => (unit, of_module(&parcel.result)),
        _ => return Ok(()),
    };
    if unit != meta
        && let Some(ours) = folder.result(meta)?
        && ours.weights_sha256 != theirs
    {
        return refuse(
            unit.to_string(),
            theirs,
            ours.weights_sha256,
            "its unit `meta`",
        );
    }
    for index in 0..modules {
        let other = Unit::Train(Phase::Module(index));
        if let Some(ours) = folder.result(other)? {
            let ours = of_module(&ours);
            if ours != theirs && unit == meta {
                return refuse(other.to_string(), ours, theirs, "the one that would come");
            }
            if ours != theirs {
                return refuse(
                    unit.to_string(),
                    theirs,
                    ours,
                    &format!("its unit `{other}` says so"),
                );
            }
        }
    }
    Ok(())
}

fn depths_of(division: &[ModuleDepth]) -> String {
    let depths: Vec<String> = division
        .iter()
        .map(|depth| format!("{}/{}", depth.target, depth.meta))
        .collect();
    depths.join(" ")
}
