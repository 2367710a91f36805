//! What the plugins say, cost, and fail in, on its way to the observer and the run folder.

use std::time::{Duration, Instant};

use super::{PhaseTraining, State};
use crate::event::{Event, Replacement};
use crate::plugin::{Message, PluginError};
use crate::run::Unit;
use crate::training::TrainError;
use crate::training::error::replay_command;

impl PhaseTraining<'_> {
    /// Writes recorded calls down until the room for them is used up.
    pub(super) fn keep_calls(&self, state: &mut State<'_>) -> Result<(), TrainError> {
        let Some(writer) = &mut state.calls else {
            return Ok(());
        };
        let mut recordings = state.schedule.drain_recordings();
        recordings.extend(state.loss.drain_recordings());
        for recording in &recordings {
            if !writer.write(recording)? {
                let event = Event::RecordingStopped {
                    unit: self.phase.to_string(),
                    file: writer.path().display().to_string(),
                    calls: writer.calls(),
                };
                state.schedule.stop_recording();
                state.loss.stop_recording();
                state.calls = None;
                return Ok(state.observer.observe(&event)?);
            }
        }
        Ok(())
    }

    /// Tells the observer that a plugin was replaced, and keeps the call in which it failed.
    pub(super) fn tell_replaced(
        &self,
        state: &mut State<'_>,
        (replacement, failed): (Replacement, PluginError),
    ) -> Result<(), TrainError> {
        let event = Event::PluginReplaced(replacement.clone());
        state.observer.observe(&event)?;
        let unit = Unit::Train(self.phase);
        if let Some(recording) = failed.recording()
            && let Some(file) =
                self.folder
                    .write_failure(unit, Some(&replacement.role), &recording)?
        {
            state.observer.observe(&Event::FailureRecorded {
                unit: unit.to_string(),
                command: replay_command(&file),
                file: file.display().to_string(),
            })?;
        }
        state.fallbacks.push(replacement);
        Ok(())
    }

    /// Hands the plugins' recorded calls and messages on, and says which plugin was replaced.
    pub(super) fn pass_on_messages(&self, state: &mut State<'_>) -> Result<(), TrainError> {
        self.keep_calls(state)?;
        let mut messages = state.schedule.drain_messages();
        messages.extend(state.loss.drain_messages());
        let news = state.schedule.take_news().into_iter();
        let news: Vec<_> = news.chain(state.loss.take_news()).collect();
        for replaced in news {
            self.tell_replaced(state, replaced)?;
        }
        for (plugin, message) in messages {
            let unit = self.phase.to_string();
            let plugin = plugin.to_owned();
            let event = match message {
                Message::Log { level, text, .. } => Event::PluginMessage {
                    unit,
                    plugin,
                    level: level.to_string(),
                    message: text,
                },
                Message::Metric { name, value, .. } => Event::PluginMetric {
                    unit,
                    plugin,
                    name,
                    value,
                },
            };
            state.observer.observe(&event)?;
        }
        Ok(())
    }

    /// Tells the observer what the plugins cost in `trained_for`, the time of all updates.
    pub(super) fn plugin_cost(
        &self,
        state: &mut State<'_>,
        trained_for: Duration,
    ) -> Result<(), TrainError> {
        state.cost_told = Instant::now();
        let seconds = (trained_for + state.besides).as_secs_f64();
        let schedule = state.schedule.used().map(|used| ("schedule", used));
        let loss = state.loss.used();
        for (role, (plugin, statistics, spent)) in schedule.chain(loss) {
            state.observer.observe(&Event::PluginCost {
                unit: self.phase.to_string(),
                role: role.to_owned(),
                plugin: plugin.to_owned(),
                calls: statistics.calls,
                operations: statistics.operations,
                readbacks: statistics.readbacks,
                fuel: statistics.fuel,
                guest_seconds: spent.guest.as_secs_f64(),
                host_seconds: spent.host.as_secs_f64(),
                seconds,
                share: spent.total().as_secs_f64() / seconds,
            })?;
        }
        Ok(())
    }
}
