//! The time axis that schedules share: epochs or updates, with a straight warm-up in front.
//!
//! A schedule per update counts everything in updates: a length of `e` epochs is `e` times the
//! updates of one epoch. That is what timm's `--sched-on-updates` does, and it keeps times and
//! lengths whole numbers.

use crate::{Fault, Interval, Moment, Parameter, Settings};

/// A point of a curve after its warm-up, in the unit of [`Interval`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Time on the curve.
    pub time: f64,
    /// What is left of the phase for the curve when the warm-up stands before it, else the
    /// whole phase.
    pub length: f64,
    /// The length of one epoch.
    pub epoch: f64,
}

/// The unit of time and the warm-up.
#[derive(Clone, Copy, Debug)]
pub struct Timeline {
    /// How often the rate changes.
    pub per: Interval,
    /// Length of the warm-up in epochs.
    pub warmup: f64,
    /// The rate at time 0 of a warm-up. It is not scaled with the batch.
    pub warmup_rate: f64,
    /// True when the curve starts after the warm-up, false when the warm-up replaces its start.
    pub warmup_prefix: bool,
}

impl Timeline {
    /// The parameters `per`, `warmup`, and `warmup_rate`.
    pub fn parameters() -> [Parameter; 3] {
        [
            Parameter::text(
                "per",
                "Whether the rate changes once an `epoch` or at every `update`",
            )
            .default("epoch")
            .one_of(&["epoch", "update"]),
            Parameter::number("warmup", "Length of the warm-up in epochs")
                .default(0.0)
                .at_least(0.0),
            Parameter::number(
                "warmup_rate",
                "Rate at the start of the warm-up, not scaled with the batch",
            )
            .default(1e-6)
            .at_least(0.0),
        ]
    }

    /// The parameter `warmup_prefix`, for curves that can start after the warm-up.
    pub fn prefix_parameter() -> Parameter {
        Parameter::boolean(
            "warmup_prefix",
            "Whether the curve starts after the warm-up instead of being replaced by it",
        )
        .default(false)
    }

    /// The values of [`Self::parameters`], and of [`Self::prefix_parameter`] if it is described;
    /// otherwise the warm-up replaces the start of the curve.
    ///
    /// # Errors
    ///
    /// A value is missing, or `per` is something else than `epoch` and `update`.
    pub fn configure(settings: &Settings) -> Result<Self, Fault> {
        let per = match settings.get("per")? {
            "epoch" => Interval::PerEpoch,
            "update" => Interval::PerUpdate,
            other => {
                return Err(Fault::invalid(format!("`per` is `{other}`"))
                    .with_hint("write `epoch` or `update`"));
            }
        };
        Ok(Self {
            per,
            warmup: settings.get("warmup")?,
            warmup_rate: settings.get("warmup_rate")?,
            warmup_prefix: settings
                .get::<Option<bool>>("warmup_prefix")?
                .unwrap_or(false),
        })
    }

    /// The rate at `moment`: with `W` the length of the warm-up and `t` the time,
    /// `warmup_rate + t (base_rate - warmup_rate) / W` while `t < W`, else `curve`.
    ///
    /// # Errors
    ///
    /// Those of `curve`.
    pub fn rate(
        &self,
        moment: &Moment,
        curve: impl FnOnce(Point) -> Result<f64, Fault>,
    ) -> Result<f64, Fault> {
        let (time, length, epoch) = match self.per {
            Interval::PerEpoch => (moment.epoch, f64::from(moment.epochs), 1.0),
            Interval::PerUpdate => (
                moment.update as f64,
                moment.updates as f64,
                moment.updates as f64 / f64::from(moment.epochs),
            ),
        };
        let warmup = self.warmup * epoch;
        let before_curve = if self.warmup_prefix { warmup } else { 0.0 };
        if time < warmup {
            let slope = (moment.base_rate - self.warmup_rate) / warmup;
            return Ok(self.warmup_rate + time * slope);
        }
        curve(Point {
            time: time - before_curve,
            length: length - before_curve,
            epoch,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    const WARMUP: Timeline = Timeline {
        per: Interval::PerEpoch,
        warmup: 4.0,
        warmup_rate: 0.1,
        warmup_prefix: false,
    };

    fn moment(update: u64) -> Moment {
        testing::moment(update, 10, 10, 0.5)
    }

    fn point(timeline: Timeline, update: u64) -> Option<Point> {
        let mut seen = None;
        timeline
            .rate(&moment(update), |point| {
                seen = Some(point);
                Ok(0.0)
            })
            .unwrap();
        seen
    }

    #[test]
    fn the_warm_up_is_a_straight_line_that_ends_before_its_length() {
        let rates: Vec<f64> = (0..5)
            .map(|epoch| WARMUP.rate(&moment(epoch * 10), |_| Ok(9.0)).unwrap())
            .collect();
        for (rate, expected) in rates.iter().zip([0.1, 0.2, 0.3, 0.4, 9.0]) {
            assert!((rate - expected).abs() < 1e-15, "{rates:?}");
        }
    }

    #[test]
    fn a_schedule_per_update_counts_in_updates() {
        let timeline = Timeline {
            per: Interval::PerUpdate,
            ..WARMUP
        };
        assert_eq!(point(timeline, 39), None);
        let expected = Point {
            time: 40.0,
            length: 100.0,
            epoch: 10.0,
        };
        assert_eq!(point(timeline, 40), Some(expected));
    }

    #[test]
    fn a_prefix_moves_the_curve_behind_the_warm_up() {
        let timeline = Timeline {
            warmup_prefix: true,
            ..WARMUP
        };
        let expected = Point {
            time: 1.0,
            length: 6.0,
            epoch: 1.0,
        };
        assert_eq!(point(timeline, 50), Some(expected));
    }
}
