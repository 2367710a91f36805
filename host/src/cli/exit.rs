//! Exit statuses. They are stable: scripts and job schedulers rely on them.

use anyhow::Error;

use super::check::CheckError;
use super::eval::EvalError;
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

/// Anything that is not listed here.
const UNEXPECTED: u8 = 1;
/// Wrong arguments or a wrong experiment.
pub(super) const USAGE: u8 = 2;
/// Pictures that are missing or damaged.
const DATA: u8 = 3;
/// A run folder that cannot be used.
const RUN_FOLDER: u8 = 4;
/// A plugin that was refused before it ran.
const PLUGIN_REFUSED: u8 = 10;
/// A plugin that failed while it ran.
const PLUGIN_FAILED: u8 = 11;
/// A plugin that went over a limit.
const PLUGIN_LIMIT: u8 = 12;
/// A plugin that breaks a law of its kind, or a replay that diverges.
const PLUGIN_CHECK: u8 = 21;
/// A loss that is not finite.
const DIVERGED: u8 = 20;
/// A device that cannot be used.
const DEVICE: u8 = 30;

/// A registry or server that cannot be reached, trusted, or used.
const REGISTRY: u8 = 40;

/// The exit status for an error.
pub(super) fn code(error: &Error) -> u8 {
    error.chain().find_map(code_of).unwrap_or(UNEXPECTED)
}

/// The exit status that one cause decides.
fn code_of(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if let Some(error) = cause.downcast_ref::<TrainError>() {
        return match error {
            TrainError::PluginRefused { .. }
            | TrainError::NoFallback { .. }
            | TrainError::DependentFallback { .. } => Some(PLUGIN_REFUSED),
            TrainError::PluginFailed { source, .. } if source.is_limit() => Some(PLUGIN_LIMIT),
            TrainError::PluginFailed { .. }
            | TrainError::NotConnected { .. }
            | TrainError::Loss { .. } => Some(PLUGIN_FAILED),
            TrainError::NotFinite { .. } => Some(DIVERGED),
            TrainError::Precision { .. } => Some(DEVICE),
            TrainError::Data(_) => Some(DATA),
            TrainError::Model(_)
            | TrainError::Checkpoint(_)
            | TrainError::Teacher { .. }
            | TrainError::UnknownUnit { .. }
            | TrainError::NoTerm { .. }
            | TrainError::Start { .. }
            | TrainError::OtherNetwork { .. } => Some(USAGE),
            TrainError::Run(_)
            | TrainError::Weights { .. }
            | TrainError::OtherMeta { .. }
            | TrainError::OtherCheckpoint { .. }
            | TrainError::UnfitCheckpoint { .. }
            | TrainError::Changed { .. } => Some(RUN_FOLDER),
            TrainError::Stopped { .. } | TrainError::Observer(_) => None,
            TrainError::Recorded { source, .. } => code_of(source.as_ref()),
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
    if cause.is::<RunError>() || cause.is::<ParcelError>() || cause.is::<ExchangeError>() {
        return Some(RUN_FOLDER);
    }
    if let Some(error) = cause.downcast_ref::<DataError>() {
        return match error {
            DataError::Setting { .. } => Some(USAGE),
            DataError::Write { .. } => None,
            _ => Some(DATA),
        };
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
fn registry(error: &RegistryError) -> u8 {
    match *error.problem {
        Problem::Digest { .. }
        | Problem::Size { .. }
        | Problem::Other { .. }
        | Problem::Published { .. } => PLUGIN_REFUSED,
        _ => REGISTRY,
    }
}
