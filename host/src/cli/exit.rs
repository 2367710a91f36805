//! Exit statuses. They are stable: scripts and job schedulers rely on them.

use anyhow::Error;

use crate::builder::NewError;
use crate::device::DeviceError;
use crate::experiment::ExperimentError;
use crate::plugin::PluginError;
use crate::run::RunError;
use crate::training::TrainError;

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
/// A loss that is not finite.
const DIVERGED: u8 = 20;
/// A device that cannot be used.
const DEVICE: u8 = 30;

/// The exit status for an error.
pub(super) fn code(error: &Error) -> u8 {
    error.chain().find_map(code_of).unwrap_or(UNEXPECTED)
}

/// The exit status that one cause decides.
fn code_of(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if let Some(error) = cause.downcast_ref::<TrainError>() {
        return match error {
            TrainError::PluginRefused { .. } => Some(PLUGIN_REFUSED),
            TrainError::PluginFailed { source, .. } if source.is_limit() => Some(PLUGIN_LIMIT),
            TrainError::PluginFailed { .. }
            | TrainError::NotConnected { .. }
            | TrainError::Loss { .. } => Some(PLUGIN_FAILED),
            TrainError::NotFinite { .. } => Some(DIVERGED),
            TrainError::Data(_) => Some(DATA),
            TrainError::Model(_) | TrainError::UnknownUnit { .. } => Some(USAGE),
            TrainError::Run(_)
            | TrainError::Weights { .. }
            | TrainError::OtherMeta { .. }
            | TrainError::Changed { .. } => Some(RUN_FOLDER),
            TrainError::Observer(_) => None,
        };
    }
    if let Some(error) = cause.downcast_ref::<ExperimentError>() {
        return Some(match error {
            ExperimentError::Data(_) => DATA,
            _ => USAGE,
        });
    }
    if cause.is::<PluginError>() {
        return Some(PLUGIN_REFUSED);
    }
    if cause.is::<RunError>() {
        return Some(RUN_FOLDER);
    }
    if cause.is::<NewError>() {
        return Some(USAGE);
    }
    cause.is::<DeviceError>().then_some(DEVICE)
}
