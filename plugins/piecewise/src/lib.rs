//! Learning-rate schedule `piecewise`: through listed points, whatever their shape; a warm-up, a
//! cooldown, or steps of any height are points like others.
//!
//! Point `i` is the factor `f_i` of the base rate at the time `t_i`. With `x` the share of the way from
//! one point to the next, the factor between them is `f_i + (f_j - f_i) x` if `between` is `linear`,
//! `f_i + (f_j - f_i) (1 - cos(pi x)) / 2` if it is `cosine`, `f_i (f_j / f_i)^x` if it is
//! `exponential`, and `f_i` if it is `constant`. Before the first and after the last point the factor
//! is theirs.

use std::f64::consts::PI;

use incubate_plugin::timeline::{Axis, Timeline};
use incubate_plugin::{
    Description, Duration, Fault, Interval, Moment, Parameter, Schedule, Settings, export_schedule,
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Between {
    Linear,
    Cosine,
    Exponential,
    Constant,
}

struct Piecewise {
    per: Interval,
    at: Vec<Duration>,
    factors: Vec<f64>,
    between: Between,
}

impl Schedule for Piecewise {
    fn describe() -> Description {
        Description::new("Through the listed points, in straight lines, curves, or jumps")
            .parameter(Parameter::durations(
                "at",
                "Times of the points, none before the last one",
            ))
            .parameter(
                Parameter::numbers(
                    "factors",
                    "Rates at these times as factors of the base rate, as many",
                )
                .at_least(0.0),
            )
            .parameter(
                Parameter::text("between", "The way from one point to the next")
                    .default("linear")
                    .one_of(&["linear", "cosine", "exponential", "constant"]),
            )
            .parameter(Timeline::interval_parameter(Interval::PerUpdate))
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        let (at, factors): (Vec<Duration>, Vec<f64>) =
            (settings.get("at")?, settings.get("factors")?);
        if at.is_empty() || at.len() != factors.len() {
            return Err(Fault::invalid(format!(
                "`at` has {} times and `factors` has {} numbers",
                at.len(),
                factors.len()
            ))
            .with_hint("give one factor for every time, and at least one"));
        }
        let between = match settings.get("between")? {
            "cosine" => Between::Cosine,
            "exponential" => Between::Exponential,
            "constant" => Between::Constant,
            _ => Between::Linear,
        };
        if between == Between::Exponential && factors.contains(&0.0) {
            return Err(
                Fault::invalid("a factor is 0, to which no exponential curve leads")
                    .with_hint("give a small number instead, or another `between`"),
            );
        }
        Ok(Self {
            per: Timeline::interval(settings)?,
            at,
            factors,
            between,
        })
    }

    fn stepping(&self) -> Interval {
        self.per
    }

    fn rate(&mut self, moment: &Moment) -> Result<f64, Fault> {
        let axis = Axis::at(moment, self.per);
        let times: Vec<f64> = self.at.iter().map(|&at| axis.of(at)).collect();
        if let Some(earlier) = times.windows(2).position(|pair| pair[1] < pair[0]) {
            return Err(Fault::invalid(format!(
                "time {} of `at` is before time {}",
                earlier + 2,
                earlier + 1
            ))
            .with_hint("list the points in the order in which they come"));
        }
        Ok(moment.base_rate * self.factor(&axis, &times))
    }
}

impl Piecewise {
    fn factor(&self, axis: &Axis, times: &[f64]) -> f64 {
        // The last point that is not in the future; of several at one time the last, which is a jump.
        let passed = times.iter().filter(|&&time| time <= axis.time).count();
        let next = passed.min(times.len() - 1);
        if passed == 0 || passed > next {
            return self.factors[next];
        }
        let (from, to) = (self.factors[passed - 1], self.factors[next]);
        let share = (axis.time - times[passed - 1]) / (times[next] - times[passed - 1]);
        match self.between {
            Between::Linear => from + (to - from) * share,
            Between::Cosine => from + (to - from) * 0.5 * (1.0 - (PI * share).cos()),
            Between::Exponential => from * (to / from).powf(share),
            Between::Constant => from,
        }
    }
}

export_schedule!(Piecewise);

#[cfg(test)]
mod tests {
    use incubate_plugin::{SettingValue, testing};

    use super::*;

    fn rates(at: &[&str], factors: &[f64], between: &str) -> Result<Vec<f64>, Fault> {
        let at: Vec<String> = at.iter().map(|&at| at.to_owned()).collect();
        let given: [(&str, SettingValue); 3] = [
            ("at", at.into()),
            ("factors", factors.to_vec().into()),
            ("between", between.into()),
        ];
        let settings = testing::settings(&Piecewise::describe(), &given)?;
        testing::rates(&mut Piecewise::configure(&settings)?, 4, 2, 1.0)
    }

    #[track_caller]
    fn assert_rates(at: &[&str], factors: &[f64], between: &str, expected: [f64; 8]) {
        let rates = rates(at, factors, between).unwrap();
        for (rate, expected) in rates.iter().zip(expected) {
            assert!((rate - expected).abs() < 1e-15, "{between}: {rates:?}");
        }
    }

    #[test]
    fn the_rate_goes_through_the_points() {
        let at = ["1up", "0.5ep", "50%", "6up"];
        let factors = [0.5, 1.0, 1.0, 0.25];
        let middle = f64::midpoint(1.0, 0.25);
        let line = [0.5, 0.5, 1.0, 1.0, 1.0, middle, 0.25, 0.25];
        assert_rates(&at, &factors, "linear", line);
        assert_rates(&at, &factors, "cosine", line);
        let jumps = [0.5, 0.5, 1.0, 1.0, 1.0, 1.0, 0.25, 0.25];
        assert_rates(&at, &factors, "constant", jumps);
        let ratio = [0.5, 0.5, 1.0, 1.0, 1.0, 0.5, 0.25, 0.25];
        assert_rates(&at, &factors, "exponential", ratio);
    }

    #[test]
    fn two_points_at_one_time_are_a_jump() {
        let expected = [1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.1, 0.1];
        assert_rates(&["3up", "3up"], &[1.0, 0.1], "linear", expected);
        assert_rates(&["3up", "3up"], &[1.0, 0.1], "constant", expected);
    }

    #[test]
    fn points_that_make_no_curve_are_refused() {
        for (at, factors, between, said) in [
            (vec!["0", "1"], vec![1.0], "linear", "2 times"),
            (vec![], vec![], "linear", "0 times"),
            (vec!["3", "50%"], vec![1.0, 0.5], "linear", "time 2"),
            (vec!["0", "1"], vec![1.0, 0.0], "exponential", "is 0"),
        ] {
            let fault = rates(&at, &factors, between).unwrap_err();
            assert!(fault.message.contains(said), "{fault:?}");
        }
    }
}
