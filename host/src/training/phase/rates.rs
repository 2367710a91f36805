//! Learning rates: when the schedule is asked, and for what.

use super::{PhaseTraining, State};
use crate::experiment::Defect;
use crate::optimizer::Group as ParameterGroup;
use crate::plugin::{Group, Moment, Stepping};
use crate::training::TrainError;

impl PhaseTraining<'_> {
    /// The epoch with its fraction, at the batch `index` of the current epoch.
    pub(super) fn epoch_at(&self, state: &State<'_>, index: u64) -> f64 {
        f64::from(state.epoch) + index as f64 / self.cost.updates_per_epoch as f64
    }

    /// Asks the schedule for the rate of every group, when it is time to.
    pub(super) fn set_rates(&self, state: &mut State<'_>, index: u64) -> Result<(), TrainError> {
        let per_epoch = state.schedule.hook().stepping() == Stepping::PerEpoch;
        if per_epoch && index > 0 {
            return Ok(());
        }
        let asked = self.ask_rates(state, index);
        // The rates of all groups come from the same plugin.
        let asked = match asked {
            Ok(()) if state.schedule.was_just_replaced() => self.ask_rates(state, index),
            asked => asked,
        };
        self.pass_on_messages(state)?;
        asked
    }

    /// Asks the schedule for the rate of every group. One that takes the place of another within an
    /// epoch, and steps by epochs, is asked for the beginning of the epoch.
    pub(super) fn ask_rates(&self, state: &mut State<'_>, index: u64) -> Result<(), TrainError> {
        let (epoch, update) = (state.epoch, state.update);
        let exact = self.epoch_at(state, index);
        // The reference implementation sets the rate of an epoch when the epoch is over.
        let (past_updates, past_epochs) = if self.reference.has(Defect::RateLag) {
            (self.cost.updates_per_epoch, 1.0)
        } else {
            (0, 0.0)
        };
        let asked = |update: u64, epoch: f64, group: ParameterGroup, position: usize| {
            let update = update.saturating_sub(past_updates);
            let epoch = (epoch - past_epochs).max(0.0);
            self.moment(update, epoch, group.name(), position)
        };
        for (position, group) in ParameterGroup::ALL.into_iter().enumerate() {
            let rate = state.schedule.ask((epoch, update), |schedule| {
                schedule.rate(&match schedule.stepping() {
                    Stepping::PerUpdate => asked(update, exact, group, position),
                    Stepping::PerEpoch => asked(update - index, f64::from(epoch), group, position),
                })
            });
            state.rates[position] = rate.map_err(|source| self.failed(state, source))?;
        }
        Ok(())
    }

    /// The question to the schedule.
    pub(super) fn moment<'m>(
        &self,
        update: u64,
        epoch: f64,
        name: &'m str,
        index: usize,
    ) -> Moment<'m> {
        Moment {
            update,
            updates: self.cost.updates(),
            epoch,
            epochs: self.cost.epochs,
            base_rate: self.config.base_rate(),
            group: Group {
                name,
                index: index as u32,
            },
        }
    }
}
