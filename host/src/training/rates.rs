//! The learning rates of a run before it runs: what the schedules answer at a few moments of every
//! phase. No evaluation is told to them, so a schedule that waits for one keeps its rate.

use serde::Serialize;

use super::cost::EqualCompute;
use super::{Plan, Prepared, TrainError};
use crate::optimizer::Group as ParameterGroup;
use crate::phase::Phase;
use crate::plugin::{
    Context, Group, ModuleDepth, Moment, PluginError, PluginErrorKind, Schedule, Stepping,
};
use crate::random::Seed;
use crate::run::Unit;

/// The most moments of a phase that are asked for.
const MOMENTS: u64 = 13;

/// The rates of one unit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedRates {
    /// The unit.
    pub unit: String,
    /// The schedule, with version and origin.
    pub plugin: String,
    /// The rate of the experiment, after batch scaling.
    pub base_rate: f64,
    /// Whether the rate changes at every update rather than at every epoch.
    pub per_update: bool,
    /// The rates in order: that of the first update, of the last, and evenly between them.
    pub rates: Vec<PlannedRate>,
}

/// The rate at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PlannedRate {
    /// Updates done before it.
    pub update: u64,
    /// Epochs done before it.
    pub epoch: f64,
    /// The rate of the first group of parameters.
    pub rate: f64,
}

/// Asks the schedule of every unit that is planned.
///
/// # Errors
/// A schedule fails, or has no rate for a phase of this length.
pub fn planned_rates(prepared: &Prepared, plan: &Plan) -> Result<Vec<PlannedRates>, TrainError> {
    let phases = Unit::of_run(plan.division.len(), prepared.experiment())
        .into_iter()
        .filter_map(|unit| match unit {
            Unit::Train(phase) => Some(phase),
            Unit::Assemble => None,
        });
    phases
        .zip(&plan.units)
        .map(|(phase, unit)| {
            let rates = of_phase(prepared, phase, unit.epochs, unit.updates);
            rates.map_err(|source| TrainError::PluginRefused {
                role: format!("{}.schedule", phase.kind()),
                source,
            })
        })
        .collect()
}

/// Refuses a schedule that says itself that it has no rate for a phase as long as its own, before
/// anything is trained. What else it gets wrong is told where it does, since another may stand by there.
///
/// # Errors
/// There is such a schedule.
pub(super) fn check_schedules(
    prepared: &Prepared,
    division: &[ModuleDepth],
) -> Result<(), TrainError> {
    let experiment = prepared.experiment();
    let compute = EqualCompute {
        experiment,
        division,
        pictures: prepared.resolved.dataset.train.len(),
    };
    for unit in Unit::of_run(division.len(), experiment) {
        let Unit::Train(phase) = unit else { continue };
        let cost = compute.phase(phase);
        let stands_by = prepared.phase(phase).schedule.fallback.is_some();
        if stands_by || cost.updates() == 0 {
            continue;
        }
        if let Err(source) = of_phase(prepared, phase, cost.epochs, cost.updates())
            && matches!(*source.kind, PluginErrorKind::Fault { .. })
        {
            return Err(TrainError::PluginRefused {
                role: format!("{}.schedule", phase.kind()),
                source,
            });
        }
    }
    Ok(())
}

fn of_phase(
    prepared: &Prepared,
    phase: Phase,
    epochs: u32,
    updates: u64,
) -> Result<PlannedRates, PluginError> {
    let experiment = prepared.experiment();
    let configured = &prepared.phase(phase).schedule;
    let base_rate = experiment.phase(phase).base_rate();
    let context = Context {
        seed: Seed(experiment.seed),
        phase,
    };
    let mut schedule = Schedule::new(&configured.plugin, &configured.settings, context)?;
    let per_update = schedule.stepping() == Stepping::PerUpdate;
    // A schedule by epochs is asked for the beginnings of epochs alone.
    let step = if per_update {
        1
    } else {
        updates / u64::from(epochs)
    };
    let rates = evenly(updates.checked_div(step).unwrap_or(0))
        .map(|index| {
            let update = index * step;
            let epoch = update as f64 * f64::from(epochs) / updates as f64;
            let rate = schedule.rate(&Moment {
                update,
                updates,
                epoch,
                epochs,
                base_rate,
                group: Group {
                    name: ParameterGroup::ALL[0].name(),
                    index: 0,
                },
            })?;
            Ok(PlannedRate {
                update,
                epoch,
                rate,
            })
        })
        .collect::<Result<_, PluginError>>()?;
    Ok(PlannedRates {
        unit: phase.to_string(),
        plugin: configured.plugin.identity().to_string(),
        base_rate,
        per_update,
        rates,
    })
}

/// At most [`MOMENTS`] of the numbers below `count`, with the first and the last of them.
fn evenly(count: u64) -> impl Iterator<Item = u64> {
    let moments = count.min(MOMENTS);
    let last = moments.saturating_sub(1).max(1);
    (0..moments).map(move |index| index * (count - 1) / last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_the_first_the_last_and_some_between() {
        let of = |count| evenly(count).collect::<Vec<u64>>();
        assert_eq!(of(1), [0]);
        assert_eq!(of(3), [0, 1, 2]);
        assert_eq!(of(13), (0..13).collect::<Vec<u64>>());
        let many = of(1000);
        assert_eq!((many.len(), many[0], many[12]), (13, 0, 999));
        assert!(many.is_sorted());
    }
}
