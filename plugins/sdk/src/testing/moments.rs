//! Moments for a learning-rate schedule, and its rates over a phase.

use crate::{Fault, Group, Interval, Moment, Phase, Schedule};

/// The moment before `update` of a phase `meta`, for the group `decay`.
pub fn moment(update: u64, updates_per_epoch: u64, epochs: u32, base_rate: f64) -> Moment {
    Moment {
        phase: Phase::Meta,
        module: 0,
        update,
        updates: updates_per_epoch * u64::from(epochs),
        epoch: update as f64 / updates_per_epoch as f64,
        epochs,
        base_rate,
        group: Group {
            name: "decay".to_owned(),
            index: 0,
        },
    }
}

/// The rates of a whole phase: one for every epoch or for every update, as the schedule
/// [wants](Schedule::stepping).
///
/// # Errors
///
/// The schedule fails, or a rate is negative or not finite, which the host would not take.
pub fn rates<T: Schedule>(
    schedule: &mut T,
    updates_per_epoch: u64,
    epochs: u32,
    base_rate: f64,
) -> Result<Vec<f64>, Fault> {
    let (count, step) = match schedule.stepping() {
        Interval::PerEpoch => (u64::from(epochs), updates_per_epoch),
        Interval::PerUpdate => (u64::from(epochs) * updates_per_epoch, 1),
    };
    (0..count)
        .map(|index| {
            let moment = moment(index * step, updates_per_epoch, epochs, base_rate);
            let rate = schedule.rate(&moment)?;
            if rate.is_finite() && rate >= 0.0 {
                return Ok(rate);
            }
            Err(Fault::internal(format!(
                "the learning rate is {rate} at update {}",
                moment.update
            ))
            .with_hint("a finite rate is needed, not negative"))
        })
        .collect()
}
