//! Learning-rate schedules: a rate for every update and group of parameters.

use super::contract::v0_1::exports::incubate::plugin::schedule as contract;
use super::engine::Plugin;
use super::error::{PluginError, PluginErrorKind};
use super::kind::{Hook, Kind};
use super::loss::{module_index, phase_kind};
use super::randomness::Context;
use super::recording::{Call, RecordedMoment};
use super::replay::shown_nothing;
use super::session::{Session, remembering};
use super::settings::Settings;
use super::trace::Tape;
use super::values::Exact;

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

remembering!(Schedule);

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
        Self::start(plugin, settings, context, None)
    }

    pub(super) fn start(
        plugin: &Plugin,
        settings: &Settings,
        context: Context,
        tape: Option<Tape>,
    ) -> Result<Self, PluginError> {
        let mut session = Self::configured(plugin, settings, context, tape)?;
        let interval = session.call(Hook::Stepping, None, |store, exports| {
            exports.call_stepping(store)
        });
        let interval = session.recorded(interval, || Some(Call::Stepping), |_| String::new())?;
        Ok(Self {
            session,
            context,
            stepping: match interval {
                contract::Interval::PerUpdate => Stepping::PerUpdate,
                contract::Interval::PerEpoch => Stepping::PerEpoch,
            },
        })
    }

    /// Starts a plugin and configures it.
    pub(super) fn configured(
        plugin: &Plugin,
        settings: &Settings,
        context: Context,
        tape: Option<Tape>,
    ) -> Result<Session<contract::Guest>, PluginError> {
        plugin.require(Kind::LrSchedule)?;
        Session::new(plugin, settings, Some(context), tape)
    }

    /// Records every call from now on, and those that started the plugin.
    pub fn record_calls(&mut self) {
        self.session.record_calls(true);
        self.session.record_past(Call::Configure, shown_nothing());
        let stepping = self.shown_stepping();
        self.session.record_past(Call::Stepping, stepping);
    }

    pub(super) fn shown_stepping(&self) -> String {
        match self.stepping {
            Stepping::PerUpdate => "per-update".to_owned(),
            Stepping::PerEpoch => "per-epoch".to_owned(),
        }
    }

    pub(super) fn shown_rate(rate: &f64) -> String {
        format!("{rate:?}")
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
        self.session.keep_state()?;
        let rate = self.ask(moment);
        self.session.recorded(
            rate,
            || {
                let moment = RecordedMoment::from(moment);
                Some(Call::Rate { moment })
            },
            Self::shown_rate,
        )
    }

    fn ask(&mut self, moment: &Moment<'_>) -> Result<f64, PluginError> {
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
        self.session.keep_state()?;
        let asked = self.to_contract(moment);
        let told: Vec<contract::Metric> = metrics
            .iter()
            .map(|&(name, value)| contract::Metric {
                name: name.to_owned(),
                value,
            })
            .collect();
        let observed = self
            .session
            .answer(Hook::Observe, Some(moment.update), |store, exports| {
                exports.call_observe(store, &asked, &told)
            });
        let call = || {
            Some(Call::Observe {
                moment: RecordedMoment::from(moment),
                metrics: metrics
                    .iter()
                    .map(|&(name, value)| (name.to_owned(), Exact(value)))
                    .collect(),
            })
        };
        let observed = self.session.recorded(observed, call, |()| shown_nothing());
        self.session.look_again();
        observed
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
