//! The curve: `base_rate factor^floor(t / every)`, behind the warm-up of [`Timeline`].

use guest::timeline::{Moment, Timeline};
use guest::{Fault, Parameter, SettingKind, SettingValue, Settings};

/// A rate that falls in steps.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) timeline: Timeline,
    /// Epochs between two steps; positive.
    every: f64,
    factor: f64,
}

impl Step {
    pub(crate) fn parameters() -> Vec<Parameter> {
        let mut parameters = vec![
            Parameter::new(
                "every",
                SettingKind::Number,
                "Epochs between two steps; more than 0",
            )
            .with_default(SettingValue::Number(30.0))
            .at_least(0.0),
            Parameter::new("factor", SettingKind::Number, "Factor of every step")
                .with_default(SettingValue::Number(0.1))
                .at_least(0.0),
        ];
        parameters.extend(Timeline::parameters());
        parameters.push(Timeline::prefix_parameter());
        parameters
    }

    pub(crate) fn from_settings(settings: Settings<'_>) -> Result<Self, Fault> {
        let every = settings.number("every")?;
        if every <= 0.0 {
            return Err(Fault::invalid(format!("`every` is {every}"))
                .with_hint("give a number of epochs that is more than 0"));
        }
        Ok(Self {
            timeline: Timeline::from_settings(settings)?.with_prefix(settings)?,
            every,
            factor: settings.number("factor")?,
        })
    }

    pub(crate) fn rate(&self, moment: &Moment) -> Result<f64, Fault> {
        self.timeline.rate(moment, |point| {
            let steps = (point.time / (self.every * point.epoch)).floor();
            Ok(moment.base_rate * self.factor.powf(steps))
        })
    }
}

#[cfg(test)]
mod tests {
    use guest::timeline::Per;

    use super::*;

    /// Rates of timm 0.3.2: `StepLRScheduler(decay_t=30, decay_rate=0.1, warmup_t=5,
    /// warmup_lr_init=1e-6)` on a rate of 1e-3, epochs 0 to 99.
    const TIMM: &str = include_str!("timm_every_30.txt");

    fn step(per: Per, warmup_prefix: bool) -> Step {
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
        Moment {
            update: epoch * updates_per_epoch,
            updates: 100 * updates_per_epoch,
            epoch: epoch as f64,
            epochs: 100,
            base_rate: 1e-3,
        }
    }

    #[test]
    fn rates_equal_timm_per_epoch_and_per_update() {
        for (epoch, expected) in TIMM.lines().enumerate() {
            let expected: f64 = expected.parse().unwrap();
            for per in [Per::Epoch, Per::Update] {
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
        let rate = |epoch| step(Per::Epoch, true).rate(&moment(epoch, 7)).unwrap();
        assert_eq!(rate(34), 1e-3);
        assert!((rate(35) - 1e-4).abs() < 1e-18);
    }
}
