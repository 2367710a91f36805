//! What a run folder says about how it came to be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::{Replacement, RollBack, number_or_null};
use crate::plugin::{Grants, LimitsConfig, ModuleDepth};

/// The version of the run folder's layout.
pub const FORMAT: u32 = 1;

/// `run.json`: everything that a unit of the run must agree with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// [`FORMAT`] of the host that made the folder.
    pub format: u32,
    /// The version of that host.
    pub host_version: String,
    /// What is trained, with which plugins and pictures.
    #[serde(flatten)]
    pub basis: Basis,
    /// The depths that the partition scheme answered, module by module.
    pub division: Vec<ModuleDepth>,
    /// The partition scheme that failed and was replaced, if it was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<Replacement>,
    /// How the run went on with something else, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

/// What the units of a run are made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Basis {
    /// The digest of `experiment.toml`.
    pub experiment_sha256: String,
    /// The digest of the pictures.
    pub data_sha256: String,
    /// The plugins, by role: `partition`, `meta.schedule`, `meta.loss`, …
    pub plugins: BTreeMap<String, PluginRecord>,
    /// The digests of teachers that lie in files, by phase.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub teachers: BTreeMap<String, String>,
    /// The pictures that cannot be decoded and are left out, each with the reason, when the
    /// experiment allows that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

/// A run that went on with something else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// What it was made from until then.
    pub before: Basis,
    /// What changed, one sentence each.
    pub differences: Vec<String>,
    /// The units that were finished, which stay as they are, with the digests of their weights.
    pub finished: BTreeMap<String, String>,
}

/// A plugin that took part in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PluginRecord {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The file that it was loaded from, or `built-in`.
    pub origin: String,
    /// The digest of its bytes.
    pub sha256: String,
    /// What it imports.
    pub imports: Vec<String>,
    /// What the experiment allowed it, and why.
    pub grants: Grants,
    /// Every limit in force, and why some are above their defaults.
    pub limits: LimitsConfig,
}

/// `units/NAME/result.json`: written last, so its presence says that the unit is finished.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnitResult {
    /// The unit.
    pub unit: String,
    /// The device that trained it.
    pub device: String,
    /// Cross-entropy over the validation pictures; not a number (`null` in the file) when weights
    /// were imported without being evaluated.
    #[serde(deserialize_with = "number_or_null")]
    pub loss: f64,
    /// The share of them classified rightly; not a number likewise.
    #[serde(deserialize_with = "number_or_null")]
    pub accuracy: f64,
    /// The share of them whose class is among the five that the network finds likeliest; runs of
    /// version 0.1 do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top5: Option<f64>,
    /// Numbers of the network that was evaluated.
    pub parameters: u64,
    /// Numbers that were trained.
    pub trained_parameters: u64,
    /// Passes over the training pictures.
    pub epochs: u32,
    /// Updates.
    pub updates: u64,
    /// Pictures that were trained on, repetitions counted.
    pub pictures: u64,
    /// Multiply-accumulate operations of all forward passes of training.
    #[serde(with = "crate::macs")]
    pub forward_macs: u128,
    /// Multiply-accumulate operations of all backward passes.
    #[serde(with = "crate::macs")]
    pub backward_macs: u128,
    /// Seconds from the unit's beginning to its end, evaluations counted.
    pub seconds: f64,
    /// The digest of `weights.safetensors`.
    pub weights_sha256: String,
    /// The digests of the weights that it was built from, by unit.
    pub built_from: BTreeMap<String, String>,
    /// The plugins that failed and were replaced, in order.
    #[serde(default)]
    pub fallbacks: Vec<Replacement>,
    /// How often its training went back to a checkpoint since it diverged, in order; `updates`,
    /// `pictures`, and the operations count what was done twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roll_backs: Vec<RollBack>,
    /// Pictures that cannot be decoded and were left out, when the experiment allows that.
    #[serde(default, skip_serializing_if = "LeftOutCount::is_empty")]
    pub left_out: LeftOutCount,
    /// Whether the experiment changed while the unit was trained, see [`RunRecord::changes`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub changed: bool,
    /// Where the weights come from, when the unit was not trained here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<Imported>,
}

/// How many pictures cannot be decoded and are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutCount {
    /// Of the training pictures.
    pub train: usize,
    /// Of the validation pictures: scores are of the others.
    pub validation: usize,
}

impl LeftOutCount {
    /// Whether every picture is there.
    pub const fn is_empty(&self) -> bool {
        self.train == 0 && self.validation == 0
    }
}

/// A checkpoint that a unit was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// The file.
    pub file: String,
    /// The digest of its bytes.
    pub sha256: String,
    /// The key of the weights in it; empty when the file is the weights.
    pub key: String,
}
