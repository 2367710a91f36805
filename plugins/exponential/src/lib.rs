//! Learning-rate schedule `exponential`: the base rate times a factor in every epoch, as torch's
//! `ExponentialLR`, or down to a given part of the base rate at the end of the phase.
//!
//! The curve is `base_rate factor^(t / every)`, or `base_rate final_ratio^(t / T)` in a phase of
//! length `T`, and not below the smallest rate.

use curves::Floor;
use incubate_plugin::timeline::{Target, Timeline};
use incubate_plugin::{
    Description, Duration, Fault, Interval, Moment, Parameter, Schedule, Settings, export_schedule,
};

struct Exponential {
    timeline: Timeline,
    floor: Floor,
    factor: f64,
    every: Duration,
    final_ratio: Option<f64>,
}

impl Schedule for Exponential {
    fn describe() -> Description {
        Description::new("Exponential decay: the same factor in every epoch or other span of time")
            .parameter(
                Parameter::number("factor", "Factor over the time `every`")
                    .default(0.95)
                    .at_least(0.0),
            )
            .parameter(
                Parameter::duration("every", "Time over which the rate falls by `factor`")
                    .default("1"),
            )
            .parameter(
                Parameter::number(
                    "final_ratio",
                    "Rate at the end of the phase as a part of the base rate, in place of `factor`",
                )
                .optional()
                .at_least(0.0),
            )
            .parameters(Floor::parameters(0.0))
            .parameters(Timeline::parameters())
            .parameter(Timeline::prefix_parameter())
            .parameter(Timeline::target_parameter(Target::Base))
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        Ok(Self {
            timeline: Timeline::configure(settings)?,
            floor: Floor::configure(settings)?,
            factor: settings.get("factor")?,
            every: settings.get::<Duration>("every")?.positive("every")?,
            final_ratio: settings.get("final_ratio")?,
        })
    }

    fn stepping(&self) -> Interval {
        self.timeline.per
    }

    fn rate(&mut self, moment: &Moment) -> Result<f64, Fault> {
        self.timeline.rate(moment, |point| {
            let (factor, span) = match self.final_ratio {
                Some(ratio) => (ratio, point.length),
                None => (self.factor, point.axis.of(self.every)),
            };
            // A warm-up that fills the phase leaves a span of 0, at whose start nothing has fallen.
            let spans = if point.time == 0.0 {
                0.0
            } else {
                point.time / span
            };
            let rate = moment.base_rate * factor.powf(spans);
            Ok(rate.max(self.floor.of(moment.base_rate)))
        })
    }
}

export_schedule!(Exponential);

#[cfg(test)]
mod tests {
    use incubate_plugin::{SettingValue, testing};

    use super::*;

    #[track_caller]
    fn assert_rates(given: &[(&str, SettingValue)], expected: [f64; 4]) {
        let settings = testing::settings(&Exponential::describe(), given).unwrap();
        let mut exponential = Exponential::configure(&settings).unwrap();
        let rates = testing::rates(&mut exponential, 10, 4, 1.0).unwrap();
        for (rate, expected) in rates.iter().zip(expected) {
            assert!((rate - expected).abs() < 1e-15, "{rates:?}");
        }
    }

    #[test]
    fn the_rate_falls_by_the_same_factor_again_and_again() {
        assert_rates(&[("factor", 0.5.into())], [1.0, 0.5, 0.25, 0.125]);
        let given = [("factor", 0.25.into()), ("every", "20up".into())];
        assert_rates(&given, [1.0, 0.5, 0.25, 0.125]);
        let given = [("final_ratio", 0.0625.into()), ("min_ratio", 0.2.into())];
        assert_rates(&given, [1.0, 0.5, 0.25, 0.2]);
    }
}
