//! Calls of hooks written down, so that each can be made again without the run that it was part of.
//!
//! A recording holds everything that a call depends on: the plugin by digest, its settings, seed and
//! phase, limits, what the plugin remembered, and the arguments. It also holds what the call did in
//! a new instance on the CPU, with nothing before it but `configure` and `restore`: that is what a
//! replay has to do again, to the bit. The call of the run itself is left alone, so that recording
//! changes no run; its outcome stands beside, and where the two differ the plugin remembers
//! something that `save` does not give (or the run was on another device, whose bits differ).
//!
//! # File format 1
//!
//! Lines of JSON, one object for each call, in order (`calls.jsonl`; `failure.json` is a single
//! line of the same form):
//!
//! ```text
//! format    1
//! host      version of the program that wrote it
//! plugin    name, version, sha256 of the component, origin
//! kind      partition-scheme | lr-schedule | loss-hook
//! settings  parameters in force, as a TOML document
//! context   seed and phase; null for a partition scheme
//! grants    as the experiment gave them
//! limits    as they were in force
//! state     {"bytes": hexadecimal} from `save`, or {"unknown": why}
//! call      hook and arguments; floats as texts, tensors as shape and the bits of their float32
//! in_run    the outcome of the call in the run
//! alone     the outcome of the call in a new instance, and the trace of its host calls: function,
//!           operands, arguments, and the digest of the result's bits; random draws; fuel
//! ```

use serde::{Deserialize, Serialize};

use crate::phase::Phase;
use crate::random::Seed;
use crate::tensor::{AnyTensor, TensorError};

use super::engine::Plugin;
use super::error::{PluginError, PluginErrorKind};
use super::grants::Grants;
use super::identity::Origin;
use super::kind::{Hook, Kind};
use super::limits::Limits;
use super::loss::{LossInputs, StepInfo};
use super::partition::{Cost, ModuleDevice, PartitionRequest};
use super::randomness::Context;
use super::replay::{ReplayError, alone};
use super::schedule::{Group, Moment};
use super::settings::Settings;
use super::trace::Trace;
use super::values::{Bytes, Exact, TensorValues};

/// The version of the format.
pub(super) const FORMAT: u32 = 1;

/// One call of a hook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// The version of the format.
    pub format: u32,
    /// The version of the program that wrote it.
    pub host: String,
    /// The plugin that was called.
    pub plugin: RecordedPlugin,
    /// What it decides.
    pub kind: Kind,
    /// The parameters in force, as a TOML document.
    pub settings: String,
    /// What the plugin worked for; nothing for a partition scheme.
    pub context: Option<RecordedContext>,
    /// What the experiment allowed it.
    pub grants: Grants,
    /// How much it could use.
    pub limits: Limits,
    /// What it remembered before the call.
    pub state: RecordedState,
    /// The call.
    pub call: Call,
    /// What came of it in the run.
    pub in_run: Outcome,
    /// What came of it in a new instance on the CPU.
    pub alone: Performed,
}

/// Which plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedPlugin {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The digest of the component.
    pub sha256: String,
    /// Where it was.
    pub origin: Origin,
}

/// What the plugin worked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedContext {
    /// The seed of the run.
    pub seed: u64,
    /// The phase, with the index of the module that is trained.
    pub phase: Phase,
}

/// What `save` gave before the call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordedState {
    /// The state; empty when the plugin remembers nothing.
    Bytes(Bytes),
    /// Why there is none; the call alone begins without one.
    Unknown(String),
}

/// A call with its arguments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "hook", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Call {
    /// `configure` of every kind, with the settings of the recording.
    Configure,
    /// `partition.divide`
    Divide {
        /// What was to be divided.
        request: RecordedRequest,
    },
    /// `schedule.stepping`
    Stepping,
    /// `schedule.rate`
    Rate {
        /// When.
        moment: RecordedMoment,
    },
    /// `schedule.observe`
    Observe {
        /// When.
        moment: RecordedMoment,
        /// Names and values.
        metrics: Vec<(String, Exact)>,
    },
    /// `loss.needs`
    Needs,
    /// `loss.compute`
    Compute {
        /// When.
        step: RecordedStep,
        /// The tensors.
        inputs: RecordedInputs,
    },
}

/// The moment for which a rate is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedMoment {
    /// Updates done before this one.
    pub update: u64,
    /// Updates of the whole phase.
    pub updates: u64,
    /// Epochs done, with the fraction of the current one.
    pub epoch: Exact,
    /// Epochs of the whole phase.
    pub epochs: u32,
    /// The rate of the experiment, after batch scaling.
    pub base_rate: Exact,
    /// The name of the group of parameters.
    pub group: String,
    /// Its position.
    pub group_index: u32,
}

/// Where in the training a loss is computed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedStep {
    /// Updates done before this one.
    pub update: u64,
    /// Updates of the whole phase.
    pub updates: u64,
    /// Epochs done, with the fraction of the current one.
    pub epoch: Exact,
    /// Classes of the data set.
    pub classes: u32,
    /// Pictures in this call.
    pub pictures: u32,
}

/// What a loss is computed from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedInputs {
    /// Shape `[pictures, classes]`.
    pub logits: TensorValues,
    /// Shape `[pictures]`.
    pub class_ids: TensorValues,
    /// Shape `[pictures, classes]`, when labels were mixed.
    pub soft_targets: Option<TensorValues>,
    /// The index of a module and the activation that leaves it, shape `[pictures, tokens, width]`.
    pub network_features: Vec<(u32, TensorValues)>,
    /// As `network_features`, of the meta model.
    pub meta_features: Vec<(u32, TensorValues)>,
    /// The weights that the hook may see, by name.
    pub weights: Vec<(String, TensorValues)>,
    /// The teacher's logits, shape `[pictures, classes]`, when the hook asks a teacher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<TensorValues>,
}

/// What is to be divided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedRequest {
    /// What the first module owns besides its blocks.
    pub entry: RecordedCost,
    /// The blocks of the target model.
    pub blocks: Vec<RecordedCost>,
    /// What the last module owns besides its blocks.
    pub exit: RecordedCost,
    /// K.
    pub modules: u32,
    /// Bytes, if limited, and relative speed of every device.
    pub devices: Vec<(Option<u64>, Exact)>,
    /// Bytes per trainable number.
    pub bytes_per_parameter: u32,
}

/// The cost of one block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedCost {
    /// The name of the block.
    pub name: String,
    /// Trainable numbers.
    pub parameters: u64,
    /// Multiply-accumulate operations of the forward pass for one picture.
    pub forward_macs: u64,
    /// Bytes kept for the backward pass.
    pub activation_bytes: u64,
    /// Time, if it was measured.
    pub milliseconds: Option<Exact>,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Outcome {
    /// The answer, exact to the bit.
    Answer(String),
    /// The error.
    Error {
        /// The call that failed; it can be one that came before.
        hook: Option<Hook>,
        /// `fault`, `trap`, `limit`, `answer`, or `refused`.
        kind: String,
        /// What is wrong.
        text: String,
    },
}

/// What a call did in a new instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Performed {
    /// What came of it.
    pub outcome: Outcome,
    /// What it asked of the host.
    pub trace: Trace,
}

/// A call that was made in a run, with all that it depends on.
#[derive(Clone, Debug)]
pub(super) struct Captured {
    pub(super) plugin: Plugin,
    pub(super) settings: Settings,
    pub(super) context: Option<Context>,
    pub(super) state: RecordedState,
    pub(super) call: Call,
}

impl Captured {
    /// Makes the call again, alone, and writes down what it does.
    pub(super) fn record(&self, in_run: Outcome) -> Result<Recording, ReplayError> {
        let plugin = &self.plugin;
        let alone = alone(
            plugin,
            &self.settings,
            self.context,
            &self.state,
            &self.call,
        )?;
        let settings = toml::to_string(&self.settings).map_err(ReplayError::unwritable)?;
        Ok(Recording {
            format: FORMAT,
            host: env!("CARGO_PKG_VERSION").to_owned(),
            plugin: RecordedPlugin {
                name: plugin.description().name.clone(),
                version: plugin.description().version.to_string(),
                sha256: plugin.sha256().to_owned(),
                origin: plugin.origin().clone(),
            },
            kind: plugin.kind(),
            settings,
            context: self.context.map(|context| RecordedContext {
                seed: context.seed.0,
                phase: context.phase,
            }),
            grants: plugin.grants().clone(),
            limits: *plugin.limits(),
            state: self.state.clone(),
            call: self.call.clone(),
            in_run,
            alone,
        })
    }
}

impl RecordedContext {
    pub(super) const fn context(self) -> Context {
        Context {
            seed: Seed(self.seed),
            phase: self.phase,
        }
    }
}

impl RecordedState {
    /// What `restore` is given; nothing when the plugin remembered nothing or nobody knows.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => &bytes.0,
            Self::Unknown(_) => &[],
        }
    }
}

impl Call {
    /// The hook that is called.
    pub const fn hook(&self) -> Hook {
        match self {
            Self::Configure => Hook::Configure,
            Self::Divide { .. } => Hook::Divide,
            Self::Stepping => Hook::Stepping,
            Self::Rate { .. } => Hook::Rate,
            Self::Observe { .. } => Hook::Observe,
            Self::Needs => Hook::Needs,
            Self::Compute { .. } => Hook::Compute,
        }
    }

    /// The update that the call belongs to.
    pub const fn update(&self) -> Option<u64> {
        match self {
            Self::Rate { moment } | Self::Observe { moment, .. } => Some(moment.update),
            Self::Compute { step, .. } => Some(step.update),
            Self::Configure | Self::Divide { .. } | Self::Stepping | Self::Needs => None,
        }
    }
}

impl Outcome {
    pub(super) fn of<T>(result: &Result<T, PluginError>, shown: impl FnOnce(&T) -> String) -> Self {
        match result {
            Ok(answer) => Self::Answer(shown(answer)),
            Err(error) => Self::of_error(error),
        }
    }

    pub(super) fn of_error(error: &PluginError) -> Self {
        let kind = match *error.kind {
            PluginErrorKind::Fault { .. } => "fault",
            PluginErrorKind::Trap { .. } => "trap",
            PluginErrorKind::Limit(_) => "limit",
            PluginErrorKind::Answer { .. } => "answer",
            _ => "refused",
        };
        Self::Error {
            hook: error.hook,
            kind: kind.to_owned(),
            text: error.kind.to_string(),
        }
    }

    /// Whether the call failed.
    pub const fn is_error(&self) -> bool {
        matches!(self, Self::Error { .. })
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Answer(answer) => write!(formatter, "answer {answer}"),
            Self::Error {
                hook: Some(hook),
                kind,
                text,
            } => write!(formatter, "{kind} in `{hook}`: {text}"),
            Self::Error {
                hook: None,
                kind,
                text,
            } => write!(formatter, "{kind}: {text}"),
        }
    }
}

impl From<&Moment<'_>> for RecordedMoment {
    fn from(moment: &Moment<'_>) -> Self {
        Self {
            update: moment.update,
            updates: moment.updates,
            epoch: Exact(moment.epoch),
            epochs: moment.epochs,
            base_rate: Exact(moment.base_rate),
            group: moment.group.name.to_owned(),
            group_index: moment.group.index,
        }
    }
}

impl RecordedMoment {
    pub(super) fn moment(&self) -> Moment<'_> {
        Moment {
            update: self.update,
            updates: self.updates,
            epoch: self.epoch.0,
            epochs: self.epochs,
            base_rate: self.base_rate.0,
            group: Group {
                name: &self.group,
                index: self.group_index,
            },
        }
    }
}

impl From<&StepInfo> for RecordedStep {
    fn from(step: &StepInfo) -> Self {
        Self {
            update: step.update,
            updates: step.updates,
            epoch: Exact(step.epoch),
            classes: step.classes,
            pictures: step.pictures,
        }
    }
}

impl RecordedStep {
    pub(super) const fn step(&self) -> StepInfo {
        StepInfo {
            update: self.update,
            updates: self.updates,
            epoch: self.epoch.0,
            classes: self.classes,
            pictures: self.pictures,
        }
    }
}

impl RecordedInputs {
    /// Reads every tensor, which waits for the device.
    pub(super) fn of(inputs: &LossInputs) -> Result<Self, TensorError> {
        let features = |features: &[(u32, AnyTensor)]| {
            features
                .iter()
                .map(|(module, tensor)| Ok((*module, TensorValues::of(tensor)?)))
                .collect::<Result<Vec<_>, TensorError>>()
        };
        Ok(Self {
            logits: TensorValues::of(&inputs.logits)?,
            class_ids: TensorValues::of(&inputs.class_ids)?,
            soft_targets: inputs
                .soft_targets
                .as_ref()
                .map(TensorValues::of)
                .transpose()?,
            network_features: features(&inputs.network_features)?,
            meta_features: features(&inputs.meta_features)?,
            weights: inputs
                .weights
                .iter()
                .map(|(name, tensor)| Ok((name.clone(), TensorValues::of(tensor)?)))
                .collect::<Result<_, TensorError>>()?,
            teacher: inputs.teacher.as_ref().map(TensorValues::of).transpose()?,
        })
    }

    /// The tensors on the CPU.
    pub(super) fn tensors(&self) -> Result<LossInputs, TensorError> {
        let features = |features: &[(u32, TensorValues)]| {
            features
                .iter()
                .map(|(module, values)| Ok((*module, values.tensor()?)))
                .collect::<Result<Vec<_>, TensorError>>()
        };
        Ok(LossInputs {
            logits: self.logits.tensor()?,
            class_ids: self.class_ids.tensor()?,
            soft_targets: self
                .soft_targets
                .as_ref()
                .map(TensorValues::tensor)
                .transpose()?,
            network_features: features(&self.network_features)?,
            meta_features: features(&self.meta_features)?,
            weights: self
                .weights
                .iter()
                .map(|(name, values)| Ok((name.clone(), values.tensor()?)))
                .collect::<Result<_, TensorError>>()?,
            teacher: self
                .teacher
                .as_ref()
                .map(TensorValues::tensor)
                .transpose()?,
        })
    }
}

impl From<&PartitionRequest> for RecordedRequest {
    fn from(request: &PartitionRequest) -> Self {
        Self {
            entry: RecordedCost::from(&request.entry),
            blocks: request.blocks.iter().map(RecordedCost::from).collect(),
            exit: RecordedCost::from(&request.exit),
            modules: request.modules,
            devices: request
                .devices
                .iter()
                .map(|device| (device.memory_bytes, Exact(device.speed)))
                .collect(),
            bytes_per_parameter: request.bytes_per_parameter,
        }
    }
}

impl RecordedRequest {
    pub(super) fn request(&self) -> PartitionRequest {
        PartitionRequest {
            entry: self.entry.cost(),
            blocks: self.blocks.iter().map(RecordedCost::cost).collect(),
            exit: self.exit.cost(),
            modules: self.modules,
            devices: self
                .devices
                .iter()
                .map(|&(memory_bytes, Exact(speed))| ModuleDevice {
                    memory_bytes,
                    speed,
                })
                .collect(),
            bytes_per_parameter: self.bytes_per_parameter,
        }
    }
}

impl From<&Cost> for RecordedCost {
    fn from(cost: &Cost) -> Self {
        Self {
            name: cost.name.clone(),
            parameters: cost.parameters,
            forward_macs: cost.forward_macs,
            activation_bytes: cost.activation_bytes,
            milliseconds: cost.milliseconds.map(Exact),
        }
    }
}

impl RecordedCost {
    fn cost(&self) -> Cost {
        Cost {
            name: self.name.clone(),
            parameters: self.parameters,
            forward_macs: self.forward_macs,
            activation_bytes: self.activation_bytes,
            milliseconds: self.milliseconds.map(|Exact(value)| value),
        }
    }
}
