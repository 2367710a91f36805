//! The kinds of plugins and the calls into them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a plugin decides; one world of the contract each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Cuts the target model into modules.
    PartitionScheme,
    /// Answers the learning rate.
    LrSchedule,
    /// Composes the training loss.
    LossHook,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::PartitionScheme, Self::LrSchedule, Self::LossHook];

    /// The interface that a plugin of this kind exports.
    pub const fn interface(self) -> &'static str {
        match self {
            Self::PartitionScheme => "partition",
            Self::LrSchedule => "schedule",
            Self::LossHook => "loss",
        }
    }

    /// The world of the contract.
    pub const fn world(self) -> &'static str {
        match self {
            Self::PartitionScheme => "partition-scheme",
            Self::LrSchedule => "lr-schedule",
            Self::LossHook => "loss-hook",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::PartitionScheme => "partition scheme",
            Self::LrSchedule => "learning-rate schedule",
            Self::LossHook => "loss hook",
        })
    }
}

/// A call into a plugin, by the name that the contract gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    /// `description.describe`
    Describe,
    /// `configure` of every kind
    Configure,
    /// `partition.divide`
    Divide,
    /// `schedule.stepping`
    Stepping,
    /// `schedule.rate`
    Rate,
    /// `schedule.observe`
    Observe,
    /// `loss.needs`
    Needs,
    /// `loss.compute`
    Compute,
    /// `save` of schedules and losses
    Save,
    /// `restore` of schedules and losses
    Restore,
}

impl fmt::Display for Hook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Describe => "describe",
            Self::Configure => "configure",
            Self::Divide => "divide",
            Self::Stepping => "stepping",
            Self::Rate => "rate",
            Self::Observe => "observe",
            Self::Needs => "needs",
            Self::Compute => "compute",
            Self::Save => "save",
            Self::Restore => "restore",
        })
    }
}
