//! What a checkpoint says besides tensors. It leads back to the same bits: numbers that are not whole
//! are written as text, and the manifest has a digest of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::sha256;
use crate::event::{Replacement, RollBack};
use crate::plugin::{Bytes, Exact, Spent, Statistics};

/// The version of the layout of a checkpoint.
pub const CHECKPOINT_FORMAT: u32 = 1;

/// What training needs to go on, besides tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckpointState {
    /// What it was trained from; training goes on only where that is the same.
    pub origin: CheckpointOrigin,
    /// Whether the experiment changed since the unit began.
    pub changed: bool,
    /// The device that trained, in words.
    pub device: String,
    /// What comes next.
    pub position: Position,
    /// What that counts.
    pub counted: Counted,
    /// The learning rates that the schedule gave, one for each group of parameters.
    pub rates: Vec<Exact>,
    /// What they are multiplied by.
    #[serde(default = "unchanged")]
    pub rate_factor: Exact,
    /// How often training went back, and why.
    #[serde(default)]
    pub roll_backs: Vec<RollBack>,
    /// Whether training goes back to here when it diverges.
    #[serde(default)]
    pub roll_back_point: bool,
    /// Every plugin of the phase.
    pub plugins: Vec<PluginState>,
    /// The plugins that failed and were replaced, in order.
    pub fallbacks: Vec<Replacement>,
    /// Pictures that the frozen meta model saw.
    pub seen_by_meta: u64,
    /// Pictures that another teacher saw.
    pub seen_by_teacher: u64,
    /// Pictures whose features were kept.
    #[serde(default)]
    pub features_kept: u64,
    /// Pictures that were trained on from kept features.
    #[serde(default)]
    pub features_used: u64,
    /// Pictures by the last module that the gradient of their loss entered from behind.
    pub reached: BTreeMap<usize, u64>,
    /// The last evaluation.
    pub score: Option<CheckpointScore>,
    /// Whether that was of these weights.
    pub evaluated: bool,
    /// Time that went into the unit.
    pub spent: TimeSpent,
    /// Bytes of the unit's `events.jsonl` so far.
    pub events_bytes: u64,
    /// Bytes of its `calls.jsonl` so far, while calls are recorded.
    pub calls_bytes: Option<u64>,
}

/// The factor of rates that nothing lowered.
const fn unchanged() -> Exact {
    Exact(1.0)
}

/// What a checkpoint was trained from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointOrigin {
    /// The digest of every setting that makes a difference.
    pub experiment_sha256: String,
    /// The digest of the pictures.
    pub data_sha256: String,
    /// The digests of the weights that the unit was built from, by unit.
    pub built_from: BTreeMap<String, String>,
}

/// What the numbers of updates and batches of a checkpoint mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Pictures of an update.
    pub batch: u64,
    /// Updates of an epoch.
    pub updates_per_epoch: u64,
}

/// The next update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Its epoch, from 0; the number of epochs when none is left.
    pub epoch: u32,
    /// Its batch in the epoch, from 0; the number of batches when only the end of the epoch is left.
    pub batch: u64,
    /// Its number, from 0: how many were made.
    pub update: u64,
}

/// A plugin in the middle of a unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PluginState {
    /// `schedule`, `loss`, `loss.0`, …
    pub role: String,
    /// The name of the plugin that answers.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The digest of its bytes.
    pub sha256: String,
    /// Its parameters in force, as JSON.
    pub configuration: String,
    /// Whether it stands in for one that failed.
    pub stands_in: bool,
    /// What it remembers.
    pub state: Bytes,
    /// What it has used.
    pub statistics: Statistics,
    /// The time of its calls.
    pub spent: Spent,
    /// What the plugin that failed had used, when one did.
    pub retired: Option<(Statistics, Spent)>,
}

/// An evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckpointScore {
    /// Cross-entropy, natural logarithm.
    pub loss: Exact,
    /// The share classified rightly.
    pub accuracy: Exact,
    /// The share whose class is among the five that the network finds likeliest.
    pub top5: Exact,
}

/// Time that went into a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeSpent {
    /// All of it.
    pub unit: Duration,
    /// In updates.
    pub updates: Duration,
    /// In plugins, outside of updates.
    pub plugins: Duration,
}

/// A file as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileDigest {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// Everything in `state.json` but the digest of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: u32,
    pub(super) host_version: String,
    pub(super) unit: String,
    pub(super) files: BTreeMap<String, FileDigest>,
    pub(super) state: CheckpointState,
}

/// `state.json`: what it says can be compared with its digest by hosts that do not understand it.
#[derive(Serialize, Deserialize)]
struct Sealed {
    /// Of the manifest without a space between its parts.
    sha256: String,
    manifest: Value,
}

/// Why bytes are no manifest.
pub(super) enum NoManifest {
    /// They are not what was written.
    Damaged(String),
    /// They are of this newer format.
    Newer(u32),
}

impl Manifest {
    /// The file.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let manifest = serde_json::to_value(self)?;
        let sealed = Sealed {
            sha256: digest(&manifest)?,
            manifest,
        };
        let mut bytes = serde_json::to_vec_pretty(&sealed)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The counterpart of [`Self::to_bytes`].
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, NoManifest> {
        let damaged = |error: serde_json::Error| NoManifest::Damaged(error.to_string());
        let sealed: Sealed = serde_json::from_slice(bytes).map_err(damaged)?;
        let found = digest(&sealed.manifest).map_err(damaged)?;
        if found != sealed.sha256 {
            return Err(NoManifest::Damaged(format!(
                "the sha256 of what it says is {found}, and {} was written",
                sealed.sha256
            )));
        }
        let format = sealed.manifest.get("format").and_then(Value::as_u64);
        match format.and_then(|format| u32::try_from(format).ok()) {
            Some(format) if format > CHECKPOINT_FORMAT => Err(NoManifest::Newer(format)),
            _ => serde_json::from_value(sealed.manifest).map_err(damaged),
        }
    }
}

fn digest(manifest: &Value) -> Result<String, serde_json::Error> {
    serde_json::to_vec(manifest).map(|bytes| sha256(&bytes))
}
