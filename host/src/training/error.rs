//! What can go wrong between an experiment and its results.

use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::data::DataError;
use crate::model::{CheckpointError, ModelError, Precision, WeightsError};
use crate::optimizer::OptimizerError;
use crate::plugin::{Kind, PluginError};
use crate::run::RunError;
use crate::tensor::TensorError;

/// Where in a run something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The unit.
    pub unit: String,
    /// The epoch, from 0.
    pub epoch: u32,
    /// The update, from 0.
    pub update: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            unit,
            epoch,
            update,
        } = self;
        write!(formatter, "unit `{unit}`, epoch {epoch}, update {update}")
    }
}

/// What can be done about training that diverged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WayOut {
    /// The table of the experiment that says what happens.
    pub table: String,
    /// The newest checkpoint, whose weights are numbers.
    pub checkpoint: Option<PathBuf>,
    /// How often training went back.
    pub rolled_back: usize,
    /// Whether it does not go back.
    pub stop: bool,
    /// Whether it could not go back since there is no checkpoint for that.
    pub no_point: bool,
}

impl fmt::Display for WayOut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = &self.table;
        match &self.checkpoint {
            Some(path) => write!(
                formatter,
                "the newest good checkpoint is `{}`",
                path.display()
            )?,
            None => formatter.write_str("there is no checkpoint yet")?,
        }
        if self.no_point {
            return formatter.write_str(
                ", and none to go back to (they could not be written, or are damaged; see the notes above)",
            );
        }
        if self.stop {
            write!(
                formatter,
                " (with `--set {table}.action=roll-back` the same command goes back and on at lower rates when this happens)"
            )
        } else {
            write!(
                formatter,
                " (training went back {} times already; allow more with `{table}.retries`, or lower the rates more with `{table}.rate_factor`)",
                self.rolled_back
            )
        }
    }
}

/// Names of a batch's pictures. A message shows the first of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed(pub Vec<String>);

/// Pictures that a message names.
const LISTED: usize = 8;

impl fmt::Display for Listed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(LISTED)];
        formatter.write_str(&shown.join(", "))?;
        match self.0.len() - shown.len() {
            0 => Ok(()),
            more => write!(formatter, " and {more} more"),
        }
    }
}

/// What a person types to make a failed call again.
pub(super) fn replay_command(file: &Path) -> String {
    let word = crate::spelling::shell_word(&file.to_string_lossy());
    format!("incubate plugin replay {word}")
}

/// A run that cannot go on.
#[derive(Debug, Error)]
pub enum TrainError {
    /// A plugin was refused before anything ran.
    #[error("the plugin for `{role}` cannot be used: {source}")]
    PluginRefused {
        /// The table of the experiment that names it.
        role: String,
        /// The reason.
        source: PluginError,
    },
    /// A fallback that is no built-in plugin of the kind.
    #[error("`{role}.on_failure` names `{name}`, which is no built-in {kind}{} (built in: {known})", crate::spelling::did_you_mean(.nearest.as_deref()))]
    NoFallback {
        /// The table of the experiment that names it.
        role: String,
        /// The name.
        name: String,
        /// The kind of plugin that is wanted.
        kind: Kind,
        /// The most similar name.
        nearest: Option<String>,
        /// The names.
        known: String,
    },
    /// A teacher that does not fit the experiment.
    #[error("`{table}.teacher` names `{path}`, which cannot teach here: {reason}")]
    Teacher {
        /// The table of the phase.
        table: String,
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// A fallback that needs more than logits and targets.
    #[error(
        "`{role}.on_failure` names `{name}`, which asks a teacher (a plugin that stands by has nothing but logits and targets; name `cross-entropy`)"
    )]
    DependentFallback {
        /// The table of the experiment that names it.
        role: String,
        /// The name.
        name: String,
    },
    /// No term of a loss counts at an update.
    #[error(
        "{place}: no term of the loss has a weight here (the phase has {updates} updates; let the terms overlap, or give it more)"
    )]
    NoTerm {
        /// Where.
        place: Place,
        /// Updates of the phase.
        updates: u64,
    },
    /// A plugin failed while the run was going on.
    #[error("{place}: {source}; finished units are kept, and unit `{}` goes on from its newest checkpoint with the next run, or begins again where it has none (a built-in plugin can go on instead: set `on_failure` in the table of this plugin)", place.unit)]
    PluginFailed {
        /// Where.
        place: Place,
        /// The reason.
        source: PluginError,
    },
    /// A plugin failed in a call that was written down.
    #[error("{source}; reproduce with: {}", replay_command(file))]
    Recorded {
        /// The failure.
        source: Box<Self>,
        /// The recording of the call.
        file: PathBuf,
    },
    /// Training was asked to stop.
    #[error("{place}: stopped as asked; {}", how_to_go_on(checkpoint.as_deref()))]
    Stopped {
        /// The next update.
        place: Place,
        /// Where training goes on; none when nothing was trained yet, or a plugin cannot be saved.
        checkpoint: Option<PathBuf>,
    },
    /// A checkpoint of another training.
    #[error("the checkpoint `{}` belongs to another {what}: {before} then, {now} now (restore it, or delete the folder `{}` to begin the unit again)", path.display(), folder_of(path).display())]
    OtherCheckpoint {
        /// The checkpoint.
        path: PathBuf,
        /// What differs.
        what: String,
        /// As it was.
        before: String,
        /// As it is.
        now: String,
    },
    /// A checkpoint whose tensors are not those of the network.
    #[error("the checkpoint `{}` does not fit: {source}; delete the folder `{}` to begin the unit again", path.display(), folder_of(path).display())]
    UnfitCheckpoint {
        /// The checkpoint.
        path: PathBuf,
        /// The reason.
        source: WeightsError,
    },
    /// The loss is not a number any more.
    #[error(
        "{place}: the loss is {loss} with {plugin} on pictures {pictures} (lower the rate, {rate:e} here, clip the gradients with `clip`, look at the pictures, or check the loss plugin)"
    )]
    NotFinite {
        /// Where.
        place: Place,
        /// The loss.
        loss: f64,
        /// The loss plugin, with version and file.
        plugin: String,
        /// The learning rate of the update before.
        rate: f64,
        /// The pictures of the batch, or of the parts of it whose loss is not finite.
        pictures: Listed,
    },
    /// The weights give no numbers any more.
    #[error(
        "{place}: the loss over the validation pictures is {loss} (lower the rate, or clip the gradients with `clip`)"
    )]
    NotFiniteScore {
        /// Where; the update is the next one.
        place: Place,
        /// The loss.
        loss: f64,
    },
    /// The loss is not a number any more, and what can be done.
    #[error("{source}; {way_out}")]
    Diverged {
        /// What was found.
        source: Box<Self>,
        /// Where training can go on.
        way_out: WayOut,
    },
    /// Features of frozen stages that were lost while training went on, and could not be made again.
    #[error(
        "{place}: `{}` cannot be used any more, and not be made again: {reason} (run again: training goes on from its newest checkpoint and computes at every update what cannot be kept, which gives the same numbers)", path.display()
    )]
    Features {
        /// Where.
        place: Place,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A precision that the device does not have.
    #[error(
        "`{unit}.precision` is {precision}, in which {device} does not compute (set it to \"float32\", or take another device with `--device`)"
    )]
    Precision {
        /// The kind of unit.
        unit: &'static str,
        /// The precision.
        precision: Precision,
        /// The device.
        device: String,
    },
    /// The loss gives no gradients to what is trained.
    #[error(
        "{place}: the loss of plugin {plugin} does not give the trained weights a gradient: {source} (compute it from `logits` or the features, without `detach`)"
    )]
    NotConnected {
        /// Where.
        place: Place,
        /// The loss plugin, with version and file.
        plugin: String,
        /// The reason.
        source: OptimizerError,
    },
    /// The answer of a loss plugin cannot be used.
    #[error("{place}: the loss of plugin {plugin} cannot be used: {source}")]
    Loss {
        /// Where.
        place: Place,
        /// The loss plugin, with version and file.
        plugin: String,
        /// The reason.
        source: TensorError,
    },
    /// The pictures cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The network cannot be built.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A file of weights does not fit.
    #[error("the weights of `{file}` do not fit: {source}")]
    Weights {
        /// The file.
        file: String,
        /// The reason.
        source: WeightsError,
    },
    /// A checkpoint from elsewhere cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A file of weights that a phase begins with cannot be used.
    #[error("`{role}` names a file that cannot be used: {source}")]
    Start {
        /// The key of the experiment.
        role: String,
        /// The reason.
        source: CheckpointError,
    },
    /// A file of weights that a phase begins with holds another network.
    #[error("`{role}` names `{}`, which holds another network: {} (change the table `model`, or take another file; only classes and the size of the pictures may differ)", path.display(), differences.join(", "))]
    OtherNetwork {
        /// The key of the experiment.
        role: String,
        /// The file.
        path: PathBuf,
        /// What differs.
        differences: Vec<String>,
    },
    /// The run folder cannot be used.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Modules that were not made for each other.
    #[error(
        "{}; the one of this run has sha256 {expected} (delete the folder `units/module.N` of each and run that unit again, or pull it from who incubated it against this meta model)", strangers(.modules)
    )]
    OtherMeta {
        /// Every such module, from 0, with the meta model that it was trained against.
        modules: Vec<(usize, String)>,
        /// The meta model of the run.
        expected: String,
    },
    /// The plugins or pictures are not those that the run began with.
    #[error(
        "{what} changed since this run began: {before} then, {now} now; restore it, start again in another folder with `--out`, or let `incubate run` go on with what changed by `--changed`"
    )]
    Changed {
        /// The plugin's role or the data.
        what: String,
        /// Its digest in the record.
        before: String,
        /// Its digest now.
        now: String,
    },
    /// Somebody asked to stop, and nothing of the unit was worth keeping.
    #[error(
        "stopped before unit `{unit}`; finished units are kept, and the next run begins with it"
    )]
    StoppedBefore {
        /// The unit that is next.
        unit: String,
    },
    /// A unit name that the run does not have.
    #[error("there is no unit `{name}` (there are: {known})")]
    UnknownUnit {
        /// What the person gave.
        name: String,
        /// The units.
        known: String,
    },
    /// An event could not be kept or shown.
    #[error("cannot record what happens: {0}")]
    Observer(#[from] std::io::Error),
}

impl TrainError {
    /// Where the loss was no number, and which; `None` for any other error.
    pub(super) fn divergence(&self) -> Option<(Place, String)> {
        match self {
            Self::NotFinite { place, loss, .. } => {
                Some((place.clone(), format!("the loss was {loss}")))
            }
            Self::NotFiniteScore { place, loss } => Some((
                place.clone(),
                format!("the loss over the validation pictures was {loss}"),
            )),
            _ => None,
        }
    }

    /// The error with what can be done.
    pub(super) fn with_way_out(self, way_out: WayOut) -> Self {
        Self::Diverged {
            source: Box::new(self),
            way_out,
        }
    }

    /// Whether this is no failure: the run ended because somebody asked.
    pub const fn is_stop(&self) -> bool {
        matches!(self, Self::Stopped { .. } | Self::StoppedBefore { .. })
    }
}

/// The folder that a checkpoint is in.
fn folder_of(checkpoint: &Path) -> &Path {
    checkpoint.parent().unwrap_or(checkpoint)
}

/// What becomes of a unit that was stopped.
fn how_to_go_on(checkpoint: Option<&Path>) -> String {
    match checkpoint {
        Some(path) => format!(
            "run again to go on from the checkpoint `{}`",
            path.display()
        ),
        None => "there is no checkpoint of it, and it begins again with the next run".to_owned(),
    }
}

/// Which modules were trained against which other meta models.
fn strangers(modules: &[(usize, String)]) -> String {
    let each: Vec<String> = modules
        .iter()
        .map(|(module, found)| {
            format!("module {module} was trained against another meta model (sha256 {found})")
        })
        .collect();
    each.join(", ")
}
