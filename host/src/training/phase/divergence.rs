//! What becomes of a phase whose loss is not a number any more: it ends, or goes back to a checkpoint
//! and on at lower rates.
//!
//! Where it goes back to depends on the experiment alone, not on when checkpoints were written for
//! another reason: to the newest beginning of an epoch whose weights are numbers. So a run that was
//! interrupted meanwhile ends with the same bits.

use super::work::Work;
use super::{PhaseTraining, State};
use crate::event::{Event, RollBack};
use crate::experiment::OnDivergence;
use crate::plugin::Exact;
use crate::run::Unit;
use crate::training::TrainError;
use crate::training::error::WayOut;
use crate::training::metrics::PendingMetrics;

impl PhaseTraining<'_> {
    /// Whether training goes back when it diverges.
    pub(super) fn rolls_back(&self) -> bool {
        self.config.divergence.action == OnDivergence::RollBack
    }

    /// Whether training goes back to a checkpoint that is written now.
    pub(super) fn is_roll_back_point(&self, state: &State<'_>) -> bool {
        self.rolls_back() && (state.index == 0 || state.point_at == Some(state.update))
    }

    /// Makes where training begins, or goes on, the place to go back to, unless there is one.
    pub(super) fn begin_roll_back(&self, state: &mut State<'_>) -> Result<(), TrainError> {
        let unit = Unit::Train(self.phase);
        if self.rolls_back() && !self.folder.has_roll_back_point(unit, &self.origin)? {
            state.point_at = Some(state.update);
            self.write_checkpoint(state, std::time::Instant::now())?;
        }
        Ok(())
    }

    /// Goes back after an error that says that training diverged; the error when that is not wanted,
    /// not possible, or was done often enough.
    pub(super) fn recover<'s>(
        &'s self,
        state: &mut State<'s>,
        error: TrainError,
    ) -> Result<(), TrainError> {
        let Some((place, reason)) = error.divergence() else {
            return Err(error);
        };
        let config = self.config.divergence;
        let unit = Unit::Train(self.phase);
        // One that is being written is of good weights.
        state.writer.wait()?;
        // From these weights the loss is no number.
        let bad = place.update;
        self.folder.forget_checkpoints_from(unit, bad)?;
        let newest = |no_point| {
            let newest = self.folder.checkpoints(unit)?.pop();
            Ok::<_, TrainError>(WayOut {
                table: format!("{}.divergence", self.phase.kind()),
                checkpoint: newest.map(|update| self.folder.checkpoint_path(unit, update)),
                rolled_back: state.roll_backs.len(),
                stop: !self.rolls_back(),
                no_point,
            })
        };
        let spent = state.roll_backs.len() >= config.retries as usize;
        if !self.rolls_back() || spent {
            return Err(error.with_way_out(newest(false)?));
        }
        let found = self.folder.roll_back_point(unit, &self.origin, bad)?;
        let Some(stored) = found.newest else {
            return Err(error.with_way_out(newest(true)?));
        };
        for note in found.damaged {
            let unit = unit.to_string();
            state.observer.observe(&Event::UnitNote { unit, note })?;
        }
        let to = stored.state.position;
        // They are of the way that led to where the loss is no number.
        self.folder.forget_checkpoints_from(unit, to.update + 1)?;
        let factor = state.rate_factor * config.rate_factor;
        let roll_back = RollBack {
            unit: unit.to_string(),
            epoch: place.epoch,
            update: place.update,
            reason,
            to_epoch: to.epoch,
            to_update: to.update,
            lost: state.update - to.update,
            rate_factor: Exact(factor),
        };
        state
            .observer
            .observe(&Event::RolledBack(roll_back.clone()))?;
        let (mut roll_backs, seen) = (std::mem::take(&mut state.roll_backs), state.seen);
        let reached = std::mem::take(&mut state.reached);
        self.restore(state, stored)?;
        // What was computed in vain was computed.
        (state.seen, state.reached) = (seen, reached);
        roll_backs.push(roll_back);
        state.roll_backs = roll_backs;
        state.rate_factor = factor;
        state.pending = PendingMetrics::default();
        state.work = Work::default();
        if state.calls.is_some() {
            state.schedule.record_calls();
            state.loss.record_calls();
        }
        // An interruption from now on does not lead through the divergence once more.
        state.point_at = Some(state.update);
        self.write_checkpoint(state, std::time::Instant::now())?;
        Ok(())
    }
}
