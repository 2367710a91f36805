//! Learning-rate schedule `tanh`: a falling hyperbolic tangent (Hsueh, Li and Wu 2019), with the
//! semantics of timm's `TanhLRScheduler`.
//!
//! The shape of a cycle is `(1 - tanh(lower (1 - x) + upper x)) / 2`; see [`Cycles`] for the rest. A
//! warm-up that replaces its start leads to the rate with which it goes on, as in timm. The bounds are
//! those of timm 0.3.2, with which Deep Incubation was trained; later versions have -7 and 3.

use curves::Cycles;
use incubate_plugin::timeline::{Target, Timeline};
use incubate_plugin::{
    Description, Fault, Interval, Moment, Parameter, Schedule, Settings, export_schedule,
};

struct Tanh {
    timeline: Timeline,
    cycles: Cycles,
    lower: f64,
    upper: f64,
}

impl Schedule for Tanh {
    fn describe() -> Description {
        Description::new(
            "A falling hyperbolic tangent: long at the base rate, then down to the smallest rate",
        )
        .parameter(
            Parameter::number("lower", "Argument of the tangent at the start of a cycle")
                .default(-6.0)
                .at_least(-100.0)
                .at_most(100.0),
        )
        .parameter(
            Parameter::number("upper", "Argument of the tangent at the end of a cycle")
                .default(4.0)
                .at_least(-100.0)
                .at_most(100.0),
        )
        .parameters(Cycles::floor_parameters(1e-5))
        .parameters(Timeline::parameters())
        .parameter(Timeline::prefix_parameter())
        .parameter(Timeline::target_parameter(Target::Curve))
        .parameters(Cycles::parameters())
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        let tanh = Self {
            timeline: Timeline::configure(settings)?,
            cycles: Cycles::configure(settings)?,
            lower: settings.get("lower")?,
            upper: settings.get("upper")?,
        };
        if tanh.lower >= tanh.upper {
            return Err(Fault::invalid("`lower` is not below `upper`")
                .with_hint("with -6 and 4 the rate falls"));
        }
        Ok(tanh)
    }

    fn stepping(&self) -> Interval {
        self.timeline.per
    }

    fn rate(&mut self, moment: &Moment) -> Result<f64, Fault> {
        self.timeline.rate(moment, |point| {
            self.cycles.rate(point, moment.base_rate, |share| {
                0.5 * (1.0 - (self.lower * (1.0 - share) + self.upper * share).tanh())
            })
        })
    }
}

export_schedule!(Tanh);

#[cfg(test)]
mod tests {
    use incubate_plugin::{SettingValue, testing};

    use super::*;

    fn tanh(given: &[(&str, SettingValue)]) -> Result<Tanh, Fault> {
        Tanh::configure(&testing::settings(&Tanh::describe(), given).unwrap())
    }

    #[test]
    fn the_rate_is_half_way_where_the_argument_is_zero() {
        let mut tanh = tanh(&[("min_rate", 0.2.into())]).unwrap();
        let rates = testing::rates(&mut tanh, 3, 10, 1.0).unwrap();
        assert!((rates[0] - 1.0).abs() < 1e-5);
        assert!((rates[6] - 0.6).abs() < 1e-15);
        assert!((rates[9] - 0.2 - 0.4 * (1.0 - 3.0_f64.tanh())).abs() < 1e-15);
    }

    #[test]
    fn bounds_the_wrong_way_round_are_refused() {
        let fault = tanh(&[("lower", 4.into())]).err().unwrap();
        assert!(fault.message.contains("`lower`"), "{fault:?}");
    }
}
