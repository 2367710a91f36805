//! Learning-rate schedule `polynomial`: a power of the time that is left, with the semantics of timm's
//! `PolyLRScheduler`, torch's `PolynomialLR`, and the linear and polynomial schedules of Transformers.
//!
//! The shape of a cycle is `(1 - x)^power`; see [`Cycles`] for the rest.

use curves::Cycles;
use incubate_plugin::timeline::{Target, Timeline};
use incubate_plugin::{
    Description, Fault, Interval, Moment, Parameter, Schedule, Settings, export_schedule,
};

struct Polynomial {
    timeline: Timeline,
    cycles: Cycles,
    power: f64,
}

impl Schedule for Polynomial {
    fn describe() -> Description {
        Description::new(
            "Linear decay, or polynomial (poly) decay with another power, to the smallest rate",
        )
        .parameter(
            Parameter::number("power", "Exponent of what is left of the time; 1 is linear")
                .default(1.0)
                .at_least(0.0),
        )
        .parameters(Cycles::floor_parameters(0.0))
        .parameters(Timeline::parameters())
        .parameter(Timeline::prefix_parameter())
        .parameter(Timeline::target_parameter(Target::Base))
        .parameters(Cycles::parameters())
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        Ok(Self {
            timeline: Timeline::configure(settings)?,
            cycles: Cycles::configure(settings)?,
            power: settings.get("power")?,
        })
    }

    fn stepping(&self) -> Interval {
        self.timeline.per
    }

    fn rate(&mut self, moment: &Moment) -> Result<f64, Fault> {
        self.timeline.rate(moment, |point| {
            self.cycles.rate(point, moment.base_rate, |share| {
                (1.0 - share).powf(self.power)
            })
        })
    }
}

export_schedule!(Polynomial);

#[cfg(test)]
mod tests {
    use incubate_plugin::{SettingValue, testing};

    use super::*;

    #[track_caller]
    fn assert_rates(given: &[(&str, SettingValue)], expected: [f64; 4]) {
        let settings = testing::settings(&Polynomial::describe(), given).unwrap();
        let mut polynomial = Polynomial::configure(&settings).unwrap();
        let rates = testing::rates(&mut polynomial, 10, 4, 1.0).unwrap();
        for (rate, expected) in rates.iter().zip(expected) {
            assert!((rate - expected).abs() < 1e-15, "{rates:?}");
        }
    }

    #[test]
    fn the_rate_falls_along_a_line_or_a_power() {
        assert_rates(&[], [1.0, 0.75, 0.5, 0.25]);
        let given = [("power", 2.into()), ("min_rate", 0.2.into())];
        assert_rates(&given, [1.0, 0.65, 0.4, 0.25]);
        let given = [("cycles", 2.into()), ("min_ratio", 0.5.into())];
        assert_rates(&given, [1.0, 0.75, 1.0, 0.75]);
    }

    #[test]
    fn counting_from_one_ends_at_the_smallest_rate() {
        assert_rates(&[("count_from", 1.into())], [0.75, 0.5, 0.25, 0.0]);
    }
}
