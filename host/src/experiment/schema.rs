//! The shape of an experiment after every layer is merged: what a run folder records.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{OnFailure, Start};
use crate::data::{Augmentation, DataConfig};
use crate::model::Architecture;
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
    /// Where the pictures come from.
    pub data: DataConfig,
    /// The target network.
    pub model: Architecture,
    /// How the target is cut into modules.
    pub partition: PartitionConfig,
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
    /// Passes over the training pictures.
    pub epochs: Epochs,
    /// Pictures per update.
    pub batch: usize,
    /// Parts that a batch is cut into, one after the other, to save memory.
    pub accumulation: usize,
    /// The learning rate, before batch scaling.
    pub rate: f64,
    /// The batch for which `rate` is meant: the rate is multiplied by batch / `rate_batch`
    /// (512 in the paper's recipe); 0 takes the rate as it is.
    pub rate_batch: usize,
    /// Decoupled weight decay of the decayed group.
    pub weight_decay: f64,
    /// Decay of the first and second moment of AdamW.
    pub betas: [f64; 2],
    /// The term that keeps AdamW's denominator from zero.
    pub epsilon: f64,
    /// The largest global norm of the gradients; 0 does not clip.
    pub clip: f64,
    /// The drop-path rate of the last block; the line from 0 runs over the blocks.
    pub drop_path: f64,
    /// Epochs between evaluations; the last epoch is always evaluated.
    pub evaluate_every: usize,
    /// Changes to the training pictures.
    pub augmentation: Augmentation,
    /// The learning-rate schedule.
    pub schedule: PluginConfig,
    /// The training loss.
    pub loss: PluginConfig,
}

impl PhaseConfig {
    /// The learning rate after batch scaling.
    pub fn base_rate(&self) -> f64 {
        if self.rate_batch == 0 {
            self.rate
        } else {
            self.rate * self.batch as f64 / self.rate_batch as f64
        }
    }
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
