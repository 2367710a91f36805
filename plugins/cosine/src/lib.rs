//! Learning-rate schedule `cosine`: half a cosine with warm-up and restarts, with the semantics of
//! timm's `CosineLRScheduler`, and with settings for those of Transformers and of torch's
//! `CosineAnnealingWarmRestarts`.
//!
//! The shape of a cycle is `(1 + cos(2 pi waves x)) / 2`; see [`Cycles`] for the rest.

use std::f64::consts::PI;

use curves::Cycles;
use incubate_plugin::timeline::{Target, Timeline};
use incubate_plugin::{
    Description, Fault, Interval, Moment, Parameter, Schedule, Settings, export_schedule,
};

struct Cosine {
    timeline: Timeline,
    cycles: Cycles,
    /// Waves of the cosine in a cycle.
    waves: f64,
}

impl Schedule for Cosine {
    fn describe() -> Description {
        Description::new(
            "Half a cosine from the base rate to the smallest rate, with warm-up and restarts (SGDR)",
        )
        .parameters(Cycles::floor_parameters(1e-5))
        .parameters(Timeline::parameters())
        .parameter(Timeline::prefix_parameter())
        .parameter(Timeline::target_parameter(Target::Base))
        .parameters(Cycles::parameters())
        .parameter(
            Parameter::number(
                "waves",
                "Waves of the cosine in a cycle: 0.5 falls once, 1 rises again",
            )
            .default(0.5)
            .at_least(0.0),
        )
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        Ok(Self {
            timeline: Timeline::configure(settings)?,
            cycles: Cycles::configure(settings)?,
            waves: settings.get("waves")?,
        })
    }

    fn stepping(&self) -> Interval {
        self.timeline.per
    }

    fn rate(&mut self, moment: &Moment) -> Result<f64, Fault> {
        self.timeline.rate(moment, |point| {
            self.cycles.rate(point, moment.base_rate, |share| {
                0.5 * (1.0 + (2.0 * PI * self.waves * share).cos())
            })
        })
    }
}

export_schedule!(Cosine);

#[cfg(test)]
mod tests;
