//! Learning-rate schedule `step`: a factor every so many epochs, with the semantics of timm's
//! `StepLRScheduler`.
//!
//! The curve is `base_rate factor^floor(t / every)`, behind the warm-up of [`Timeline`].

use incubate_plugin::timeline::Timeline;
use incubate_plugin::{
    Description, Fault, Interval, Moment, Parameter, Schedule, Settings, export_schedule,
};

struct Step {
    timeline: Timeline,
    /// Epochs between two steps; positive.
    every: f64,
    factor: f64,
}

impl Schedule for Step {
    fn describe() -> Description {
        Description::new("The base rate times a factor every so many epochs, with warm-up")
            .parameter(
                Parameter::number("every", "Epochs between two steps; more than 0")
                    .default(30.0)
                    .at_least(0.0),
            )
            .parameter(
                Parameter::number("factor", "Factor of every step")
                    .default(0.1)
                    .at_least(0.0),
            )
            .parameters(Timeline::parameters())
            .parameter(Timeline::prefix_parameter())
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        let every = settings.get("every")?;
        if every == 0.0 {
            return Err(Fault::invalid("`every` is 0")
                .with_hint("give a number of epochs that is more than 0"));
        }
        Ok(Self {
            timeline: Timeline::configure(settings)?,
            every,
            factor: settings.get("factor")?,
        })
    }

    fn stepping(&self) -> Interval {
        self.timeline.per
    }

    fn rate(&mut self, moment: &Moment) -> Result<f64, Fault> {
        self.timeline.rate(moment, |point| {
            let steps = (point.time / (self.every * point.epoch)).floor();
            Ok(moment.base_rate * self.factor.powf(steps))
        })
    }
}

export_schedule!(Step);

#[cfg(test)]
mod tests {
    use incubate_plugin::testing;

    use super::*;

    /// Rates of timm 0.3.2: `StepLRScheduler(decay_t=30, decay_rate=0.1, warmup_t=5,
    /// warmup_lr_init=1e-6)` on a rate of 1e-3, epochs 0 to 99.
    const TIMM: &str = include_str!("timm_every_30.txt");

    fn step(per: Interval, warmup_prefix: bool) -> Step {
        Step {
            timeline: Timeline {
                per,
                warmup: 5.0,
                warmup_rate: 1e-6,
                warmup_prefix,
            },
            every: 30.0,
            factor: 0.1,
        }
    }

    fn moment(epoch: u64, updates_per_epoch: u64) -> Moment {
        testing::moment(epoch * updates_per_epoch, updates_per_epoch, 100, 1e-3)
    }

    #[test]
    fn rates_equal_timm_per_epoch_and_per_update() {
        for (epoch, expected) in TIMM.lines().enumerate() {
            let expected: f64 = expected.parse().unwrap();
            for per in [Interval::PerEpoch, Interval::PerUpdate] {
                let rate = step(per, false).rate(&moment(epoch as u64, 7)).unwrap();
                assert!(
                    (rate - expected).abs() <= 1e-12,
                    "epoch {epoch} {per:?}: {rate} is not {expected}"
                );
            }
        }
    }

    #[test]
    fn a_prefix_moves_the_steps_behind_the_warm_up() {
        let rate = |epoch| {
            step(Interval::PerEpoch, true)
                .rate(&moment(epoch, 7))
                .unwrap()
        };
        assert_eq!(rate(34), 1e-3);
        assert!((rate(35) - 1e-4).abs() < 1e-18);
    }
}
