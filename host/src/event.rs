//! What happens during a run, as data: the record, the progress display, and the output for
//! programs are three readers of the same events.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::plugin::Exact;

/// A plugin that failed, and the built-in one that went on in its place until the unit ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replacement {
    /// The unit; `partition` for the division into modules.
    pub unit: String,
    /// `partition`, `schedule`, or `loss`.
    pub role: String,
    /// The plugin that failed, with version and file.
    pub plugin: String,
    /// The built-in plugin that went on.
    pub fallback: String,
    /// The call that failed, answered by the fallback; `start` when there was none.
    pub hook: String,
    /// Why it failed.
    pub reason: String,
    /// The epoch, from 0.
    pub epoch: u32,
    /// The update, from 0.
    pub update: u64,
}

impl fmt::Display for Replacement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            plugin,
            fallback,
            hook,
            reason,
            epoch,
            update,
            ..
        } = self;
        write!(
            formatter,
            "{plugin} failed in `{hook}` at epoch {epoch}, update {update}, and built-in `{fallback}` goes on in its place: {reason}"
        )
    }
}

/// Training that went back to a checkpoint because the loss was not a number any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RollBack {
    /// The unit.
    pub unit: String,
    /// The epoch in which that was found, from 0.
    pub epoch: u32,
    /// The update, from 0.
    pub update: u64,
    /// What was found.
    pub reason: String,
    /// The epoch with which training goes on, from 0.
    pub to_epoch: u32,
    /// The update with which it goes on, from 0.
    pub to_update: u64,
    /// Updates that were made since that one, and are made once more.
    pub lost: u64,
    /// What every learning rate is multiplied by from there on; text in JSON, so that every bit of it
    /// survives.
    pub rate_factor: Exact,
}

impl fmt::Display for RollBack {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            update,
            reason,
            to_update,
            rate_factor,
            ..
        } = self;
        write!(
            formatter,
            "{reason} at update {update}, and training went back to update {to_update} and on with {:?} times the rates of the schedule",
            rate_factor.0
        )
    }
}

/// What one hook of a weighted sum gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TermLoss {
    /// Its place in the sum: `loss.0`, `loss.1`, and so on.
    pub role: String,
    /// The plugin's name.
    pub plugin: String,
    /// What its loss was multiplied by.
    pub weight: f64,
    /// Its loss, before that.
    pub loss: f64,
}

/// One thing that happened. Losses are means over pictures, accuracies lie between 0 and 1,
/// times are seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// A run begins or goes on.
    RunStarted {
        /// The experiment's name.
        experiment: String,
        /// The run folder.
        folder: String,
        /// The device that trains.
        device: String,
        /// Why that device.
        reason: String,
        /// Units that are still to be done, in order.
        units: Vec<String>,
    },
    /// Something that a person should know about the whole run.
    Note {
        /// A sentence.
        text: String,
    },
    /// A unit is done by a process of its own, beside those of others.
    ProcessStarted {
        /// The unit.
        unit: String,
        /// The number of the process.
        process: u32,
        /// Its device: `cpu`, or `wgpu:N`.
        device: String,
        /// Threads that it computes with on the CPU.
        threads: usize,
    },
    /// A unit was found finished in the run folder.
    UnitSkipped {
        /// The unit.
        unit: String,
    },
    /// A unit begins.
    UnitStarted {
        /// The unit.
        unit: String,
        /// Passes over the training pictures; 0 for a unit that does not train.
        epochs: u32,
        /// Updates of the whole unit.
        updates: u64,
        /// Pictures per update.
        batch: usize,
        /// Numbers that are trained.
        trained_parameters: u64,
    },
    /// What a person should know about the network that a unit begins with.
    UnitNote {
        /// The unit.
        unit: String,
        /// A sentence.
        note: String,
    },
    /// A unit that was interrupted goes on from a checkpoint.
    Resumed {
        /// The unit.
        unit: String,
        /// The epoch of the next update, from 0; the number of epochs when no update is left.
        epoch: u32,
        /// The next update, from 0.
        update: u64,
        /// The checkpoint.
        checkpoint: String,
        /// Newer checkpoints that are damaged, each with the reason.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        damaged: Vec<String>,
    },
    /// Pictures that cannot be decoded are left out of everything, as the experiment wants.
    PicturesLeftOut {
        /// How many of the training pictures.
        train: usize,
        /// How many of the validation pictures: every score is of the others.
        validation: usize,
        /// The files, each with the reason.
        pictures: Vec<String>,
    },
    /// The loss was not a number any more, and training went back to a checkpoint.
    RolledBack(RollBack),
    /// The weights changed once.
    Update {
        /// The unit.
        unit: String,
        /// The epoch, from 0.
        epoch: u32,
        /// The update, from 0.
        update: u64,
        /// The training loss before this update.
        loss: f64,
        /// The hooks that were asked, when the loss is a sum of several.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        terms: Vec<TermLoss>,
        /// The share of this update's pictures that were classified rightly before it.
        accuracy: f64,
        /// The learning rate.
        rate: f64,
        /// The global norm of the gradients before clipping, when they are clipped.
        gradient_norm: Option<f64>,
        /// Pictures per second since the unit began, evaluations not counted.
        #[serde(deserialize_with = "number_or_null")]
        pictures_per_second: f64,
    },
    /// What some updates asked of a GPU; evaluations and checkpoints are not in it.
    DeviceWork {
        /// The unit.
        unit: String,
        /// The first of the updates, from 0.
        update: u64,
        /// How many they are.
        updates: u64,
        /// Kernels that it was given.
        launches: u64,
        /// Times that numbers left it, each after everything before.
        reads: u64,
        /// Tensors that were put on it.
        uploads: u64,
        /// Their bytes.
        uploaded_bytes: u64,
    },
    /// The validation pictures were classified.
    Evaluated {
        /// The unit.
        unit: String,
        /// The epoch that ended, from 0.
        epoch: u32,
        /// Cross-entropy, natural logarithm.
        loss: f64,
        /// The share classified rightly.
        accuracy: f64,
        /// The share whose class is among the five that the network finds likeliest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        top5: Option<f64>,
    },
    /// A plugin wrote to its log.
    PluginMessage {
        /// The unit.
        unit: String,
        /// The plugin's name.
        plugin: String,
        /// `debug`, `info`, `warning`, or `error`.
        level: String,
        /// The plugin's words.
        message: String,
    },
    /// A plugin failed, and another went on in its place.
    PluginReplaced(Replacement),
    /// A plugin recorded a number.
    PluginMetric {
        /// The unit.
        unit: String,
        /// The plugin's name.
        plugin: String,
        /// The metric's name.
        name: String,
        /// Its value; `null` in JSON when it is not finite.
        #[serde(deserialize_with = "number_or_null")]
        value: f64,
    },
    /// What a plugin cost since the unit began; after every epoch, and from time to time in a long
    /// one.
    PluginCost {
        /// The unit.
        unit: String,
        /// `schedule` or `loss`.
        role: String,
        /// The plugin's name.
        plugin: String,
        /// Calls of the plugin.
        calls: u64,
        /// Tensor operations that it asked for.
        operations: u64,
        /// Times that it read numbers back from the device.
        readbacks: u64,
        /// Instructions that it ran.
        fuel: u64,
        /// Seconds in the plugin.
        guest_seconds: f64,
        /// Seconds in tensor operations on its behalf; on a GPU those to launch them.
        host_seconds: f64,
        /// Seconds of training, the plugins' included, evaluations not.
        seconds: f64,
        /// The plugin's share of those.
        #[serde(deserialize_with = "number_or_null")]
        share: f64,
    },
    /// The call in which a plugin failed was written down; a run that ends with it says so in its
    /// error.
    FailureRecorded {
        /// The unit.
        unit: String,
        /// The file.
        file: String,
        /// What to type to make the call again.
        command: String,
    },
    /// The room for recorded calls is used up.
    RecordingStopped {
        /// The unit.
        unit: String,
        /// The file.
        file: String,
        /// The calls in it.
        calls: u64,
    },
    /// A unit ended; its result stands in the run folder.
    UnitFinished {
        /// The unit.
        unit: String,
        /// Cross-entropy over the validation pictures.
        loss: f64,
        /// The share of them classified rightly.
        accuracy: f64,
        /// The share of them whose class is among the five that the network finds likeliest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        top5: Option<f64>,
        /// Seconds that it took.
        seconds: f64,
    },
    /// Every requested unit ended.
    RunFinished {
        /// The run folder.
        folder: String,
        /// Seconds since the command began.
        seconds: f64,
    },
}

impl Event {
    /// The unit that it is about; none when it is about the whole run. What became of the partition
    /// scheme has the name `partition`.
    pub fn unit(&self) -> Option<&str> {
        match self {
            Self::RunStarted { .. }
            | Self::Note { .. }
            | Self::PicturesLeftOut { .. }
            | Self::RunFinished { .. } => None,
            Self::PluginReplaced(Replacement { unit, .. })
            | Self::RolledBack(RollBack { unit, .. })
            | Self::ProcessStarted { unit, .. }
            | Self::UnitSkipped { unit }
            | Self::UnitStarted { unit, .. }
            | Self::UnitNote { unit, .. }
            | Self::Resumed { unit, .. }
            | Self::Update { unit, .. }
            | Self::Evaluated { unit, .. }
            | Self::PluginMessage { unit, .. }
            | Self::PluginMetric { unit, .. }
            | Self::PluginCost { unit, .. }
            | Self::DeviceWork { unit, .. }
            | Self::FailureRecorded { unit, .. }
            | Self::RecordingStopped { unit, .. }
            | Self::UnitFinished { unit, .. } => Some(unit),
        }
    }
}

/// JSON has no word for what is not a number.
pub(crate) fn number_or_null<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<f64, D::Error> {
    Option::<f64>::deserialize(deserializer).map(|number| number.unwrap_or(f64::NAN))
}

/// Somebody who is told what happens.
pub trait Observer {
    /// Called in the order of the events. An error stops the run.
    ///
    /// # Errors
    /// When the event could not be kept or shown.
    fn observe(&mut self, event: &Event) -> std::io::Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_can_be_read_from_its_line() {
        for value in [0.25, f64::NAN, f64::INFINITY] {
            let event = Event::PluginMetric {
                unit: "module.1".to_owned(),
                plugin: "focal".to_owned(),
                name: "hard".to_owned(),
                value,
            };
            let line = serde_json::to_string(&event).unwrap();
            let read: Event = serde_json::from_str(&line).unwrap();
            assert_eq!(read.unit(), Some("module.1"));
            assert_eq!(read == event, value.is_finite(), "{line}");
        }
    }
}
