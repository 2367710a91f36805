//! The experiments that are part of the program: complete files with comments, in `host/experiments`.

use std::path::PathBuf;

use toml::Table;

use super::ExperimentError;
use crate::spelling::{did_you_mean, nearest};

/// An experiment that is compiled into the binary.
#[derive(Clone, Copy, Debug)]
pub struct BuiltInExperiment {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its file.
    pub text: &'static str,
}

/// The experiments, those that need nothing first.
const BUILT_IN: [BuiltInExperiment; 7] = [
    BuiltInExperiment {
        name: "digits",
        text: include_str!("../../experiments/digits.toml"),
    },
    BuiltInExperiment {
        name: "fashion-mnist",
        text: include_str!("../../experiments/fashion-mnist.toml"),
    },
    BuiltInExperiment {
        name: "cifar-deit-tiny-32",
        text: include_str!("../../experiments/cifar-deit-tiny-32.toml"),
    },
    BuiltInExperiment {
        name: "cifar-deit-tiny-128",
        text: include_str!("../../experiments/cifar-deit-tiny-128.toml"),
    },
    BuiltInExperiment {
        name: "imagenet-vit-base",
        text: include_str!("../../experiments/imagenet-vit-base.toml"),
    },
    BuiltInExperiment {
        name: "imagenet-vit-large",
        text: include_str!("../../experiments/imagenet-vit-large.toml"),
    },
    BuiltInExperiment {
        name: "imagenet-vit-huge",
        text: include_str!("../../experiments/imagenet-vit-huge.toml"),
    },
];

/// The experiments that need no file.
pub fn built_in() -> &'static [BuiltInExperiment] {
    &BUILT_IN
}

/// Their names, for an error.
pub(super) fn names() -> String {
    BUILT_IN.map(|one| one.name).join(", ")
}

/// The experiment with this name.
///
/// # Errors
/// When there is none.
pub fn find(name: &str) -> Result<&'static BuiltInExperiment, ExperimentError> {
    BUILT_IN
        .iter()
        .find(|one| one.name == name)
        .ok_or_else(|| ExperimentError::NotBuiltIn {
            name: name.to_owned(),
            suggestion: did_you_mean(nearest(name, BUILT_IN.iter().map(|one| one.name)).as_deref()),
            built_in: names(),
        })
}

impl BuiltInExperiment {
    /// What it is, in the words of its first line.
    pub fn about(&self) -> &'static str {
        let line = self.text.lines().next().unwrap_or_default();
        line.trim_start_matches(['#', ' ']).trim_end_matches('.')
    }

    /// The folder in which it looks for pictures.
    pub fn data_path(&self) -> Option<PathBuf> {
        let table: Table = self.text.parse().ok()?;
        let path = table.get("data")?.get("path")?;
        path.as_str().map(PathBuf::from)
    }
}
