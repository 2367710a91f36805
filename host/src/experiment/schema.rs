//! The shape of an experiment after every layer is merged: what a run folder records.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Compatibility, DivergenceConfig, FeaturesConfig, LossConfig, OnFailure, Start, Teacher,
};
use crate::data::{Augmentation, DataConfig};
use crate::model::{Architecture, NoiseRates, Numerics, Precision};
use crate::phase::Phase;
use crate::plugin::{Grants, LimitsConfig, SettingValue};

/// A whole experiment; every value is in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// A name for people.
    pub name: String,
    /// The seed of every random draw.
    pub seed: u64,
    /// Defects of the reference implementation that are reproduced.
    #[serde(default)]
    pub reference: Compatibility,
    /// Where the pictures come from.
    pub data: DataConfig,
    /// The target network.
    pub model: Architecture,
    /// How the target is cut into modules.
    pub partition: PartitionConfig,
    /// How the modules are put together.
    #[serde(default)]
    pub assembly: AssemblyConfig,
    /// When training is written down; no part of what is trained.
    #[serde(default)]
    pub checkpoint: CheckpointConfig,
    /// Whether what frozen stages compute is kept; no part of what is trained.
    #[serde(default)]
    pub features: FeaturesConfig,
    /// Training of the meta model.
    pub meta: PhaseConfig,
    /// Training of every target module.
    pub module: PhaseConfig,
    /// Training of the assembled model.
    #[serde(rename = "fine-tune")]
    pub fine_tune: PhaseConfig,
    /// Training of the target model end to end.
    pub baseline: PhaseConfig,
}

impl Experiment {
    /// The settings of one phase.
    pub fn phase(&self, phase: Phase) -> &PhaseConfig {
        match phase {
            Phase::Meta => &self.meta,
            Phase::Module(_) => &self.module,
            Phase::FineTune => &self.fine_tune,
            Phase::Baseline => &self.baseline,
        }
    }

    /// The target network for the pictures of one phase.
    pub fn architecture(&self, phase: Phase) -> Architecture {
        match self.phase(phase).image_size {
            Some(size) => self.model.for_pictures(size),
            None => self.model.clone(),
        }
    }
}

/// How the modules are put together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssemblyConfig {
    /// Modules, from 0, that stay as they are in the meta model: they are not incubated, and the
    /// assembled and the fine-tuned network have the meta depth there.
    pub meta: Vec<usize>,
}

/// When training of a unit is written down, so that it can go on from there, and what is kept of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointConfig {
    /// Updates between two checkpoints; 0 does not count updates.
    pub every_updates: u64,
    /// Minutes between two checkpoints; 0 does not look at the time.
    pub every_minutes: f64,
    /// The newest checkpoints that stay while the unit is trained.
    pub keep_last: usize,
    /// The checkpoints with the best validation accuracy that stay, also when the unit is finished.
    pub keep_best: usize,
    /// Every checkpoint after this many epochs stays, also when the unit is finished; 0 keeps none.
    pub keep_every: u32,
}

impl Default for CheckpointConfig {
    /// Every ten minutes, and the newest two: what runs of version 0.1 would have had.
    fn default() -> Self {
        Self {
            every_updates: 0,
            every_minutes: 10.0,
            keep_last: 2,
            keep_best: 0,
            keep_every: 0,
        }
    }
}

/// The partition scheme and what it is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionConfig {
    /// A built-in plugin by name, or a path.
    pub plugin: String,
    /// K, the number of modules.
    pub modules: usize,
    /// Whether every block is timed on the device before the scheme is asked.
    pub measure: bool,
    /// Empty, or one entry for every module.
    pub devices: Vec<DeviceConfig>,
    /// What the plugin may do beyond what every partition scheme may, and why.
    #[serde(default)]
    pub grants: Grants,
    /// The plugin's own parameters.
    pub parameters: BTreeMap<String, SettingValue>,
    /// How much the plugin may use; what is left out has the default.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// What happens when the plugin fails while a run is going on.
    #[serde(default)]
    pub on_failure: OnFailure,
}

/// A device that trains one module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceConfig {
    /// Bytes available on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Relative speed.
    #[serde(default = "one")]
    pub speed: f64,
}

/// The speed of the reference device.
fn one() -> f64 {
    1.0
}

/// A plugin, its parameters, and its grants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginConfig {
    /// A built-in plugin by name, or a path.
    pub plugin: String,
    /// What the plugin may do beyond what every plugin of its kind may, and why.
    #[serde(default)]
    pub grants: Grants,
    /// The plugin's own parameters.
    pub parameters: BTreeMap<String, SettingValue>,
    /// How much the plugin may use; what is left out has the default.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// What happens when the plugin fails while a run is going on.
    #[serde(default)]
    pub on_failure: OnFailure,
}

/// The settings of one phase of training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhaseConfig {
    /// What the network begins with.
    pub start: Start,
    /// Height and width of the pictures, where they are not those of the model: only the phases that
    /// train the whole target network can have others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_size: Option<usize>,
    /// Passes over the training pictures.
    pub epochs: Epochs,
    /// Pictures per update.
    pub batch: usize,
    /// Parts that a batch is cut into, one after the other, to save memory.
    pub accumulation: usize,
    /// The learning rate, before batch scaling.
    pub rate: f64,
    /// The batch for which `rate` is meant (512 in the paper's recipe); 0 takes the rate as it is.
    pub rate_batch: usize,
    /// How the rate follows a batch that is not `rate_batch`.
    #[serde(default)]
    pub rate_rule: RateRule,
    /// The factor of the rate from each layer to the one before it, from the head down to the
    /// embedding; 1 trains all layers at the same rate.
    #[serde(default = "one")]
    pub layer_decay: f64,
    /// Decoupled weight decay of the decayed group.
    pub weight_decay: f64,
    /// Decay of the first and second moment of AdamW.
    pub betas: [f64; 2],
    /// The term that keeps AdamW's denominator from zero.
    pub epsilon: f64,
    /// The largest global norm of the gradients; 0 does not clip.
    pub clip: f64,
    /// The share that the moving average of the weights keeps at each update; 0 averages nothing.
    /// With an average, it is what is evaluated and what the unit writes.
    #[serde(default)]
    pub ema: f64,
    /// Whether the average keeps less at first: at most (1 + t) / (10 + t) at update t.
    #[serde(default)]
    pub ema_warm_up: bool,
    /// The drop-path rate of the last block; the line from 0 runs over the blocks.
    pub drop_path: f64,
    /// The share of values left out after the embedding, the projection of attention, and both maps
    /// of the perceptron.
    #[serde(default)]
    pub dropout: f64,
    /// The share of values of the attention matrices left out.
    #[serde(default)]
    pub attention_dropout: f64,
    /// The type of matrix products.
    #[serde(default)]
    pub precision: Precision,
    /// Whether blocks are run again in the backward pass, instead of keeping what they computed.
    #[serde(default)]
    pub checkpoint_activations: bool,
    /// Epochs between evaluations; the last epoch is always evaluated.
    pub evaluate_every: usize,
    /// What happens when the loss is not a number any more; no part of what is trained until then.
    #[serde(default)]
    pub divergence: DivergenceConfig,
    /// Changes to the training pictures.
    pub augmentation: Augmentation,
    /// The learning-rate schedule.
    pub schedule: PluginConfig,
    /// The training loss.
    pub loss: LossConfig,
    /// The network that losses may learn from, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<Teacher>,
}

impl PhaseConfig {
    /// The learning rate after batch scaling.
    pub fn base_rate(&self) -> f64 {
        let (batch, meant_for) = (self.batch as f64, self.rate_batch as f64);
        match self.rate_rule {
            RateRule::Linear if self.rate_batch > 0 => self.rate * batch / meant_for,
            RateRule::Sqrt if self.rate_batch > 0 => self.rate * (batch / meant_for).sqrt(),
            RateRule::Linear | RateRule::Sqrt | RateRule::None => self.rate,
        }
    }

    /// What is left out at random.
    pub const fn noise_rates(&self) -> NoiseRates {
        NoiseRates {
            drop_path: self.drop_path,
            dropout: self.dropout,
            attention_dropout: self.attention_dropout,
        }
    }

    /// How training computes.
    pub const fn numerics(&self) -> Numerics {
        Numerics {
            precision: self.precision,
            checkpoint_activations: self.checkpoint_activations,
        }
    }
}

/// How the learning rate follows the batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RateRule {
    /// Rate times batch / `rate_batch` (Goyal et al., 2017), as in the paper's recipe.
    #[default]
    Linear,
    /// Rate times the root of batch / `rate_batch` (Krizhevsky, 2014), timm's choice for Adam.
    Sqrt,
    /// The rate as it is.
    None,
}

/// How long a phase lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epochs {
    /// This many epochs.
    Count(u32),
    /// As many whole epochs as cost what meta, modules, and fine-tuning cost together, at
    /// least one; only the baseline can ask for it.
    EqualCompute,
}

/// How [`Epochs::EqualCompute`] is written.
const EQUAL_COMPUTE: &str = "equal-compute";

impl Serialize for Epochs {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::EqualCompute => serializer.serialize_str(EQUAL_COMPUTE),
        }
    }
}

impl<'de> Deserialize<'de> for Epochs {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Epochs;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(formatter, "a number of epochs or \"{EQUAL_COMPUTE}\"")
            }

            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Epochs, E> {
                u32::try_from(value)
                    .map(Epochs::Count)
                    .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(value), &self))
            }

            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Epochs, E> {
                if value == EQUAL_COMPUTE {
                    Ok(Epochs::EqualCompute)
                } else {
                    Err(E::invalid_value(serde::de::Unexpected::Str(value), &self))
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
