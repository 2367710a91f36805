//! Exit statuses. They are stable: scripts and job schedulers rely on them.

use std::process::ExitCode;

use anyhow::Error;

use super::check::CheckError;
use super::eval::EvalError;
use super::jobs::UnitFailed;
use super::signals::Interrupted;
use crate::builder::NewError;
use crate::data::DataError;
use crate::device::DeviceError;
use crate::experiment::ExperimentError;
use crate::lock::LockError;
use crate::model::CheckpointError;
use crate::output::OutputError;
use crate::plugin::{PluginError, ReplayError};
use crate::registry::{Problem, PublishError, RegistryError, TrustError, UnitPlaceError};
use crate::run::{ParcelError, RunError};
use crate::training::{BenchError, ExchangeError, ImportError, TrainError};

/// A class of errors: the exit status, and how programs and people call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Class {
    /// The exit status.
    pub(super) status: u8,
    /// The name in JSON.
    pub(super) name: &'static str,
    /// A few words for a person.
    meaning: &'static str,
}

impl From<Class> for ExitCode {
    fn from(class: Class) -> Self {
        class.status.into()
    }
}

impl Class {
    /// Whether nothing failed: somebody asked to stop.
    pub(super) fn is_stop(self) -> bool {
        self == INTERRUPTED || self == TERMINATED
    }

    /// A class.
    const fn new(status: u8, name: &'static str, meaning: &'static str) -> Self {
        Self {
            status,
            name,
            meaning,
        }
    }
}

/// Anything that is not listed here.
const UNEXPECTED: Class = Class::new(1, "unexpected", "unexpected");
/// Wrong arguments or a wrong experiment.
pub(super) const USAGE: Class = Class::new(2, "usage", "usage or experiment");
/// Pictures that are missing or damaged.
const DATA: Class = Class::new(3, "data", "data");
/// A run folder that cannot be used.
const RUN_FOLDER: Class = Class::new(4, "run-folder", "run folder");
/// A unit that another process works on.
const TAKEN: Class = Class::new(5, "taken", "unit taken by another process");
/// A plugin that was refused before it ran.
const PLUGIN_REFUSED: Class = Class::new(10, "plugin-refused", "plugin refused");
/// A plugin that failed while it ran.
const PLUGIN_FAILED: Class = Class::new(11, "plugin-failed", "plugin failed");
/// A plugin that went over a limit.
const PLUGIN_LIMIT: Class = Class::new(12, "plugin-limit", "plugin over a limit");
/// A loss that is not finite.
const DIVERGED: Class = Class::new(20, "diverged", "loss not finite");
/// A plugin that breaks a law of its kind, or a replay that diverges.
const PLUGIN_CHECK: Class = Class::new(21, "plugin-check", "plugin check failed");
/// A device that cannot be used.
const DEVICE: Class = Class::new(30, "device", "device");
/// A registry or server that cannot be reached, trusted, or used.
const REGISTRY: Class = Class::new(40, "registry", "registry");
/// Stopped where nothing is lost, after Ctrl-C (SIGINT).
pub(super) const INTERRUPTED: Class = Class::new(130, "interrupted", "stopped by Ctrl-C");
/// The same after SIGTERM.
pub(super) const TERMINATED: Class = Class::new(143, "terminated", "stopped by SIGTERM");

/// Every class, in the order of the statuses.
const CLASSES: [Class; 14] = [
    UNEXPECTED,
    USAGE,
    DATA,
    RUN_FOLDER,
    TAKEN,
    PLUGIN_REFUSED,
    PLUGIN_FAILED,
    PLUGIN_LIMIT,
    DIVERGED,
    PLUGIN_CHECK,
    DEVICE,
    REGISTRY,
    INTERRUPTED,
    TERMINATED,
];

/// The class with this status; that of what is unexpected for one that none has.
pub(super) fn class_of(status: Option<i32>) -> Class {
    CLASSES
        .into_iter()
        .find(|class| Some(class.status.into()) == status)
        .unwrap_or(UNEXPECTED)
}

/// The table of the statuses as a sentence, for the end of `--help`.
pub(super) fn summary() -> String {
    let each: Vec<String> = CLASSES
        .iter()
        .map(|class| format!("{} {}", class.status, class.meaning))
        .collect();
    format!("Exit status: 0 done, {}.", each.join(", "))
}

/// The class of an error.
pub(super) fn class(error: &Error) -> Class {
    error.chain().find_map(code_of).unwrap_or(UNEXPECTED)
}

/// The class that one cause decides.
fn code_of(cause: &(dyn std::error::Error + 'static)) -> Option<Class> {
    if let Some(error) = cause.downcast_ref::<TrainError>() {
        return match error {
            TrainError::PluginRefused { .. }
            | TrainError::NoFallback { .. }
            | TrainError::DependentFallback { .. } => Some(PLUGIN_REFUSED),
            TrainError::PluginFailed { source, .. } if source.is_limit() => Some(PLUGIN_LIMIT),
            TrainError::PluginFailed { .. }
            | TrainError::NotConnected { .. }
            | TrainError::Loss { .. } => Some(PLUGIN_FAILED),
            TrainError::NotFinite { .. } | TrainError::NotFiniteScore { .. } => Some(DIVERGED),
            TrainError::Precision { .. } => Some(DEVICE),
            TrainError::Data(_) => Some(DATA),
            TrainError::Model(_)
            | TrainError::Checkpoint(_)
            | TrainError::Teacher { .. }
            | TrainError::UnknownUnit { .. }
            | TrainError::NoTerm { .. }
            | TrainError::Start { .. }
            | TrainError::OtherNetwork { .. } => Some(USAGE),
            TrainError::Run(error) => code_of(error),
            TrainError::Weights { .. }
            | TrainError::OtherMeta { .. }
            | TrainError::OtherCheckpoint { .. }
            | TrainError::UnfitCheckpoint { .. }
            | TrainError::Features { .. }
            | TrainError::Changed { .. } => Some(RUN_FOLDER),
            TrainError::Observer(error) => error
                .get_ref()
                .and_then(|error| error.downcast_ref::<RunError>())
                .and_then(|error| code_of(error)),
            TrainError::Stopped { .. } | TrainError::StoppedBefore { .. } => None,
            TrainError::Recorded { source, .. } | TrainError::Diverged { source, .. } => {
                code_of(source.as_ref())
            }
        };
    }
    if let Some(error) = cause.downcast_ref::<ExperimentError>() {
        return Some(match error {
            ExperimentError::Data(_) => DATA,
            _ => USAGE,
        });
    }
    if let Some(error) = cause.downcast_ref::<ImportError>() {
        return match error {
            ImportError::Train(error) => code_of(error),
            ImportError::Checkpoint(_)
            | ImportError::Unseen { .. }
            | ImportError::NoModule { .. } => Some(USAGE),
            ImportError::Occupied { .. } | ImportError::OtherMeta { .. } => Some(RUN_FOLDER),
        };
    }
    if let Some(error) = cause.downcast_ref::<BenchError>() {
        return match error {
            BenchError::Train(error) => code_of(error),
            BenchError::Refused(_) => Some(PLUGIN_REFUSED),
            BenchError::Sandbox(_) => None,
        };
    }
    if let Some(error) = cause.downcast_ref::<ReplayError>() {
        return Some(match error {
            ReplayError::Diverged { .. } => PLUGIN_CHECK,
            ReplayError::Plugin(_) | ReplayError::OtherBuild { .. } => PLUGIN_REFUSED,
            _ => USAGE,
        });
    }
    if cause.is::<PluginError>() {
        return Some(PLUGIN_REFUSED);
    }
    if let Some(error) = cause.downcast_ref::<CheckError>() {
        return Some(match error {
            CheckError::Failed { .. } => PLUGIN_CHECK,
            CheckError::Assignment { .. }
            | CheckError::Kind { .. }
            | CheckError::Law { .. }
            | CheckError::Grant { .. }
            | CheckError::Limit { .. } => USAGE,
        });
    }
    if let Some(error) = cause.downcast_ref::<LockError>() {
        return Some(match error {
            LockError::Registry(error) => registry(error),
            LockError::Reference(_)
            | LockError::Trust(TrustError::Key { .. })
            | LockError::BuiltIn { .. }
            | LockError::NotPinned { .. }
            | LockError::Syntax { .. }
            | LockError::Format { .. }
            | LockError::Occupied { .. } => USAGE,
            LockError::File { .. } | LockError::NoStore => UNEXPECTED,
            _ => PLUGIN_REFUSED,
        });
    }
    if let Some(error) = cause.downcast_ref::<PublishError>() {
        return Some(match error {
            PublishError::Registry(error) => registry(error),
            PublishError::Target { .. } | PublishError::File { .. } => USAGE,
            _ => PLUGIN_REFUSED,
        });
    }
    if let Some(error) = cause.downcast_ref::<UnitPlaceError>() {
        return Some(match error {
            UnitPlaceError::Parcel(_) => RUN_FOLDER,
            UnitPlaceError::OtherArtefact { .. } | UnitPlaceError::NoTag { .. } => REGISTRY,
            _ => USAGE,
        });
    }
    if let Some(error) = cause.downcast_ref::<RegistryError>() {
        return Some(registry(error));
    }
    if let Some(error) = cause.downcast_ref::<RunError>() {
        return Some(match error {
            RunError::Held { .. } | RunError::LeaseLost { .. } => TAKEN,
            _ => RUN_FOLDER,
        });
    }
    if let Some(error) = cause.downcast_ref::<UnitFailed>() {
        return Some(error.class());
    }
    if let Some(error) = cause.downcast_ref::<Interrupted>() {
        return Some(error.class());
    }
    if cause.is::<ParcelError>() || cause.is::<ExchangeError>() {
        return Some(RUN_FOLDER);
    }
    if let Some(error) = cause.downcast_ref::<DataError>() {
        return Some(match error {
            DataError::Setting { .. } => USAGE,
            _ => DATA,
        });
    }
    if cause.is::<NewError>()
        || cause.is::<OutputError>()
        || cause.is::<EvalError>()
        || cause.is::<CheckpointError>()
    {
        return Some(USAGE);
    }
    cause.is::<DeviceError>().then_some(DEVICE)
}

/// What came from a registry and is not what it should be is a refused plugin; anything else is the
/// registry's.
fn registry(error: &RegistryError) -> Class {
    match *error.problem {
        Problem::Digest { .. }
        | Problem::Size { .. }
        | Problem::Other { .. }
        | Problem::Published { .. } => PLUGIN_REFUSED,
        _ => REGISTRY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_every_status_and_no_other() {
        let readme = include_str!("../../../README.md");
        let table = readme.split("| exit status | meaning |").nth(1).unwrap();
        let rows = table
            .lines()
            .skip(2)
            .map_while(|row| row.strip_prefix("| "));
        let cells = rows.flat_map(|row| row.split(" |").next().unwrap().split(", "));
        let told: Vec<u8> = cells.map(|status| status.parse().unwrap()).collect();
        let known = CLASSES.iter().map(|class| class.status);
        let known: Vec<u8> = std::iter::once(0).chain(known).collect();
        assert_eq!(told, known);
    }

    #[test]
    fn no_two_classes_share_a_status_or_a_name() {
        for (place, class) in CLASSES.iter().enumerate() {
            for other in &CLASSES[place + 1..] {
                assert!(class.status < other.status, "{} {}", class.name, other.name);
                assert_ne!(class.name, other.name);
            }
        }
    }
}
