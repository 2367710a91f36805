//! Learning-rate schedule `one-cycle`: up to the base rate and down far below where it began (Smith and
//! Topin 2017), with the semantics of torch's `OneCycleLR`. Momentum is not cycled: a schedule sets
//! rates alone.
//!
//! The rate goes from `base_rate / div_factor` at time 0 to `base_rate` at `rise T - 1`, and to
//! `base_rate / div_factor / final_div_factor` at the last time of the phase, `T - 1`; with
//! `three_phases` it is back where it began at `2 rise T - 2` before it falls on.

use std::f64::consts::PI;

use incubate_plugin::timeline::{Axis, Timeline};
use incubate_plugin::{
    Description, Fault, Interval, Moment, Parameter, Schedule, Settings, export_schedule,
};

struct OneCycle {
    per: Interval,
    /// The part of the phase in which the rate rises.
    rise: f64,
    div_factor: f64,
    final_div_factor: f64,
    straight: bool,
    three_phases: bool,
}

impl Schedule for OneCycle {
    fn describe() -> Description {
        Description::new(
            "One cycle: from low up to the base rate and far down (OneCycleLR), without momentum",
        )
        .parameter(
            Parameter::number("rise", "Part of the phase in which the rate rises")
                .default(0.3)
                .at_least(0.0)
                .at_most(1.0),
        )
        .parameter(
            Parameter::number("div_factor", "Base rate over the first rate; more than 0")
                .default(25.0)
                .at_least(0.0),
        )
        .parameter(
            Parameter::number(
                "final_div_factor",
                "First rate over the last rate; more than 0",
            )
            .default(1e4)
            .at_least(0.0),
        )
        .parameter(
            Parameter::text("shape", "The way from one rate to the next")
                .default("cosine")
                .one_of(&["cosine", "linear"]),
        )
        .parameter(
            Parameter::boolean(
                "three_phases",
                "Whether the rate falls to the first rate in the time it took to rise, and then on",
            )
            .default(false),
        )
        .parameter(Timeline::interval_parameter(Interval::PerUpdate))
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        let schedule = Self {
            per: Timeline::interval(settings)?,
            rise: settings.get("rise")?,
            div_factor: settings.get("div_factor")?,
            final_div_factor: settings.get("final_div_factor")?,
            straight: settings.get::<&str>("shape")? == "linear",
            three_phases: settings.get("three_phases")?,
        };
        for (name, value) in [
            ("div_factor", schedule.div_factor),
            ("final_div_factor", schedule.final_div_factor),
        ] {
            if value <= 0.0 {
                return Err(Fault::invalid(format!("`{name}` is 0"))
                    .with_hint("give a number that is more than 0"));
            }
        }
        if schedule.three_phases && schedule.rise > 0.5 {
            return Err(Fault::invalid(
                "`rise` is more than 0.5, and with `three_phases` the rate falls as long as it rose",
            )
            .with_hint("give at most 0.5"));
        }
        Ok(schedule)
    }

    fn stepping(&self) -> Interval {
        self.per
    }

    fn rate(&mut self, moment: &Moment) -> Result<f64, Fault> {
        let axis = Axis::at(moment, self.per);
        let first = moment.base_rate / self.div_factor;
        let last = first / self.final_div_factor;
        let up = (self.rise * axis.length - 1.0, first, moment.base_rate);
        let end = axis.length - 1.0;
        Ok(if self.three_phases {
            let down = 2.0 * self.rise * axis.length - 2.0;
            let back = (down, moment.base_rate, first);
            self.along(axis.time, &[up, back, (end, first, last)])
        } else {
            self.along(axis.time, &[up, (end, moment.base_rate, last)])
        })
    }
}

impl OneCycle {
    /// The rate in the first of the parts that is not over, each with its end and the rates at its
    /// start and end.
    fn along(&self, time: f64, parts: &[(f64, f64, f64)]) -> f64 {
        let mut start = 0.0;
        let mut rate = 0.0;
        for &(end, from, to) in parts {
            // A part without length is behind us as soon as it begins.
            let share = if end > start {
                (time - start) / (end - start)
            } else {
                1.0
            };
            rate = if self.straight {
                (to - from) * share + from
            } else {
                to + (from - to) / 2.0 * ((PI * share).cos() + 1.0)
            };
            if time <= end {
                break;
            }
            start = end;
        }
        rate
    }
}

export_schedule!(OneCycle);

#[cfg(test)]
mod tests {
    use incubate_plugin::{SettingValue, testing};

    use super::*;

    fn rates(given: &[(&str, SettingValue)], updates: u64) -> Result<Vec<f64>, Fault> {
        let settings = testing::settings(&OneCycle::describe(), given)?;
        testing::rates(&mut OneCycle::configure(&settings)?, updates, 2, 1.0)
    }

    #[track_caller]
    fn assert_rates(more: &[(&str, SettingValue)], expected: [f64; 10]) {
        let mut given = vec![
            ("shape", "linear".into()),
            ("div_factor", 2.into()),
            ("final_div_factor", 5.into()),
        ];
        given.extend_from_slice(more);
        let rates = rates(&given, 5).unwrap();
        for (rate, expected) in rates.iter().zip(expected) {
            assert!((rate - expected).abs() < 1e-15, "{rates:?}");
        }
    }

    #[test]
    fn the_rate_goes_up_and_down() {
        let down = |n: f64| 1.0 - 0.9 * n / 7.0;
        let end = [
            down(1.0),
            down(2.0),
            down(3.0),
            down(4.0),
            down(5.0),
            down(6.0),
        ];
        let mut expected = [0.5, 0.75, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.1];
        expected[3..9].copy_from_slice(&end);
        assert_rates(&[], expected);
    }

    #[test]
    fn with_three_phases_it_is_back_where_it_began() {
        let on = |n: f64| 0.5 - 0.4 * n / 5.0;
        let expected = [
            0.5,
            0.75,
            1.0,
            0.75,
            0.5,
            on(1.0),
            on(2.0),
            on(3.0),
            on(4.0),
            0.1,
        ];
        assert_rates(&[("three_phases", true.into())], expected);
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        for given in [
            vec![("div_factor", 0.into())],
            vec![("final_div_factor", 0.into())],
            vec![("three_phases", true.into()), ("rise", 0.6.into())],
        ] {
            assert!(rates(&given, 5).is_err(), "{given:?}");
        }
    }

    #[test]
    fn a_phase_of_one_update_and_parts_without_length_have_rates() {
        for rise in [0.0, 0.1, 0.5, 1.0] {
            for updates in [1, 2, 5] {
                let rates = rates(&[("rise", rise.into())], updates).unwrap();
                assert!(rates.iter().all(|&rate| rate > 0.0), "{rise} {rates:?}");
            }
        }
    }
}
