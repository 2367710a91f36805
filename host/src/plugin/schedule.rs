//! Learning-rate schedules: a rate for every update and group of parameters.

use super::contract::v0_1::exports::incubate::plugin::schedule as contract;
use super::engine::Plugin;
use super::error::{PluginError, PluginErrorKind};
use super::journal::Message;
use super::kind::{Hook, Kind};
use super::loss::{module_index, phase_kind};
use super::randomness::Context;
use super::session::{Session, Statistics};
use super::settings::Settings;

/// How often the schedule wants to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stepping {
    /// Before every update.
    PerUpdate,
    /// Before the first update of every epoch; the rate holds for the whole epoch.
    PerEpoch,
}

/// A set of parameters that share a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group<'a> {
    /// The name.
    pub name: &'a str,
    /// The position in the list of groups of this phase.
    pub index: u32,
}

/// The moment for which a rate is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment<'a> {
    /// Updates done before this one.
    pub update: u64,
    /// Updates of the whole phase.
    pub updates: u64,
    /// Epochs done, with the fraction of the current one.
    pub epoch: f64,
    /// Epochs of the whole phase.
    pub epochs: u32,
    /// The rate of the experiment, after batch scaling.
    pub base_rate: f64,
    /// The parameters that the rate is for.
    pub group: Group<'a>,
}

/// A configured schedule for one phase.
#[derive(Debug)]
pub struct Schedule {
    session: Session<contract::Guest>,
    context: Context,
    stepping: Stepping,
}

impl Schedule {
    /// Starts a plugin with settings for one phase.
    ///
    /// # Errors
    ///
    /// The plugin is of another kind, cannot be started, or refuses the settings.
    pub fn new(
        plugin: &Plugin,
        settings: &Settings,
        context: Context,
    ) -> Result<Self, PluginError> {
        plugin.require(Kind::LrSchedule)?;
        let mut session = Session::<contract::Guest>::new(plugin, settings, Some(context))?;
        let stepping = match session.call(Hook::Stepping, None, |store, exports| {
            exports.call_stepping(store)
        })? {
            contract::Interval::PerUpdate => Stepping::PerUpdate,
            contract::Interval::PerEpoch => Stepping::PerEpoch,
        };
        Ok(Self {
            session,
            context,
            stepping,
        })
    }

    /// How often the schedule wants to be asked.
    pub const fn stepping(&self) -> Stepping {
        self.stepping
    }

    /// The learning rate: finite and not negative.
    ///
    /// # Errors
    ///
    /// The plugin fails, or what it answers is no learning rate.
    pub fn rate(&mut self, moment: &Moment<'_>) -> Result<f64, PluginError> {
        let asked = self.to_contract(moment);
        let rate = self
            .session
            .answer(Hook::Rate, Some(moment.update), |store, exports| {
                exports.call_rate(store, &asked)
            })?;
        if rate.is_finite() && rate >= 0.0 {
            return Ok(rate);
        }
        Err(self.session.error(
            Hook::Rate,
            PluginErrorKind::Answer {
                reason: format!(
                    "the learning rate is {rate:?} for update {} of {}, group `{}`",
                    moment.update, moment.updates, moment.group.name
                ),
                hint: "a finite number that is not negative is needed; check the settings of the schedule",
            },
        ))
    }

    /// Tells the schedule the result of an evaluation, by name and value.
    ///
    /// # Errors
    ///
    /// The plugin fails.
    pub fn observe(
        &mut self,
        moment: &Moment<'_>,
        metrics: &[(&str, f64)],
    ) -> Result<(), PluginError> {
        let asked = self.to_contract(moment);
        let metrics: Vec<contract::Metric> = metrics
            .iter()
            .map(|&(name, value)| contract::Metric {
                name: name.to_owned(),
                value,
            })
            .collect();
        self.session
            .answer(Hook::Observe, Some(moment.update), |store, exports| {
                exports.call_observe(store, &asked, &metrics)
            })
    }

    /// Everything that the schedule remembers.
    ///
    /// # Errors
    ///
    /// The plugin fails.
    pub fn save(&mut self) -> Result<Vec<u8>, PluginError> {
        self.session
            .call(Hook::Save, None, |store, exports| exports.call_save(store))
    }

    /// The counterpart of [`Self::save`], for a new schedule with the same settings.
    ///
    /// # Errors
    ///
    /// The plugin fails, or it does not accept the state.
    pub fn restore(&mut self, state: &[u8]) -> Result<(), PluginError> {
        self.session.answer(Hook::Restore, None, |store, exports| {
            exports.call_restore(store, state)
        })
    }

    /// What the plugin said since the last call of this function.
    pub fn drain_messages(&mut self) -> Vec<Message> {
        self.session.drain_messages()
    }

    /// What the plugin has used.
    pub fn statistics(&self) -> Statistics {
        self.session.statistics()
    }

    fn to_contract(&self, moment: &Moment<'_>) -> contract::Moment {
        contract::Moment {
            phase: phase_kind(self.context.phase),
            module: module_index(self.context.phase),
            update: moment.update,
            updates: moment.updates,
            epoch: moment.epoch,
            epochs: moment.epochs,
            base_rate: moment.base_rate,
            group: contract::Group {
                name: moment.group.name.to_owned(),
                index: moment.group.index,
            },
        }
    }
}
