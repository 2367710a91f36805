//! The phases of the method and the units of work that a run consists of.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is being trained (paper, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The shallow meta model, end to end.
    Meta,
    /// The target module with this index, from 0, inside the frozen meta model.
    Module(usize),
    /// The assembled target model, end to end.
    FineTune,
    /// The target model from random weights, end to end, for comparison.
    Baseline,
}

impl Phase {
    /// The kind of phase as it is written in experiment files and events.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Module(_) => "module",
            Self::FineTune => "fine-tune",
            Self::Baseline => "baseline",
        }
    }

    /// The index of the module that is trained, if this phase trains a single one.
    pub const fn module(self) -> Option<usize> {
        match self {
            Self::Module(index) => Some(index),
            _ => None,
        }
    }
}

impl fmt::Display for Phase {
    /// `meta`, `module.2`, `fine-tune`, `baseline`: also the names of the units.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Module(index) => write!(formatter, "module.{index}"),
            other => formatter.write_str(other.kind()),
        }
    }
}
