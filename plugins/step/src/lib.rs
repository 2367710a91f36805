//! Learning-rate schedule `step`: a factor every so many epochs, with the semantics of timm's and
//! torch's `StepLR`, or at listed milestones, as torch's `MultiStepLR`.
//!
//! The curve is `base_rate factor^floor(t / every)`, or `base_rate factor^n` where `n` is the number of
//! milestones that are not after `t`, behind the warm-up of [`Timeline`].

use incubate_plugin::timeline::Timeline;
use incubate_plugin::{
    Description, Duration, Fault, Interval, Moment, Parameter, Schedule, Settings, export_schedule,
};

struct Step {
    timeline: Timeline,
    /// Time between two steps; positive.
    every: Duration,
    /// The times of the steps, in place of `every`.
    milestones: Option<Vec<Duration>>,
    factor: f64,
}

impl Schedule for Step {
    fn describe() -> Description {
        Description::new(
            "The base rate times a factor every so many epochs, or at milestones (multi-step)",
        )
        .parameter(Parameter::duration("every", "Time between two steps").default("30"))
        .parameter(
            Parameter::durations("milestones", "Times of the steps, in place of `every`")
                .optional(),
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
        Ok(Self {
            timeline: Timeline::configure(settings)?,
            every: settings.get::<Duration>("every")?.positive("every")?,
            milestones: settings.get("milestones")?,
            factor: settings.get("factor")?,
        })
    }

    fn stepping(&self) -> Interval {
        self.timeline.per
    }

    fn rate(&mut self, moment: &Moment) -> Result<f64, Fault> {
        self.timeline.rate(moment, |point| {
            let steps = match &self.milestones {
                Some(milestones) => milestones
                    .iter()
                    .filter(|&&milestone| point.axis.of(milestone) <= point.time)
                    .count() as f64,
                None => (point.time / point.axis.of(self.every)).floor(),
            };
            Ok(moment.base_rate * self.factor.powf(steps))
        })
    }
}

export_schedule!(Step);

#[cfg(test)]
mod tests {
    use incubate_plugin::{SettingValue, testing};

    use super::*;

    /// Rates of timm 0.3.2: `StepLRScheduler(decay_t=30, decay_rate=0.1, warmup_t=5,
    /// warmup_lr_init=1e-6)` on a rate of 1e-3, epochs 0 to 99.
    const TIMM: &str = include_str!("timm_every_30.txt");

    fn step(given: &[(&str, SettingValue)]) -> Step {
        Step::configure(&testing::settings(&Step::describe(), given).unwrap()).unwrap()
    }

    fn rate(step: &mut Step, epoch: u64) -> f64 {
        step.rate(&testing::moment(epoch * 7, 7, 100, 1e-3))
            .unwrap()
    }

    #[test]
    fn rates_equal_timm_per_epoch_and_per_update() {
        for per in ["epoch", "update"] {
            let milestones = vec!["30".to_owned(), "90%".to_owned(), "420up".to_owned()];
            for times in [("every", 30.into()), ("milestones", milestones.into())] {
                let mut step = step(&[("per", per.into()), ("warmup", 5.into()), times]);
                for (epoch, expected) in TIMM.lines().enumerate() {
                    let expected: f64 = expected.parse().unwrap();
                    let rate = rate(&mut step, epoch as u64);
                    assert!(
                        (rate - expected).abs() <= 1e-12,
                        "epoch {epoch} per {per}: {rate} is not {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_prefix_moves_the_steps_behind_the_warm_up() {
        let mut step = step(&[("warmup", 5.into()), ("warmup_prefix", true.into())]);
        assert_eq!(rate(&mut step, 34), 1e-3);
        assert!((rate(&mut step, 35) - 1e-4).abs() < 1e-18);
    }

    #[test]
    fn no_time_between_steps_is_refused() {
        let settings = testing::settings(&Step::describe(), &[("every", 0.into())]).unwrap();
        let fault = Step::configure(&settings).err().unwrap();
        assert!(fault.message.contains("`every`"), "{fault:?}");
    }
}
