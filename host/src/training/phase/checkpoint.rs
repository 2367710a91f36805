//! Checkpoints of a phase: everything that the next update depends on, taken off the device in the loop
//! and written by another thread; and the way back.

use std::path::PathBuf;
use std::time::Instant;

use super::terms::Terms;
use super::{PhaseTraining, State};
use crate::event::Event;
use crate::model::{Tensors, WeightsError, trained_tensors, with_trained};
use crate::optimizer::Average;
use crate::plugin::{Context, Exact};
use crate::random::Seed;
use crate::run::{
    AVERAGE_FILE, CheckpointScore, CheckpointState, Counted, NETWORK_FILE, OPTIMIZER_FILE,
    Position, Stored, TimeSpent, Unit,
};
use crate::training::TrainError;
use crate::training::evaluation::Score;
use crate::training::fallback::{NotResumed, Standby, plugin_state};
use crate::training::guides::Seen;

impl PhaseTraining<'_> {
    /// Whether it is time for a checkpoint after an update. One that is due by the clock is taken when
    /// the one before is written; one that is due by the number of updates is taken at once, and waits
    /// in memory.
    pub(super) fn is_due(&self, state: &State<'_>) -> bool {
        let config = self.checkpoints;
        let by_updates =
            config.every_updates > 0 && state.update.is_multiple_of(config.every_updates);
        let minutes = state.written.elapsed().as_secs_f64() / 60.0;
        let by_time = config.every_minutes > 0.0 && minutes >= config.every_minutes;
        by_updates || by_time && !state.writer.is_writing()
    }

    /// Whether a checkpoint is kept for what it is at the end of an epoch.
    pub(super) fn is_kept(&self, state: &State<'_>) -> bool {
        let config = self.checkpoints;
        let by_epochs = config.keep_every > 0 && state.epoch.is_multiple_of(config.keep_every);
        by_epochs || config.keep_best > 0 && state.evaluated
    }

    /// Writes a checkpoint of everything up to now, where `begun` is when the updates began that
    /// [`State::trained_for`] does not count. It returns when everything is off the device; nothing is
    /// written when a plugin cannot be saved, or when a weight is not a number any more.
    pub(super) fn write_checkpoint(
        &self,
        state: &mut State<'_>,
        begun: Instant,
    ) -> Result<Option<PathBuf>, TrainError> {
        if let Some(reason) = state.schedule.unsaved().or_else(|| state.loss.unsaved()) {
            return self.without_checkpoints(state, &reason);
        }
        state.written = Instant::now();
        let place = (state.epoch, state.update);
        let plugins = state.schedule.snapshot(place).and_then(|schedule| {
            let mut plugins = state.loss.snapshot(place)?;
            plugins.push(schedule);
            Ok(plugins)
        });
        self.pass_on_messages(state)?;
        let plugins = plugins.map_err(|source| self.failed(state, source))?;
        // What has happened is in the log before its length is written down.
        self.report(state, begun)?;
        let unit = Unit::Train(self.phase);
        let network = trained_tensors(&state.network);
        if !network.are_finite() {
            // Nothing good could go on from here; the next update finds that its loss is no number.
            state.writer.wait()?;
            let newest = self.folder.checkpoints(unit)?.pop();
            return Ok(newest.map(|update| self.folder.checkpoint_path(unit, update)));
        }
        let calls_bytes = state
            .calls
            .as_ref()
            .map(|calls| calls.bytes())
            .transpose()?;
        let taken = CheckpointState {
            origin: self.origin.clone(),
            changed: state.changed,
            device: self.device_name.to_owned(),
            position: Position {
                epoch: state.epoch,
                batch: state.index,
                update: state.update,
            },
            counted: Counted {
                batch: self.cost.batch,
                updates_per_epoch: self.cost.updates_per_epoch,
            },
            rates: state.rates.map(Exact).to_vec(),
            rate_factor: Exact(state.rate_factor),
            roll_backs: state.roll_backs.clone(),
            roll_back_point: self.is_roll_back_point(state),
            plugins,
            fallbacks: state.fallbacks.clone(),
            seen_by_meta: state.seen.meta,
            seen_by_teacher: state.seen.teacher,
            features_kept: state.seen.kept,
            features_used: state.seen.spared,
            reached: state.reached.clone(),
            score: state.score.map(|score| CheckpointScore {
                loss: Exact(score.loss),
                accuracy: Exact(score.accuracy),
                top5: Exact(score.top5),
            }),
            evaluated: state.evaluated,
            spent: TimeSpent {
                unit: self.spent_before + self.begun.elapsed(),
                updates: state.trained_for + begun.elapsed(),
                plugins: state.besides,
            },
            events_bytes: self.folder.events_bytes(unit)?,
            calls_bytes,
        };
        let optimizer = state.optimizer.tensors(&state.network);
        let average = state
            .average
            .as_ref()
            .map(|average| average.tensors(&state.network));
        let bytes = [Some(&network), Some(&optimizer), average.as_ref()]
            .into_iter()
            .flatten()
            .map(Tensors::bytes)
            .sum();
        let files = move || {
            let mut files = vec![
                (NETWORK_FILE, network.to_safetensors()?),
                (OPTIMIZER_FILE, optimizer.to_safetensors()?),
            ];
            if let Some(average) = average {
                files.push((AVERAGE_FILE, average.to_safetensors()?));
            }
            Ok::<_, WeightsError>(files)
        };
        let path = state.writer.write(taken, bytes, || {
            files().map_err(|error| std::io::Error::other(error.to_string()))
        })?;
        self.tell_left_out(state)?;
        Ok(Some(path))
    }

    /// Says once that the disk is too slow for the checkpoints that are asked for.
    fn tell_left_out(&self, state: &mut State<'_>) -> Result<(), TrainError> {
        if !state.left_out_told && state.writer.left_out() > 0 {
            state.left_out_told = true;
            state.observer.observe(&Event::UnitNote {
                unit: self.phase.to_string(),
                note: "checkpoints are due faster than they can be written: training goes on, and some \
                       are left out (the newest never is); a larger `checkpoint.every_updates` needs fewer"
                    .to_owned(),
            })?;
        }
        Ok(())
    }

    /// Says once why there are no checkpoints.
    fn without_checkpoints(
        &self,
        state: &mut State<'_>,
        reason: &str,
    ) -> Result<Option<PathBuf>, TrainError> {
        if !state.unsaved_told {
            state.unsaved_told = true;
            state.observer.observe(&Event::UnitNote {
                unit: self.phase.to_string(),
                note: format!("no checkpoints are written: {reason}"),
            })?;
        }
        Ok(None)
    }

    /// The end of a phase that was asked to stop: a checkpoint, and the error that says where it is.
    pub(super) fn stopped(&self, state: &mut State<'_>, begun: Instant) -> TrainError {
        let written = self.write_checkpoint(state, begun).and_then(|path| {
            state.writer.make_way();
            state.writer.wait()?;
            Ok(path)
        });
        match written {
            Ok(checkpoint) => TrainError::Stopped {
                place: self.place(state.epoch, state.update),
                checkpoint,
            },
            Err(error) => error,
        }
    }

    /// Puts everything back to where it was at a checkpoint.
    pub(super) fn restore<'s>(
        &'s self,
        state: &mut State<'s>,
        stored: Stored,
    ) -> Result<(), TrainError> {
        let Stored {
            path,
            state: saved,
            mut files,
        } = stored;
        let unfit = |source| TrainError::UnfitCheckpoint {
            path: path.clone(),
            source,
        };
        let has_average = files.contains_key(AVERAGE_FILE);
        let mut tensors = |name: &str| {
            let bytes = files.remove(name).ok_or_else(|| WeightsError::Missing {
                names: vec![name.to_owned()],
            })?;
            Tensors::from_safetensors(&bytes)
        };
        let plain = self.device.clone().inner();
        let network = state.network.clone();
        let trained = tensors(NETWORK_FILE).map_err(unfit)?;
        state.network = with_trained(network, trained, &plain).map_err(unfit)?;
        let moments = tensors(OPTIMIZER_FILE).map_err(unfit)?;
        let optimizer = &mut state.optimizer;
        let restored = optimizer.restore(&state.network, moments, &plain);
        restored.map_err(unfit)?;
        // Then somebody let the run go on all the same.
        let changed = saved.origin != self.origin;
        if let Some(average) = &mut state.average
            && !has_average
        {
            *average = Average::new(&state.network, self.config.ema, self.config.ema_warm_up);
        } else if let Some(average) = &mut state.average {
            let values = tensors(AVERAGE_FILE).map_err(unfit)?;
            let restored = average.restore(&state.network, values, &plain);
            restored.map_err(unfit)?;
        }
        let position = saved.position;
        self.restore_plugins(state, &path, &saved, changed)?;
        for (rate, saved) in state.rates.iter_mut().zip(&saved.rates) {
            *rate = saved.0;
        }
        state.fallbacks = saved.fallbacks;
        state.roll_backs = saved.roll_backs;
        state.rate_factor = saved.rate_factor.0;
        state.seen = Seen {
            meta: saved.seen_by_meta,
            teacher: saved.seen_by_teacher,
            kept: saved.features_kept,
            spared: saved.features_used,
        };
        state.changed = saved.changed || changed;
        state.reached = saved.reached;
        state.score = saved.score.map(|score| Score {
            loss: score.loss.0,
            accuracy: score.accuracy.0,
            top5: score.top5.0,
        });
        state.evaluated = saved.evaluated;
        state.trained_for = saved.spent.updates;
        state.besides = saved.spent.plugins;
        (state.epoch, state.index) = (position.epoch, position.batch);
        state.update = position.update;
        if changed {
            self.ask_rates(state, position.batch)?;
        }
        Ok(())
    }

    /// Lets every plugin go on where it was. When the experiment `changed`, one that is not the same any
    /// more begins anew, and that is said.
    fn restore_plugins<'s>(
        &'s self,
        state: &mut State<'s>,
        path: &std::path::Path,
        saved: &CheckpointState,
        changed: bool,
    ) -> Result<(), TrainError> {
        let context = Context {
            seed: Seed(self.seed),
            phase: self.phase,
        };
        let schedule = &self.plugins.schedule;
        let mut anew = Vec::new();
        let mut accept = |reason| match reason {
            NotResumed::Other { what, before, now } if changed => {
                anew.push(format!(
                    "the {what} begins anew: it was {before}, and is {now}"
                ));
                Ok(())
            }
            reason => Err(reason),
        };
        let resumed = plugin_state(&saved.plugins, "schedule", schedule)
            .and_then(|plugin| Standby::resume(schedule, context, "schedule", plugin))
            .or_else(|reason| {
                accept(reason)?;
                Standby::start(schedule, context, "schedule").map_err(NotResumed::Failed)
            })
            .and_then(|schedule| {
                let loss = Terms::resume(&self.plugins.loss, context, &saved.plugins, &mut accept)?;
                Ok((schedule, loss))
            });
        let position = saved.position;
        (state.schedule, state.loss) = resumed.map_err(|reason| match reason {
            NotResumed::Other { what, before, now } => TrainError::OtherCheckpoint {
                path: path.to_path_buf(),
                what,
                before,
                now,
            },
            NotResumed::Failed(source) => TrainError::PluginFailed {
                place: self.place(position.epoch, position.update),
                source,
            },
        })?;
        for note in anew {
            state.observer.observe(&Event::UnitNote {
                unit: self.phase.to_string(),
                note,
            })?;
        }
        Ok(())
    }
}
