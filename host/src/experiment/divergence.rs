//! What happens when the loss of a phase is not a number any more.

use serde::{Deserialize, Serialize};

/// `training.divergence`, or the table of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DivergenceConfig {
    /// What happens.
    pub action: OnDivergence,
    /// How often a unit is rolled back before it ends all the same.
    pub retries: u32,
    /// What every learning rate is multiplied by at each roll-back, from then on. 1 leaves the rates,
    /// which helps only where the same update can give other bits: on a GPU.
    pub rate_factor: f64,
}

impl Default for DivergenceConfig {
    /// The unit ends.
    fn default() -> Self {
        Self {
            action: OnDivergence::Stop,
            retries: 3,
            rate_factor: 0.5,
        }
    }
}

/// What happens when the loss is not a number any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDivergence {
    /// The unit ends; its checkpoints stay.
    #[default]
    Stop,
    /// Training goes on from the newest checkpoint at the beginning of an epoch.
    RollBack,
}
