//! The time axis that schedules share: epochs or updates, with a warm-up in front.
//!
//! A schedule per update counts everything in updates: a length of `e` epochs is `e` times the
//! updates of one epoch. That is what timm's `--sched-on-updates` does, and it keeps times and
//! lengths whole numbers.

use std::f64::consts::PI;

use crate::{Duration, Fault, Interval, Moment, Parameter, Settings};

/// The phase and a time in it, in the unit of [`Interval`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    /// Time since the start of the phase.
    pub time: f64,
    /// The whole phase.
    pub length: f64,
    /// One epoch.
    pub epoch: f64,
    /// One update.
    pub update: f64,
}

impl Axis {
    /// The axis at a moment.
    pub fn at(moment: &Moment, per: Interval) -> Self {
        let (updates, epochs) = (moment.updates as f64, f64::from(moment.epochs));
        match per {
            Interval::PerEpoch => Self {
                time: moment.epoch,
                length: epochs,
                epoch: 1.0,
                update: epochs / updates,
            },
            Interval::PerUpdate => Self {
                time: moment.update as f64,
                length: updates,
                epoch: updates / epochs,
                update: 1.0,
            },
        }
    }

    /// A duration in the unit of this axis.
    pub fn of(&self, duration: Duration) -> f64 {
        match duration {
            Duration::Epochs(epochs) => epochs * self.epoch,
            Duration::Updates(updates) => updates * self.update,
            Duration::Percent(percent) => percent * self.length / 100.0,
        }
    }
}

/// A point of a curve after its warm-up, in the unit of [`Interval`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Time on the curve.
    pub time: f64,
    /// What is left of the phase for the curve when the warm-up stands before it, else the
    /// whole phase.
    pub length: f64,
    /// The length of the warm-up.
    pub warmup: f64,
    /// The phase as a whole.
    pub axis: Axis,
}

/// How the rate rises in a warm-up, over the share `x` of the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rise {
    /// `x`.
    Linear,
    /// `(1 - cos(pi x)) / 2`.
    Cosine,
    /// `1 - sqrt(1 - x)`.
    OneMinusRoot,
}

/// Where a warm-up leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To the base rate, from which the curve may be some way off.
    Base,
    /// To the rate with which the curve goes on.
    Curve,
}

/// The unit of time and the warm-up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timeline {
    /// How often the rate changes.
    pub per: Interval,
    /// The number of the first epoch or update, 0 or 1.
    pub count_from: u32,
    /// Length of the warm-up.
    pub warmup: Duration,
    /// The rate at time 0 of a warm-up. It is not scaled with the batch.
    pub warmup_rate: f64,
    /// How the rate rises in the warm-up.
    pub warmup_shape: Rise,
    /// Where the warm-up leads to.
    pub warmup_to: Target,
    /// True when the curve starts after the warm-up, false when the warm-up replaces its start.
    pub warmup_prefix: bool,
}

impl Timeline {
    /// Time counted from 0 and no warm-up.
    pub const fn plain(per: Interval) -> Self {
        Self {
            per,
            count_from: 0,
            warmup: Duration::ZERO,
            warmup_rate: 1e-6,
            warmup_shape: Rise::Linear,
            warmup_to: Target::Base,
            warmup_prefix: false,
        }
    }

    /// The parameters `per`, `count_from`, `warmup`, `warmup_rate`, and `warmup_shape`; the rate
    /// changes once an epoch when the experiment is silent.
    pub fn parameters() -> [Parameter; 5] {
        Self::parameters_stepping(Interval::PerEpoch)
    }

    /// [`Self::parameters`] of a schedule for which another stepping is usual.
    pub fn parameters_stepping(usual: Interval) -> [Parameter; 5] {
        [
            Self::interval_parameter(usual),
            Parameter::integer(
                "count_from",
                "Number of the first epoch or update: 1 starts a step up the warm-up and reaches the end of the curve",
            )
            .default(0)
            .at_least(0.0)
            .at_most(1.0),
            Parameter::duration("warmup", "Length of the warm-up").default("0"),
            Parameter::number(
                "warmup_rate",
                "Rate at the start of the warm-up, not scaled with the batch",
            )
            .default(1e-6)
            .at_least(0.0),
            Parameter::text(
                "warmup_shape",
                "How the rate rises in the warm-up, over its share x: x, (1 - cos(pi x)) / 2, or 1 - sqrt(1 - x)",
            )
            .default("linear")
            .one_of(&["linear", "cosine", "1-sqrt"]),
        ]
    }

    /// The parameter `per`.
    pub fn interval_parameter(usual: Interval) -> Parameter {
        Parameter::text(
            "per",
            "Whether the rate changes once an `epoch` or at every `update`",
        )
        .default(match usual {
            Interval::PerEpoch => "epoch",
            Interval::PerUpdate => "update",
        })
        .one_of(&["epoch", "update"])
    }

    /// The value of [`Self::interval_parameter`].
    ///
    /// # Errors
    ///
    /// `per` is missing, or something else than `epoch` and `update`.
    pub fn interval(settings: &Settings) -> Result<Interval, Fault> {
        match settings.get("per")? {
            "epoch" => Ok(Interval::PerEpoch),
            "update" => Ok(Interval::PerUpdate),
            other => Err(unknown("per", other)),
        }
    }

    /// The parameter `warmup_prefix`, for curves that can start after the warm-up.
    pub fn prefix_parameter() -> Parameter {
        Parameter::boolean(
            "warmup_prefix",
            "Whether the curve starts after the warm-up instead of being replaced by it",
        )
        .default(false)
    }

    /// The parameter `warmup_to`, for curves that can be below the base rate after the warm-up.
    pub fn target_parameter(usual: Target) -> Parameter {
        Parameter::text(
            "warmup_to",
            "Whether the warm-up leads to the `base` rate or to the rate with which the `curve` goes on",
        )
        .default(match usual {
            Target::Base => "base",
            Target::Curve => "curve",
        })
        .one_of(&["base", "curve"])
    }

    /// The values of [`Self::parameters`], and of [`Self::prefix_parameter`] and
    /// [`Self::target_parameter`] if they are described; otherwise the warm-up replaces the start of
    /// the curve and leads to the base rate.
    ///
    /// # Errors
    ///
    /// A value is missing, or is not among those that the parameter allows.
    pub fn configure(settings: &Settings) -> Result<Self, Fault> {
        Ok(Self {
            per: Self::interval(settings)?,
            count_from: settings.get("count_from")?,
            warmup: settings.get("warmup")?,
            warmup_rate: settings.get("warmup_rate")?,
            warmup_shape: match settings.get("warmup_shape")? {
                "linear" => Rise::Linear,
                "cosine" => Rise::Cosine,
                "1-sqrt" => Rise::OneMinusRoot,
                other => return Err(unknown("warmup_shape", other)),
            },
            warmup_to: match settings.get("warmup_to")? {
                None | Some("base") => Target::Base,
                Some("curve") => Target::Curve,
                Some(other) => return Err(unknown("warmup_to", other)),
            },
            warmup_prefix: settings
                .get::<Option<bool>>("warmup_prefix")?
                .unwrap_or(false),
        })
    }

    /// The phase and the time in it, counted from `count_from`.
    pub fn axis(&self, moment: &Moment) -> Axis {
        let mut axis = Axis::at(moment, self.per);
        axis.time += f64::from(self.count_from);
        axis
    }

    /// The rate at `moment`: with `W` the length of the warm-up and `t` the time,
    /// `warmup_rate + t (target - warmup_rate) / W` while `t < W` if the warm-up is straight, else
    /// `curve`.
    ///
    /// # Errors
    ///
    /// Those of `curve`, which is asked for what is after the warm-up, and during a warm-up that
    /// leads to it for its end.
    pub fn rate(
        &self,
        moment: &Moment,
        curve: impl FnOnce(Point) -> Result<f64, Fault>,
    ) -> Result<f64, Fault> {
        let axis = self.axis(moment);
        let warmup = axis.of(self.warmup);
        let before_curve = if self.warmup_prefix { warmup } else { 0.0 };
        let point = |time: f64| Point {
            time: time - before_curve,
            length: axis.length - before_curve,
            warmup,
            axis,
        };
        if axis.time >= warmup {
            return curve(point(axis.time));
        }
        let target = match self.warmup_to {
            Target::Base => moment.base_rate,
            Target::Curve => curve(point(warmup))?,
        };
        let rise = target - self.warmup_rate;
        let share = axis.time / warmup;
        Ok(self.warmup_rate
            + match self.warmup_shape {
                Rise::Linear => axis.time * (rise / warmup),
                Rise::Cosine => rise * 0.5 * (1.0 - (PI * share).cos()),
                Rise::OneMinusRoot => rise * (1.0 - (1.0 - share).sqrt()),
            })
    }
}

fn unknown(name: &str, found: &str) -> Fault {
    Fault::invalid(format!("`{name}` is `{found}`"))
        .with_hint("this is a defect of the host: the description of the plugin excludes it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    const WARMUP: Timeline = Timeline {
        warmup: Duration::Epochs(4.0),
        warmup_rate: 0.1,
        ..Timeline::plain(Interval::PerEpoch)
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

    fn rates(timeline: Timeline) -> Vec<f64> {
        (0..5)
            .map(|epoch| timeline.rate(&moment(epoch * 10), |_| Ok(0.9)).unwrap())
            .collect()
    }

    #[track_caller]
    fn assert_rates(timeline: Timeline, expected: [f64; 5]) {
        let rates = rates(timeline);
        for (rate, expected) in rates.iter().zip(expected) {
            assert!((rate - expected).abs() < 1e-15, "{rates:?}");
        }
    }

    #[test]
    fn the_warm_up_is_a_straight_line_that_ends_before_its_length() {
        assert_rates(WARMUP, [0.1, 0.2, 0.3, 0.4, 0.9]);
    }

    #[test]
    fn a_warm_up_can_lead_to_the_curve_and_be_bent() {
        let curve = Timeline {
            warmup_to: Target::Curve,
            ..WARMUP
        };
        assert_rates(curve, [0.1, 0.3, 0.5, 0.7, 0.9]);
        let half = 0.5_f64.sqrt();
        let cosine = Timeline {
            warmup_shape: Rise::Cosine,
            ..WARMUP
        };
        let bent = |share: f64| 0.1 + 0.4 * share;
        assert_rates(
            cosine,
            [
                0.1,
                bent((1.0 - half) / 2.0),
                0.3,
                bent(half.midpoint(1.0)),
                0.9,
            ],
        );
        let root = Timeline {
            warmup_shape: Rise::OneMinusRoot,
            ..WARMUP
        };
        assert_rates(
            root,
            [
                0.1,
                bent(1.0 - 0.75_f64.sqrt()),
                bent(1.0 - half),
                bent(0.5),
                0.9,
            ],
        );
    }

    #[test]
    fn counting_from_one_is_one_step_ahead() {
        let timeline = Timeline {
            count_from: 1,
            ..WARMUP
        };
        assert_rates(timeline, [0.2, 0.3, 0.4, 0.9, 0.9]);
        assert_eq!(point(timeline, 90).unwrap().time, 10.0);
    }

    #[test]
    fn a_schedule_per_update_counts_in_updates() {
        let timeline = Timeline {
            per: Interval::PerUpdate,
            ..WARMUP
        };
        assert_eq!(point(timeline, 39), None);
        let point = point(timeline, 40).unwrap();
        assert_eq!(
            (point.time, point.length, point.warmup),
            (40.0, 100.0, 40.0)
        );
        assert_eq!((point.axis.epoch, point.axis.update), (10.0, 1.0));
    }

    #[test]
    fn a_length_means_the_same_in_every_unit() {
        for per in [Interval::PerEpoch, Interval::PerUpdate] {
            for warmup in [
                Duration::Epochs(4.0),
                Duration::Updates(40.0),
                Duration::Percent(40.0),
            ] {
                let timeline = Timeline {
                    per,
                    warmup,
                    ..WARMUP
                };
                assert_rates(timeline, [0.1, 0.2, 0.3, 0.4, 0.9]);
            }
        }
    }

    #[test]
    fn a_prefix_moves_the_curve_behind_the_warm_up() {
        let timeline = Timeline {
            warmup_prefix: true,
            ..WARMUP
        };
        let point = point(timeline, 50).unwrap();
        assert_eq!((point.time, point.length), (1.0, 6.0));
    }

    #[test]
    fn settings_are_the_timeline() {
        let description = crate::Description::new("Nothing")
            .parameters(Timeline::parameters_stepping(Interval::PerUpdate))
            .parameter(Timeline::prefix_parameter())
            .parameter(Timeline::target_parameter(Target::Base));
        let given = [
            ("warmup", "5%".into()),
            ("warmup_shape", "1-sqrt".into()),
            ("warmup_to", "curve".into()),
            ("warmup_prefix", true.into()),
            ("count_from", 1.into()),
        ];
        let settings = testing::settings(&description, &given).unwrap();
        let expected = Timeline {
            per: Interval::PerUpdate,
            count_from: 1,
            warmup: Duration::Percent(5.0),
            warmup_rate: 1e-6,
            warmup_shape: Rise::OneMinusRoot,
            warmup_to: Target::Curve,
            warmup_prefix: true,
        };
        assert_eq!(Timeline::configure(&settings), Ok(expected));
    }
}
